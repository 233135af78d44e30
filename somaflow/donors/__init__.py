"""From cells to conclusions: donor tables, and their associations with traits."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from somaflow.donors.associations import associate

__all__ = ["associate"]

_HOMES = {"associate": "somaflow.donors.associations"}


def __getattr__(name: str) -> object:
    """Imports a public name when it is first asked for: scipy and numba take a second."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
