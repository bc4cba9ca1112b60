"""Where the schemas of Confluent-framed messages come from.

A `SchemaStore` asks its sources in order: a Confluent schema registry, a folder
of schema files, and the PyPI package ``lsst-alert-packet`` where it is
installed. `open_schemas` builds the usual chain.
"""

from __future__ import annotations

import json
import math
import re
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol
from urllib.parse import unquote

import structlog
from fastavro.schema import load_schema

from models.errors import ConfigurationError
from stream.alerts import RefusedReason
from stream.avro.references import whole_schema
from stream.avro.schemacache import CachedSchemas
from stream.avro.sources import UNKNOWN_TTL_S, SchemaSource, SourceError
from stream.avro.writer import WriterSchema
from stream.refusal import Refusal

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import SchemaRegistryClient

__all__ = [
    "UNKNOWN_TTL_S",
    "FolderSchemas",
    "PackageSchemas",
    "RegistryOptions",
    "RegistrySchemas",
    "SchemaSource",
    "SchemaStore",
    "SourceError",
    "open_schemas",
]

_REGISTRY_TIMEOUT_S: Final = 5.0
_MAX_MISSING: Final = 1024
_URL: Final = re.compile(r"(?s)(\w+://)?(?:(.*)@)?(.*)")
_ADVICE: Final = "set [schemas] registry_url or folder"

log = structlog.get_logger()


class _Missing(NamedTuple):
    """An id that has no schema, until it is looked up again."""

    expiry: float
    reason: RefusedReason
    why: str


_NOT_ASKED: Final = _Missing(0.0, RefusedReason.UNKNOWN_SCHEMA_ID, "it was not looked up")


