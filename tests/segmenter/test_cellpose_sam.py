"""The boundary with Cellpose's real CPSAM class, built around a small image encoder."""

import numpy as np
import pytest
import torch

from somaflow.errors import ModelError
from somaflow.recipes import Recipe
from somaflow.segmenter import load_segmenter, prepare_input
from somaflow.synthetic.nuclei import draw_nuclei
from tests.small_sam import save_small_cpsam


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """Random weights of a small CPSAM that find cells, and the registry that builds it."""
    return save_small_cpsam(tmp_path / "cpsam_small", monkeypatch, out_std=0.3)


@pytest.mark.parametrize("flow_threshold", [0, 2.2])
def test_cellpose_sam_checkpoint_segments_as_cellpose_does(checkpoint, flow_threshold):
    """A CPSAM file is recognised, loaded whole and gives Cellpose's own labels."""
    tile = draw_nuclei(np.random.default_rng(4), (120, 140))[0]
    # Random weights make no flow that the usual 0.4 would let pass.
    recipe = Recipe(flow_threshold=flow_threshold, min_size_px=5)

    segmenter = load_segmenter(checkpoint, device="cpu")
    [labels] = segmenter.segment([tile], recipe)

    saved = torch.load(checkpoint, weights_only=True)
    loaded = segmenter.cellpose_model.net.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in saved.items())
    expected = segmenter.cellpose_model.eval(
        prepare_input(tile), channel_axis=0, flow_threshold=flow_threshold, min_size=5
    )[0]
    np.testing.assert_array_equal(expected, labels)
    assert labels.max() > 0


def test_cellpose_sam_labels_equal_cellpose_own_loading(checkpoint):
    """Labels are those of a CellposeModel that loaded the same file by itself."""
    from cellpose.models import CellposeModel

    tile = draw_nuclei(np.random.default_rng(4), (120, 140))[0]
    theirs = CellposeModel(pretrained_model=str(checkpoint), use_bfloat16=False)

    segmenter = load_segmenter(checkpoint, device="cpu")
    [labels] = segmenter.segment([tile], Recipe(flow_threshold=0))

    expected = theirs.eval(prepare_input(tile), channel_axis=0, flow_threshold=0)[0]
    np.testing.assert_array_equal(expected, labels)
    assert labels.max() > 0


def test_cellpose_sam_runs_in_float32_on_the_cpu(checkpoint):
    """On a CPU the net keeps float32, since bfloat16 is several times slower there."""
    net = load_segmenter(checkpoint, device="cpu").cellpose_model.net

    assert {torch.float32} == {value.dtype for value in net.parameters()}


def test_small_encoder_is_refused_by_the_real_architecture(checkpoint, monkeypatch):
    """Weights of a smaller encoder never end up half-loaded in the full one."""
    monkeypatch.undo()

    with pytest.raises(ModelError, match="of another shape") as caught:
        load_segmenter(checkpoint, device="cpu")

    assert "missing" in str(caught.value)
