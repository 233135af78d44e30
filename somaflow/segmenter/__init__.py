"""The one place where tiles meet Cellpose: weights go in, instance labels come out."""

from somaflow.segmenter.model import (
    FETCHED_MODELS,
    MIN_SIDE_PX,
    NORMALISATION,
    Device,
    Segmenter,
    build_tiny_net,
    limit_threads,
    load_segmenter,
    prepare_input,
    weights_sha256,
)

__all__ = [
    "FETCHED_MODELS",
    "MIN_SIDE_PX",
    "NORMALISATION",
    "Device",
    "Segmenter",
    "build_tiny_net",
    "limit_threads",
    "load_segmenter",
    "prepare_input",
    "weights_sha256",
]
