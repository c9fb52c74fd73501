"""Explanations: what a refused configuration gets wrong, key by key, in words that say what would be right."""

from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fluxforge.runtime.settings.document import Document
from fluxforge.runtime.settings.environment import variable_name, variable_set
from fluxforge.runtime.settings.keys import holds_secret, is_group, nearest_key

_EXPECTED: Final = {
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "path_type": "a path",
    "tuple_type": "a list",
    "dict_type": "keys and values",
    "mapping_type": "keys and values",
    "model_type": "a group of keys",
    "none_required": "no value",
}
_UNION_TAGS: Final = frozenset({"names", "filter", "[key]"})
_VALUE_CHARS_MAX: Final = 60


def explain(error: ValidationError, document: Document, root: type[BaseModel]) -> str:
    """Return one line per fault: where it stands, which key, what was expected."""
    return "\n".join(_fault(detail, document, root) for detail in error.errors(include_url=False))


def _fault(detail: ErrorDetails, document: Document, root: type[BaseModel]) -> str:
    path = tuple(str(part) for part in detail["loc"] if part not in _UNION_TAGS)
    key = ".".join(path)
    where = _place(path, document)
    return ": ".join(part for part in (where, key, _what(detail, path, root)) if part)


def _place(path: tuple[str, ...], document: Document) -> str:
    if not path:
        return document.name
    variables = (variable_set(path[:end]) for end in range(len(path), 0, -1))
    if variable := next((name for name in variables if name), None):
        return f"environment variable {variable}"
    places = (document.place(path[:end]) for end in range(len(path), 0, -1))
    return next((place for place in places if place), variable_name(path))


def _what(detail: ErrorDetails, path: tuple[str, ...], root: type[BaseModel]) -> str:
    kind = detail["type"]
    value = _Hidden() if detail["input"] is not None and holds_secret(root, path) else detail["input"]
    if kind == "extra_forbidden" or "[key]" in detail["loc"]:
        nearest = nearest_key(root, path)
        return f"unknown key; nearest is {nearest}" if nearest else "unknown key"
    if kind == "missing":
        return "missing; it must be given"
    if kind == "value_error":
        return _with_value(str(detail["ctx"]["error"]), value)
    expected = _EXPECTED.get(kind) or _size_expected(detail)
    if expected:
        return f"expected {expected}, was {_shown(value)}"
    message = detail["msg"].removeprefix("Input ")
    return f"{message}, was {_shown(value)}"


def _size_expected(detail: ErrorDetails) -> str | None:
    context = detail.get("ctx", {})
    if detail["type"] == "too_short":
        return f"at least {context['min_length']} in the list"
    if detail["type"] == "too_long":
        return f"at most {context['max_length']} in the list"
    return None


def _with_value(message: str, value: Any) -> str:
    if ", was" in message or is_group(type(value)) or not isinstance(value, str | int | float):
        return message
    return f"{message}, was {_shown(value)}"


class _Hidden:
    """Stands for a value that is a secret, or a group that may hold one."""


def _shown(value: Any) -> str:
    if isinstance(value, _Hidden):
        return "a value that is not shown, as it may be secret"
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= _VALUE_CHARS_MAX else f"{text[:_VALUE_CHARS_MAX]}..."
