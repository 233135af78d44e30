"""The random numbers of one training, apart from those of the process it runs in.

Crops are drawn from a numpy generator, layers that are skipped at random (Cellpose-SAM) from
torch's. The latter has one global state per device, which is swapped in for the moments in which a
net draws; so a notebook's own numbers, and trainings in other threads, are left alone.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

# One for the process, because torch's generators are.
_SWAP_LOCK = threading.Lock()


class TorchDraws:
    """torch's generator state of one training."""

    def __init__(self, seed: int, device: str) -> None:
        """Starts from the seed; `device` is `cpu` or `cuda` (the latter is not proven)."""
        import torch

        self.cpu = torch.Generator().manual_seed(seed).get_state()
        self.cuda = None
        if device == "cuda":
            self.cuda = torch.Generator(device="cuda").manual_seed(seed).get_state()

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Lets torch draw from this state, and gives back its former state at the end."""
        import torch

        with _SWAP_LOCK:
            cpu = torch.get_rng_state()
            cuda = None if self.cuda is None else torch.cuda.get_rng_state()
            torch.set_rng_state(self.cpu)
            if self.cuda is not None:
                torch.cuda.set_rng_state(self.cuda)
            try:
                yield
            finally:
                self.cpu = torch.get_rng_state()
                torch.set_rng_state(cpu)
                if cuda is not None:
                    self.cuda = torch.cuda.get_rng_state()
                    torch.cuda.set_rng_state(cuda)


def encode_draws(rng: np.random.RandomState) -> dict[str, Any]:
    """The generator's state as plain values, with the half of a pair of normal numbers it keeps."""
    _, key, position, has_half, half = rng.get_state(legacy=True)
    return {
        "key": [int(word) for word in key],
        "position": int(position),
        "has_half": int(has_half),
        "half": float(half),
    }


def decode_draws(state: dict[str, Any]) -> np.random.RandomState:
    """The generator that `encode_draws` was given."""
    rng = np.random.RandomState()
    key, half = np.array(state["key"], np.uint32), (state["has_half"], state["half"])
    rng.set_state(("MT19937", key, state["position"], *half))
    return rng
