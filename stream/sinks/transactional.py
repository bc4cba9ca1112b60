"""Outcomes to Kafka in transactions that also hold the offsets of their messages."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from models.errors import ConfigurationError, DeliveryError, TransactionAbortedError
from stream.blocking import BlockingCalls
from stream.deadletter import DeadLetter
from stream.librdkafka import KafkaOptions, fatal_errors_first
from stream.metrics import Metrics
from stream.output.encoders import Encoder
from stream.sinks.kafka import NO_TOPIC, KafkaSink

__all__ = ["TransactionalKafkaSink"]

log = structlog.get_logger()

_FENCED: Final = (
    KafkaError._FENCED,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
)
_PURGED: Final = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)
_WORTH_ANOTHER_TRY: Final = (KafkaError._MSG_TIMED_OUT, *_PURGED, *NO_TOPIC)


class TransactionalKafkaSink(KafkaSink):
    """A `KafkaSink` whose records become visible together.

    Readers need ``isolation.level=read_committed``, which is librdkafka's default and not that
    of Java. The order is ``begin``, ``write``, ``flush``, ``send_offsets``, ``commit``; ``abort``
    takes the place of what is left as soon as one of them raises `TransactionAbortedError`.
    """

    def __init__(
        self,
        options: KafkaOptions,
        topic: str,
        dead_letter_topic: str,
        encode: Encoder,
        metrics: Metrics | None = None,
    ) -> None:
        super().__init__(options, topic, dead_letter_topic, encode, metrics)
        # The library recommends to let it wait for as long as a transaction may last.
        self._calls = BlockingCalls("transactions")
        # Messages whose dead letters turned out too large in a transaction that was aborted.
        self._too_large: set[tuple[str, int, int]] = set()
        self._spoilt = False

    def check(self, wait_s: float) -> None:
        """Check topics as any sink does, then end what an earlier instance left open.

        From here on that instance is fenced. `ConfigurationError` when no transactions are to
        be had.
        """
        super().check(wait_s)
        try:
            self._producer.init_transactions(wait_s)
        except KafkaException as error:
            raise ConfigurationError(
                f"no transactions as {self._options.transactional_id!r} within {wait_s:g} s: "
                f"exactly once needs brokers and rights for them ({error.args[0].str()})",
                self._options.transactional_id,
            ) from error

    def begin(self) -> None:
        """Begin a transaction."""
        try:
            self._producer.begin_transaction()
        except KafkaException as error:
            raise self._failed(error.args[0]) from error

    def flush(self, wait_s: float) -> bool:
        """Wait at most ``wait_s``; `TransactionAbortedError` when it has to be begun anew."""
        flushed = super().flush(wait_s)
        if self._spoilt:
            raise TransactionAbortedError("a dead letter is too large for its topic")
        return flushed

    def send_offsets(self, offsets: list[TopicPartition], group: object, wait_s: float) -> bool:
        """Add where to go on to the transaction; ask again while it is False."""
        call = partial(self._producer.send_offsets_to_transaction, offsets, group)
        return self._wait("send offsets", call, wait_s)

    def commit(self, wait_s: float) -> bool:
        """Make records and offsets visible; ask again while it is False."""
        committed = self._wait("commit", self._commit, wait_s)
        if committed:
            self._too_large.clear()
        return committed

    def abort(self, wait_s: float) -> bool:
        """Drop the transaction and all that was written; ask again while it is False."""
        aborted = self._wait("abort", self._producer.abort_transaction, wait_s)
        if aborted:
            self._classifications.clear()
            self._dead_letters.clear()
            self._failure = None
            self._spoilt = False
        return aborted

    def close(self) -> None:
        """End the thread."""
        self._calls.close()

    def _commit(self) -> None:
        with self._metrics.stage("commit"):
            self._producer.commit_transaction()

    def _wait(self, what: str, call: Callable[[], object], wait_s: float) -> bool:
        try:
            with fatal_errors_first():
                return self._calls.wait(what, call, wait_s)
        except KafkaException as error:
            if error.args[0].retriable() and not error.args[0].txn_requires_abort():
                return False
            raise self._failed(error.args[0]) from error

    def _failed(self, error: KafkaError) -> DeliveryError:
        if error.fatal() or error.code() in _FENCED:
            return self._stopped(error)
        if error.txn_requires_abort() or error.code() in _WORTH_ANOTHER_TRY:
            return TransactionAbortedError(error.str(), error)
        return super()._failed(error)

    # A record that failed has spoilt its transaction: nothing can be added to it any more.

    def _record_failed(self, error: KafkaError, row: int) -> None:
        self._fail(error)

    def _letter_failed(self, error: KafkaError, letter: DeadLetter) -> None:
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE and not letter.shortened:
            self._too_large.add(letter.origin)
            self._spoilt = True
        else:
            self._fail(error)

    def _fail(self, error: KafkaError) -> None:
        # What was purged only follows from another record's failure, which says why.
        if self._failure is None or error.code() not in _PURGED:
            self._failure = error

    def _add_letter(self, letter: DeadLetter) -> None:
        """Leave out the bytes of what turned out too large."""
        super()._add_letter(
            letter.without_payload() if letter.origin in self._too_large else letter
        )

    def _stopped(self, error: KafkaError) -> DeliveryError:
        name = self._options.transactional_id
        if error.code() in _FENCED:
            return DeliveryError(
                f"another process works as {name!r} and takes over, or a transaction was open for "
                "longer than transaction.timeout.ms: this process stops, nothing of its last batch "
                "was published. Give every process a [kafka] group_instance_id of its own",
                name,
            )
        return DeliveryError(
            f"the producer {name!r} was stopped by Kafka: {error.str()}. Nothing of its last batch "
            "was published; a restart goes on",
            error,
        )
