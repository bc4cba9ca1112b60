from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from deploy import secrets, workers
from deploy.logs import configure_logs
from deploy.secrets import hide, is_secret, read_secret, scrubbed, with_files
from deploy.serving import Serve, ServeTopics
from deploy.settings import load_settings
from models.errors import ConfigurationError
from stream.librdkafka import KafkaOptions, open_producer
from tests.brokers import Broker, fresh_name

PLANTED = {
    "sasl.password": "planted-one-8317",
    "key password": "planted-two-5520",
    "registry password": "planted-three-9044",
}
USER = "planted-user-1177"


@pytest.fixture(autouse=True)
def _nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_hidden", set())


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("sasl.password", True),
        ("ssl.key.password", True),
        ("ssl.key.pem", True),
        ("sasl.oauthbearer.client.secret", True),
        ("registry_password", True),
        ("ssl.key.location", False),
        ("ssl.ca.location", False),
        ("registry_key", False),
        ("security.protocol", False),
    ],
)
def test_which_names_are_secret(name: str, secret: bool) -> None:
    assert is_secret(name) is secret


def test_a_secret_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("hunter two\n")
    for key in ("sasl.password_file", "sasl.password.file"):
        assert with_files({key: str(file), "a": 1}, "[x]") == {
            "a": 1,
            "sasl.password": "hunter two",
        }
    settings = load_settings(None, {"TINYT2__KAFKA__CLIENT__SASL_PASSWORD_FILE": str(file)})
    assert settings.kafka.client == {"sasl.password": "hunter two"}
    assert "hunter" not in str(settings.redacted())


def test_passwords_of_urls_are_secrets() -> None:
    url = "https://me:hunt%40r2@a, http://you:pass/word@b:8081,c:8081"
    settings = load_settings(None, {"TINYT2__SCHEMAS__REGISTRY_URL": url})
    assert {"hunt%40r2", "hunt@r2", "pass/word"} <= set(settings.secrets())
    assert not {"me", "you", "c"} & set(settings.secrets())


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * 70_000])
def test_a_file_that_holds_no_secret(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"\[kafka\.client\] sasl\.password_file: .*passw"):
        read_secret(file, "[kafka.client] sasl.password_file")


def test_mistakes_name_the_setting_and_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"sasl\.password_file: cannot read .*absent"):
        with_files({"sasl.password_file": str(tmp_path / "absent")}, "[kafka.client]")
    with pytest.raises(ConfigurationError, match="not both"):
        with_files({"sasl.password_file": "x", "sasl.password": "y"}, "[kafka.client]")


def test_scrubbed_inside_of_everything() -> None:
    hide(["hunter2", "hunter2-longer", None, "abc"])
    assert scrubbed("a hunter2-longer b hunter2") == "a *** b ***"
    assert scrubbed({"a": ["x hunter2", {"b": ("hunter2", 1, None)}]}) == {
        "a": ["x ***", {"b": ["***", 1, None]}]
    }
    assert scrubbed(ValueError("hunter2")) == "***"
    assert scrubbed("abc") == "abc", "too short to be told from words"


