"""Where a net runs: the device asked for or an error, never another one in silence.

Enters: one of the words of `Device`. Leaves: `cuda` or `cpu`. Refuses: a GPU that is not there or
does not work. Cellpose itself swallows such errors and goes on on the CPU (4.2.1.1, core.py).
"""

import logging
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from somaflow.errors import DeviceError

Device = Literal["auto", "cuda", "cpu"]

_LOGGER = logging.getLogger(__name__)


def choose_device(device: Device) -> str:
    """The device to use: `cuda` or `cpu`; `auto` is CUDA where it is usable.

    Raises:
        DeviceError: if the device is not there, or not one of the three words.
    """
    if device not in ("auto", "cuda", "cpu"):
        raise DeviceError(f"device must be auto, cuda or cpu, got {device!r}; choose one of them")
    problem = None if device == "cpu" else _probe_cuda()
    if device == "cuda" and problem:
        raise DeviceError(
            f"device cuda must be usable, here {problem}; ask for a GPU, or set device to cpu"
        )
    return "cpu" if device == "cpu" or problem else "cuda"


def limit_threads(n_threads: int) -> None:
    """Lets torch use so many CPU threads; workers that share a machine are fastest with one.

    Raises:
        DeviceError: if `n_threads` is below 1.
    """
    if n_threads < 1:
        raise DeviceError(f"threads must be at least 1, got {n_threads}; give a positive number")
    import torch

    torch.set_num_threads(n_threads)


def pin_memory(memory: NDArray[np.uint8]) -> bool:
    """Keeps memory of this process in place for CUDA, so that copies need no detour and no wait.

    It must be released with `unpin_memory` before it is unmapped: CUDA would go on taking whatever
    is mapped there next for pinned. A device that refuses copies all the same, only slower; the
    log says so.
    """
    import torch

    code = torch.cuda.cudart().cudaHostRegister(memory.ctypes.data, memory.nbytes, 0)
    if int(code) != 0:
        _LOGGER.warning("CUDA does not pin %d MB (error %d)", memory.nbytes >> 20, int(code))
    return int(code) == 0


def unpin_memory(memory: NDArray[np.uint8]) -> None:
    """Releases what `pin_memory` pinned."""
    import torch

    torch.cuda.cudart().cudaHostUnregister(memory.ctypes.data)


def _probe_cuda() -> str | None:
    """Why CUDA cannot be used, or None; a device can be listed and still refuse to work."""
    import torch

    if not torch.cuda.is_available():
        return "torch finds no CUDA device"
    try:
        torch.zeros(1, device="cuda")
    except RuntimeError as error:
        _LOGGER.warning("a CUDA device is listed but does not work: %s", error)
        return f"a CUDA device is listed but does not work ({error})"
    return None
