"""Keys of the settings tree: which exist, and which known one is nearest to one that does not."""

import types
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, Any, Final, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr

_SAME: Final = 0.8
_NEAR: Final = 0.6


def unwrapped(annotation: Any) -> Any:
    """Return the type of an annotation without `Annotated` and without `| None`."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [arg for arg in get_args(annotation) if arg is not type(None)]
        if len(rest) == 1:
            return unwrapped(rest[0])
    return annotation


def is_group(annotation: Any) -> TypeGuard[type[BaseModel]]:
    """Return whether this is a group of settings."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def named_keys(annotation: Any) -> tuple[str, ...] | None:
    """Return the keys below an annotation; empty where any name may stand, None where nothing stands below."""
    kind = unwrapped(annotation)
    if is_group(kind):
        return tuple(kind.model_fields)
    if get_origin(kind) is Mapping:
        key = get_args(kind)[0]
        return tuple(key) if isinstance(key, type) and issubclass(key, StrEnum) else ()
    return None


def below(annotation: Any, key: str) -> Any:
    """Return the annotation of a key that `named_keys` allows."""
    kind = unwrapped(annotation)
    return kind.model_fields[key].annotation if is_group(kind) else get_args(kind)[1]


def holds_secret(annotation: Any, path: Sequence[str] = ()) -> bool:
    """Return whether what stands at a path, or anything below it, is a secret."""
    for key in path:
        names = named_keys(annotation)
        if names is None or (names and key not in names):
            break
        annotation = below(annotation, key)
    kind = unwrapped(annotation)
    return kind is SecretStr or any(holds_secret(below(kind, name)) for name in _names_below(kind))


def _names_below(annotation: Any) -> tuple[str, ...]:
    names = named_keys(annotation)
    return () if names is None else names or ("*",)


def all_paths(annotation: Any, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the path of every key below an annotation, groups included; free names stand as `*`."""
    paths = []
    for name in _names_below(annotation):
        path = (*prefix, name)
        paths += [path, *all_paths(below(annotation, name), path)]
    return paths


def nearest_key(root: Any, path: Sequence[str]) -> str | None:
    """Return the dotted path of the known key nearest to an unknown one; None where nothing is near.

    A sibling that is nearly the same goes before the same name elsewhere, that before any sibling that is close.
    """
    siblings = _siblings(root, path)
    exchange = next((key for key, parent in zip(path[2:], path[1:], strict=False) if parent == "exchanges"), "*")
    anywhere = {".".join(exchange if key == "*" else key for key in known): known[-1] for known in all_paths(root)}
    name = path[-1].lower()
    same_name = [dotted for dotted, last in anywhere.items() if last.lower() == name]
    sibling = _close(name, siblings, _SAME) or (not same_name and _close(name, siblings, _NEAR))
    if sibling:
        return ".".join([*path[:-1], siblings[sibling]])
    if same_name:
        return _close(".".join(path), same_name, 0.0)
    last_near = _close(name, [last.lower() for last in anywhere.values()], _NEAR)
    return next((dotted for dotted, last in anywhere.items() if last.lower() == last_near), None)


def _siblings(root: Any, path: Sequence[str]) -> dict[str, str]:
    annotation = root
    for key in path[:-1]:
        names = named_keys(annotation)
        if names is None or (names and key not in names):
            return {}
        annotation = below(annotation, key)
    return {name.lower(): name for name in named_keys(annotation) or ()}


def _close(name: str, known: Iterable[str], cutoff: float) -> str | None:
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)
