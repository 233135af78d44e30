"""How soon the dashboard shows its runs in a real Chromium."""

import shutil
import tempfile
import time
from pathlib import Path

from tests.report.browser import Browser, open_browser

_LIMIT_S, _PAUSE_S, _SETTLED_S = 60.0, 0.02, 2.0
_CLICK = "[...document.querySelectorAll('a')].find(a => a.pathname === '{page}').click(); 1"
_ROWS = """[...document.querySelectorAll('a')].filter(a => /flow-run\\//.test(a.href)).length"""


def time_dashboard(dashboard: str, n_times: int) -> dict[str, list[float]]:
    """Seconds until the first runs are listed: of the page asked anew, and by a click within it.

    Nothing without a Chromium. A page asked anew starts the dashboard's own program first.
    """
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))):
        return {}
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,  # it ends slowly
        open_browser(Path(folder)) as browser,
    ):
        browser.call(
            "Emulation.setDeviceMetricsOverride",
            width=1280, height=900, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        _time_page(browser, f"{dashboard}/runs")  # its scripts are read the first time
        return {
            "reload_s": [_time_page(browser, f"{dashboard}/runs") for _ in range(n_times)],
            "click_s": [_time_click(browser) for _ in range(n_times)],
        }


def _time_click(browser: Browser) -> float:
    browser.evaluate(_CLICK.format(page="/deployments"))
    while browser.evaluate(_ROWS):
        time.sleep(_PAUSE_S)
    time.sleep(_SETTLED_S)
    begun = time.monotonic()
    browser.evaluate(_CLICK.format(page="/runs"))
    return _await_rows(browser, begun)


def _time_page(browser: Browser, url: str) -> float:
    browser.call("Page.navigate", url="about:blank")
    begun = time.monotonic()
    browser.call("Page.navigate", url=url)
    return _await_rows(browser, begun)


def _await_rows(browser: Browser, begun: float) -> float:
    while time.monotonic() - begun < _LIMIT_S:
        if browser.evaluate(_ROWS):
            return time.monotonic() - begun
        time.sleep(_PAUSE_S)
    raise TimeoutError(f"runs must be listed within {_LIMIT_S:g} s, they are not")
