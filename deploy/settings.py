"""The settings of the service: a TOML file, overridden by environment variables.

The only place that reads configuration. ``TINYT2__SECTION__KEY`` overrides the key
of that section; a list is a JSON array or text separated by commas; an empty
variable counts as not set. In the tables that are passed on to librdkafka an
underscore of the variable stands for a dot: ``TINYT2__KAFKA__CLIENT__SASL_PASSWORD``
is ``sasl.password``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import unquote

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticKnownError

from deploy.configuration import Layer, environment_layer, file_layer, validated
from deploy.secrets import REDACTED, hide, is_secret, with_files
from models.errors import ConfigurationError
from stream.sources.night import NIGHT, topics_of

__all__ = [
    "BatchSettings",
    "HttpSettings",
    "InputSettings",
    "KafkaSettings",
    "LogSettings",
    "ModelSettings",
    "OutputSettings",
    "SchemaSettings",
    "Settings",
    "load_settings",
]

_URL_USER: Final = re.compile(r"(\w+://)?[^,]*@")
_OWNED: Final = {
    "bootstrap.servers": "[kafka] bootstrap_servers sets it",
    "group.id": "[kafka] group_id sets it",
    "group.instance.id": "[kafka] group_instance_id sets it",
    "transactional.id": "[kafka] transactional_id sets it",
    "enable.auto.commit": "the service commits what was delivered",
    "enable.auto.offset.store": "the service commits what was delivered",
    "acks": "an answer is delivered when all replicas have it",
    "request.required.acks": "an answer is delivered when all replicas have it",
    "enable.idempotence": "the service writes each answer once and in order",
}


def _not_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise PydanticKnownError("int_type")
    return value


def _not_owned(properties: dict[str, str | int | float | bool]) -> dict[str, Any]:
    for name in properties:
        if name in _OWNED:
            raise ValueError(f"{name} cannot be set here: {_OWNED[name]}")
    return properties


def _can_be_read(topics: list[str]) -> list[str]:
    for topic in topics:
        if not topic.strip():
            raise ValueError("a topic has an empty name")
        try:
            re.compile(topic.replace(NIGHT, "") if topic.startswith("^") else "")
        except re.error as error:
            raise ValueError(f"{topic!r} is not a regular expression: {error}") from error
    return topics


Integer = Annotated[int, BeforeValidator(_not_boolean)]
Topics = Annotated[list[str], AfterValidator(_can_be_read)]
Properties = Annotated[dict[str, str | int | float | bool], AfterValidator(_not_owned)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaSettings(_Section):
    """The cluster, and what to read from it."""

    bootstrap_servers: str = Field(
        default="localhost:9092",
        min_length=1,
        description="Brokers to begin with: host:port,host:port.",
    )
    group_id: str = Field(
        default="tinyt2", min_length=1, description="Consumer group of the service."
    )
    group_instance_id: str | None = Field(
        default=None,
        min_length=1,
        description="Name of this process in its group: a restart under it moves no partitions.",
    )
    delivery: Literal["at-least-once", "exactly-once"] = Field(
        default="at-least-once",
        description="at-least-once, or exactly-once for readers with read_committed (DELIVERY.md).",
    )
    transactional_id: str | None = Field(
        default=None,
        min_length=1,
        description="Name of its producer, for exactly-once; unset: GROUP_ID-GROUP_INSTANCE_ID.",
    )
    drain_s: float = Field(
        default=20,
        ge=0,
        le=3600,
        description="Time to deliver the batch in hand after a stop, seconds, up to 3600.",
    )
    topics: Topics = Field(
        default=[],
        description="Topics to read; one that begins with ^ is a regular expression, {night} is a "
        "date.",
    )
    nights: Integer = Field(
        default=3,
        gt=0,
        le=365,
        description="Nights that {night} (YYYYMMDD) stands for: tonight, UTC, and those before.",
    )
    client: Properties = Field(
        default={},
        repr=False,
        description="Properties of librdkafka for consumer and producer, passed on as they are.",
    )
    consumer: Properties = Field(
        default={}, repr=False, description="The same for the consumer alone; wins over client."
    )
    producer: Properties = Field(
        default={}, repr=False, description="The same for the producer alone; wins over client."
    )


class OutputSettings(_Section):
    """Where answers go and in what form."""

    topic: str = Field(
        default="tinyt2-classifications", min_length=1, description="Topic of the classifications."
    )
    dead_letter_topic: str = Field(
        default="tinyt2-dead-letters", min_length=1, description="Topic of the refused messages."
    )
    format: Literal["avro", "json", "elasticc"] = Field(
        default="avro", description="Form of the classifications: avro, json or elasticc (v0.9.1)."
    )


class InputSettings(_Section):
    """What is accepted."""

    surveys: list[str] = Field(
        default=["ztf", "lsst"], min_length=1, description="Surveys whose alerts are accepted."
    )
    duplicate_window: Integer = Field(
        default=250_000,
        ge=0,
        le=20_000_000,
        description="Alerts among which repeated ids are marked, 64 to 128 bytes each; 0: none.",
    )


class SchemaSettings(_Section):
    """Where the schemas of messages in Confluent framing come from."""

    registry_url: str | None = Field(
        default=None, repr=False, description="A Confluent schema registry."
    )
    registry_user: str | None = Field(
        default=None, repr=False, description="Who we are to the registry."
    )
    registry_password: str | None = Field(
        default=None, repr=False, description="Its password; better in the environment or a file."
    )
    registry_password_file: Path | None = Field(
        default=None, description="A file that holds the password."
    )
    registry_ca: Path | None = Field(
        default=None, description="Certificates that the registry is checked by, PEM."
    )
    registry_certificate: Path | None = Field(
        default=None, description="Our certificate for the registry, PEM."
    )
    registry_key: Path | None = Field(default=None, description="The key of our certificate, PEM.")
    cache: Path | None = Field(
        default=None,
        description="A folder that keeps what the registry answered; unset: "
        "~/.cache/tinyt2/schemas.",
    )
    wait_s: float = Field(
        default=300,
        ge=0,
        le=86_400,
        description="Time that messages wait for a silent registry, seconds, before they are "
        "dead letters.",
    )
    folder: Path | None = Field(default=None, description="A folder with .avsc files.")


class BatchSettings(_Section):
    """How messages are grouped."""

    max_messages: Integer = Field(
        default=512, gt=0, le=100_000, description="Messages in a batch at most, up to 100000."
    )
    linger_ms: float = Field(
        default=50,
        gt=0,
        le=5000,
        description="Time to wait for a batch to fill, milliseconds at most, up to 5000.",
    )


class ModelSettings(_Section):
    """What classifies."""

    path: Path | None = Field(
        default=None,
        description="A model.onnx with its card.json beside it; unset: the bundled one.",
    )
    store: Path | None = Field(
        default=None,
        description="A folder of models whose current one answers; tinyt2 model push changes it "
        "without a restart.",
    )
    threads: Integer = Field(default=1, gt=0, description="Threads of ONNX Runtime.")


class HttpSettings(_Section):
    """Where /metrics, /health and the live page are served."""

    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on.")
    port: Integer = Field(
        default=8000, ge=0, le=65535, description="Port to listen on; 0: any free one."
    )
    page: bool = Field(default=True, description="Whether the live page is served, at /.")
    page_alerts: Integer = Field(
        default=1000,
        gt=0,
        le=100_000,
        description="Latest alerts that the page can show, with their light curves.",
    )


class LogSettings(_Section):
    """What is logged."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is logged: debug, info, warning or error."
    )
    format: Literal["console", "json"] = Field(
        default="console", description="Form of a line: console or json."
    )


