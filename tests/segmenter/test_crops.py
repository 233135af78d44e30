"""Crops and their average are those of Cellpose's ``run_net``, bit for bit."""

import numpy as np
import pytest
import torch
from cellpose import core

from somaflow.segmenter.crops import average_crops, cut_crops, plan_crops


class Echo(torch.nn.Module):
    """Says of each pixel what it sees, times where it lies in the crop."""

    device, dtype = torch.device("cpu"), torch.float32

    def forward(self, images):
        ramp = torch.linspace(0.3, 1.7, images.shape[-1])
        return images * ramp, torch.zeros(len(images), 256)


@pytest.mark.parametrize(
    "shape", [(16, 16), (40, 300), (255, 257), (256, 256), (300, 700), (520, 694), (1040, 1388)]
)
def test_average_of_crops_equals_cellpose_bit_for_bit(shape):
    """A net that says of a pixel something else in each crop shows every weight and rounding."""
    planes = np.random.default_rng(5).normal(size=(3, *shape)).astype(np.float32)
    crops, net = plan_crops(*shape), Echo()

    cut = cut_crops(planes, crops)
    said = net(torch.from_numpy(cut))[0].numpy()
    average = average_crops(said, crops, *shape)

    expected, _ = core.run_net(net, np.moveaxis(planes, 0, -1)[np.newaxis], bsize=256)
    np.testing.assert_array_equal(expected[0].transpose(2, 0, 1), average)


def test_full_size_tile_has_35_crops():
    """Of 1040 x 1388 px Cellpose sees 5 x 7 crops of 256 px."""
    assert (35, 2) == plan_crops(1040, 1388).starts.shape
