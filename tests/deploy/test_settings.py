from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from deploy.settings import Settings, load_settings
from models.errors import ConfigurationError

EXAMPLE = Path(__file__).parents[2] / "deploy" / "tinyt2.example.toml"
SECRET = "hunter2"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tinyt2.toml"


def refusal(file: Path, text: str = "", **environ: str) -> str:
    """Return why a configuration is refused."""
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(file, environ)
    assert SECRET not in str(caught.value)
    assert SECRET not in str(caught.value.value)
    return str(caught.value).removeprefix(f"{file}: ")


def test_nothing_given_means_the_defaults() -> None:
    assert load_settings(None, {"PATH": "/bin", "TINYT2_KAFKA": "localhost:9092"}) == Settings()


def test_the_environment_wins_over_the_file(file: Path) -> None:
    file.write_text('[kafka]\ngroup_id = "file"\ntopics = ["a"]\n[http]\nport = 1\n')
    settings = load_settings(file, {"TINYT2__KAFKA__GROUP_ID": "variable"})
    assert settings.kafka.group_id == "variable"
    assert settings.kafka.topics == ["a"]
    assert settings.http.port == 1


@pytest.mark.parametrize(
    ("text", "topics"),
    [
        ("one", ["one"]),
        ("^ztf_.*, lsst-alerts", ["^ztf_.*", "lsst-alerts"]),
        ('["^ztf_[0-9]{8,9}"]', ["^ztf_[0-9]{8,9}"]),
    ],
)
def test_a_list_in_a_variable(text: str, topics: list[str]) -> None:
    assert load_settings(None, {"TINYT2__KAFKA__TOPICS": text}).kafka.topics == topics


def test_numbers_paths_and_choices_in_variables() -> None:
    settings = load_settings(
        None,
        {
            "TINYT2__BATCH__LINGER_MS": "2.5",
            "TINYT2__HTTP__PORT": "0",
            "TINYT2__MODEL__PATH": "other/model.onnx",
            "TINYT2__OUTPUT__FORMAT": "json",
        },
    )
    assert settings.batch.linger_ms == 2.5
    assert settings.http.port == 0
    assert settings.model.path == Path("other/model.onnx")
    assert settings.output.format == "json"


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load_settings(None, {"TINYT2__SCHEMAS__REGISTRY_URL": ""}) == Settings()


def test_librdkafka_properties_keep_their_type_and_their_dots(file: Path) -> None:
    file.write_text(
        "[kafka.client]\n"
        'security.protocol = "SASL_SSL"\n'
        '"sasl.mechanism" = "PLAIN"\n'
        "socket.keepalive.enable = true\n"
        "[kafka.consumer]\n"
        "session.timeout.ms = 6000\n"
    )
    kafka = load_settings(file, {}).kafka
    assert kafka.client == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "socket.keepalive.enable": True,
    }
    assert kafka.consumer == {"session.timeout.ms": 6000}


