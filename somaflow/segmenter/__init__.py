"""The one place where tiles meet Cellpose: weights go in, instance labels come out."""

from somaflow.segmenter.candidates import Candidates, Prediction
from somaflow.segmenter.device import Device, choose_device, limit_threads
from somaflow.segmenter.fused import make_fast
from somaflow.segmenter.inputs import MIN_SIDE_PX, NORMALISATION, normalise_input, prepare_input
from somaflow.segmenter.model import Segmenter, load_for, load_segmenter, wrap_net
from somaflow.segmenter.nets import Precision, load_net
from somaflow.segmenter.threshold import THRESHOLD, ThresholdSegmenter
from somaflow.segmenter.tiny import build_tiny_net
from somaflow.segmenter.weights import FETCHED_MODELS, weights_sha256

__all__ = [
    "FETCHED_MODELS",
    "MIN_SIDE_PX",
    "NORMALISATION",
    "THRESHOLD",
    "Candidates",
    "Device",
    "Precision",
    "Prediction",
    "Segmenter",
    "ThresholdSegmenter",
    "build_tiny_net",
    "choose_device",
    "limit_threads",
    "load_for",
    "load_net",
    "load_segmenter",
    "make_fast",
    "normalise_input",
    "prepare_input",
    "weights_sha256",
    "wrap_net",
]
