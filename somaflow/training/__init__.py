"""Trains nets on labelled images with Cellpose's own building blocks."""

from somaflow.training.checkpoint import read_state_stamp
from somaflow.training.health import Health
from somaflow.training.history import read_history
from somaflow.training.record import TrainedModel, is_trained, read_training
from somaflow.training.stopping import StopRequest, request_stop, stop_on_signals
from somaflow.training.trainer import train_model, training_key

__all__ = [
    "Health",
    "StopRequest",
    "TrainedModel",
    "is_trained",
    "read_history",
    "read_state_stamp",
    "read_training",
    "request_stop",
    "stop_on_signals",
    "train_model",
    "training_key",
]