class Settings(_Section):
    """All settings of the service."""

    kafka: KafkaSettings = KafkaSettings()
    output: OutputSettings = OutputSettings()
    input: InputSettings = InputSettings()
    schemas: SchemaSettings = SchemaSettings()
    batch: BatchSettings = BatchSettings()
    model: ModelSettings = ModelSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()

    def redacted(self) -> dict[str, dict[str, Any]]:
        """Return the settings section by section without secrets, fit for a log."""
        sections = self.model_dump(mode="json")
        for name in ("client", "consumer", "producer"):
            sections["kafka"][name] = {
                key: REDACTED if is_secret(key) else value
                for key, value in sections["kafka"][name].items()
            }
        if self.schemas.registry_url is not None:
            sections["schemas"]["registry_url"] = _URL_USER.sub(
                rf"\g<1>{REDACTED}@", self.schemas.registry_url
            )
        for name in ("registry_user", "registry_password"):
            if sections["schemas"][name] is not None:
                sections["schemas"][name] = REDACTED
        return sections

    def secrets(self) -> list[object]:
        """Return the values that must be in no text: passwords, keys and tokens.

        Names of users, which may be words like any other, are only left out of `redacted`.
        """
        kafka, schemas = self.kafka, self.schemas
        tables = (kafka.client, kafka.consumer, kafka.producer)
        found = [
            value
            for table in tables
            for key, value in table.items()
            if is_secret(key) and not key.endswith("username")
        ]
        for url in (schemas.registry_url or "").split(","):
            user, at, _ = url.rpartition("@")
            password = user.rpartition("://")[2].partition(":")[2] if at else ""
            found += [password, unquote(password)]
        return [*found, schemas.registry_password]


def load_settings(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the file, if one is named, and the environment, which wins.

    Raises `ConfigurationError` for a file that cannot be read, an unknown key, and a
    value of the wrong type or range, where the message says where it stands; and for an
    output topic that is also read.
    """
    layers: list[Layer] = [environment_layer(Settings, environ)]
    if path is not None:
        layers.append(file_layer(Settings, path))
    settings = _with_secrets(validated(Settings, layers))
    hide(settings.secrets())
    _check_topics(settings)
    _check_delivery(settings.kafka)
    return settings


def _with_secrets(settings: Settings) -> Settings:
    """Return the settings with the secrets of Kafka that stand in files of their own."""
    tables = {
        name: with_files(getattr(settings.kafka, name), f"[kafka.{name}]")
        for name in ("client", "consumer", "producer")
    }
    kafka = settings.kafka.model_copy(update=tables)
    return settings.model_copy(update={"kafka": kafka})


def _check_delivery(kafka: KafkaSettings) -> None:
    """Refuse transactions without a name that survives a restart."""
    nameless = kafka.transactional_id is None and kafka.group_instance_id is None
    if kafka.delivery == "exactly-once" and nameless:
        raise ConfigurationError(
            "[kafka] delivery = 'exactly-once' needs a name for this process that no other has and "
            "that it keeps when it is restarted: set group_instance_id (or transactional_id)"
        )


def _check_topics(settings: Settings) -> None:
    """Refuse topics by which tinyt2 would read what it wrote, for ever."""
    output = settings.output
    if output.topic == output.dead_letter_topic:
        raise ConfigurationError(
            f"[output] topic and dead_letter_topic are both {output.topic!r}: name two topics",
            output.topic,
        )
    for topic in (output.topic, output.dead_letter_topic):
        for source in settings.kafka.topics:
            (pattern,) = topics_of([source], [r"\d{8}"])
            if source == topic or (pattern.startswith("^") and re.match(pattern, topic)):
                raise ConfigurationError(
                    f"[kafka] topics: {source!r} also reads the output topic {topic!r}: "
                    "tinyt2 would answer its own answers for ever",
                    source,
                )
