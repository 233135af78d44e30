"""A proxy in front of a real Prefect server, which makes trouble when it is asked to.

It parses the head of a request and no more; every connection carries one request, or a websocket.
"""

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

_CHUNK = 1 << 16
_HEAD_ENDS = b"\r\n\r\n"


@dataclass(frozen=True)
class Trouble:
    """What becomes of requests; without arguments nothing does."""

    delay_s: float = 0.0
    """So much later is each answered."""
    status: int | None = None
    """The answer is this one, and the server hears nothing of it; None = its own."""
    hangs: bool = False
    """A request is taken and never answered, until there is other trouble or none."""
    only: str = ""
    """Regular expression: requests of other lines, such as `POST /api/artifacts/`, are well."""


class Proxy:
    """Listens on loopback; `trouble` may be changed at any moment."""

    def __init__(self, api_url: str) -> None:
        """In front of the API of that URL."""
        there = urlsplit(api_url)
        self._there = (str(there.hostname), int(there.port or 80))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/api"
        self.trouble = Trouble()
        self.n_troubled = 0
        """Requests that were not answered as the server alone would have."""
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        """Takes no more requests."""
        self._listener.close()

    def _listen(self) -> None:
        with suppress(OSError):  # closed
            while True:
                here, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(here,), daemon=True).start()

    def _serve(self, here: socket.socket) -> None:
        with here, suppress(OSError):
            head, rest = _read_head(here)
            trouble = self.trouble
            if not re.search(trouble.only, head.split(b"\r\n")[0].decode()):
                trouble = Trouble()
            self.n_troubled += trouble != Trouble()
            while trouble.hangs and self.trouble is trouble:
                time.sleep(0.1)
            time.sleep(trouble.delay_s)
            if trouble.status is not None:
                _read_body(here, head, rest)
                here.sendall(_answer(trouble.status))
                return
            with socket.create_connection(self._there) as there:
                there.sendall(_for_one_request(head) + rest)
                back = threading.Thread(target=_pipe, args=(there, here), daemon=True)
                back.start()
                _pipe(here, there)
                back.join()


@contextmanager
def proxied(api_url: str) -> Iterator[Proxy]:
    """A proxy in front of that API, without trouble yet."""
    proxy = Proxy(api_url)
    try:
        yield proxy
    finally:
        proxy.close()


def _read_head(connection: socket.socket) -> tuple[bytes, bytes]:
    """The head of a request with its empty line, and what came with it of the body."""
    received = b""
    while _HEAD_ENDS not in received:
        if not (chunk := connection.recv(_CHUNK)):
            raise ConnectionError
        received += chunk
    head, rest = received.split(_HEAD_ENDS, 1)
    return head + _HEAD_ENDS, rest


def _read_body(connection: socket.socket, head: bytes, rest: bytes) -> None:
    """Reads all of a request: who is answered before that sees a broken connection."""
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    missing = int(length[1]) - len(rest) if length else 0
    while missing > 0 and (chunk := connection.recv(_CHUNK)):
        missing -= len(chunk)


def _for_one_request(head: bytes) -> bytes:
    """The head, asking that the connection be closed after the answer, but for a websocket."""
    if re.search(rb"(?i)\r\nupgrade: *websocket", head):
        return head
    head = re.sub(rb"(?i)\r\nconnection: *[^\r]*", b"", head)
    return head.removesuffix(b"\r\n") + b"Connection: close" + _HEAD_ENDS


def _answer(status: int) -> bytes:
    body = b'{"exception_message": "made by the test"}'
    head = f"HTTP/1.1 {status} Trouble\r\nContent-Type: application/json\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _pipe(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(_CHUNK):
            sink.sendall(chunk)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