def test_logs_of_libraries_are_scrubbed(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    hide(["hunter2"])
    try:
        configure_logs("debug", "json")
        logging.getLogger("librdkafka").warning("bad config %s", "sasl=hunter2")
        structlog.get_logger("x").info("event", settings={"deep": {"a": "hunter2"}})
        try:
            raise ValueError("hunter2 in a traceback")
        except ValueError:
            logging.getLogger("other").exception("failed")
    finally:
        structlog.reset_defaults()
        root.handlers[:], level = before
        root.setLevel(level)
    shown = capsys.readouterr().err
    # The traceback has it twice: in the line of the source, and in the message.
    assert shown.count("***") == 4
    assert "hunter2" not in shown


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{free.getsockname()[1]}"


def environment(tmp_path: Path, registry: str) -> dict[str, str]:
    (tmp_path / "password").write_text(PLANTED["sasl.password"])
    return {
        "HOME": str(tmp_path),
        "TINYT2__KAFKA__CLIENT__SASL_USERNAME": USER,
        "TINYT2__KAFKA__CLIENT__SASL_PASSWORD_FILE": str(tmp_path / "password"),
        "TINYT2__KAFKA__CLIENT__SSL_KEY_PASSWORD": PLANTED["key password"],
        "TINYT2__KAFKA__CLIENT__DEBUG": "all",
        "TINYT2__SCHEMAS__REGISTRY_URL": (
            f"http://{USER}:{PLANTED['registry password']}@{registry}"
        ),
        "TINYT2__SCHEMAS__WAIT_S": "1",
        "TINYT2__LOG__LEVEL": "debug",
    }


def test_secrets_are_in_nothing_that_a_service_shows(
    broker: Broker, nobody: str, tmp_path: Path
) -> None:
    """With everything logged, a registry that does not answer, and a message that needs it."""
    from urllib.request import urlopen

    name = fresh_name("secrets")
    topics = ServeTopics(name, f"{name}-out", f"{name}-dead")
    broker.create_topics([topics.alerts, topics.classifications, topics.dead_letters])
    producer = open_producer(KafkaOptions(broker.bootstrap_servers))
    producer.produce(name, b"\0\0\0\x10\x92rubbish")
    assert producer.flush(60) == 0
    log = tmp_path / "log"
    given = environment(tmp_path, nobody)
    with Serve(broker.bootstrap_servers, name, topics, log, given) as service:
        url = service.wait_until_ready()
        metrics = service.wait_for(
            "dead letter", lambda: _dead_letter(url, "schema_unavailable"), 120
        )
        health = urlopen(f"{url}/health/ready", timeout=10).read().decode()
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(60)
    shown = log.read_text() + metrics + health
    assert "sasl.password" in shown, "librdkafka shows its configuration: the test can fail"
    for what, secret in PLANTED.items():
        assert secret not in shown, what


def _dead_letter(url: str, reason: str) -> str | None:
    from urllib.request import urlopen

    text: str = urlopen(f"{url}/metrics", timeout=10).read().decode()
    return text if f'tinyt2_dead_letters_total{{reason="{reason}"}} 1.0' in text else None


def test_a_worker_that_fails_shows_no_secret(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of its settings, in the name of a folder that is not there."""
    secret = PLANTED["sasl.password"]
    settings = load_settings(None, {"TINYT2__KAFKA__CLIENT__SASL_PASSWORD": secret})
    context = multiprocessing.get_context("spawn")
    _, pipe = context.Pipe()
    worker = context.Process(target=workers._work, args=(pipe, settings, tmp_path / secret, 10))
    worker.start()
    worker.join(120)
    assert worker.exitcode == 1
    shown = capfd.readouterr().err
    assert "FileNotFoundError" in shown
    assert secret not in shown


@pytest.mark.parametrize(
    "command",
    [
        ["model", "show"],
        ["model", "show", "--json"],
        ["serve"],
        ["dead-letters", "list", "--reason", "no-such"],
        ["replay", "no-such-file", "--out", "x.jsonl"],
    ],
)
def test_secrets_are_in_no_output_of_commands(
    command: list[str], nobody: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "deploy.cli", *command],
        env={**os.environ, **environment(tmp_path, nobody)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
    )
    for what, secret in PLANTED.items():
        assert secret not in done.stdout + done.stderr, what


@pytest.mark.parametrize("name", ["tls", "mtls", "scram"])
def test_the_examples_are_valid(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[2] / "deploy" / f"{name}.example.toml").read_text()
    for line in text.splitlines():
        if "_file" in line or line.startswith('# "'):
            assert "/run/secrets/" in line
    secret = tmp_path / "kafka-password"
    secret.write_text("hunter2")
    file = tmp_path / "tinyt2.toml"
    file.write_text(text.replace("/run/secrets/kafka-password", str(secret)))
    settings = load_settings(file, {})
    assert "SSL" in str(settings.kafka.client["security.protocol"])
    if name == "scram":
        assert settings.kafka.client["sasl.password"] == "hunter2"
