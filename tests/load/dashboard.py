"""How soon the dashboard shows its runs in a real Chromium."""

import shutil
import tempfile
import time
from pathlib import Path

from tests.report.browser import Browser, open_browser

_LIMIT_S = 60.0
_ROWS = """[...document.querySelectorAll('a')].filter(a => /flow-run\\//.test(a.href)).length"""


def time_dashboard(dashboard: str, n_times: int) -> list[float]:
    """Seconds from asking for the page of runs until the first runs are listed; [] without one."""
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))):
        return []
    with tempfile.TemporaryDirectory() as folder, open_browser(Path(folder)) as browser:
        browser.call(
            "Emulation.setDeviceMetricsOverride",
            width=1280, height=900, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        _time_page(browser, f"{dashboard}/runs")  # its scripts are read the first time
        return [_time_page(browser, f"{dashboard}/runs") for _ in range(n_times)]


def _time_page(browser: Browser, url: str) -> float:
    browser.call("Page.navigate", url="about:blank")
    begun = time.monotonic()
    browser.call("Page.navigate", url=url)
    while time.monotonic() - begun < _LIMIT_S:
        if browser.evaluate(_ROWS):
            return time.monotonic() - begun
        time.sleep(0.02)
    raise TimeoutError(f"{url} must list runs within {_LIMIT_S:g} s, it does not")
