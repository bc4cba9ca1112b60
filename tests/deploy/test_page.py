from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from prometheus_client import CollectorRegistry

from deploy.http import HttpServer
from deploy.page import routes
from deploy.page.status import problems
from deploy.page.watch import Watch
from models.lightcurve import BANDS
from stream.accounting import Accounting
from stream.alerts import NotClassifiedReason
from stream.history import Lag, Sample
from stream.metrics import Metrics
from stream.output.outcomes import Outcomes

STATIC = Path(routes.__file__).parent / "static"
WELL = {"model": True, "partitions": True, "output": True}
HOSTILE = "<img src=x onerror='alert(1)'>\"&\u202e\0"


@dataclasses.dataclass
class Seen:
    """A drift that was seen."""

    alerts: int
    features: dict[str, float]
    classes: float


@pytest.fixture
def checks() -> dict[str, bool]:
    return dict(WELL)


@pytest.fixture
def watch(metrics: Metrics, outcomes: Outcomes) -> Watch:
    """What a service would have seen after one batch."""
    accounting = Accounting()
    watch = Watch(accounting, metrics, lambda: outcomes.bundle, 1000)
    accounting.consumed(outcomes.messages)
    accounting.delivered(outcomes)
    watch.record(outcomes)
    watch.history.sample()
    return watch


@pytest.fixture
def client(watch: Watch, checks: dict[str, bool]) -> Iterator[httpx.Client]:
    more = [routes.page_routes(watch, lambda: True, lambda: checks)]
    server = HttpServer("127.0.0.1", 0, CollectorRegistry(), lambda: True, lambda: checks, more)
    server.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client:
        yield client
    server.stop()


def _get(client: httpx.Client, path: str, **params: str) -> Any:
    return client.get(path, params=params).raise_for_status().json()


