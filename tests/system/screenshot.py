"""Take the pictures of the live page that the README shows: ``make screenshot``.

The real alerts that come with tinyt2 go through an embedded broker and ``tinyt2 serve`` in
the rhythm of LSST's visits, as in the demonstration, until there are lines to look at.
"""

from __future__ import annotations

import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import Final

from PIL import Image
from selenium.webdriver.common.by import By

from deploy.bench.alerts import messages
from deploy.broker import EmbeddedBroker
from deploy.serving import Serve, ServeTopics, children_end_with_us
from deploy.visits import PacedProducer, visit_releases
from stream.librdkafka import KafkaOptions
from tests.browser import Page, browsing

FOLDER: Final = Path(__file__).parents[2] / "docs"
TOPICS: Final = ServeTopics("alerts", "classifications", "dead-letters")
PER_VISIT: Final = 400
WIDTH, HEIGHT = 1440, 1400
ROW: Final = "//tr[td[3]='ZTF19aazzpje' and td[4]='18']"
"""An SN Ia of 18 observations."""


def main(seconds: float) -> None:
    """Write ``docs/page-light.png`` and ``docs/page-dark.png`` after so many seconds."""
    with (
        children_end_with_us(),
        tempfile.TemporaryDirectory() as folder,
        EmbeddedBroker() as broker,
    ):
        servers = broker.bootstrap_servers
        broker.create_topics((TOPICS.alerts, TOPICS.classifications, TOPICS.dead_letters), 2)
        values = [*messages("lsst"), *messages("ztf")]
        releases = visit_releases(seconds + 60, PER_VISIT)
        producer = PacedProducer(KafkaOptions(servers), TOPICS.alerts, values, releases)
        with Serve(servers, "screenshot", TOPICS, Path(folder) / "serve.log") as service:
            url = service.wait_until_ready()
            producer.start()
            time.sleep(seconds)
            _take(url)


def _take(url: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    with browsing(WIDTH, HEIGHT) as chrome:
        page = Page(chrome, url)
        # The window has a frame even without a screen.
        size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        page.wait(lambda: chrome.find_elements(By.XPATH, ROW), what="the alert to be shown")
        page.run("arguments[0].click()", chrome.find_element(By.XPATH, ROW))
        page.wait(lambda: page.find_all("svg.curve"), what="its light curve")
        page.wait(lambda: page.text("#headline") == "All well")
        for scheme in ("light", "dark"):
            page.prefer(scheme)
            page.run("document.querySelector('.scroll').scrollTop = 0")
            picture = Image.open(BytesIO(chrome.get_screenshot_as_png())).convert("RGB")
            picture.quantize(256).save(FOLDER / f"page-{scheme}.png", optimize=True)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 600.0)
