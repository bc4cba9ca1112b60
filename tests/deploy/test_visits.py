from __future__ import annotations

import numpy as np

from deploy.visits import VISIT_S, PacedProducer, Release, visit_releases
from stream.librdkafka import KafkaOptions
from tests.brokers import Broker
from tests.records import read_topic


def test_visits_come_in_the_rhythm_of_the_telescope() -> None:
    releases = visit_releases(3 * VISIT_S, 1000)
    at = np.array([release.at_s for release in releases])
    count = np.array([release.n_messages for release in releases])
    assert (np.diff(at) >= 0).all()
    for visit in range(3):
        during = (at >= visit * VISIT_S) & (at < (visit + 1) * VISIT_S)
        assert count[during].sum() == 1000
        assert np.ptp(at[during]) > 10
    # Between the last detector of a visit and the first of the next there is a gap.
    assert np.diff(at).max() > 10


def test_what_would_come_too_late_is_left_out() -> None:
    releases = visit_releases(10.0, 1000)
    assert all(release.at_s < 10.0 for release in releases)
    assert 100 < sum(release.n_messages for release in releases) < 900


def test_the_producer_counts_what_the_broker_has(broker: Broker) -> None:
    broker.create_topics(["paced"], 1)
    values = [b"a", b"b", b"c"]
    releases = [Release(0.0, 4), Release(0.1, 3)]
    producer = PacedProducer(KafkaOptions(broker.bootstrap_servers), "paced", values, releases)
    producer.start()
    producer.join(timeout=30)
    assert producer.sent == [3, 2, 2]
    got = [message.value() for message in read_topic(broker.bootstrap_servers, "paced")]
    assert got == [b"a", b"b", b"c", b"a", b"b", b"c", b"a"]
