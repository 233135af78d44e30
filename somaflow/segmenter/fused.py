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

    On a CPU it is the net itself: its labels are Cellpose's own, bit for bit.
    """
    fused = fuse_net(net) if net.device.type == "cuda" else net
    if fused is net:
        return net, ""
    lacking = why_not_compiled()
    if lacking is None:
        fused.compile_parts()
        return fused, ""
    note = f"the net is not compiled, so it takes about a third longer: {lacking}"
    _LOGGER.warning("%s", note)
    return fused, note


def why_not_compiled() -> str | None:
    """What torch's compiler lacks here; None if it lacks nothing."""
    if importlib.util.find_spec("triton") is None:
        return "the package triton is not installed"
    if not any(map(shutil.which, filter(None, (os.environ.get("CC"), "cc", "gcc", "clang")))):
        return "there is no C compiler (install gcc)"
    return None
