"""The reference of all settings, from their model: ``python -m deploy.reference``.

It is kept as deploy/CONFIGURATION.md.
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from deploy.settings import Settings

__all__ = ["reference"]

_HEAD: Final = """# Configuration

Every setting of tinyt2. This file is made by `python -m deploy.reference`, from the model that
checks them; [`tinyt2.example.toml`](tinyt2.example.toml) is the same as a file to begin with.

A setting is a key of a section of the TOML file that `--config` names, or an environment variable,
which wins: `group_id` of `[kafka]` is `TINYT2__KAFKA__GROUP_ID`. Lists are JSON or separated by
commas; in tables an underscore of the variable is a dot, `TINYT2__KAFKA__CLIENT__SASL_PASSWORD` is
`sasl.password` of `[kafka.client]`. Unknown keys are errors that name the nearest known one.
Secrets: [SECURITY.md](../SECURITY.md).
"""
_TYPES: Final = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    Path: "path",
    list: "list of texts",
    dict: "table",
}
_BOUNDS: Final = {
    Ge: ("ge", "at least"),
    Gt: ("gt", "above"),
    Le: ("le", "at most"),
    Lt: ("lt", "below"),
}


def reference(model: type[BaseModel] = Settings) -> str:
    """Return the reference as Markdown."""
    return "\n".join([_HEAD, *_sections(model)])


def _sections(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        section = field.annotation
        assert isinstance(section, type)
        assert issubclass(section, BaseModel)
        yield f"## [{name}]\n\n{section.__doc__}\n"
        yield "| key | kind | default | meaning |\n|---|---|---|---|"
        for key, setting in section.model_fields.items():
            default = _default(setting.default)
            yield f"| `{key}` | {_kind(setting)} | {default} | {setting.description} |"
        yield ""


def _kind(field: FieldInfo) -> str:
    """Return what a value has to be, with its bounds."""
    annotation = _needed(field.annotation)
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    kind = _TYPES[get_origin(annotation) or annotation]
    bounds = [
        f"{words} {getattr(bound, name):,}"
        for bound in field.metadata
        for name, words in [_BOUNDS.get(type(bound), ("", ""))]
        if name
    ]
    return ", ".join([kind, *bounds])


def _needed(annotation: Any) -> Any:
    """Return the type of a setting that may also be unset."""
    if get_origin(annotation) in (Union, types.UnionType):
        (annotation,) = (kind for kind in get_args(annotation) if kind is not type(None))
    return annotation


def _default(value: object) -> str:
    return "unset" if value is None else f"`{json.dumps(value)}`"


if __name__ == "__main__":
    print(reference(), end="")
