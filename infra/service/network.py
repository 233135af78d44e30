"""Whether somebody answers at an address, or could listen there."""

import errno
import socket
import urllib.error
import urllib.parse
import urllib.request

from infra.service.settings import ServiceSettings
from somaflow.errors import SiteError


def answers(api: str, limit_s: float = 5) -> bool:
    """Whether a Prefect API answers at this URL within the limit (s)."""
    try:
        with urllib.request.urlopen(f"{api}/health", timeout=limit_s) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def check_address(settings: ServiceSettings) -> None:
    """Nothing, if the service can listen where its settings say, and be reached by its name.

    Raises:
        SiteError: if it cannot; with what to do.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise SiteError(
                f"host must be an address or name of this machine, got {settings.host!r} "
                f"({error.strerror})"
            ) from error
        raise SiteError(
            f"port {settings.port} must be free at {settings.host}, it is not ({error.strerror}): "
            "another program listens there; end it, or give another one with --port or `port:` in "
            "service.yaml"
        ) from error
    name = urllib.parse.urlsplit(settings.url).hostname
    try:
        socket.getaddrinfo(name, settings.port)
    except socket.gaierror as error:
        raise SiteError(
            f"the service must be reached by a name that this machine knows, {name!r} is none "
            f"({error.strerror}); set `address:` in service.yaml"
        ) from error
