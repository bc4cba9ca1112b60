from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.errors import ConfigurationError
from stream.connection import advice
from stream.librdkafka import KafkaOptions, open_producer
from stream.metrics import Metrics
from stream.output.encoders import encode_avro
from stream.output.outcomes import Outcomes
from stream.sinks.kafka import KafkaSink
from stream.sources.kafka import KafkaSource
from stream.sources.topic import TopicReader
from tests.tls import TlsBroker, tls_broker


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsBroker]:
    """A broker that wants a certificate of its clients."""
    with tls_broker(tmp_path_factory.mktemp("tls"), mutual=True) as running:
        yield running


def options(tls: TlsBroker, **client: Any) -> KafkaOptions:
    names = {name.replace("_", "."): str(value) for name, value in client.items()}
    consumer = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
    return KafkaOptions(tls.bootstrap_servers, "tls", client=names, consumer=consumer)


def trusted(tls: TlsBroker) -> KafkaOptions:
    return options(
        tls,
        security_protocol="SSL",
        ssl_ca_location=tls.ca,
        ssl_certificate_location=tls.certificate,
        ssl_key_location=tls.key,
    )


def test_alerts_come_and_go_over_mutual_tls(tls: TlsBroker, outcomes: Outcomes) -> None:
    good = trusted(tls)
    producer = open_producer(good)
    # The embedded broker makes topics that are written to.
    for topic in ("in", "out", "dead"):
        producer.produce(topic, b"rubbish")
    assert producer.flush(60) == 0
    sink = KafkaSink(good, "out", "dead", encode_avro)
    sink.check(30.0)
    sink.write(outcomes)
    assert any(sink.flush(1.0) for _ in range(60))
    source = KafkaSource(good, ["in"], Metrics())
    values: list[bytes] = []
    for _ in range(60):
        batch = source.poll(10, 1.0)
        assert batch is not None
        values += batch.values
        if values:
            break
    source.close()
    assert values == [b"rubbish"]
    with TopicReader(good, "dead") as reader:
        assert len(list(reader)) == 1 + outcomes.n_refused


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("ca", "check ssl.ca.location"),
        ("no certificate", "it may want a certificate of ours, ssl.certificate.location"),
        ("stranger", "certificate"),
        ("plaintext", "it may want TLS, security.protocol"),
    ],
)
def test_what_is_not_trusted_is_refused_with_what_to_do(
    tls: TlsBroker, wrong: str, says: str
) -> None:
    secure: dict[str, Any] = {"security_protocol": "SSL", "ssl_ca_location": tls.ca}
    identity = {"ssl_certificate_location": tls.certificate, "ssl_key_location": tls.key}
    stranger = {"ssl_certificate_location": tls.stranger, "ssl_key_location": tls.stranger_key}
    client: dict[str, dict[str, Any]] = {
        "ca": {**secure, **identity, "ssl_ca_location": tls.other_ca},
        "no certificate": secure,
        "stranger": {**secure, **stranger},
        "plaintext": {},
    }
    sink = KafkaSink(options(tls, **client[wrong]), "out", "dead", encode_avro)
    with pytest.raises(ConfigurationError, match="no Kafka broker answers at") as caught:
        sink.check(3.0)
    assert says in str(caught.value)


def test_tls_where_the_broker_speaks_none(tls: TlsBroker) -> None:
    client = {"security.protocol": "SSL", "ssl.ca.location": str(tls.ca)}
    plain = KafkaOptions(tls.plain_servers, client=client)
    with pytest.raises(ConfigurationError, match=r"security\.protocol|it may want a certificate"):
        KafkaSink(plain, "out", "dead", encode_avro).check(3.0)


def test_a_certificate_file_that_is_missing(tls: TlsBroker, tmp_path: Path) -> None:
    missing = options(tls, security_protocol="SSL", ssl_ca_location=tmp_path / "absent.pem")
    with pytest.raises(ConfigurationError, match=r"ssl\.ca\.location"):
        KafkaSink(missing, "out", "dead", encode_avro)


@pytest.mark.parametrize(
    ("line", "secure", "says"),
    [
        (
            "sasl_ssl://b:9093/bootstrap: SASL authentication error: Authentication failed during "
            "authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512",
            True,
            "check sasl.mechanism, sasl.username and sasl.password",
        ),
        (
            "ssl://b:9093: SSL handshake failed: error:0A000412:SSL routines::sslv3 alert bad "
            "certificate: SSL alert number 42",
            True,
            "does not accept our certificate",
        ),
        ("b:9092: Connect to ipv4#1.2.3.4:9092 failed: refused", False, "bootstrap_servers"),
    ],
)
def test_what_lines_mean(line: str, secure: bool, says: str) -> None:
    """Lines of librdkafka against brokers that the tests cannot start."""
    assert says in advice([f"FAIL [thrd:b]: {line}"], secure=secure)
