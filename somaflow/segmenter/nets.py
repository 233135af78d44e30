"""A net with exactly the weights and on exactly the device asked for."""

from pathlib import Path
from typing import Any, Literal

from somaflow.errors import ModelError
from somaflow.files import hash_file
from somaflow.segmenter.device import Device, choose_device
from somaflow.segmenter.tiny import build_tiny_net
from somaflow.segmenter.upstream import import_cellpose
from somaflow.segmenter.weights import check_weights, find_weights, read_weights

Precision = Literal["auto", "fp32"]


def load_net(
    model: str | Path,
    device: Device = "auto",
    sha256: str | None = None,
    precision: Precision = "auto",
) -> tuple[Any, str, str]:
    """The net, the sha256 of its weights file (hex) and the device it is on (`cuda` or `cpu`).

    Args:
        model: `tiny` (embedded), `cpsam_v2` or `cpsam` (fetched by Cellpose once, then kept in its
            cache folder), or the path of a checkpoint file of either architecture.
        device: `cpu`, `cuda`, or `auto` = CUDA where it is usable.
        sha256: if given, the weights file must have this checksum (hex).
        precision: `auto`: as Cellpose, Cellpose-SAM in bfloat16 on CUDA and all else in float32;
            `fp32`: always float32, for training.

    Raises:
        ModelError: if the weights are not there, not a checkpoint, of another checksum, or differ
            from the architecture in a key or a shape.
        DeviceError: if the device is not there, or not one of the three words.
    """
    chosen = choose_device(device)
    path = find_weights(str(model))
    found_sha256 = hash_file(path)
    if sha256 not in (None, found_sha256):
        raise ModelError(
            f"weights of {model} must have sha256 {sha256}, {path} has {found_sha256}; "
            "give the file that was meant, or the checksum of this one"
        )
    return _read_net(path, chosen, precision), found_sha256, chosen


def _read_net(path: Path, device: str, precision: Precision) -> Any:
    """The net that the file's keys belong to, on the device, every weight from the file."""
    import torch

    _, vit = import_cellpose()
    weights = read_weights(path)
    is_cpsam = any(key.startswith("encoder.") for key in weights)
    # Without memory or random numbers: every parameter comes from the file or loading fails.
    with torch.device("meta"):
        net = vit.CPSAM() if is_cpsam else build_tiny_net()
    check_weights(path, "Cellpose-SAM" if is_cpsam else "tiny", net.state_dict(), weights)
    net.load_state_dict(weights, strict=True, assign=True)
    net.to(torch.device(device))
    if is_cpsam and device == "cuda" and precision == "auto":
        # As Cellpose does; on a CPU bfloat16 is 5-9 x slower than float32 (measured).
        net.dtype = torch.bfloat16
    return net
