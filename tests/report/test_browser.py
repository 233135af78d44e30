"""The report in a real Chromium, without a network."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from somaflow.report import write_report
from tests.report.browser import Browser, open_browser
from tests.report.studies import make_study, run_everything


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(run_everything(make_study(tmp_path_factory.mktemp("report"))))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize("width_px", [1280, 390])
def test_report_opens_without_a_network(browser: Browser, report: Path, width_px: int) -> None:
    """Nothing but the file itself and what is inside it is asked for, and nothing is complained."""
    browser.requests.clear()
    browser.open(report, width_px)
    asked = [url for url in browser.requests if not url.startswith("data:")]
    assert [report.as_uri()] == list(dict.fromkeys(asked))
    assert [] == browser.complaints
    loaded = "[...document.images].filter(i => i.complete && i.naturalWidth > 100).length"
    assert 3 == browser.evaluate(loaded)


@pytest.mark.parametrize("width_px", [1280, 768, 390, 320])
def test_report_is_never_wider_than_the_screen(
    browser: Browser, report: Path, width_px: int
) -> None:
    """Wide tables scroll inside themselves; the page does not move sideways."""
    browser.open(report, width_px)
    assert width_px == browser.evaluate("window.innerWidth")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width_px
    wider = (
        "[...document.querySelectorAll('main *, nav *, header *')].filter(e => "
        "!e.closest('.scroll, .frame') && e.getBoundingClientRect().right > innerWidth + 1).length"
    )
    assert 0 == browser.evaluate(wider)


@pytest.mark.parametrize(("width_px", "is_moved"), [(1280, False), (390, True)])
def test_figures_stay_readable_on_a_phone(
    browser: Browser, report: Path, width_px: int, is_moved: bool
) -> None:
    """There a figure is wider than the screen and is moved in its frame, elsewhere it fits."""
    browser.open(report, width_px)
    frames = "[...document.querySelectorAll('.frame')]"
    assert browser.evaluate(f"{frames}.every(e => e.scrollWidth > 700)") is True
    assert is_moved == browser.evaluate(f"{frames}.some(e => e.scrollWidth > e.clientWidth)")
    movable = f"{frames}.every(e => getComputedStyle(e).overflowX === 'auto')"
    assert browser.evaluate(movable) is True


def test_wide_tables_scroll_by_themselves(browser: Browser, report: Path) -> None:
    """On a phone some table is wider than its region, which then scrolls."""
    browser.open(report, 390)
    scrolling = (
        "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth)"
        ".every(e => getComputedStyle(e).overflowX === 'auto')"
    )
    assert browser.evaluate(scrolling) is True
    regions = "[...document.querySelectorAll('.scroll')]"
    assert browser.evaluate(f"{regions}.filter(e => e.scrollWidth > e.clientWidth).length") > 2


def test_dark_scheme_keeps_figures_on_white(browser: Browser, report: Path) -> None:
    """The page turns dark, the ground of the figures does not."""
    ground = "getComputedStyle(document.body).backgroundColor"
    card = "getComputedStyle(document.images[0]).backgroundColor"
    browser.open(report, 1280, dark=True)
    assert "rgb(21, 24, 29)" == browser.evaluate(ground)
    assert "rgb(255, 255, 255)" == browser.evaluate(card)
    browser.open(report, 1280)
    assert "rgb(255, 255, 255)" == browser.evaluate(ground)


def test_skip_link_is_the_first_stop_and_shows(browser: Browser, report: Path) -> None:
    """The first Tab goes to it, and it is on the screen then."""
    browser.open(report, 1280)
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab",
                     windowsVirtualKeyCode=9)  # fmt: skip
    assert "skip" == browser.evaluate("document.activeElement.className")
    assert browser.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
