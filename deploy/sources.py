"""Where the service reads from, as the settings say."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from deploy.secrets import hide, read_secret
from deploy.settings import SchemaSettings, Settings
from models.errors import ConfigurationError
from stream.avro.lookups import SchemaLookups
from stream.avro.schemas import UNKNOWN_TTL_S, RegistryOptions, SchemaStore, open_schemas
from stream.librdkafka import KafkaOptions
from stream.metrics import Metrics
from stream.sources.dated import DatedKafkaSource
from stream.sources.gate import SchemaGate
from stream.sources.kafka import KafkaSource
from stream.sources.window import TimeWindow, WindowSource

__all__ = ["LOOKED_UP_ASIDE_S", "open_source", "open_store"]

_CACHE: Final = Path("~/.cache/tinyt2/schemas")
LOOKED_UP_ASIDE_S: Final = 10.0
"""How often a silent registry is asked where a thread of its own does it."""


def open_store(settings: Settings, retry_s: float = UNKNOWN_TTL_S) -> SchemaStore:
    """Return the schemas of messages in Confluent framing.

    A registry that does not answer is asked again after ``retry_s`` seconds.
    """
    schemas = settings.schemas
    registry = None
    if schemas.registry_url is not None:
        registry = RegistryOptions(
            schemas.registry_url,
            schemas.registry_user,
            _password(schemas),
            schemas.registry_ca,
            schemas.registry_certificate,
            schemas.registry_key,
            schemas.cache or _CACHE,
            retry_s,
        )
    return open_schemas(registry, schemas.folder)


def open_source(
    settings: Settings,
    options: KafkaOptions,
    metrics: Metrics,
    store: SchemaStore,
    window: TimeWindow | None = None,
) -> KafkaSource:
    """Return a member of the service's group, or what reads a time window on its own."""
    gate = None
    # Only a registry can be silent: folder and package answer at once.
    if settings.schemas.registry_url is not None:
        gate = SchemaGate(SchemaLookups(store, settings.schemas.wait_s), metrics)
    topics, nights = settings.kafka.topics, settings.kafka.nights
    if window is not None:
        return WindowSource(options, topics, window, metrics, gate=gate)
    return DatedKafkaSource(options, topics, nights, metrics, gate=gate)


def _password(schemas: SchemaSettings) -> str | None:
    if schemas.registry_password_file is None:
        return schemas.registry_password
    if schemas.registry_password is not None:
        raise ConfigurationError(
            "[schemas]: set registry_password or registry_password_file, not both"
        )
    password = read_secret(schemas.registry_password_file, "[schemas] registry_password_file")
    hide([password])
    return password
