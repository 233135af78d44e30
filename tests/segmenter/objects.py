"""Label images and predictions with everything that makes threshold checks hard."""

import fastremap
import numpy as np
import torch
from cellpose import dynamics

from somaflow.segmenter import Prediction


def draw_objects(rng, shape, n_objects):
    """(Y, X) uint16 labels in reading order: discs and rings that touch, nest and fall apart."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, dtype=np.uint16)
    for label in range(1, n_objects + 1):
        centre_y, centre_x = rng.uniform(0, shape)
        radius = rng.uniform(2, min(shape) / 4)
        distance = np.hypot((y - centre_y) * rng.uniform(0.7, 1.4), x - centre_x)
        hole = radius * rng.choice([0, 0, 0.5, 0.8])
        labels[(distance <= radius) & (distance >= hole)] = label
    n_stray = int(rng.integers(0, 4))
    strays = rng.integers(0, shape[0], n_stray), rng.integers(0, shape[1], n_stray)
    labels[strays] = rng.integers(0, n_objects + 1, n_stray)
    return fastremap.renumber(labels)[0]


def predict_exactly(labels):
    """What a perfect net says about these objects, numbered 1..N: logits 4 and -2."""
    flows = dynamics.masks_to_flows_gpu(labels.astype(int), torch.device("cpu"))[0] * 5
    cellprob = np.where(labels > 0, 4, -2)
    return Prediction(flows.astype(np.float32), cellprob.astype(np.float32))


def draw_prediction(rng, labels):
    """What a net might say about these objects: their flows, more or less noisy."""
    exact = predict_exactly(labels)
    flows = exact.flows + rng.normal(0, rng.choice([0, 0.3, 1.5, 4]), exact.flows.shape)
    cellprob = exact.cellprob + rng.normal(0, rng.choice([0.1, 2.5]), labels.shape)
    return Prediction(flows.astype(np.float32), cellprob.astype(np.float32))
