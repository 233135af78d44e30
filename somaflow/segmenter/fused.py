"""Cellpose-SAM for inference on a GPU: the same weights, the same result, a fifth of the time.

Enters: a net of Cellpose-SAM. Leaves: one for inference alone, which shares its weights. Results
agree with the original up to rounding, so on CPUs, where labels must be Cellpose's own, it is not
used. What is done otherwise (segment_anything, image_encoder.py; Cellpose 4.2.1.1, vit.py):

- Attention adds a bias to every pair of tokens, from their distance along Y and along X, and writes
  and reads a matrix of N x N tokens a head several times for it. Here the bias is part of the
  product of queries and keys: a query carries its bias towards each row and each column, a key a 1
  in the place of its own row and column. What is left is plain scaled dot-product attention.
- Convolutions whose stride is their size, before and after the blocks, are products of matrices;
  the last one's weights are the identity and only move numbers.
- Blocks are compiled, where there is a C compiler: it joins what lies between the products.
"""

import importlib.util
import logging
import os
import shutil
from typing import Any

from somaflow.segmenter.crops import CROP_PX

BATCH_SIZE = 32
"""Crops a batch on a GPU; larger ones are hardly faster."""

_LOGGER = logging.getLogger(__name__)


def fuse_net(net: Any) -> Any:
    """A net for inference that shares the weights; of any but Cellpose-SAM, the net itself.

    Args:
        net: with its final weights, on its device; it stays as it is.
    """
    encoder = getattr(net, "encoder", None)
    if not (hasattr(encoder, "blocks") and hasattr(encoder, "neck")):
        return net
    from somaflow.segmenter.fused_net import FusedNet

    return FusedNet(net)


def make_fast(net: Any) -> tuple[Any, str]:
    """The net as it runs fastest on its device, and what keeps it from running faster, if anything.

    On a CPU it is the net itself: its labels are Cellpose's own, bit for bit. On a GPU it has been
    through one batch of `BATCH_SIZE` crops when it comes back: that is when it is compiled.
    """
    if net.device.type != "cuda" or fuse_net(net) is net:
        return net, ""
    return _compile(net)


def _compile(net: Any) -> tuple[Any, str]:
    """Fused and compiled, or, where the compiler fails, fused alone, and a note that says why."""
    fused, lacking = fuse_net(net), why_not_compiled()
    if lacking is None:
        try:
            fused.compile_parts()
            _run_once(fused)
        except Exception as error:  # noqa: BLE001 - compilers fail in many ways, and nothing is lost
            lacking, fused = _first_line(error), fuse_net(net)
    if lacking is None:
        return fused, ""
    note = f"the net is not compiled, so it takes about a third longer: {lacking}"
    _LOGGER.warning("%s", note)
    return fused, note


def _run_once(net: Any) -> None:
    import torch

    shape = BATCH_SIZE, 3, CROP_PX, CROP_PX
    with torch.inference_mode():
        net(torch.zeros(shape, dtype=net.dtype, device=net.device))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def why_not_compiled() -> str | None:
    """What torch's compiler lacks here; None if it lacks nothing."""
    if importlib.util.find_spec("triton") is None:
        return "the package triton is not installed"
    if not any(map(shutil.which, filter(None, (os.environ.get("CC"), "cc", "gcc", "clang")))):
        return "there is no C compiler (install gcc)"
    return None