def test_a_property_in_a_variable_joins_those_of_the_file(file: Path) -> None:
    file.write_text('[kafka.client]\nsasl.username = "me"\nsasl.password = "old"\n')
    # All digits, and still text: the password of somebody.
    settings = load_settings(file, {"TINYT2__KAFKA__CLIENT__SASL_PASSWORD": "0123"})
    assert settings.kafka.client == {"sasl.username": "me", "sasl.password": "0123"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[kafka]\ntopicz = []", "[kafka] topicz: unknown key; did you mean topics?"),
        ("[kafak]\ntopics = []", "[kafak]: unknown section; did you mean kafka?"),
        ("[batch.size]\nx = 1", "[batch] size: unknown key; did you mean linger_ms?"),
        ("port = 1", "port belongs below [http]"),
        ("kafka = 1", "kafka is a section: write [kafka] and its keys below it"),
        ("xyz = 1", "xyz: unknown key, and it stands in no section"),
        ('[kafka]\ntopics = "a"', "[kafka] topics: expected an array, got 'a' (string)"),
        ("[kafka]\ntopics = [1]", "[kafka] topics: expected a string, got 1 (integer)"),
        (
            "[batch]\nmax_messages = true",
            "[batch] max_messages: expected an integer, got True (boolean)",
        ),
        (
            "[batch]\nmax_messages = 0",
            "[batch] max_messages: expected a number greater than 0, got 0 (integer)",
        ),
        (
            "[batch]\nmax_messages = 100_001",
            "[batch] max_messages: expected a number less than or equal to 100000, "
            "got 100001 (integer)",
        ),
        (
            "[batch]\nlinger_ms = 0",
            "[batch] linger_ms: expected a number greater than 0, got 0 (integer)",
        ),
        (
            "[batch]\nlinger_ms = inf",
            "[batch] linger_ms: expected a number less than or equal to 5000, got inf (number)",
        ),
        (
            "[batch]\nlinger_ms = nan",
            "[batch] linger_ms: expected a number less than or equal to 5000, got nan (number)",
        ),
        ('[kafka]\ntopics = ["a", " "]', "[kafka] topics: a topic has an empty name"),
        (
            '[kafka]\ntopics = ["^ztf_("]',
            "[kafka] topics: '^ztf_(' is not a regular expression: missing ), unterminated "
            "subpattern at position 5",
        ),
        (
            "[kafka.client]\nacks = 0",
            "[kafka] client: acks cannot be set here: an answer is delivered when all replicas "
            "have it",
        ),
        (
            "[kafka.producer]\nenable.idempotence = false",
            "[kafka] producer: enable.idempotence cannot be set here: the service writes each "
            "answer once and in order",
        ),
        (
            '[output]\nformat = "xml"',
            "[output] format: expected 'avro', 'json' or 'elasticc', got 'xml' (string)",
        ),
        (
            f'[kafka.client]\nsasl.password = ["{SECRET}"]',
            "[kafka] client.sasl.password: expected a string, a number or true/false, got a "
            "value of type array",
        ),
        (
            f'[kafka]\nclient = "{SECRET}"',
            "[kafka] client: expected a table, got a value of type string",
        ),
        (
            f'[schemas]\nregistry_url = ["https://me:{SECRET}@example.org"]',
            "[schemas] registry_url: expected a string, got a value of type array",
        ),
        (
            '[kafka.consumer]\ngroup.id = "x"',
            "[kafka] consumer: group.id cannot be set here: [kafka] group_id sets it",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_place_and_reason(file: Path, text: str, message: str) -> None:
    assert refusal(file, text) == message


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("TINYT2__KAFKA__TOPICZ", "a", "unknown setting; did you mean TINYT2__KAFKA__TOPICS?"),
        ("TINYT2__KAFAK__TOPICS", "a", "unknown setting; did you mean TINYT2__KAFKA__TOPICS?"),
        ("TINYT2__HTTP__PORT__X", "1", "unknown setting; did you mean TINYT2__HTTP__PORT?"),
        ("TINYT2__HTTP__PORT", "many", "expected an integer, got 'many' (string)"),
        (
            "TINYT2__KAFKA__TOPICS",
            '["a"',
            "expected a JSON array or names separated by commas, got '[\"a\"'",
        ),
        (
            "TINYT2__KAFKA__CLIENT",
            SECRET,
            "this is a table; set its properties, for example "
            "TINYT2__KAFKA__CLIENT__SECURITY_PROTOCOL",
        ),
    ],
)
def test_a_wrong_variable_is_refused_by_name(
    file: Path, name: str, value: str, message: str
) -> None:
    assert refusal(file, "", **{name: value}) == f"environment variable {name}: {message}"


@pytest.mark.parametrize(
    ("topics", "output", "dead_letters", "message"),
    [
        (["a", "b"], "b", "c", "'b' also reads the output topic 'b'"),
        (["a"], "b", "a", "'a' also reads the output topic 'a'"),
        (["^ztf_", "^.*-letters"], "b", "dead-letters", "'^.*-letters' also reads the output"),
        (["a"], "b", "b", "[output] topic and dead_letter_topic are both 'b'"),
    ],
)
def test_output_that_would_be_read_again_is_refused(
    file: Path, topics: list[str], output: str, dead_letters: str, message: str
) -> None:
    text = (
        f"[kafka]\ntopics = {topics}\n"
        f'[output]\ntopic = "{output}"\ndead_letter_topic = "{dead_letters}"\n'
    )
    assert message in refusal(file, text)