class SchemaStore:
    """Schemas by id, each fetched and parsed once.

    ``clock`` returns seconds; ids that no source knows are asked for again
    after `UNKNOWN_TTL_S`, so that a registry may learn them later, and ids that
    a silent source may know as soon as that source is asked again.
    """

    def __init__(
        self, sources: Sequence[SchemaSource] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sources = tuple(sources)
        self._clock = clock
        self._known: dict[int, WriterSchema] = {}
        self._missing: OrderedDict[int, _Missing] = OrderedDict()
        self.hits = 0
        self.misses = 0
        self.unknown = 0

    def get(self, schema_id: int) -> WriterSchema | None:
        """Return a schema, None when no source has it in a usable form; then see `refusal`."""
        schema = self._known.get(schema_id)
        if schema is not None:
            self.hits += 1
            return schema
        if self._missing.get(schema_id, _NOT_ASKED).expiry <= self._clock():
            self.misses += 1
            schema = self._look_up(schema_id)
        self.unknown += schema is None
        return schema

    def settled(self, schema_id: int) -> bool:
        """Tell whether `get` would answer from memory."""
        missing = self._missing.get(schema_id, _NOT_ASKED)
        return schema_id in self._known or missing.expiry > self._clock()

    def unavailable(self, schema_id: int) -> bool:
        """Tell whether the last look-up met a source that did not answer."""
        reason = self._missing.get(schema_id, _NOT_ASKED).reason
        return schema_id not in self._known and reason is RefusedReason.SCHEMA_UNAVAILABLE

    def look_up(self, schema_id: int) -> None:
        """Ask the sources, so that the id is `settled`. For a thread of its own."""
        self.misses += 1
        self._look_up(schema_id)

    def refusal(self, schema_id: int) -> Refusal:
        """Return why `get` found no schema, and what to do."""
        _, reason, why = self._missing.get(schema_id, _NOT_ASKED)
        known = reason is RefusedReason.UNKNOWN_SCHEMA_ID
        what = "is not known" if known else "cannot be looked up"
        return Refusal(reason, f"schema id {schema_id} {what}: {why}")

    def _look_up(self, schema_id: int) -> WriterSchema | None:
        problems: list[str] = []
        waits_s: list[float] = []
        for source in self._sources:
            try:
                text = source.fetch(schema_id)
                if text is not None:
                    schema = self._known[schema_id] = WriterSchema.parse(text)
                    self._missing.pop(schema_id, None)
                    return schema
            except (SourceError, Refusal) as error:
                problems.append(f"{source.describe()}: {error}")
                if isinstance(error, SourceError):
                    waits_s.append(error.wait_s)
            else:
                problems.append(f"{source.describe()} does not have it")
        self._remember_missing(schema_id, "; ".join([*problems, _ADVICE]), waits_s)
        return None

    def _remember_missing(self, schema_id: int, why: str, waits_s: Sequence[float]) -> None:
        reason = RefusedReason.SCHEMA_UNAVAILABLE if waits_s else RefusedReason.UNKNOWN_SCHEMA_ID
        expiry = self._clock() + min(waits_s, default=UNKNOWN_TTL_S)
        self._missing[schema_id] = _Missing(expiry, reason, why)
        self._missing.move_to_end(schema_id)
        if len(self._missing) > _MAX_MISSING:
            self._missing.popitem(last=False)


class RegistrySchemas:
    """Schemas of a Confluent schema registry, or of an in-memory one at ``mock://name``.

    ``url`` may be several, separated by commas; user and password, where there are
    any, must be the same in all. `ConfigurationError` when it cannot be used.
    ``client`` is a `SchemaRegistryClient` for settings that a URL cannot carry. A registry
    that does not answer is asked again after ``retry_s`` seconds.
    """

    def __init__(
        self,
        url: str,
        client: SchemaRegistryClient | None = None,
        clock: Callable[[], float] = time.monotonic,
        retry_s: float = UNKNOWN_TTL_S,
    ) -> None:
        urls, users = zip(*map(_split_user, url.split(",")), strict=True)
        self._name = "registry " + ", ".join(urls)
        self._client = _registry_client(urls, users) if client is None else client
        self._clock = clock
        self._retry_s = retry_s
        self._silent_until = 0.0
        self._silent_why = ""

    def fetch(self, schema_id: int) -> str | None:
        """Return a schema as JSON; `SourceError` when the registry does not answer."""
        from confluent_kafka.schema_registry import SchemaRegistryError

        wait_s = self._silent_until - self._clock()
        if wait_s > 0:
            raise SourceError(self._silent_why, wait_s)
        try:
            return whole_schema(self._client, schema_id)
        except SchemaRegistryError as error:
            if error.http_status_code == 404:
                return None
            raise self._silent(f"answered {error.http_status_code}") from error
        except Refusal:  # the registry answered: to ask again would not help
            raise
        except Exception as error:  # the HTTP library's, whichever it is
            raise self._silent(f"cannot be reached ({type(error).__name__})") from error

    def describe(self) -> str:
        """Return the registry's URL without user and password."""
        return self._name

    def _silent(self, why: str) -> SourceError:
        # Every message waits for the answer: one look-up per minute, not one per unknown id.
        self._silent_until = self._clock() + self._retry_s
        self._silent_why = why
        log.warning(
            "schema source is silent: messages whose schema no other source has "
            "wait, then go to the dead letters until it answers",
            source=self._name,
            why=why,
            asked_again_in_s=self._retry_s,
        )
        return SourceError(why, self._retry_s)


class FolderSchemas:
    """Schemas in a folder and those below it.

    Rubin's split files are found by name: ``lsst.vX_Y.alert.avsc``, beside its
    parts, has the id 100 X + Y. Other schemas are single files, ``<id>.avsc``. New
    files are seen after `UNKNOWN_TTL_S` at the latest.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        if not folder.is_dir():
            raise ConfigurationError(f"schema folder {folder} does not exist", folder)
        self._folder = folder
        self._clock = clock
        self._listing: dict[int, Path] = {}
        self._listed_until = -math.inf

    def fetch(self, schema_id: int) -> str | None:
        """Return a schema as JSON; `SourceError` when its files cannot be read."""
        path = self._paths().get(schema_id)
        if path is None:
            return None
        try:
            return json.dumps(load_schema(str(path)))
        except Exception as error:  # fastavro's or the file system's
            raise SourceError(f"{path.name} cannot be used: {error}") from error

    def describe(self) -> str:
        """Return the folder and its ids."""
        return f"folder {self._folder} (ids {_listed(self._paths())})"

    def _paths(self) -> dict[int, Path]:
        # To walk the folder takes milliseconds: not once for each id that somebody makes up.
        if self._clock() >= self._listed_until:
            self._listing = self._walk()
            self._listed_until = self._clock() + UNKNOWN_TTL_S
        return self._listing

    def _walk(self) -> dict[int, Path]:
        paths = {}
        for path in sorted(self._folder.rglob("*.avsc")):
            if split := re.fullmatch(r"lsst\.v(\d+)_(\d+)\.alert", path.stem):
                paths[100 * int(split[1]) + int(split[2])] = path
            elif re.fullmatch(r"\d+", path.stem):
                paths[int(path.stem)] = path
        return paths


class PackageSchemas:
    """Rubin's schemas out of the PyPI package ``lsst-alert-packet``."""

    def __init__(self) -> None:
        self._registry: _PacketSchemas | None = None

    @staticmethod
    def installed() -> bool:
        """Tell whether the package is there, without importing it."""
        try:
            return find_spec("lsst.alert.packet") is not None
        except ModuleNotFoundError:
            return False

    def fetch(self, schema_id: int) -> str | None:
        """Return a schema as JSON."""
        registry = self._opened()
        if schema_id not in registry.known_ids:
            return None
        return json.dumps(registry.get_by_id(schema_id).definition)

    def describe(self) -> str:
        """Return the package's name and its ids."""
        return f"package lsst-alert-packet (ids {_listed(self._opened().known_ids)})"

    def _opened(self) -> _PacketSchemas:
        if self._registry is None:
            from lsst.alert.packet import SchemaRegistry

            self._registry = SchemaRegistry.all_schemas_from_filesystem()
        return self._registry


class _PacketSchema(Protocol):
    definition: dict[str, Any]


class _PacketSchemas(Protocol):
    """What is used of the package's own registry class."""

    known_ids: set[int]

    def get_by_id(self, schema_id: int) -> _PacketSchema: ...


class _NoPackage:
    """Stands in for `PackageSchemas` so that the error text names the package."""

    def fetch(self, schema_id: int) -> str | None:
        """Return None."""
        return None

    def describe(self) -> str:
        """Return how to get the package."""
        return "package lsst-alert-packet (not installed: pip install lsst-alert-packet)"


@dataclass(frozen=True, slots=True)
class RegistryOptions:
    """How to reach a schema registry."""

    url: str = field(repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    """Instead of those in the URL."""
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = field(default=None, repr=False)
    """PEM files for TLS: whom to trust, and who we are."""
    cache: Path | None = None
    """A folder that keeps what the registry answered."""
    retry_s: float = UNKNOWN_TTL_S
    """How long it is left alone when it does not answer."""


def open_schemas(
    registry: RegistryOptions | str | None = None, folder: Path | None = None
) -> SchemaStore:
    """Open the schemas of a registry, then of a folder, then of ``lsst-alert-packet``."""
    if isinstance(registry, str):
        registry = RegistryOptions(registry)
    sources: list[SchemaSource] = []
    if registry is not None and registry.url:
        sources.append(_open_registry(registry))
    if folder is not None:
        sources.append(FolderSchemas(folder))
    sources.append(PackageSchemas() if PackageSchemas.installed() else _NoPackage())
    return SchemaStore(sources)


def _open_registry(options: RegistryOptions) -> SchemaSource:
    urls, users = zip(*map(_split_user, options.url.split(",")), strict=True)
    if options.user is not None:
        users = (f"{options.user}:{options.password or ''}",) * len(urls)
    tls = {"ca": options.ca, "certificate": options.certificate, "key": options.key}
    client = _registry_client(
        urls, users, {f"ssl.{k}.location": str(path) for k, path in tls.items() if path is not None}
    )
    registry = RegistrySchemas(options.url, client, retry_s=options.retry_s)
    if options.cache is None:
        return registry
    return CachedSchemas(registry, options.cache, ",".join(urls))


def _registry_client(
    urls: Sequence[str], users: Sequence[str], tls: Mapping[str, str] | None = None
) -> SchemaRegistryClient:
    # Importing authlib warns about its own dependencies, which users cannot act on.
    with warnings.catch_warnings(record=True):
        from confluent_kafka.schema_registry import SchemaRegistryClient
    for url in urls:
        if not re.match(r"(https?|mock)://.", url):
            raise ConfigurationError(
                f"schema registry URL {url!r} cannot be used: write http://host or https://host",
                url,
            )
    if len(set(users)) > 1:
        raise ConfigurationError(
            "schema registry URLs name different users: write the same user:password@ in each", urls
        )
    settings: dict[str, Any] = {
        "url": ",".join(urls),
        "timeout": _REGISTRY_TIMEOUT_S,
        "max.retries": 0,
        **(tls or {}),
    }
    if users[0]:
        settings["basic.auth.user.info"] = users[0]
    try:
        return SchemaRegistryClient.new_client(settings)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the schema registry {', '.join(urls)} cannot be used: check [schemas] registry_ca, "
            f"registry_certificate and registry_key ({error})",
            urls,
        ) from error


def _split_user(url: str) -> tuple[str, str]:
    """Return a URL without its user, and that user as ``user:password`` or empty.

    The HTTP library logs URLs and puts them into its errors. A password that holds
    / or @, or a URL without a scheme, is no reason to show a part of it.
    """
    scheme, user, place = _URL.findall(url.strip())[0]
    name, _, password = user.partition(":")
    return scheme + place, f"{unquote(name)}:{unquote(password)}" if user else ""


def _listed(ids: Sequence[int] | set[int] | dict[int, Path]) -> str:
    return ", ".join(map(str, sorted(ids))) or "none"
