"""The live page of a real service in a real browser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from deploy.bench.alerts import messages
from deploy.serving import Serve
from models.bundle import load_bundle
from tests.brokers import Broker
from tests.browser import Page, browsing
from tests.packets import ZTF, container, ztf_record
from tests.streams import Feeder, Stream

pytestmark = pytest.mark.system

HOSTILE = "<img src=x onerror='window.pwned=1'><script>window.pwned=1</script>"
ANSWERED = "#alerts tbody td:first-child"
"""Cells with the time of an answer, newest first."""
ANSWER = "#alerts tbody td:nth-child(5)"
POLLS_S = 3.0
"""Long enough for the page to ask again."""


class Night:
    """A service that reads a stream of real alerts, and a hostile one among them."""

    def __init__(self, stream: Stream, folder: Path) -> None:
        self._stream = stream
        self._folder = folder
        self._service: Serve | None = None
        self.url = ""

    def start(self) -> None:
        """Start the service; again at the same address as before."""
        port = self.url.rpartition(":")[2] or "0"
        log = self._folder / "serve.log"
        self._service = self._stream.serve(log, {"HTTP__PORT": port})
        self.url = self._service.wait_until_ready()

    def stop(self) -> None:
        assert self._service is not None
        with self._service as service:
            service.stop()

    def get(self, path: str) -> Any:
        return httpx.get(f"{self.url}{path}").raise_for_status().json()


@pytest.fixture(scope="module")
def night(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    stream = Stream(broker)
    hostile = container(ZTF, [ztf_record(2**62 + 1, object_id=HOSTILE.encode())])
    values = [*messages("ztf"), *messages("lsst"), hostile]
    night = Night(stream, tmp_path_factory.mktemp("page"))
    with ExitStack() as stack:
        night.start()
        stack.callback(lambda: night.stop())
        # All of them in every portion of a tenth of a second.
        stack.enter_context(Feeder(stream, values, rate=10 * len(values)))
        yield night


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chrome]:
    with browsing() as chrome:
        yield chrome


@pytest.fixture
def page(chrome: Chrome, night: Night) -> Iterator[Page]:
    """The page, showing alerts; at the end, nothing was complained of."""
    page = Page(chrome, night.url)
    page.wait(lambda: len(page.texts(".object")) > 30, what="alerts")
    yield page
    assert page.console() == []


def _open(page: Page, object_id: str) -> None:
    """Click on the newest alert of an object, and wait for it to be shown."""
    # By script: the list moves on.
    page.run(
        "const objects = [...document.querySelectorAll('.object')];"
        "objects.find(b => b.textContent === arguments[0]).click()",
        object_id,
    )
    page.wait(lambda: object_id in "".join(page.texts("#detail h2")), what=object_id)


def test_page_shows_live_data(page: Page, night: Night) -> None:
    assert page.text("#headline") == "All well"
    assert page.chrome.title == "tinyt2"
    bundle = load_bundle()
    assert page.text("#model-name") == f"{bundle.manifest.name} {bundle.manifest.version}"
    assert page.text("#model-sha") == bundle.sha256[:12]
    assert page.text("#model-notice") == bundle.manifest.notice
    assert page.text("#checks").split() == ["✓", "model", "✓", "partitions", "✓", "output"]
    newest = page.texts(ANSWERED)[:1]
    before = page.text("#summary")
    page.wait(lambda: page.texts(ANSWERED)[:1] > newest, what="newer alerts")
    page.wait(lambda: page.text("#summary") != before, what="another summary")
    for chart in ("rate", "lag", "latency"):
        page.wait(lambda c=chart: page.find_all(f"#{c}-chart path.line"), what=chart)  # type: ignore[misc]
    page.wait(lambda: float(page.text("#rate")) > 0)
    assert 0 < float(page.text("#latency")) <= float(page.text("#latency-95"))
    status = night.get("/api/status")
    assert set(page.texts("#classes th")) == set(status["tonight"]["classes"])
    reasons = {name.replace("_", " ") for name in status["tonight"]["not_classified"]}
    assert set(page.texts("#outcomes th")) == {"classified", *reasons}


def test_page_filters_by_class_probability_and_outcome(page: Page) -> None:
    probabilities = "#alerts tbody td:nth-child(6)"
    assert len(set(page.texts(ANSWER))) > 5
    Select(page.find("#class")).select_by_value("SNIa")
    page.wait(lambda: set(page.texts(ANSWER)) == {"SNIa"}, what="only SNIa")
    assert min(map(float, page.texts(probabilities))) < 0.8
    least = page.find("#min-probability")
    least.clear()
    least.send_keys("0.8")
    page.wait(lambda: min(map(float, page.texts(probabilities))) >= 0.8, what="only likely ones")
    assert set(page.texts(ANSWER)) == {"SNIa"}
    least.clear()
    least.send_keys("7")
    page.wait(lambda: "0 to 1" in page.text("#shown"), what="a complaint")
    least.clear()
    Select(page.find("#class")).select_by_value("")
    Select(page.find("#outcome")).select_by_value("solar_system")
    page.wait(lambda: set(page.texts(ANSWER)) == {"solar system"}, what="only moving ones")


def test_page_draws_the_light_curve_of_an_alert(page: Page, night: Night) -> None:
    Select(page.find("#class")).select_by_value("SNIa")
    page.wait(lambda: set(page.texts(ANSWER)) == {"SNIa"})
    _open(page, "ZTF19aazzpje")
    page.wait(lambda: page.find_all("svg.curve"))
    found = night.get("/api/alerts?class=SNIa")["alerts"]
    n = int(page.texts("#detail dd")[2].split()[0])
    key = next(a["key"] for a in found if a["n_observations"] == n)
    bands = night.get(f"/api/alerts/{key}")["light_curve"]["bands"]
    assert {band["band"] for band in bands} == {"g", "r"}
    for band in bands:
        shown = f"svg.curve > g.{band['band']}"
        for kind in ("detection", "limit"):
            # Beside the observations, the legend has one of each band.
            legend = kind == "detection"
            n_shown = len(page.find_all(f"{shown}.{kind}")) - legend
            assert n_shown == band["kind"].count(kind), (band["band"], kind)
        assert len(page.find_all(f"{shown}.detection line")) == band["kind"].count("detection")
    for line in page.find_all("svg.curve > g.detection line"):
        assert float(line.get_attribute("y1") or 0) > float(line.get_attribute("y2") or 0)
    assert any("MJD" in text and "±" in text for text in page.texts("svg.curve title"))
    assert page.texts("#detail .bars th")[0] == "SNIa"
    assert f"sha256 {load_bundle().sha256[:12]}" in page.text("#detail dl")
    assert "offset" in page.text("#detail dl")


def test_page_says_why_an_alert_was_not_classified(page: Page) -> None:
    Select(page.find("#outcome")).select_by_value("too_few_observations")
    page.wait(lambda: set(page.texts(ANSWER)) == {"too few observations"})
    _open(page, page.texts(".object")[0])
    page.wait(lambda: "not classified: too few observations" in page.text("#detail"))
    assert not page.find_all("#detail .bars")
    assert page.find_all("svg.curve g.detection")


def test_page_shows_a_hostile_name_as_text(page: Page) -> None:
    Select(page.find("#outcome")).select_by_value("too_few_observations")
    page.wait(lambda: HOSTILE in page.texts(".object"), what="the hostile alert")
    _open(page, HOSTILE)
    time.sleep(POLLS_S)
    assert page.run("return window.pwned === undefined")
    assert not page.find_all("img")
    assert len(page.find_all("script")) == 1
    # Its id has more digits than a number of JavaScript keeps.
    assert str(2**62 + 1) in page.text("#detail dl")


def test_page_works_from_the_keyboard(page: Page) -> None:
    hold = page.find("#hold")
    hold.send_keys(Keys.SPACE)
    page.wait(lambda: page.text("#shown") == "held")
    before = page.texts("#alerts tbody td")
    hold.send_keys(Keys.TAB, Keys.TAB, Keys.TAB, Keys.TAB)
    # Past the filters, the first alert.
    page.wait(lambda: page.run("return document.activeElement.className") == "object")
    page.chrome.switch_to.active_element.send_keys(Keys.ENTER)
    page.wait(lambda: page.find_all("#detail dl"))
    time.sleep(POLLS_S)
    assert page.texts("#alerts tbody td") == before
    page.chrome.switch_to.active_element.send_keys(Keys.ESCAPE)
    page.wait(lambda: not page.find_all("#detail dl"))
    hold.send_keys(Keys.SPACE)
    page.wait(lambda: page.texts("#alerts tbody td") != before, what="newer alerts")


def test_page_is_light_and_dark(page: Page) -> None:
    seen = set()
    for scheme in ("light", "dark"):
        page.prefer(scheme)
        seen.add(page.run("return getComputedStyle(document.body).backgroundColor"))
    page.prefer("light")
    assert len(seen) == 2


def test_page_rests_while_nobody_sees_it(page: Page) -> None:
    asked = "return performance.getEntriesByType('resource').length"
    seen = page.chrome.current_window_handle
    page.chrome.switch_to.new_window("tab")
    other = page.chrome.current_window_handle
    page.chrome.switch_to.window(seen)
    page.run("Object.defineProperty(document, 'hidden', {get: () => true, configurable: true})")
    page.run("document.dispatchEvent(new Event('visibilitychange'))")
    time.sleep(POLLS_S)
    before = page.run(asked)
    time.sleep(2 * POLLS_S)
    assert page.run(asked) == before
    page.run("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    page.wait(lambda: page.run(asked) > before, what="another look")
    page.chrome.switch_to.window(other)
    page.chrome.close()
    page.chrome.switch_to.window(seen)


def test_page_goes_on_by_itself_after_a_restart(page: Page, night: Night) -> None:
    night.stop()
    page.wait(lambda: page.text("#headline") == "Connection lost")
    assert "does not answer" in page.text("#summary")
    newest = page.texts(ANSWERED)[:1]
    night.start()
    page.wait(lambda: page.text("#headline") == "All well", what="the service again")
    page.wait(lambda: page.texts(ANSWERED)[:1] > newest, what="newer alerts")
    # Of the time without a service the browser itself says that nobody listened.
    complaints = page.console()
    assert complaints
    assert all("ERR_CONNECTION" in text or "ERR_EMPTY" in text for text in complaints), complaints
