"""The examples of deploy/EXTENDING.md run."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest

import stream.surveys
from models.bundle import DEPLOYED_MODEL
from models.lightcurve import BANDS
from stream.decode import Decoder
from stream.sources.memory import message_batch
from tests.deploy.monitoring import DEPLOY

SURVEY, MODEL, OUTPUT = re.findall(
    r"(?ms)^```python\n(.*?)^```$", (DEPLOY / "EXTENDING.md").read_text()
)
SCHEMA = {
    "type": "record",
    "name": "sky",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "object", "type": "string"},
        {"name": "mjd", "type": "double"},
        {
            "name": "history",
            "type": {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "observation",
                    "fields": [
                        {"name": "mjd", "type": "double"},
                        {"name": "filter", "type": "string"},
                        {"name": "flux", "type": "float"},
                        {"name": "fluxErr", "type": "float"},
                    ],
                },
            },
        },
    ],
}


def run(code: str, **replaced: str) -> dict[str, Any]:
    for old, new in replaced.items():
        code = code.replace(old, new)
    names: dict[str, Any] = {}
    exec(compile(code, "EXTENDING.md", "exec"), names)
    return names


def test_a_survey_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream.surveys, "SURVEYS", (*stream.surveys.SURVEYS, run(SURVEY)["Sky"]()))
    history = [
        {"mjd": mjd, "filter": name, "flux": flux, "fluxErr": 10.0}
        for mjd, name, flux in [(60000.0, "g", 100.0), (60001.0, "r", 200.0), (60002.0, "z", 1.0)]
    ]
    alert = {"id": 7, "object": "SKY1", "mjd": 60001.5, "history": history}
    packet = io.BytesIO()
    fastavro.writer(packet, fastavro.parse_schema(SCHEMA), [alert])
    batch = Decoder(surveys=("ztf", "sky")).decode(message_batch([packet.getvalue()]))
    assert batch.refused.error == []
    assert (batch.survey.to_pylist(), batch.object_id.to_pylist()) == (["sky"], ["SKY1"])
    # An unknown filter, later than the trigger as well, is left out.
    assert [BANDS[i].key for i in batch.curves.band] == ["ps1:g", "ps1:r"]
    assert np.array_equal(batch.curves.flux, [100.0, 200.0])


def test_a_model_is_checked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = "runs/mine/model.onnx"
    bundle = run(MODEL, **{path: str(DEPLOYED_MODEL)})["bundle"]
    assert bundle.sha256 in capsys.readouterr().out
    (tmp_path / "model.onnx").write_bytes(DEPLOYED_MODEL.read_bytes())
    with pytest.raises(SystemExit, match=r"this cannot serve: .*card"):
        run(MODEL, **{path: str(tmp_path / "model.onnx")})


def test_an_output_is_written(alerts_dir: Path, tmp_path: Path) -> None:
    made = tmp_path / "supernovae.jsonl"
    alerts = str(alerts_dir / "ztf")
    accounts = run(OUTPUT, **{"tests/data/alerts/ztf": alerts, "supernovae.jsonl": str(made)})[
        "accounts"
    ]
    found = [json.loads(line) for line in made.read_text().splitlines()]
    assert 0 < len(found) < accounts.alerts_classified
    assert all(name.startswith("ZTF") and probability >= 0.3 for name, probability in found)
