"""nats-server's configuration language, as far as ours goes: read as a tree, so that two files can be compared."""

import re
from pathlib import Path
from typing import Any

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<comment> (?:\#|//)[^\n]* )
      | (?P<mark> [{}\[\],:=] )
      | "(?P<text>[^"]*)"
      | (?P<bare> (?:\d+\.){3}\d+:\d+ | [^\s{}\[\],:="\#]+ )
    )""",
    re.VERBOSE,
)
Tokens = list[tuple[str, str]]


def read(path: Path) -> dict[str, Any]:
    """Return the tree of a file and of the one that it includes."""
    tree = parse(path.read_text())
    included = tree.pop("include", None)
    return {**tree, **read(path.parent / included)} if included else tree


def parse(text: str) -> dict[str, Any]:
    """Return a file's tree; variables stay as they are (`$NAME`), numbers and sizes as text."""
    tokens: Tokens = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        assert found, f"not understood: {text[at : at + 40]!r}"
        at = found.end()
        kind = found.lastgroup
        if kind and kind != "comment":
            tokens.append(("mark" if kind == "mark" else "word", found[kind]))
    tokens.reverse()
    return _fields(tokens, until=None)


def _fields(tokens: Tokens, until: str | None) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    while tokens:
        kind, token = tokens.pop()
        if kind == "mark":
            if token == until:
                return tree
            assert token == ",", f"unexpected {token}"
            continue
        if tokens[-1] in (("mark", ":"), ("mark", "=")):
            tokens.pop()
        assert token not in tree, f"{token} stands twice"
        tree[token] = _value(tokens)
    assert until is None, "a brace is not closed"
    return tree


def _value(tokens: Tokens) -> Any:
    kind, token = tokens.pop()
    if kind == "word":
        return token
    if token == "{":
        return _fields(tokens, until="}")
    assert token == "[", f"unexpected {token}"
    items = []
    while tokens[-1] != ("mark", "]"):
        if tokens[-1] == ("mark", ","):
            tokens.pop()
        else:
            items.append(_value(tokens))
    tokens.pop()
    return items


def permissions(tree: dict[str, Any]) -> dict[str, dict[str, dict[str, list[str]]]]:
    """Return what every user may do: user -> publish | subscribe -> allow | deny -> subjects, sorted."""
    return {
        user["user"]: {
            way: {rule: sorted(subjects) for rule, subjects in _rules(rights).items()}
            for way, rights in user["permissions"].items()
        }
        for user in tree["authorization"]["users"]
    }


def _rules(rights: Any) -> dict[str, list[str]]:
    """A list alone, or a single subject, means what is allowed."""
    if isinstance(rights, dict):
        return {rule: [found] if isinstance(found, str) else found for rule, found in rights.items()}
    return {"allow": [rights] if isinstance(rights, str) else rights}
