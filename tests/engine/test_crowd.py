"""More cells in a tile than anyone will see: counted, checked, measured, none lost."""

import numpy as np
import pytest
import torch

from somaflow.features import measure_cells
from somaflow.segmenter.candidates import Candidates
from somaflow.segmenter.dynamics import find_objects, number_objects

SIDE, PITCH_PX, RADIUS_PX = 224, 13, 5


@pytest.mark.slow
def test_fifty_thousand_cells_in_one_tile_are_all_found():
    """50,176 discs with flows to their middles: as many labels, each of a disc's own size."""
    n_cells, side_px = SIDE**2, SIDE * PITCH_PX
    offset = np.arange(side_px) % PITCH_PX - PITCH_PX // 2
    y, x = np.meshgrid(offset, offset, indexing="ij")
    inside = y**2 + x**2 <= RADIUS_PX**2
    length = np.maximum(np.hypot(y, x), 1e-6)
    flows = np.stack([-y / length, -x / length]).astype(np.float32) * 5 * inside
    # Into the middle and no farther: nearer than a step, flows are as long as what is left.
    flows *= np.minimum(length, 1).astype(np.float32)
    cellprob = np.where(inside, 4, -4).astype(np.float32)

    found = find_objects(torch.from_numpy(flows), torch.from_numpy(cellprob), 0.0).numpy()
    labels = Candidates(number_objects(found), flows).select(0.4, 15)
    assert n_cells == labels.max()
    cells = measure_cells(labels, np.stack([labels, labels]).astype(np.float32))
    assert {int(inside[:PITCH_PX, :PITCH_PX].sum())} == set(cells.area_px)
