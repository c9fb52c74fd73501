"""The environment as a source of settings: `FLUXFORGE__A__B` for the key `a.b`, `..._FILE` for a secret in a file.

A variable that names no key is an error: a misspelt one would otherwise be ignored without a word.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_args, get_origin

import yaml
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource
from typing_extensions import override

from fluxforge.domain.errors import ConfigurationError
from fluxforge.runtime.settings.keys import below, holds_secret, named_keys, nearest_key, unwrapped

PREFIX: Final = "FLUXFORGE__"
_DELIMITER: Final = "__"
_FILE: Final = "_file"


class EnvironmentSource(PydanticBaseSettingsSource):
    """The variables of this process that name keys of the tree."""

    @override
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the value of one top-level field; the whole environment is read by `__call__`."""
        return self().get(field_name), field_name, False

    @override
    def __call__(self) -> dict[str, Any]:
        """Return what the environment says, as a tree."""
        return environment_tree(self.settings_cls, os.environ)  # noqa: TID251 - the one place that reads it


def variable_name(path: tuple[str, ...]) -> str:
    """Return the variable of a key: `("etl", "workers")` -> `FLUXFORGE__ETL__WORKERS`."""
    return PREFIX + _DELIMITER.join(path).upper()


def variable_set(path: tuple[str, ...]) -> str | None:
    """Return the variable of this process that gives a key its value, if one does."""
    name = variable_name(path)
    return next((given for given in os.environ if given.upper() == name), None)  # noqa: TID251 - see above


def environment_tree(root: type[BaseSettings], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the tree that the variables of an environment say.

    Raises:
        ConfigurationError: A variable names no key, is not readable as a value, or names a file that cannot be read.
    """
    tree: dict[str, Any] = {}
    for name in sorted(environ):
        if not name.upper().startswith(PREFIX):
            continue
        path, annotation, from_file = _resolve(root, name)
        text = _secret(name, environ[name]) if from_file else environ[name]
        group = tree
        for key in path[:-1]:
            group = group.setdefault(key, {})
        group[path[-1]] = _value(name, text, annotation)
    return tree


def _resolve(root: type[BaseSettings], name: str) -> tuple[list[str], Any, bool]:
    tokens = name[len(PREFIX) :].lower().split(_DELIMITER)
    annotation: Any = root
    path: list[str] = []
    for position, token in enumerate(tokens):
        names = named_keys(annotation)
        by_lower = {known.lower(): known for known in names or ()}
        key = by_lower.get(token, token if names == () else None)
        if key is not None and token and _may_stand_below(annotation, path):
            path.append(key)
            annotation = below(annotation, key)
            continue
        secret = by_lower.get(token.removesuffix(_FILE))
        if position == len(tokens) - 1 and token.endswith(_FILE) and secret:
            found = below(annotation, secret)
            if unwrapped(found) is SecretStr:
                return [*path, secret], found, True
        nearest = nearest_key(root, [*path, *tokens[position:]])
        hint = f"; nearest is {variable_name(tuple(nearest.split('.')))} for {nearest}" if nearest else ""
        raise ConfigurationError(f"environment variable {name}: names no key of the configuration{hint}")
    return path, annotation, False


def _may_stand_below(annotation: Any, path: list[str]) -> bool:
    # ccxt's own options keep their case, which a variable cannot: they are given whole, as JSON.
    return not (path and path[-1] == "options" and named_keys(annotation) == ())


def _secret(name: str, file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"environment variable {name}: cannot read the secret in {file!r}: {error}") from error


def _value(name: str, text: str, annotation: Any) -> Any:
    kind = unwrapped(annotation)
    if kind in (str, Path, SecretStr):
        return text or None if type(None) in get_args(annotation) else text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        was = "" if holds_secret(annotation) else f", was {text!r}"
        raise ConfigurationError(f"environment variable {name}: expected JSON or a plain value{was}") from error
    if get_origin(kind) is tuple and isinstance(value, str):
        return [item.strip() for item in value.split(",")]
    return value
