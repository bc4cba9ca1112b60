"""Our options as librdkafka configuration: the only place that names its keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["KafkaOptions", "admin_config", "consumer_config", "producer_config"]

Client = Mapping[str, str | int | float | bool]

_MAX_MESSAGE_BYTES: Final = 64 * 2**20
_PREFETCH_KBYTES: Final = 65536
_STATISTICS_MS: Final = 1000
_AUTO_COMMIT_MS: Final = 1000
_NEW_TOPIC_MS: Final = 30_000
"""How soon a pattern finds the topic of a new night."""


@dataclass(frozen=True, slots=True)
class KafkaOptions:
    """How to reach a cluster. The mappings go to librdkafka as they are and win."""

    bootstrap_servers: str
    group_id: str = "tinyt2"
    client: Client = field(default_factory=dict, repr=False)
    """Keys for every client: security, timeouts. May hold secrets, so it is not in the repr."""
    consumer: Client = field(default_factory=dict, repr=False)
    producer: Client = field(default_factory=dict, repr=False)


def admin_config(options: KafkaOptions) -> dict[str, Any]:
    """Return the configuration of a client that only asks and administers."""
    return {
        "bootstrap.servers": options.bootstrap_servers,
        "client.id": "tinyt2",
        **options.client,
    }


def consumer_config(
    options: KafkaOptions, on_statistics: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Return the configuration of the input: only offsets that we stored are ever committed."""
    config: dict[str, Any] = {
        **admin_config(options),
        "group.id": options.group_id,
        "auto.offset.reset": "earliest",
        "enable.auto.offset.store": False,
        "enable.auto.commit": True,
        "auto.commit.interval.ms": _AUTO_COMMIT_MS,
        "fetch.wait.max.ms": 10,
        "fetch.message.max.bytes": 8 * 2**20,
        "queued.max.messages.kbytes": _PREFETCH_KBYTES,
        "topic.metadata.refresh.interval.ms": _NEW_TOPIC_MS,
        "partition.assignment.strategy": "cooperative-sticky",
        **options.consumer,
    }
    if on_statistics is not None:
        config |= {"statistics.interval.ms": _STATISTICS_MS, "stats_cb": on_statistics}
    return config


def producer_config(options: KafkaOptions) -> dict[str, Any]:
    """Return the configuration of the output: every record acknowledged by all replicas, in order.

    A record waits for its broker as long as it takes: the input pauses meanwhile.
    """
    return {
        **admin_config(options),
        "acks": "all",
        "enable.idempotence": True,
        "message.timeout.ms": 0,
        "message.max.bytes": _MAX_MESSAGE_BYTES,
        "linger.ms": 5,
        "compression.type": "lz4",
        **options.producer,
    }
