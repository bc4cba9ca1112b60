"""Why no connection to the brokers comes about, in words that say what to do."""

from __future__ import annotations

import logging
import re
import time
from contextlib import suppress
from typing import Any, Final

from confluent_kafka import KafkaException, Producer

__all__ = ["advice", "explain"]

_PROBE_S: Final = 3.0
_POLL_S: Final = 0.1
_ADVICE: Final = (
    (
        r"certificate verify failed",
        "the broker's certificate is not one of an authority that is trusted: check "
        "ssl.ca.location in [kafka.client]",
    ),
    (
        r"(?i)authentication (error|fail)|SASL",
        "the broker does not accept who we are: check sasl.mechanism, sasl.username and "
        "sasl.password in [kafka.client]",
    ),
    (
        r"(?i)certificate required|bad certificate|unknown ca|alert number (42|46|48|116)",
        "the broker does not accept our certificate: check ssl.certificate.location and "
        "ssl.key.location in [kafka.client]",
    ),
    (
        r"SSL handshake failed|SSL routines",
        "TLS fails: does the broker speak it at this port? check security.protocol in "
        "[kafka.client]",
    ),
)
_CLOSED: Final = re.compile(r"Disconnected|connection closed|APIVERSION_QUERY")


def explain(config: dict[str, Any]) -> str:
    """Try to connect as a client with this configuration would; return what is in the way."""
    lines = _Lines()
    logger = logging.Logger("librdkafka")
    logger.addHandler(lines)
    probe = {
        key: value
        for key, value in config.items()
        if key.startswith(("bootstrap.", "client.", "security.", "ssl.", "sasl.", "enable.ssl"))
    }
    producer = Producer({**probe, "log.connection.close": True}, logger=logger)
    with suppress(KafkaException):
        producer.list_topics(timeout=_PROBE_S)
    deadline = time.monotonic() + _POLL_S
    while time.monotonic() < deadline:
        producer.poll(_POLL_S / 10)
    return advice(lines.texts, secure="SSL" in str(config.get("security.protocol", "")).upper())


def advice(lines: list[str], *, secure: bool) -> str:
    """Return what log lines of librdkafka mean, and the most telling of them.

    ``secure`` tells whether we speak TLS.
    """
    for pattern, text in _ADVICE:
        for line in lines:
            if re.search(pattern, line):
                return f"{text} ({_short(line)})"
    for line in lines:
        if _CLOSED.search(line):
            text = (
                "the broker closes the connection after TLS began: it may want a certificate of "
                "ours, ssl.certificate.location and ssl.key.location in [kafka.client]"
                if secure
                else "the broker closes the connection: it may want TLS, security.protocol in "
                "[kafka.client]"
            )
            return f"{text} ({_short(line)})"
    nothing = "nothing answers there" + (", or it speaks no TLS: security.protocol" * secure)
    reached = _short(lines[0]) if lines else nothing
    return f"check [kafka] bootstrap_servers ({reached})"


class _Lines(logging.Handler):
    """Keeps the first lines of a log."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.texts) < 50:
            self.texts.append(record.getMessage())


def _short(line: str) -> str:
    """Return a line of librdkafka without the names of its client and threads."""
    return re.sub(r"^.*?\[thrd:[^\]]*\]:\s*", "", line)[:300]