class Addresses(HTMLParser):
    """Collects what a page asks for, and refuses what the policy would block."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            assert name != "style" and not name.startswith("on"), (tag, name)
            if name in ("src", "href"):
                assert value is not None
                self.found.append(value)


def test_the_page_and_all_it_asks_for_are_files_of_ours(client: httpx.Client) -> None:
    addresses = Addresses()
    addresses.feed(client.get("/").raise_for_status().text)
    scripts = {
        name for f in STATIC.glob("*.js") for name in re.findall(r'"\./(.*?)"', f.read_text())
    }
    wanted = {*addresses.found, *(f"page/{name}" for name in scripts)}
    assert wanted == {f"page/{f.name}" for f in STATIC.iterdir() if f.name != "index.html"}
    for address in wanted:
        answer = client.get(f"/{address}")
        assert answer.status_code == 200
        assert ("javascript" in answer.headers["content-type"]) == address.endswith(".js")
    # Names of XML, not addresses that anybody asks for.
    text = "".join(f.read_text() for f in STATIC.iterdir())
    assert set(re.findall(r"https?://[^\"' )]+", text)) == {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("path", ["/", "/page/live.js", "/api/status", "/api/alerts?limit=x"])
def test_only_files_of_ours_may_run(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    policy = dict(
        rule.strip().split(" ", 1) for rule in headers["content-security-policy"].split(";")
    )
    assert policy.pop("default-src") == "'none'"
    assert set(policy.values()) <= {"'self'", "'none'"}
    assert headers["x-content-type-options"] == "nosniff"


def test_scripts_make_text_of_what_comes_in() -> None:
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\("
    )
    assert not [f.name for f in STATIC.glob("*.js") if forbidden.search(f.read_text())]


def test_every_reason_can_be_asked_for_on_the_page() -> None:
    html = (STATIC / "index.html").read_text()
    assert all(f'value="{reason}"' in html for reason in NotClassifiedReason)


def test_every_band_has_a_colour_and_a_shape() -> None:
    css, script = ((STATIC / name).read_text() for name in ("page.css", "lightcurve.js"))
    for name in {band.name for band in BANDS if band.survey in ("ztf", "lsst")}:
        assert css.count(f" --{name}: #") == 2, "light and dark"
        assert f".band.{name} " in css
        assert re.search(rf"\b{name}: (polygon|star)\(", script)


def test_status_says_how_it_goes(client: httpx.Client, outcomes: Outcomes, watch: Watch) -> None:
    status = _get(client, "/api/status")
    manifest = outcomes.bundle.manifest
    # Many of the packets are damaged on purpose.
    assert status["state"] == "warning"
    assert "dead letters" in status["problems"][0]["what"]
    assert status["checks"] == WELL
    assert status["lag"] == {"seconds": None, "messages": None}
    assert status["model"]["sha256"] == outcomes.bundle.sha256
    assert status["model"]["notice"] == manifest.notice
    assert status["model"]["classes"] == [c.name for c in manifest.classes]
    tonight, history = status["tonight"], status["history"]
    assert tonight["alerts"] == len(outcomes.alerts)
    assert tonight["classes"] == Counter(outcomes.predicted.to_pylist())
    assert tonight["not_classified"] == Counter(r for r in outcomes.reason.to_pylist() if r)
    assert sum(tonight["dead_letters"].values()) == outcomes.n_refused
    assert {len(column) for name, column in history.items() if name != "sample_s"} == {1}
    assert history["dead_letters"] == [outcomes.n_refused]
    assert history["latency_median_s"] == [None]
    assert status["n_kept"] == len(outcomes.alerts)
    assert "drift" not in status


def test_drift_is_there_when_somebody_measures_it(client: httpx.Client, watch: Watch) -> None:
    watch.drift = lambda: Seen(1200, {"colour": 0.3, "age": np.nan}, 0.02)
    expected = {"alerts": 1200, "psi": {"colour": 0.3, "age": None, "classes": 0.02}}
    assert _get(client, "/api/status")["drift"] == expected


def test_a_check_that_fails_is_said(client: httpx.Client, checks: dict[str, bool]) -> None:
    checks["output"] = False
    status = _get(client, "/api/status")
    assert status["state"] == "bad"
    assert status["problems"][0]["severity"] == "bad"
    assert "output" in status["problems"][0]["what"]


def _sample(messages: int = 1000, dead: int = 0, lag_s: float = 0.0) -> Sample:
    letters = Counter({"empty": dead}) if dead else Counter[str]()
    return Sample(0, 10.0, messages, 1000, 0, Counter(), letters, None, Lag(lag_s, 0))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"live": False}, [("bad", "stuck")]),
        ({"checks": {**WELL, "model": False}}, [("bad", "no model")]),
        ({"checks": {**WELL, "partitions": False}}, [("bad", "no partitions")]),
        ({"checks": {**WELL, "registry": False}}, [("bad", "'registry' fails")]),
        ({"lag": Lag(None, None)}, []),
        ({"lag": Lag(59.0, 9), "samples": [_sample(lag_s=900.0)] * 2}, []),
        ({"lag": Lag(61.0, 9), "samples": [_sample(lag_s=90.0)] * 2}, [("warning", "61 s behind")]),
        ({"lag": Lag(1300.0, 9), "samples": [_sample(lag_s=1200.0)] * 2}, [("bad", "1,200 s")]),
        # Once only: the first message after a pause.
        ({"lag": Lag(36_000.0, 1)}, []),
        ({"lag": Lag(36_000.0, 1), "samples": [_sample(), _sample(lag_s=36_000.0)]}, []),
        ({"held_partitions": 2}, [("warning", "2 partitions wait for a schema")]),
        ({"samples": [_sample(dead=10)]}, []),
        ({"samples": [_sample(dead=11)]}, [("warning", "1.1% of the messages")]),
        ({"samples": [_sample(dead=11)] + [_sample()] * 59}, []),
        ({"samples": [_sample(dead=99)] + [_sample()] * 60}, []),
        ({"samples": [_sample(1, dead=1)]}, [("warning", "most of them empty")]),
        (
            {"held_partitions": 1, "checks": {**WELL, "output": False}},
            [("bad", "the output"), ("warning", "schema")],
        ),
    ],
)
def test_what_is_wrong(change: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    well: dict[str, Any] = {
        "live": True,
        "checks": WELL,
        "lag": Lag(0.0, 0),
        "held_partitions": 0,
        "samples": [_sample()],
    }
    found = problems(**{**well, **change})
    assert [severity for severity, _ in found] == [severity for severity, _ in expected]
    for problem, (_, words) in zip(found, expected, strict=True):
        assert words in problem.what


def test_alerts_are_filtered(client: httpx.Client) -> None:
    everything = _get(client, "/api/alerts")["alerts"]
    assert len(_get(client, "/api/alerts", limit="3")["alerts"]) == 3
    chosen = _get(client, "/api/alerts", **{"class": "SNIa", "min_probability": "0.9"})["alerts"]
    assert chosen == [a for a in everything if a["class"] == "SNIa" and a["probability"] > 0.9]
    assert chosen
    moving = _get(client, "/api/alerts", outcome="solar_system")["alerts"]
    assert {a["reason"] for a in moving} == {"solar_system"}


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"class": "Nova"}, r"class must be one of mu-Lens, .*, not 'Nova'"),
        ({"min_probability": "high"}, r"min_probability: .* number.*, got 'high'"),
        ({"min_probability": "1.5"}, r"min_probability: .* 1, got '1.5'"),
        ({"min_probability": "nan"}, r"min_probability: .*, got 'nan'"),
        ({"outcome": "lost"}, r"outcome must be classified, not_classified or one of too_few_"),
        ({"limit": "0"}, r"limit: .* 1, got '0'"),
        ({"limit": "501"}, r"limit: .* 500, got '501'"),
        ({"klass": "SNIa"}, r"unknown parameter 'klass'; known: class, min_probability, outcome"),
    ],
)
def test_a_wrong_question_is_refused(
    client: httpx.Client, params: dict[str, str], error: str
) -> None:
    answer = client.get("/api/alerts", params=params)
    assert answer.status_code == 400
    assert re.search(error, answer.json()["error"]), answer.json()


def test_an_alert_has_its_record_and_its_light_curve(
    client: httpx.Client, outcomes: Outcomes
) -> None:
    curves = outcomes.alerts.curves
    kinds = Counter[str]()
    alerts = _get(client, "/api/alerts", limit="500")["alerts"][::-1]
    records = outcomes.alert_table().to_pylist(maps_as_pydicts="strict")
    for i, (row, record) in enumerate(zip(alerts, records, strict=True)):
        alert = _get(client, f"/api/alerts/{row['key']}")
        for name in ("object_id", "reason", "probabilities", "ood_score", "offset", "topic"):
            assert alert[name] == record[name]
        # Candids have more digits than a number of JavaScript.
        assert alert["alert_id"] == str(record["alert_id"])
        assert alert["model_sha256"] == outcomes.bundle.sha256
        bands = alert["light_curve"]["bands"]
        assert sum(len(band["mjd"]) for band in bands) == curves.n_observations[i]
        kinds.update(kind for band in bands for kind in band["kind"])
        part = slice(curves.splits[i], curves.splits[i + 1])
        for band in bands:
            mine = curves.band[part] == [(b.survey, b.name) for b in BANDS].index(
                (band["survey"], band["band"])
            )
            limit = np.array(band["kind"]) == "limit"
            np.testing.assert_array_equal(band["mjd"], curves.mjd[part][mine])
            np.testing.assert_array_equal(
                np.array(band["flux_njy"])[~limit], curves.flux[part][mine][~limit]
            )
            np.testing.assert_array_equal(
                np.array(band["kind"]) == "detection", curves.detected[part][mine]
            )
            np.testing.assert_allclose(
                np.array(band["flux_njy"])[limit], 5 * np.array(band["flux_err_njy"])[limit]
            )
    assert set(kinds) == {"detection", "forced", "limit"}


@pytest.mark.parametrize("key", ["memory:0:0:0", "x", "%00", "<b>", "a" * 5000])
def test_an_alert_that_is_not_kept_is_not_found(client: httpx.Client, key: str) -> None:
    answer = client.get(f"/api/alerts/{key}")
    assert answer.status_code == 404
    assert "among those kept" in answer.json()["error"]


def test_hostile_names_come_out_as_they_went_in(
    client: httpx.Client, watch: Watch, outcomes: Outcomes
) -> None:
    names = pa.array([HOSTILE] * len(outcomes.alerts), pa.string())
    alerts = dataclasses.replace(outcomes.alerts, object_id=names)
    watch.recent.add(dataclasses.replace(outcomes, alerts=alerts))
    answer = client.get("/api/alerts", params={"limit": "1"})
    assert answer.headers["content-type"] == "application/json"
    (row,) = answer.json()["alerts"]
    assert row["object_id"] == HOSTILE
    assert _get(client, f"/api/alerts/{row['key']}")["object_id"] == HOSTILE


@pytest.mark.parametrize("path", ["/page/../routes.py", "/page/%2e%2e/routes.py", "/page/absent"])
def test_nothing_else_is_served(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("path", ["/", "/api/status", "/api/alerts"])
def test_the_page_only_reads(client: httpx.Client, path: str) -> None:
    assert client.post(path).status_code == 405


def test_a_score_beyond_all_numbers_is_shown_as_unknown(
    client: httpx.Client, watch: Watch, outcomes: Outcomes
) -> None:
    score = np.full_like(outcomes.ood_score, np.inf)
    watch.recent.add(dataclasses.replace(outcomes, ood_score=score))
    newest = _get(client, "/api/alerts", limit="1")["alerts"][0]
    assert _get(client, f"/api/alerts/{newest['key']}")["ood_score"] is None


def test_an_error_beyond_all_numbers_is_shown(
    client: httpx.Client, watch: Watch, outcomes: Outcomes
) -> None:
    curves = outcomes.alerts.curves
    huge = dataclasses.replace(
        curves, flux=np.zeros_like(curves.flux), flux_err=np.full_like(curves.flux_err, 2e38)
    )
    alerts = dataclasses.replace(outcomes.alerts, curves=huge)
    watch.recent.add(dataclasses.replace(outcomes, alerts=alerts))
    kinds: dict[str, set[str]] = {"ztf": set(), "lsst": set()}
    for row in _get(client, "/api/alerts", limit=str(len(alerts)))["alerts"]:
        for band in _get(client, f"/api/alerts/{row['key']}")["light_curve"]["bands"]:
            kinds[band["survey"]] |= set(band["kind"])
    # A flux of nothing is a limit of ZTF; LSST measures it.
    assert kinds == {"ztf": {"detection", "limit"}, "lsst": {"detection", "forced"}}
