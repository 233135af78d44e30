"""Trains nets on labelled images with Cellpose's own building blocks."""

from somaflow.training.tiny import TinySettings, encode_weights, train_tiny

__all__ = ["TinySettings", "encode_weights", "train_tiny"]
