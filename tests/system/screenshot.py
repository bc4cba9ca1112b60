"""Take the pictures of the live page that the README shows: ``make screenshot``.

The real alerts that come with tinyt2 go through an embedded broker and ``tinyt2 serve`` in
the rhythm of LSST's visits, as in the demonstration, until the page has something to show.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from deploy.broker import EmbeddedBroker
from deploy.demo import SAMPLE_ALERTS
from deploy.serving import Serve, ServeTopics, children_end_with_us
from deploy.visits import PacedProducer, visit_releases
from stream.librdkafka import KafkaOptions
from stream.sources.archive import alert_files
from tests.browser import Page, browsing

FOLDER = Path(__file__).parents[2] / "docs"
TOPICS = ServeTopics("alerts", "classifications", "dead-letters")
OBJECT = "ZTF20aaelulu"
PER_VISIT = 2000


def main(seconds: float) -> None:
    """Write ``docs/page-light.png`` and ``docs/page-dark.png``."""
    values = [p.read_bytes() for p in alert_files(SAMPLE_ALERTS / s for s in ("lsst", "ztf"))]
    with (
        children_end_with_us(),
        tempfile.TemporaryDirectory() as folder,
        EmbeddedBroker() as broker,
    ):
        broker.create_topics((TOPICS.alerts, TOPICS.classifications, TOPICS.dead_letters), 2)
        servers = broker.bootstrap_servers
        releases = visit_releases(seconds + 60, PER_VISIT)
        producer = PacedProducer(KafkaOptions(servers), TOPICS.alerts, values, releases)
        with Serve(servers, "screenshot", TOPICS, Path(folder) / "serve.log") as service:
            url = service.wait_until_ready()
            producer.start()
            time.sleep(seconds)
            _take(url)


def _take(url: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    with browsing() as chrome:
        page = Page(chrome, url)
        row = f"//button[text()='{OBJECT}']"
        page.wait(lambda: chrome.find_elements("xpath", row))
        chrome.find_element("xpath", row).click()
        page.wait(lambda: page.find_all("svg.curve"))
        page.find("h1").click()
        time.sleep(3)
        for scheme in ("light", "dark"):
            page.prefer(scheme)
            time.sleep(0.5)
            chrome.save_screenshot(str(FOLDER / f"page-{scheme}.png"))
        print(*page.console(), sep="\n")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 600.0)
