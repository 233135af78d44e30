"""Trains nets on labelled images with Cellpose's own building blocks."""

from somaflow.training.checkpoint import read_state_stamp
from somaflow.training.health import Health
from somaflow.training.history import read_history
from somaflow.training.record import TrainedModel, is_trained, read_training, recorded_weights
from somaflow.training.stopping import StopRequest, is_training, request_stop, stop_on_signals
from somaflow.training.trainer import train_model, training_key

__all__ = [
    "Health",
    "StopRequest",
    "TrainedModel",
    "is_trained",
    "is_training",
    "read_history",
    "read_state_stamp",
    "read_training",
    "recorded_weights",
    "request_stop",
    "stop_on_signals",
    "train_model",
    "training_key",
]
