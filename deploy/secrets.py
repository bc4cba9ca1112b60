"""Secrets: read from files, and kept out of everything that is shown.

What the settings hold under a secret name is registered here, and taken out of log
lines and error texts, whichever library wrote them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from models.errors import ConfigurationError

__all__ = ["REDACTED", "hide", "is_secret", "read_secret", "scrubbed", "with_files"]

REDACTED: Final = "***"

_NAME: Final = re.compile(
    r"passw|secret|token|key|pem|credential|oauthbearer|username|jaas|registry_user"
)
_PUBLIC: Final = re.compile(r"\.location$|^registry_key$|endpoint\.url$|\.keytab$")
"""Names that only look secret: they say where something is."""
_FILE: Final = re.compile(r"[._]file$")
_MAX_BYTES: Final = 65_536
_SHORTEST: Final = 4
"""Shorter texts occur everywhere."""

_hidden: set[str] = set()


def is_secret(name: str) -> bool:
    """Tell whether the value of a setting or librdkafka property must not be shown."""
    return bool(_NAME.search(name)) and not _PUBLIC.search(name)


def hide(values: Iterable[object]) -> None:
    """Take these texts out of whatever this process shows from now on."""
    texts = (str(value) for value in values if value is not None)
    _hidden.update(text for text in texts if len(text) >= _SHORTEST)


def scrubbed(value: Any) -> Any:
    """Return a text, or texts inside lists and mappings, without anything hidden."""
    if isinstance(value, str):
        # The longest first: one may be a part of another.
        for secret in sorted(_hidden, key=len, reverse=True):
            value = value.replace(secret, REDACTED)
        return value
    if isinstance(value, Mapping):
        return {key: scrubbed(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [scrubbed(inner) for inner in value]
    return value if value is None or isinstance(value, int | float) else scrubbed(str(value))


def read_secret(path: Path, name: str) -> str:
    """Return what a file holds, without the end of its line.

    `ConfigurationError` names the setting and the file, never what is in it.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        text = content.decode("utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigurationError(f"{name}: cannot read {path}: {error.strerror}", path) from error
    except UnicodeDecodeError:
        raise ConfigurationError(f"{name}: {path} is not a text file in UTF-8", path) from None
    if not text or len(content) > _MAX_BYTES:
        raise ConfigurationError(
            f"{name}: {path} must hold the secret and nothing else, at most {_MAX_BYTES} bytes",
            path,
        )
    return text


def with_files(table: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return properties of librdkafka in which ``sasl.password_file`` became ``sasl.password``.

    `ConfigurationError` where a file cannot be read, or where both are set.
    """
    properties = {key: value for key, value in table.items() if not _FILE.search(key)}
    for key, value in table.items():
        plain = _FILE.sub("", key)
        if plain == key:
            continue
        if plain in properties:
            raise ConfigurationError(f"{name}: set {plain} or {key}, not both", key)
        properties[plain] = read_secret(Path(str(value)), f"{name} {key}")
    return properties