def test_output_that_only_looks_like_the_input_is_accepted(file: Path) -> None:
    file.write_text('[kafka]\ntopics = ["tinyt2", "^tinyt2$", ".*"]\n')
    assert load_settings(file, {}).kafka.topics == ["tinyt2", "^tinyt2$", ".*"]


def test_all_wrong_values_are_named_at_once(file: Path) -> None:
    lines = refusal(file, "[http]\nport = 99999\n", TINYT2__MODEL__THREADS="0").splitlines()
    assert len(lines) == 2
    assert "port: expected" in lines[1] or "port: expected" in lines[0]


def test_a_file_that_is_not_toml_is_refused_with_the_line(file: Path) -> None:
    message = refusal(file, f'[kafka.client]\n"sasl.password" = "{SECRET}\n')
    assert "is not valid TOML" in message
    assert "line 2" in message


def test_a_file_that_is_not_text_is_refused(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="not a text file in UTF-8"):
        load_settings(file, {})


def test_a_missing_file_is_refused(file: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read the settings file .*No such file"):
        load_settings(file, {})


def test_secrets_are_in_no_text_of_the_settings() -> None:
    settings = load_settings(
        None,
        {
            "TINYT2__KAFKA__CLIENT__SASL_PASSWORD": SECRET,
            "TINYT2__KAFKA__CONSUMER__SSL_KEY_PASSWORD": SECRET,
            "TINYT2__KAFKA__PRODUCER__SASL_OAUTHBEARER_CONFIG": f"secret={SECRET}",
            "TINYT2__KAFKA__CLIENT__SECURITY_PROTOCOL": "SASL_SSL",
            "TINYT2__SCHEMAS__REGISTRY_URL": f"https://me:{SECRET}@registry.example.org/v1",
        },
    )
    texts = [repr(settings), str(settings), f"{settings.kafka!r}", str(settings.redacted())]
    assert all(SECRET not in text for text in texts)
    redacted = settings.redacted()
    assert redacted["kafka"]["client"] == {
        "sasl.password": "***",
        "security.protocol": "SASL_SSL",
    }
    assert redacted["schemas"]["registry_url"] == "https://***@registry.example.org/v1"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"me:{SECRET}@host:8081", "***@host:8081"),
        (f"https://me:a/{SECRET}@host", "https://***@host"),
        (f"https://me:{SECRET}@a,https://me:{SECRET}@b", "https://***@a,https://***@b"),
    ],
)
def test_odd_registry_urls_are_redacted_too(url: str, shown: str) -> None:
    settings = load_settings(None, {"TINYT2__SCHEMAS__REGISTRY_URL": url})
    assert settings.redacted()["schemas"]["registry_url"] == shown


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().http.port = 1


def keys_of(model: type[BaseModel]) -> dict[tuple[str, str], FieldInfo]:
    """Return (section, key) -> field."""
    return {
        (name, key): field
        for name in model.model_fields
        for key, field in type(getattr(model(), name)).model_fields.items()
    }


def test_the_example_changes_nothing() -> None:
    assert load_settings(EXAMPLE, {}) == Settings()


def test_the_example_has_every_key_with_its_default_and_its_description() -> None:
    text = EXAMPLE.read_text()
    example = tomllib.loads(re.sub(r"(?m)^#(?! )", "", text))
    fields = keys_of(Settings)
    assert {(section, key) for section in example for key in example[section]} == set(fields)
    for (section, key), field in fields.items():
        assert f"# {field.description}\n" in text
        if field.default not in (None, {}):
            assert example[section][key] == field.default


def test_the_example_without_its_marks_is_valid(file: Path) -> None:
    file.write_text(re.sub(r"(?m)^#(?! )", "", EXAMPLE.read_text()))
    assert load_settings(file, {}).kafka.client["security.protocol"] == "SASL_SSL"


def test_exactly_once_needs_a_name_that_stays() -> None:
    environment = {"TINYT2__KAFKA__DELIVERY": "exactly-once"}
    with pytest.raises(ConfigurationError, match="set group_instance_id"):
        load_settings(None, environment)
    for key in ("GROUP_INSTANCE_ID", "TRANSACTIONAL_ID"):
        kafka = load_settings(None, {**environment, f"TINYT2__KAFKA__{key}": "a"}).kafka
        assert kafka.delivery == "exactly-once"
