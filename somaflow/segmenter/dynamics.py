"""From flows to objects on any torch device: the steps of ``cellpose.dynamics``, without the host.

Enters: flows and cell probabilities as tensors. Leaves: a number for each pixel, 0 where it belongs
to no object. On a CPU the result is that of ``dynamics.compute_masks`` (Cellpose 4.2.1.1), bit for
bit; on CUDA nothing but the numbers and the flows needs to leave the device.
"""

from typing import TYPE_CHECKING

import numba
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

N_STEPS = 200
"""Steps along the flows of images that are not rescaled (models.py)."""
_ROUND = 12
"""Steps in which circles of 1, 2, 3, 4, 6 and 12 steps close."""
_LOOKS_OF_GPU = 11 * _ROUND, 8 * _ROUND
"""Steps that are left when it is looked for pixels that need not be followed."""
# dynamics.get_masks_torch: pixels of padding; ends a seed has more than, and how far around no
# pixel has more of them; ends a pixel of an object has more than, and how far from its seed it may
# lie; the share of a tile no object may exceed.
_PADDING_PX, _LARGEST_FRACTION = 20, 0.4
_SEED_ENDS, _SEED_REACH_PX, _MEMBER_ENDS, _REACH_PX = 10, 2, 2, 5


def find_objects(
    flows: "torch.Tensor", cellprob: "torch.Tensor", cellprob_threshold: float
) -> "torch.Tensor":
    """(Y, X) int32, a number an object, in no order, 0 for none; `number_objects` orders them.

    Args:
        flows: (2, Y, X) float32 along Y and X, 5 times a unit vector where the net is sure.
        cellprob: (Y, X) float32 logits.
        cellprob_threshold: pixels above it belong to objects.
    """
    import torch

    inside = cellprob > cellprob_threshold
    pixels = inside.flatten().nonzero()[:, 0]
    found = torch.zeros(inside.numel(), dtype=torch.int32, device=inside.device)
    if len(pixels):
        ends = _follow_flows(flows * inside / 5.0, pixels)
        found[pixels] = _gather_ends(ends, *inside.shape)
    return found.view(inside.shape)


