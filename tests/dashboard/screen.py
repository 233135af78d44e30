"""One tab on the dashboard: what stands on it is found, pressed and filled in by its words."""

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.report.browser import Browser, open_browser

SIZE_PX = (1280, 900)
_LIMIT_S = 240.0
_PRESSABLE = "button, a, .p-tab"
# Of a field with this label, whether it may be left empty or not.
_FIELD = """[...document.querySelectorAll('.p-label')].filter(e => e.querySelector(
'.p-label__label')?.innerText.trim().replace(' (Optional)', '') === {label})[0]"""


class Screen:
    """A tab; every look waits until what is looked for is there, for the dashboard loads late."""

    def __init__(self, browser: Browser, address: str) -> None:
        """Shows nothing yet.

        Args:
            browser: its tab.
            address: of the dashboard.
        """
        self.browser, self._address = browser, address
        width_px, height_px = SIZE_PX
        browser.call(
            "Emulation.setDeviceMetricsOverride",
            width=width_px, height=height_px, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        calm = {"name": "prefers-reduced-motion", "value": "reduce"}
        browser.call("Emulation.setEmulatedMedia", features=[calm])

    def open(self, path: str) -> None:
        """Opens a page of the dashboard, anew even if it is that one."""
        self.browser.call("Page.navigate", url="about:blank")
        self.find("location.href === 'about:blank'")
        self.browser.call("Page.navigate", url=self._address + path.removeprefix(self._address))

    def find(self, expression: str, limit_s: float = _LIMIT_S) -> Any:
        """The value of a JavaScript expression, as soon as it is neither false nor empty."""
        deadline = time.monotonic() + limit_s
        # An error is as good as «not there yet»: parts of the page come one after the other.
        guarded = (
            f"(() => {{ try {{ return {expression} || null }} catch (e) {{ return null }} }})()"
        )
        while (found := self.browser.evaluate(guarded)) in (None, []):
            assert time.monotonic() < deadline, f"{expression} must be there, on {self.text()}"
            time.sleep(0.2)
        return found

    def text(self) -> str:
        """All words on the page."""
        return str(self.browser.evaluate("document.body?.innerText ?? ''"))

    def await_words(self, words: str) -> None:
        """Waits until these words stand on the page."""
        self.find(f"document.body.innerText.includes({json.dumps(words)})")

    def press(self, words: str) -> None:
        """Presses what has these words: of several, the last, which is that of a dialogue."""
        found = (
            f"[...document.querySelectorAll('{_PRESSABLE}')].filter(e => e.offsetParent && "
            f"!e.disabled && e.innerText.trim() === {json.dumps(words)}).at(-1)"
        )
        # Not by the mouse, which would miss: the page moves as its parts come.
        self.find(f"({found}.click(), true)")
        time.sleep(0.5)

    def follow(self, words: str, part: str) -> None:
        """Opens the page of the first link that has these words in it and this in its address."""
        is_it = f"a.innerText.includes({json.dumps(words)}) && a.href.includes({json.dumps(part)})"
        self.open(str(self.find(f"[...document.links].find(a => {is_it}).href")))

    def fill(self, label: str, text: str) -> None:
        """Types into the field of this label, in place of what stands there."""
        field = f"{_FIELD.format(label=json.dumps(label))}.querySelector('input, textarea')"
        self.find(
            f"({field}.scrollIntoView({{block: 'center'}}), {field}.focus(), "
            f"{field}.select(), true)"
        )
        self.browser.call("Input.insertText", text=text)
        self.find(f"{field}.value === {json.dumps(text)}")
        # A number counts when its field is left, and a moment later.
        self.browser.evaluate("document.activeElement.blur() ?? 1")
        time.sleep(1)

    def help_of(self, label: str) -> str:
        """The help of the field of this label."""
        return str(
            self.find(
                f"{_FIELD.format(label=json.dumps(label))}"
                ".querySelector('.p-label__description').innerText.trim()"
            )
        )

    def choices_of(self, label: str) -> list[str]:
        """What the field of this label may be chosen from."""
        field = _FIELD.format(label=json.dumps(label))
        return list(self.find(f"[...{field}.querySelectorAll('option')].map(e => e.innerText)"))

    def show(self, expression: str) -> None:
        """Moves the page so that this element is in its middle."""
        self.find(f"({expression}.scrollIntoView({{block: 'center'}}), true)")

    def take_picture(self) -> bytes:
        """What is seen, as a PNG, when it has come to rest."""
        time.sleep(5)
        return base64.b64decode(self.browser.call("Page.captureScreenshot", format="png")["data"])


@contextmanager
def open_screen(profile: Path, address: str) -> Iterator[Screen]:
    """A browser of its own with the dashboard; skips the test where there is none."""
    with open_browser(profile) as browser:
        yield Screen(browser, address)
