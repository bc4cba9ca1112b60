"""A bare consume loop, the least that any service on Kafka can cost.

A program: ``python -m deploy.bench.consume SERVERS GROUP TOPIC N`` reads N
messages as the service does, with the same settings and batches, looks at their
values and does nothing else. It logs JSON lines.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from typing import Final

from confluent_kafka import Consumer, TopicPartition

from deploy.bench.cluster import GROUP_OPTIONS
from stream.librdkafka import KafkaOptions, open_consumer

__all__ = ["main"]

_BATCH: Final = 512
_LINGER_S: Final = 0.05


def main(servers: str, group: str, topic: str, n: int) -> None:
    """Read n messages, then wait to be killed: the parent wants to look at the process."""
    consumer = open_consumer(KafkaOptions(servers, group, consumer=GROUP_OPTIONS))
    consumer.subscribe([topic], on_assign=_log_assignment)
    read = n_bytes = 0
    first = last = 0.0
    while read < n:
        messages = consumer.consume(_BATCH, _LINGER_S)
        if messages:
            first = first or time.monotonic()
        for message in messages:
            if message.error() is None:
                n_bytes += len(message.value() or b"")
                read += 1
        last = time.monotonic()
    _log("read", seconds=last - first, messages=read, bytes=n_bytes)
    signal.pause()


def _log_assignment(consumer: Consumer, partitions: list[TopicPartition]) -> None:
    _log("partitions assigned", partitions=[str(p.partition) for p in partitions])


def _log(event: str, **values: object) -> None:
    print(json.dumps({"event": event, **values}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