def _follow_flows(flows: "torch.Tensor", pixels: "torch.Tensor") -> "torch.Tensor":
    """(2, N) int32: where the flows (2, Y, X) carry each pixel, given by its flat number (N,)."""
    import torch

    height, width = flows.shape[1:]
    # grid_sample has X before Y, and both from -1 to 1.
    last = torch.tensor([width - 1.0, height - 1.0], device=flows.device)
    image = torch.stack([flows[1] * (2.0 / (width - 1)), flows[0] * (2.0 / (height - 1))])[None]
    start = torch.stack([pixels % width, pixels // width], dim=1).float()
    places = ((start / last) * 2 - 1)[None, None]
    ends, moving = torch.empty_like(places[0, 0]), torch.arange(len(pixels), device=flows.device)
    n_left = N_STEPS
    while len(moving):
        n_steps, before = _count_steps(n_left, flows.device.type), None
        for number in range(n_steps):
            if n_steps - number == _ROUND:
                before = places.clone()
            step = torch.grid_sampler_2d(image, places, 0, 0, False)
            # (1, 2, 1, N) to (1, 1, N, 2)
            places += step.permute(0, 2, 3, 1)
            places.clamp_(-1.0, 1.0)
        n_left -= n_steps
        if not n_left:
            break
        if before is not None:
            returned = (places == before).all(dim=-1)[0, 0]
            ends[moving[returned]] = places[0, 0, returned]
            moving, places = moving[~returned], places[:, :, ~returned]
    ends[moving] = places[0, 0]
    return ((ends + 1) * 0.5 * last).flip(1).T.int()


def _count_steps(n_left: int, device: str) -> int:
    """Steps until the next look at which pixels still have to be followed.

    A pixel that is where it was a round ago, to the last bit, goes in circles, and where the
    circle's length divides a round, it will be there again at the end: rounds are counted from the
    last step. Most pixels are in the middle of their cell by then, and circle in its last bits. On
    a GPU each look waits for the device, so there are but two.
    """
    if device == "cpu":
        return n_left % _ROUND or _ROUND
    return n_left - next((look for look in _LOOKS_OF_GPU if look < n_left), 0)


def _gather_ends(ends: "torch.Tensor", height: int, width: int) -> "torch.Tensor":
    """(N,) int32: the object to which each end (2, N) belongs, 0 for none."""
    import torch

    rows = ends[0].clamp(-_PADDING_PX, height - 1) + _PADDING_PX
    columns = ends[1].clamp(-_PADDING_PX, width - 1) + _PADDING_PX
    shape = height + 2 * _PADDING_PX, width + 2 * _PADDING_PX
    flat = rows.long() * shape[1] + columns
    counts = torch.bincount(flat, minlength=shape[0] * shape[1]).int()
    # A seed has more ends than it needs, and no pixel around it has more.
    crowded = (counts > _SEED_ENDS).nonzero()[:, 0]
    around = counts[crowded[:, None] + _window_offsets(_SEED_REACH_PX, shape[1], counts.device)]
    seeds = crowded[around.amax(dim=1) == counts[crowded]] if len(crowded) else crowded
    if not len(seeds):
        return torch.zeros_like(rows)
    # Where windows overlap the seed with most ends wins; in one order on every device.
    seeds = seeds[counts[seeds].argsort()]
    members = _grow_seeds(counts, seeds, shape[1])
    objects = torch.zeros_like(counts)
    number, place = members.nonzero(as_tuple=True)
    offsets = _window_offsets(_REACH_PX, shape[1], counts.device)
    objects.scatter_reduce_(
        0, seeds[number] + offsets[place], (number + 1).int(), reduce="amax", include_self=True
    )
    return objects[flat]


def _grow_seeds(counts: "torch.Tensor", seeds: "torch.Tensor", stride: int) -> "torch.Tensor":
    """(S, 121) bool: which pixels of its window of 11 x 11 each seed reaches over used ones."""
    import torch
    from torch.nn import functional

    side = 2 * _REACH_PX + 1
    offsets = _window_offsets(_REACH_PX, stride, counts.device)
    used = counts[seeds[:, None] + offsets] > _MEMBER_ENDS
    used = used.view(-1, 1, side, side).float()
    reached = torch.zeros_like(used)
    reached[:, :, _REACH_PX, _REACH_PX] = 1
    for _ in range(_REACH_PX):
        reached = functional.max_pool2d(reached, 3, stride=1, padding=1) * used
    return reached.flatten(1) > 0


def _window_offsets(reach_px: int, stride: int, device: "torch.device") -> "torch.Tensor":
    """Flat numbers of a window's pixels, from its middle, in an image of rows of `stride`."""
    import torch

    reach = torch.arange(-reach_px, reach_px + 1, device=device)
    return (reach[:, None] * stride + reach[None, :]).flatten()


def number_objects(found: NDArray[np.int32]) -> NDArray[np.unsignedinteger]:
    """Labels 1..N in order of their first pixel, uint16 where they fit, as Cellpose numbers them.

    Args:
        found: (Y, X) of `find_objects`; objects over 40 % of the tile are left out.
    """
    largest = found.size * _LARGEST_FRACTION
    labels, n_objects = _renumber(found.ravel(), int(found.max()), largest)
    dtype = np.uint16 if n_objects < 2**16 else np.uint32
    return labels.reshape(found.shape).astype(dtype)


@numba.njit(cache=True, nogil=True)
def _renumber(found: np.ndarray, highest: int, largest: float) -> tuple[np.ndarray, int]:
    areas = np.zeros(highest + 1, np.int64)
    for number in found:
        areas[number] += 1
    numbers = np.zeros(highest + 1, np.uint32)
    labels = np.zeros(found.size, np.uint32)
    n_objects = 0
    for place in range(found.size):
        number = found[place]
        if number == 0 or areas[number] > largest:
            continue
        if numbers[number] == 0:
            n_objects += 1
            numbers[number] = n_objects
        labels[place] = numbers[number]
    return labels, n_objects
