"""Memory that two processes share: planes of a tile go out, its flows and objects come back.

A slot has no name that could be left behind: the child inherits it open, and it is gone with the
last process that holds it.
"""

import mmap
import os
import tempfile
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BYTES_A_PIXEL = 3 * 4
"""Two planes or flows of float32 in one place, and one of int32."""


class Views(NamedTuple):
    """Arrays that lie in a slot."""

    planes: NDArray[np.float32]
    """(2, Y, X): what the net is to see; afterwards the flows."""
    found: NDArray[np.int32]
    """(Y, X): objects by number."""


class Slot:
    """Shared memory for one tile at a time, of any size; grows with the tiles.

    Args:
        descriptor: of a slot that another process made; None makes a new one.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        """Opens the slot; it holds nothing yet."""
        self.descriptor = _make_file() if descriptor is None else descriptor
        self._memory: mmap.mmap | None = None

    @property
    def size(self) -> int:
        """Bytes that are mapped here."""
        return 0 if self._memory is None else len(self._memory)

    def fits(self, height_px: int, width_px: int) -> bool:
        """Whether a tile of that shape fits what is mapped here."""
        return height_px * width_px * _BYTES_A_PIXEL <= self.size

    def open(self, height_px: int, width_px: int) -> Views:
        """Arrays for a tile of that shape; those of another one must not be used any more.

        Raises:
            OSError: if there is no memory for it.
        """
        n_pixels = height_px * width_px
        if not self.fits(height_px, width_px):
            size = n_pixels * _BYTES_A_PIXEL
            if os.fstat(self.descriptor).st_size < size:
                os.ftruncate(self.descriptor, size)
            # The former map lives as long as arrays in it do.
            self._memory = mmap.mmap(self.descriptor, os.fstat(self.descriptor).st_size)
        assert self._memory is not None
        planes = np.frombuffer(self._memory, np.float32, 2 * n_pixels)
        found = np.frombuffer(self._memory, np.int32, n_pixels, offset=8 * n_pixels)
        shape = height_px, width_px
        return Views(planes.reshape(2, *shape), found.reshape(shape))

    def whole(self) -> NDArray[np.uint8]:
        """All that is mapped here, as bytes."""
        assert self._memory is not None
        return np.frombuffer(self._memory, np.uint8)

    def close(self) -> None:
        """Gives the memory back once no array lies in it."""
        self._memory = None
        os.close(self.descriptor)


def _make_file() -> int:
    if hasattr(os, "memfd_create"):  # Linux
        return os.memfd_create("somaflow-tile")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
