"""Exactly once: outcomes and offsets in one Kafka transaction per batch."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from models.errors import DeliveryError, TransactionAbortedError
from stream.alerts import MessageBatch
from stream.delivery import Delivery
from stream.output.outcomes import Outcomes
from stream.sinks.transactional import TransactionalKafkaSink
from stream.sources.kafka import KafkaSource

__all__ = ["ExactlyOnce"]

log = structlog.get_logger()

_SLICE_S: Final = 0.5
_PAUSE_S: Final = 0.01
_SETTLE_S: Final = 5.0
_AGAIN_S: Final = 1.0
"""How long to wait before messages of an aborted transaction are read again."""


class ExactlyOnce(Delivery):
    """Publish the outcomes of a batch and commit its messages as one.

    A transaction that fails, or loses a partition of its batch, is aborted: nothing of it
    is seen by readers with ``isolation.level=read_committed``, and its messages are read
    again by whoever owns their partitions. One that another instance fenced stops the process.
    """

    def __init__(
        self,
        source: KafkaSource,
        sink: TransactionalKafkaSink,
        stopping: Callable[[], bool] = lambda: False,
        drain_s: float = 20.0,
    ) -> None:
        super().__init__(source, sink, stopping, drain_s)
        self._kafka = source
        self._transaction = sink
        self._committed = False
        self._commit_error: DeliveryError | None = None

    def deliver(self, outcomes: Outcomes) -> bool:
        """Return True when the outcomes are visible, False when they will be read again."""
        try:
            self._publish(outcomes)
            delivered = True
        except TransactionAbortedError as error:
            log.warning("transaction aborted; its messages are read again", error=str(error))
            self._until(self._transaction.abort, outcomes.messages, _nothing)
            self._kafka.rewind(outcomes.messages)
            self._pause(outcomes.messages)
            delivered = False
        self.blocked = False
        return delivered

    def _publish(self, outcomes: Outcomes) -> None:
        messages = outcomes.messages
        self._committed = False
        self._transaction.begin()
        self._transaction.write(outcomes)
        self._until(partial(self._flush, messages), messages, _nothing)
        self._until(partial(self._send_offsets, messages), messages, _nothing)
        # From here on the transaction cannot be given up: only Kafka knows how it ends.
        self._until(self._commit, messages, self._finish)
        self._kafka.mark_committed(messages)

    def _flush(self, messages: MessageBatch, wait_s: float) -> bool:
        self._check_owned(messages)
        return self._transaction.flush(wait_s)

    def _send_offsets(self, messages: MessageBatch, wait_s: float) -> bool:
        self._check_owned(messages)
        offsets, group = self._kafka.offsets(messages), self._kafka.group_metadata()
        return self._transaction.send_offsets(offsets, group, wait_s)

    def _check_owned(self, messages: MessageBatch) -> None:
        if not self._kafka.holds_all(messages):
            raise TransactionAbortedError("partitions of its messages were taken away")

    def _commit(self, wait_s: float) -> bool:
        if self._commit_error is not None:
            error, self._commit_error = self._commit_error, None
            raise error
        self._committed = self._committed or self._transaction.commit(wait_s)
        return self._committed

    def _finish(self) -> None:
        """Let a commit come to its end before partitions are handed over, if that is soon."""
        end = time.monotonic() + _SETTLE_S
        try:
            while not self._commit(_SLICE_S) and time.monotonic() < end:
                time.sleep(_PAUSE_S)
        except DeliveryError as error:
            # Not in the middle of a rebalance: it is raised by whoever asks next.
            self._commit_error = error

    def _pause(self, messages: MessageBatch) -> None:
        """Wait a little, as a live member of the group: what failed may fail again at once."""
        end = time.monotonic() + _AGAIN_S
        self._until(lambda wait_s: time.monotonic() > end, messages, _nothing)


def _nothing() -> None:
    pass
