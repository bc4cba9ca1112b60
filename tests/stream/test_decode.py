from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest

from models.errors import ConfigurationError
from stream.alerts import AlertBatch, RefusedReason
from stream.avro.schemas import SchemaStore, SourceError, open_schemas
from stream.decode import Decoder
from stream.sources.memory import message_batch
from tests import reference

Row = dict[str, str]


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder(open_schemas())


def decode(decoder: Decoder, *values: bytes) -> AlertBatch:
    return decoder.decode(message_batch(list(values)))


def good(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["expected"] == "decodes"]


def assert_equal(batch: AlertBatch, row: int, alert: reference.Alert) -> None:
    assert batch.alert_id[row] == alert.alert_id
    assert batch.source_id[row] == alert.source_id
    assert batch.object_id[row].as_py() == alert.object_id
    assert batch.survey[row].as_py() == alert.survey
    assert batch.trigger_mjd[row] == alert.mjd
    assert batch.observation_ms[row] == pytest.approx(alert.unix_ms, rel=1e-15, abs=0.6)
    assert batch.solar_system[row] == alert.solar_system
    curves = batch.curves
    part = slice(curves.splits[row], curves.splits[row + 1])
    mjd, band, flux, flux_err, detected = alert.columns()
    np.testing.assert_array_equal(curves.mjd[part], mjd)
    np.testing.assert_array_equal(curves.band[part], band)
    np.testing.assert_array_equal(curves.flux[part], flux)
    np.testing.assert_array_equal(curves.flux_err[part], flux_err)
    np.testing.assert_array_equal(curves.detected[part], detected)


def test_every_packet_decodes_or_is_refused_as_the_index_says(
    packet: Row, alerts_dir: Path, decoder: Decoder
) -> None:
    value = (alerts_dir / packet["path"]).read_bytes()
    batch = decode(decoder, value)
    if packet["expected"] == "reject":
        assert len(batch) == 0
        assert batch.refused.message == [0]
        assert batch.refused.reason == [RefusedReason(packet["refused_reason"])]
        assert len(batch.refused.error[0].split()) >= 4
        return
    assert len(batch.refused) == 0
    expected = reference.read(value)
    assert len(batch) == len(expected) == int(packet["n_records"])
    for row, alert in enumerate(expected):
        assert_equal(batch, row, alert)
    assert str(batch.alert_id[0]) == packet["alert_id"]
    assert batch.object_id[0].as_py() == packet["object_id"]
    assert batch.trigger_mjd[0] == pytest.approx(float(packet["mjd"]), abs=1e-6)


def test_batch_of_everything_gives_each_message_one_outcome(
    fixture_index: list[Row], alerts_dir: Path, decoder: Decoder
) -> None:
    values = [(alerts_dir / row["path"]).read_bytes() for row in fixture_index]
    batch = decode(decoder, *values)
    decoded, refused = set(batch.message.tolist()), batch.refused.message
    assert decoded.isdisjoint(refused)
    assert sorted([*decoded, *refused]) == list(range(len(values)))
    assert len(batch) == sum(int(row["n_records"]) for row in good(fixture_index))
    assert list(batch.message) == sorted(batch.message)
    alerts = [
        alert
        for row, value in zip(fixture_index, values, strict=True)
        if row["expected"] == "decodes"
        for alert in reference.read(value)
    ]
    for row, alert in enumerate(alerts):
        assert_equal(batch, row, alert)


def test_fixtures_hold_what_the_tests_rely_on(fixture_index: list[Row], alerts_dir: Path) -> None:
    alerts = [
        alert
        for row in good(fixture_index)
        for alert in reference.read((alerts_dir / row["path"]).read_bytes())
    ]
    for survey in ("ztf", "lsst"):
        own = [alert for alert in alerts if alert.survey == survey]
        ranks = {rank for alert in own for rank, _, _ in alert.observations.values()}
        assert ranks >= {0, 1}
        assert any(alert.solar_system for alert in own)
        assert any(flux < 0 for alert in own for _, flux, _ in alert.observations.values())
        assert any(len(alert.observations) > 60 for alert in own)


def test_empty_batch(decoder: Decoder) -> None:
    batch = decode(decoder)
    assert len(batch) == len(batch.curves) == len(batch.refused) == 0
    assert len(batch.object_id) == 0


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", RefusedReason.EMPTY),
        (b"O", RefusedReason.NOT_AVRO),
        (b"Obj", RefusedReason.NOT_AVRO),
        (b"Obj\x01", RefusedReason.CORRUPT_CONTAINER),
        (b"Obj\x02\x00", RefusedReason.NOT_AVRO),
        (b"\x00", RefusedReason.TOO_SHORT),
        (b"\x00\x00\x00\x03", RefusedReason.TOO_SHORT),
        (b"\x00\x00\x00\x03\x84", RefusedReason.CORRUPT_BODY),
        (b"\x00\xff\xff\xff\xff", RefusedReason.UNKNOWN_SCHEMA_ID),
        (b"{}", RefusedReason.NOT_AVRO),
    ],
)
def test_first_bytes(decoder: Decoder, value: bytes, reason: RefusedReason) -> None:
    assert decode(decoder, value).refused.reason == [reason]


