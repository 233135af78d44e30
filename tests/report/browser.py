"""A real Chromium, driven over its DevTools protocol: what a page asks for, says and measures."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_START_LIMIT_S = 60.0


class Browser:
    """One tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0
        self.requests: list[str] = []
        self.complaints: list[str] = []
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What the browser answers; what it reports meanwhile is kept."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=_START_LIMIT_S))
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            self._keep(message)

    def open(self, path: Path, width_px: int, dark: bool = False) -> None:
        """Opens a file on a screen of this width, without any network, and waits for it."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width_px, height=844, deviceScaleFactor=1, mobile=width_px < 800,
        )  # fmt: skip
        self.call(
            "Network.emulateNetworkConditions",
            offline=True, latency=0, downloadThroughput=0, uploadThroughput=0,
        )  # fmt: skip
        self.call("Page.navigate", url=path.as_uri())
        while self.evaluate("document.readyState") != "complete":
            time.sleep(0.05)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"][
            "value"
        ]

    def _keep(self, message: dict[str, Any]) -> None:
        parameters = message.get("params", {})
        if message["method"] == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif message["method"] == "Log.entryAdded":
            self.complaints.append(parameters["entry"]["text"])
        elif message["method"] in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
            self.complaints.append(json.dumps(parameters))


@contextmanager
def open_browser(folder: Path) -> Iterator[Browser]:
    """A browser with a profile of its own in `folder`; skips the test where there is none.

    In CI, which installs it, that is a failure.
    """
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        if os.environ.get("SOMAFLOW_TEST_CHROMIUM") == "required":
            pytest.fail("the report must be opened in Chromium, none is installed")
        pytest.skip("needs Chromium")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    process = subprocess.Popen(
        [program, *options, f"--user-data-dir={folder}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with connect(_find_tab(folder), max_size=None, proxy=None, ping_interval=None) as socket:
            yield Browser(socket)
    finally:
        process.terminate()
        process.wait()


def _find_tab(folder: Path) -> str:
    """Address of the one tab, as soon as the browser says it."""
    from urllib.request import ProxyHandler, build_opener

    port_file, deadline = folder / "DevToolsActivePort", time.monotonic() + _START_LIMIT_S
    opener = build_opener(ProxyHandler({}))
    while time.monotonic() < deadline:
        time.sleep(0.1)
        if not port_file.exists() or "\n" not in port_file.read_text():
            continue
        port = port_file.read_text().split()[0]
        with opener.open(f"http://127.0.0.1:{port}/json/list") as answer:
            tabs = [tab for tab in json.load(answer) if tab["type"] == "page"]
        if tabs:
            return str(tabs[0]["webSocketDebuggerUrl"])
    raise AssertionError(f"Chromium must open a tab within {_START_LIMIT_S:g} s, it did not")
