"""Layers of configuration, and errors that say where a wrong value stands.

A layer is what one place says: a TOML file or the environment. Each is checked
for unknown keys on its own, so that the error can name the place; then they are
laid over each other and validated. The model has sections, and a section has
keys; a key may hold a table of properties. A section may also be an array of
tables, ``[[steps]]``, whose key ``kind`` says which model each is of.

This is not pydantic-settings, which silently ignores environment variables that it does
not know, and whose errors name neither the file nor the variable. It also reads the values
of a table as JSON, so that a password of digits only becomes a number.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from models.errors import ConfigurationError

__all__ = [
    "PREFIX",
    "Layer",
    "environment_layer",
    "file_layer",
    "file_layers",
    "validated",
    "variable",
]

PREFIX: Final = "TINYT2__"
_SEPARATOR: Final = "__"
_EXTENDS: Final = "extends"
_EXPECTED: Final = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "list_type": "an array",
    "dict_type": "a table",
    "path_type": "a path",
}
_PROPERTY: Final = "a string, a number or true/false"
_TOML_TYPES: Final = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "table",
}

Where = tuple[str, ...]
"""(section, key) or (section, key, property)."""
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Layer:
    """What one place says: section -> key -> value, and how to name a key of that place."""

    values: dict[str, dict[str, Any]]
    name: Callable[[Where], str]

    def says(self, where: Where) -> bool:
        """Tell whether this layer sets the key."""
        value: Any = self.values
        for part in where:
            if not isinstance(value, dict) or part not in value:
                return False
            value = value[part]
        return True


def file_layers(model: type[BaseModel], path: Path) -> list[Layer]:
    """Read a TOML file and all that it extends, the first of them winning.

    ``extends = "FILE"`` stands above all sections; FILE is relative to the file that says so.
    `ConfigurationError` as `file_layer`, and for one that extends itself.
    """
    layers: list[Layer] = []
    seen: list[Path] = []
    while True:
        if path.resolve() in seen:
            raise ConfigurationError(f"{path}: extends itself", path)
        seen.append(path.resolve())
        values = _read_toml(path)
        extended = values.pop(_EXTENDS, None)
        layers.append(_layer(model, path, values))
        if extended is None:
            return layers
        if not isinstance(extended, str):
            raise ConfigurationError(f"{path}: {_EXTENDS} names a file, in quotes", extended)
        path = path.parent / extended


def file_layer(model: type[BaseModel], path: Path) -> Layer:
    """Read a TOML file; raise `ConfigurationError` if it is not sound or has unknown keys."""
    return _layer(model, path, _read_toml(path))


def _layer(model: type[BaseModel], path: Path, values: dict[str, Any]) -> Layer:
    keys, kinds = _keys(model), _kinds(model)
    for section, content in values.items():
        if section in kinds:
            _check_tables(f"{path}: [[{section}]]", content, kinds[section])
            continue
        if not isinstance(content, dict):
            raise _no_section(path, section, keys)
        if section not in keys:
            raise _unknown(f"{path}: [{section}]", section, keys | kinds, "section")
        _check_keys(f"{path}: [{section}]", content, keys[section])
    return Layer(values, lambda where: f"{path}: [{where[0]}] {'.'.join(where[1:])}")


def environment_layer(model: type[BaseModel], environ: Mapping[str, str]) -> Layer:
    """Read the variables that begin with the prefix; `ConfigurationError` for unknown ones."""
    keys = _keys(model)
    known = {variable((s, key)): field for s in keys for key, field in keys[s].items()}
    values: dict[str, dict[str, Any]] = {}
    for name, text in environ.items():
        if name.startswith(PREFIX) and text:
            section, key, *rest = _split(name, known)
            entry = values.setdefault(section, {})
            if rest:
                entry.setdefault(key, {})[rest[0]] = text
            else:
                entry[key] = _parse(name, text, known[variable((section, key))])
    return Layer(values, lambda where: f"environment variable {variable(where)}")


def variable(where: Where) -> str:
    """Return the name of the environment variable that sets a key."""
    return PREFIX + _SEPARATOR.join(where).replace(".", "_").upper()


def validated(model: type[Model], layers: Sequence[Layer]) -> Model:
    """Return the model of all layers, the first of them winning; `ConfigurationError` if wrong."""
    merged: dict[str, Any] = {}
    for layer in reversed(layers):
        merged = _laid_over(merged, layer.values)
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        details = {_where(entry["loc"]): entry for entry in error.errors(include_url=False)}
        lines = [_complaint(model, layers, where, entry) for where, entry in details.items()]
        raise ConfigurationError("\n".join(lines), ".".join(next(iter(details)))) from None


def _check_keys(place: str, content: dict[str, Any], known: Mapping[str, FieldInfo]) -> None:
    for key, value in content.items():
        if key not in known:
            raise _unknown(f"{place} {key}", key, known, "key")
        if _is_table(known[key]) and isinstance(value, dict):
            content[key] = _flat(value)


def _check_tables(place: str, tables: object, kinds: Mapping[str, type[BaseModel]]) -> None:
    if not isinstance(tables, list):
        raise ConfigurationError(f"{place} is an array of tables: double its brackets", tables)
    for number, table in enumerate(tables, 1):
        kind = table.get("kind") if isinstance(table, dict) else None
        if not isinstance(table, dict) or not isinstance(kind, str):
            raise ConfigurationError(
                f"{place} number {number}: say its kind, one of {', '.join(kinds)}", table
            )
        if kind not in kinds:
            raise _unknown(f"{place} number {number}: {kind}", kind, kinds, "kind")
        _check_keys(f"{place} number {number}, {kind}:", table, kinds[kind].model_fields)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the settings file {path}: {error.strerror}", path
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not a text file in UTF-8", path) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}", path) from error


def _no_section(path: Path, name: str, keys: Mapping[str, Mapping[str, object]]) -> Exception:
    """Return what to say of a key that stands above all sections."""
    if name in keys:
        text = f"{name} is a section: write [{name}] and its keys below it"
    elif owners := [f"[{section}]" for section in keys if name in keys[section]]:
        text = f"{name} belongs below {' or '.join(owners)}"
    else:
        text = f"{name}: unknown key, and it stands in no section"
    return ConfigurationError(f"{path}: {text}", name)


def _flat(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table whose keys contain dots, which TOML reads as nested tables, as one."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict) and value:
            flat |= {f"{key}.{rest}": inner for rest, inner in _flat(value).items()}
        else:
            flat[key] = value
    return flat


def _is_table(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is dict


def _keys(model: type[BaseModel]) -> dict[str, dict[str, FieldInfo]]:
    """Return section -> key -> field."""
    sections = {name: field.annotation for name, field in model.model_fields.items()}
    return {
        name: section.model_fields
        for name, section in sections.items()
        if isinstance(section, type) and issubclass(section, BaseModel)
    }


def _kinds(model: type[BaseModel]) -> dict[str, dict[str, type[BaseModel]]]:
    """Return, of sections that are arrays of tables: section -> kind -> model."""
    found: dict[str, dict[str, type[BaseModel]]] = {}
    for name, field in model.model_fields.items():
        if get_origin(field.annotation) is list:
            union = get_args(get_args(field.annotation)[0])[0]
            found[name] = {step.model_fields["kind"].default: step for step in get_args(union)}
    return found


def _split(name: str, known: Mapping[str, FieldInfo]) -> Where:
    """Return the key that a variable sets."""
    section, key, *rest = [*name.removeprefix(PREFIX).lower().split(_SEPARATOR), ""]
    field = known.get(variable((section, key)))
    if field is None:
        raise _unknown(f"environment variable {name}", name, known, "setting")
    if not _is_table(field):
        if rest[:-1]:
            raise _unknown(f"environment variable {name}", name, known, "setting")
        return section, key
    if len(rest) != 2 or not rest[0]:
        raise ConfigurationError(
            f"environment variable {name}: this is a table; set its properties, for example "
            f"{variable((section, key, 'security.protocol'))}",
            name,
        )
    return section, key, rest[0].replace("_", ".")


def _parse(name: str, text: str, field: FieldInfo) -> object:
    if get_origin(field.annotation) is not list:
        return text
    if not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",")]
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigurationError(
            f"environment variable {name}: expected a JSON array or names separated by commas, "
            f"got {text!r}",
            name,
        ) from error


def _unknown(place: str, name: str, known: Iterable[str], noun: str) -> ConfigurationError:
    prefix = PREFIX if name.startswith(PREFIX) else ""
    names = [other.removeprefix(PREFIX) for other in known]
    nearest = get_close_matches(name.removeprefix(PREFIX), names, n=1, cutoff=0.0)[0]
    return ConfigurationError(f"{place}: unknown {noun}; did you mean {prefix}{nearest}?", name)


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            value = _laid_over(old, value)
        merged[key] = value
    return merged


def _where(loc: tuple[int | str, ...]) -> Where:
    """Return the key at fault; the position in a list and the tried types are left out.

    Of an array of tables, the number of the table stands before its kind.
    """
    if len(loc) > 1 and isinstance(loc[1], int):
        return f"[{loc[0]}]", " ".join([f"number {loc[1] + 1},", *map(str, loc[2:4])])
    return tuple(part for part in loc[:3] if isinstance(part, str))


def _complaint(
    model: type[BaseModel], layers: Sequence[Layer], where: Where, entry: ErrorDetails
) -> str:
    field = _keys(model).get(where[0], {}).get(where[1] if where[1:] else "", FieldInfo())
    said = (where[0].strip("[]"),) if where[0].startswith("[") else where
    name = next((layer.name(where) for layer in layers if layer.says(said)), ".".join(where))
    text = entry["msg"].removeprefix("Value error, ")
    expected = _PROPERTY if len(where) == 3 else _EXPECTED.get(entry["type"])
    if expected is None and text.startswith("Input should be "):
        expected = re.sub("^(greater|less)", r"a number \1", text.removeprefix("Input should be "))
    if expected is None:
        return f"{name}: {text}"
    return f"{name}: expected {expected}, got {_given(entry['input'], secret=not field.repr)}"


def _given(value: object, *, secret: bool) -> str:
    noun = _TOML_TYPES.get(type(value), type(value).__name__)
    return f"a value of type {noun}" if secret else f"{value!r} ({noun})"