def test_refused_message_takes_its_good_records_along(alerts_dir: Path, decoder: Decoder) -> None:
    seven = next(alerts_dir.glob("lsst/10.0/container/*")).read_bytes()
    container = fastavro.reader(io.BytesIO(seven))
    records: list[Any] = list(container)
    records[-1]["diaSource"]["band"] = "x"
    out = io.BytesIO()
    fastavro.writer(out, container.writer_schema, records)
    ztf = next(alerts_dir.glob("ztf/4.02/*")).read_bytes()
    batch = decode(decoder, ztf, out.getvalue(), ztf)
    assert batch.refused.message == [1]
    assert batch.refused.error == ["field diaSource.band is 'x', must be one of u, g, r, i, z, y"]
    assert batch.message.tolist() == [0, 2]
    alone = decode(decoder, ztf, ztf)
    for name in ("splits", "mjd", "band", "flux", "flux_err", "detected"):
        np.testing.assert_array_equal(getattr(batch.curves, name), getattr(alone.curves, name))


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy"])
@pytest.mark.parametrize("sync_interval", [1, 1_000_000])
def test_every_codec_and_any_number_of_blocks(
    alerts_dir: Path, codec: str, sync_interval: int
) -> None:
    seven = next(alerts_dir.glob("lsst/10.0/container/*")).read_bytes()
    container = fastavro.reader(io.BytesIO(seven))
    out = io.BytesIO()
    records: list[Any] = list(container)
    schema = container.writer_schema
    fastavro.writer(out, schema, records, codec=codec, sync_interval=sync_interval)
    decoder = Decoder(open_schemas())
    # Once as a new schema, once as a known one.
    batch = decode(decoder, out.getvalue(), seven, out.getvalue())
    assert not batch.refused.message
    assert batch.message.tolist() == [0] * 7 + [1] * 7 + [2] * 7
    for row, alert in enumerate(reference.read(seven) * 3):
        assert_equal(batch, row, alert)
    assert not decoder.fallbacks


def test_error_text_can_be_sent_whatever_the_message_holds(decoder: Decoder) -> None:
    name = "\\ud800" + "x" * 10_000
    schema = '{"type": "record", "name": "' + name + '", "fields": []}'
    out = io.BytesIO()
    fastavro.schemaless_writer(out, "string", schema)
    batch = decode(decoder, b"Obj\x01\x02\x16avro.schema" + out.getvalue() + b"\0" + b"s" * 16)
    assert batch.refused.reason == [RefusedReason.INVALID_SCHEMA]
    assert 20 < len(batch.refused.error[0].encode("utf-8")) < 1000


def test_only_surveys_that_are_switched_on(fixture_index: list[Row], alerts_dir: Path) -> None:
    decoder = Decoder(open_schemas(), ("ztf",))
    rows = good(fixture_index)
    batch = decode(decoder, *((alerts_dir / row["path"]).read_bytes() for row in rows))
    assert set(batch.survey.to_pylist()) == {"ztf"}
    assert set(batch.refused.reason) == {RefusedReason.UNSUPPORTED_SURVEY}
    assert len(batch.refused) == sum(row["survey"] == "LSST" for row in rows)


def test_unknown_survey_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="known: ztf, lsst"):
        Decoder(surveys=("ztf", "lsts"))


def test_without_a_source_of_schemas_ztf_still_decodes(alerts_dir: Path) -> None:
    ztf = next(alerts_dir.glob("ztf/4.02/*")).read_bytes()
    tiny = (alerts_dir / "made_up/lsst/11.1/confluent/tiny_1101.avro").read_bytes()
    batch = decode(Decoder(), ztf, tiny)
    assert batch.survey.to_pylist() == ["ztf"]
    assert batch.refused.reason == [RefusedReason.UNKNOWN_SCHEMA_ID]
    assert "schema id 1101 is not known" in batch.refused.error[0]
    assert "registry_url or folder" in batch.refused.error[0]


class Silent:
    """A source of schemas that does not answer."""

    def fetch(self, schema_id: int) -> str | None:
        raise SourceError("no answer")

    def describe(self) -> str:
        return "silence"


def test_silent_source_is_no_unknown_id() -> None:
    batch = decode(Decoder(SchemaStore([Silent()])), b"\x00\x00\x00\x00\x01")
    assert batch.refused.reason == [RefusedReason.SCHEMA_UNAVAILABLE]
    assert "schema id 1 cannot be looked up: silence: no answer" in batch.refused.error[0]


def test_counters(alerts_dir: Path) -> None:
    decoder = Decoder(open_schemas())
    ztf = next(alerts_dir.glob("ztf/4.02/*")).read_bytes()
    tiny = (alerts_dir / "made_up/lsst/11.1/confluent/tiny_1101.avro").read_bytes()
    decode(decoder, ztf, ztf, tiny, tiny, tiny, b"\x00\xff\xff\xff\xff")
    assert decoder.schema_cache_misses == 3
    assert decoder.schema_cache_hits == 3
    assert decoder.schema_unknown == 1
