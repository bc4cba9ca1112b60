"""Debian's Chromium without a screen, and a look at the live page with it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

__all__ = ["Page", "browsing"]

_FLAGS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars")


@contextmanager
def browsing(width: int = 1440, height: int = 1360) -> Iterator[Chrome]:
    """Start Chromium with a window of a size, CSS pixels, for the length of a block."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    missing = "chromium is missing: apt-get install chromium chromium-driver"
    assert chromium is not None and driver is not None, missing
    options = ChromeOptions()
    options.binary_location = chromium
    for flag in (*_FLAGS, f"--window-size={width},{height}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = Chrome(options, Service(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


class Page:
    """The live page of a service in a browser."""

    def __init__(self, chrome: Chrome, url: str) -> None:
        self.chrome = chrome
        chrome.get(f"{url}/")

    def prefer(self, scheme: str) -> None:
        """Choose ``light`` or ``dark``."""
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", media)

    def find(self, selector: str) -> WebElement:
        return self.chrome.find_element(By.CSS_SELECTOR, selector)

    def find_all(self, selector: str) -> list[WebElement]:
        return self.chrome.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return self.find(selector).text

    def texts(self, selector: str) -> list[str]:
        """Return the texts of all such elements as they are at one moment."""
        script = "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)"
        return self.run(script, selector)  # type: ignore[no-any-return]

    def run(self, script: str, *arguments: object) -> Any:
        """Run a script in the page and return what it returns."""
        return self.chrome.execute_script(script, *arguments)

    def wait(self, condition: Callable[[], object], seconds: float = 60, what: str = "") -> None:
        """Wait until something is true of the page."""
        WebDriverWait(self.chrome, seconds, 0.1).until(lambda _: condition(), what)

    def console(self) -> list[str]:
        """Return what the browser has complained of since this was last asked."""
        levels = ("WARNING", "SEVERE")
        entries = self.chrome.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in entries if entry["level"] in levels]
