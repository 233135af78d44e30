"""Random crops: which images an epoch draws, and how each is turned, flipped, resized and cut.

Bit for bit what ``cellpose.transforms.random_rotate_and_resize`` gives (cellpose 4.2.1.1) for the
same random numbers, but drawn from a generator of the training's own, so that trainings beside each
other do not disturb one another, and with fewer copies of the whole image: 2.5 planes on average
instead of 13.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from somaflow.recipes import TrainingSettings
from somaflow.training.examples import N_INPUT_PLANES, Example, balance_markers

if TYPE_CHECKING:
    import torch

N_PLANES = 3
"""Planes of the net's input (DAPI, marker, 0) and of its target (cell, flow Y, flow X)."""


@dataclass(frozen=True)
class View:
    """How one crop is taken; numbers keep the precision that Cellpose computes them in."""

    scale: Any
    angle_deg: np.float32
    is_flipped: bool
    shift_px: list[np.float32]


def seed_draws(seed: int, epoch: int) -> np.random.RandomState:
    """The generator of one epoch; seed 0 gives train_seg's, which depends on the epoch alone."""
    if seed == 0:
        return np.random.RandomState(epoch)
    return np.random.RandomState(np.random.SeedSequence((seed, epoch)).generate_state(4))


def draw_order(
    rng: np.random.RandomState, examples: Sequence[Example], settings: TrainingSettings
) -> list[int]:
    """Indices of the images of one epoch, in order.

    All images once where that is what is asked for, otherwise drawn with replacement; `balanced`
    always draws, which train_seg does not when an epoch has as many draws as images.
    """
    n_images = len(examples)
    n_drawn = settings.images_per_epoch or n_images
    if settings.sampling == "uniform" and n_drawn == n_images:
        return rng.permutation(n_images).tolist()
    if settings.sampling == "uniform":
        shares = np.full(n_images, 1 / n_images)
        shares /= shares.sum()
    else:
        shares = balance_markers(example.marker for example in examples)
    return rng.choice(np.arange(n_images), size=(n_drawn,), p=shares).tolist()


def draw_batch(
    rng: np.random.RandomState,
    examples: Sequence[Example],
    settings: TrainingSettings,
    mean_diameter_px: float,
    device: "torch.device",
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Random crops and their targets, both (B, 3, crop, crop) float32 on the device.

    Args:
        rng: what is drawn from.
        examples: one a crop.
        settings: size, scale range, noise, and whether to resize to the mean diameter.
        mean_diameter_px: the net's own.
        device: where crops are made; CUDA takes the same calls but is not proven.
    """
    import torch

    shape = (len(examples), N_PLANES, settings.crop_px, settings.crop_px)
    images, targets = torch.zeros(shape, device=device), torch.zeros(shape, device=device)
    for index, example in enumerate(examples):
        # float32 without rescaling, as in train_seg: the scale is rounded to it.
        factor = example.diameter_px / mean_diameter_px if settings.rescale else np.float32(1)
        view = draw_view(rng, example.planes.shape[-2:], settings, np.asarray(factor)[()])
        crop = cut_crop(example.planes.to(device), view, settings.crop_px)
        images[index, :N_INPUT_PLANES] = crop[:N_INPUT_PLANES]
        if settings.noise_range > 0:
            _add_noise(rng, images[index, :N_INPUT_PLANES], settings.noise_range)
        targets[index] = turn_flows(crop[N_INPUT_PLANES:], view.angle_deg)
    return images, targets


def _add_noise(rng: np.random.RandomState, planes: "torch.Tensor", noise_range: float) -> None:
    """Adds noise of one random deviation to (P, Y, X) planes in place; empty ones stay empty."""
    import torch

    deviation = noise_range * rng.rand()
    for plane in planes:
        noise = deviation * rng.standard_normal(tuple(plane.shape))
        if plane.any():
            plane += torch.from_numpy(noise).to(plane)


def draw_view(
    rng: np.random.RandomState,
    shape: Sequence[int],
    settings: TrainingSettings,
    rescale: Any,
) -> View:
    """A random view of an image of this (Y, X) shape; `rescale` is a numpy float."""
    height, width = shape
    crop_px, scale_range = settings.crop_px, settings.scale_range
    scale: Any = (1 - scale_range / 2) + scale_range * rng.rand()
    scale *= 1.0 / rescale
    angle = np.float32(360 * rng.rand() - 180)
    room = np.maximum(0, np.array([height * scale - crop_px, width * scale - crop_px]))
    room_px: NDArray[np.float32] = room.astype("float32")
    is_flipped = bool(rng.rand() > 0.5)
    shift_px = room_px * rng.rand(2).astype("float32") - room_px * 0.5
    return View(scale, angle, is_flipped, list(shift_px))


def cut_crop(planes: "torch.Tensor", view: View, crop_px: int) -> "torch.Tensor":
    """(P, crop, crop) float32 from (P, Y, X), interpolated, 0 outside the image.

    Flows still have the directions they had in the (flipped) image.
    """
    import torch
    from cellpose import transforms
    from torch.nn.functional import grid_sample

    height, width = planes.shape[-2:]
    if view.is_flipped:
        planes = planes.flip(-1)
        planes[-1].neg_()
    origin = np.zeros(2, "float32")
    # torchvision's, by the names under which Cellpose uses them.
    matrix = transforms.F._get_inverse_affine_matrix(
        origin, view.angle_deg, view.shift_px, view.scale, origin
    )
    theta = torch.tensor(matrix, device=planes.device).reshape(1, 2, 3)
    grid = transforms.F_t._gen_affine_grid(theta, w=width, h=height, ow=crop_px, oh=crop_px)
    # Fades the outermost half pixel a second time, as torchvision does for its fill colour.
    inside = torch.ones((1, 1, 1, 1), dtype=grid.dtype, device=planes.device)
    inside = inside.expand(1, 1, height, width)
    crop, share = (
        grid_sample(what, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        for what in (planes[None].to(grid.dtype), inside)
    )
    return (crop * share + (1.0 - share) * 0.0)[0].to(planes.dtype)


def turn_flows(targets: "torch.Tensor", angle_deg: np.float32) -> "torch.Tensor":
    """The (3, Y, X) targets in place, their flows turned by the angle of the view."""
    theta = angle_deg * np.pi / 180
    flow_y, flow_x = targets[-2].clone(), targets[-1].clone()
    targets[-2] = -flow_x * np.sin(-theta) + flow_y * np.cos(-theta)
    targets[-1] = flow_x * np.cos(-theta) + flow_y * np.sin(-theta)
    return targets
