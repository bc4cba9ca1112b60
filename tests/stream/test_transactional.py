from __future__ import annotations

import time

import pytest
from confluent_kafka import KafkaError

from models.errors import DeliveryError, TransactionAbortedError
from stream.librdkafka import KafkaOptions
from stream.output.encoders import encode_json
from stream.output.outcomes import Outcomes
from stream.sinks.transactional import TransactionalKafkaSink
from tests.faults import PRODUCE, MockCluster


@pytest.mark.parametrize("attempt", range(5))
def test_a_fenced_sink_says_so_however_it_learns_of_it(outcomes: Outcomes, attempt: int) -> None:
    # Chance decides whether the fatal error or the reports of records come first.
    with MockCluster() as cluster:
        cluster.create_topics(["out", "dead"])
        options = KafkaOptions(cluster.bootstrap_servers, transactional_id="tinyt2-one")
        sink = TransactionalKafkaSink(options, "out", "dead", encode_json)
        sink.check(30)
        cluster.fail(PRODUCE, [KafkaError.INVALID_PRODUCER_EPOCH] * 4)
        sink.begin()
        sink.write(outcomes)
        deadline = time.monotonic() + 60
        with pytest.raises(DeliveryError, match="another process works as 'tinyt2-one'"):
            try:
                while not (sink.flush(1) and sink.commit(1)):
                    assert time.monotonic() < deadline
            except TransactionAbortedError:
                # Records that were purged may be reported before the reason why.
                while not sink.abort(1):
                    assert time.monotonic() < deadline
        with pytest.raises(DeliveryError, match="another process works as 'tinyt2-one'"):
            sink.flush(1)
        sink.close()
