"""What `Segmenter.segment` promises about tiles, recipes and labels."""

import subprocess
import sys

import numpy as np
import pytest
from cellpose import models
from hypothesis import given, settings
from hypothesis import strategies as st

from somaflow.errors import DeviceError, ModelError, TileError
from somaflow.gating import gate_labels
from somaflow.recipes import Gate, Recipe
from somaflow.segmenter import (
    build_tiny_net,
    limit_threads,
    load_net,
    load_segmenter,
    normalise_input,
    prepare_input,
    wrap_net,
)

SIZES = [(16, 16), (17, 300), (241, 255), (256, 256), (257, 391)]


def draw_tile(shape=(200, 230), seed=0):
    """A (2, Y, X) float tile in 0..1: discs of 5 to 11 px radius, some also in the marker."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    tile = rng.normal(0.1, 0.02, (2, *shape))
    for _ in range(max(1, shape[0] * shape[1] // 1500)):
        centre_y, centre_x = rng.uniform(0, shape)
        depth = rng.uniform(5, 11) - np.hypot(y - centre_y, x - centre_x)
        disc = (1 + np.tanh(depth)) / 2
        tile[0] = np.maximum(tile[0], rng.uniform(0.5, 0.9) * disc)
        tile[1] = np.maximum(tile[1], rng.choice([0, 0.7]) * disc)
    return tile.clip(0, 1)


def evaluate_directly(segmenter, tile, **arguments):
    """Labels of Cellpose itself, called as a user would."""
    image = np.stack([tile[0], tile[1], np.zeros_like(tile[0])])
    return segmenter.cellpose_model.eval(image, channel_axis=0, **arguments)[0]


@pytest.mark.parametrize("shape", SIZES)
def test_labels_equal_cellpose_at_any_size(tiny, shape):
    """Labels are bit for bit those of CellposeModel.eval, for odd sizes too."""
    tile = draw_tile(shape)

    [labels] = tiny.segment([tile], Recipe(cellprob_threshold=-1))

    assert labels.dtype == np.uint32
    assert labels.shape == shape
    expected = evaluate_directly(tiny, tile, cellprob_threshold=-1)
    np.testing.assert_array_equal(expected, labels)
    assert labels.max() > 0 or min(shape) < 20


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float16", "float32", "float64"])
def test_labels_equal_cellpose_in_any_dtype(tiny, dtype):
    """Labels are those of Cellpose whatever numbers the tile is stored in."""
    tile = (draw_tile() * 255).astype(dtype)

    [labels] = tiny.segment([tile], Recipe())

    assert labels.max() > 0
    np.testing.assert_array_equal(evaluate_directly(tiny, tile), labels)


@settings(max_examples=8, deadline=None)
@given(
    flow_threshold=st.floats(0, 3),
    cellprob_threshold=st.floats(-4, 4),
    min_size_px=st.integers(0, 200),
    seed=st.integers(0, 1000),
)
def test_recipe_thresholds_reach_cellpose(
    tiny, flow_threshold, cellprob_threshold, min_size_px, seed
):
    """Each threshold of a recipe does what Cellpose's argument of that meaning does."""
    tile = draw_tile((96, 112), seed)
    recipe = Recipe(
        flow_threshold=flow_threshold,
        cellprob_threshold=cellprob_threshold,
        min_size_px=min_size_px,
    )

    [labels] = tiny.segment([tile], recipe)

    expected = evaluate_directly(
        tiny,
        tile,
        flow_threshold=flow_threshold,
        cellprob_threshold=cellprob_threshold,
        min_size=min_size_px,
    )
    np.testing.assert_array_equal(expected, labels)


def test_labels_equal_those_of_a_two_channel_call(tiny):
    """A napari user who passes the two channels alone gets the same labels."""
    tile = draw_tile()

    expected = tiny.cellpose_model.eval(tile.copy(), channel_axis=0)[0]

    np.testing.assert_array_equal(expected, tiny.segment([tile], Recipe())[0])


@pytest.mark.parametrize("value", [0, 7, 255])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_constant_tile_has_no_cells(tiny, value, dtype):
    """A blank tile gives empty labels and no error."""
    tile = np.full((2, 300, 280), value, dtype=dtype)

    [labels] = tiny.segment([tile], Recipe())

    np.testing.assert_array_equal(np.zeros((300, 280), dtype=np.uint32), labels)


def test_tiles_do_not_change_each_other(tiny):
    """A tile has the same labels alone and in company, in the order of the tiles."""
    tiles = [draw_tile((100, 120), seed=1), draw_tile((130, 90), seed=2)]

    together = tiny.segment(tiles, Recipe())

    for tile, labels in zip(tiles, together, strict=True):
        np.testing.assert_array_equal(tiny.segment([tile], Recipe())[0], labels)


def test_no_tiles_give_no_labels(tiny):
    """An empty list of tiles is no error."""
    assert [] == tiny.segment([], Recipe())


def test_tile_is_left_as_it_was(tiny):
    """The caller's array keeps its values, though Cellpose normalises in place."""
    tile = draw_tile()
    before = tile.copy()

    tiny.segment([tile], Recipe())

    np.testing.assert_array_equal(before, tile)


def test_labels_ignore_cellpose_global_default(tiny, monkeypatch):
    """A call with normalize=False elsewhere in the process changes nothing here."""
    tile = draw_tile() * 1e4
    [expected] = tiny.segment([tile], Recipe())
    monkeypatch.setattr(models, "normalize_default", dict(models.normalize_default))
    tiny.cellpose_model.eval(np.zeros((3, 32, 32), np.float32), channel_axis=0, normalize=False)
    assert models.normalize_default["normalize"] is False

    np.testing.assert_array_equal(expected, tiny.segment([tile], Recipe())[0])


def test_gate_is_applied_to_the_marker_channel(tiny):
    """A recipe's gate removes cells as gate_labels does on the marker channel."""
    tile = draw_tile(seed=5)
    [raw] = tiny.segment([tile], Recipe())
    median_area_px = int(np.median(np.unique(raw, return_counts=True)[1][1:]))
    gate = Gate(min_area_px=median_area_px, min_marker_quantile=0.9)

    [gated] = tiny.segment([tile], Recipe(gate=gate))

    np.testing.assert_array_equal(gate_labels(raw, tile[1], gate), gated)
    assert 0 < np.count_nonzero(gated) < np.count_nonzero(raw)


def test_recipe_for_other_weights_is_refused(tiny):
    """A recipe that names a checksum never runs on other weights."""
    with pytest.raises(ModelError, match="load the recipe's model"):
        tiny.segment([draw_tile()], Recipe(model_sha256="0" * 64))


def test_bad_tiles_are_all_named(tiny):
    """Every tile that cannot be segmented is in the one error, before any work."""
    good = draw_tile()
    bad = [
        np.zeros((3, 64, 64)),
        np.zeros((2, 15, 64)),
        np.zeros((64, 64)),
        np.full((2, 64, 64), np.nan),
        np.zeros((2, 64, 64), dtype=complex),
    ]

    with pytest.raises(TileError) as caught:
        tiny.segment([good, *bad], Recipe())

    named = [line.split(":")[0] for line in str(caught.value).splitlines()[:-1]]
    assert [f"tile {index} of 6" for index in range(1, 6)] == named


def test_prepare_input_appends_zeros():
    """Cellpose-ready input is DAPI, marker and zeros, in the tile's own dtype, as a copy."""
    tile = np.arange(2 * 16 * 20, dtype=np.uint16).reshape(2, 16, 20)

    prepared = prepare_input(tile)

    assert prepared.dtype == np.uint16
    np.testing.assert_array_equal(np.concatenate([tile, np.zeros_like(tile[:1])]), prepared)
    assert not np.shares_memory(prepared, tile)


def test_prepare_input_refuses_what_is_no_tile():
    """An image with its channels last is not taken for a tile."""
    with pytest.raises(TileError, match=r"\(64, 64, 2\)"):
        prepare_input(np.zeros((64, 64, 2)))


def test_importing_the_segmenter_leaves_torch_alone():
    """The command line can import the boundary without waiting for torch and Cellpose."""
    code = "import sys, somaflow.segmenter; print({'torch', 'cellpose'} & set(sys.modules))"

    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert "set()" == output.stdout.strip()


def test_limit_threads_is_obeyed():
    """The number of torch threads is the one asked for, and at least one."""
    import torch

    before = torch.get_num_threads()
    try:
        limit_threads(2)
        assert 2 == torch.get_num_threads()
        with pytest.raises(DeviceError, match="at least 1"):
            limit_threads(0)
    finally:
        torch.set_num_threads(before)


def test_segmenter_says_where_it_runs():
    """The device is the one in use, never the word auto."""
    import torch

    segmenter = load_segmenter("tiny", device="auto")

    assert ("cuda" if torch.cuda.is_available() else "cpu") == segmenter.device
    assert segmenter.device == segmenter.cellpose_model.net.device.type


def test_marker_recipe_blanks_dapi(tiny):
    """A recipe without DAPI gives Cellpose's labels of the tile whose DAPI is zero."""
    tile = draw_tile(seed=3)
    recipe = Recipe(channels="marker", cellprob_threshold=-1)

    [labels] = tiny.segment([tile], recipe)

    blanked = np.stack([np.zeros_like(tile[0]), tile[1]])
    np.testing.assert_array_equal(evaluate_directly(tiny, blanked, cellprob_threshold=-1), labels)
    assert labels.max() > 0
    assert not np.array_equal(tiny.segment([tile], Recipe(cellprob_threshold=-1))[0], labels)


def test_prepare_input_blanks_dapi_of_the_copy_alone():
    """Without DAPI the net's first plane is zeros and the caller's tile is as it was."""
    tile = np.ones((2, 16, 20), dtype=np.uint8)

    prepared = prepare_input(tile, channels="marker")

    assert [0, 1, 0] == [int(plane.max()) for plane in prepared]
    assert tile.all()


def test_recipe_with_sets_per_marker_is_refused(tiny):
    """A hybrid recipe is never applied as if its outer set were meant for every marker."""
    hybrid = Recipe(name="hybrid", per_marker={"OLIG2": Recipe(cellprob_threshold=-2)})

    with pytest.raises(ModelError, match=r"OLIG2.*for_marker"):
        tiny.segment([draw_tile()], hybrid)

    assert 1 == len(tiny.segment([draw_tile()], hybrid.for_marker("OLIG2")))


def test_wrapped_net_is_the_net_itself(tiny):
    """A net that goes on training is scored as it is at that moment, without a copy."""
    import torch

    net, sha256, device = load_net("tiny", device="cpu", precision="fp32")
    segmenter = wrap_net(net, "tiny in training")
    tile = draw_tile()

    assert (tiny.sha256, "cpu") == (sha256, device)
    np.testing.assert_array_equal(
        tiny.segment([tile], Recipe())[0], segmenter.segment([tile], Recipe())[0]
    )
    assert net is segmenter.cellpose_model.net
    with torch.no_grad():
        net.head.bias[2] = -1e3
    assert 0 == segmenter.segment([tile], Recipe())[0].max()


def test_wrapped_net_says_what_it_is():
    """A net without a weights file has a name, a device and no checksum."""
    segmenter = wrap_net(build_tiny_net(), "new")

    assert ("new", "", "cpu") == (segmenter.model, segmenter.sha256, segmenter.device)


def test_background_normalisation_is_eval_on_the_scaled_tile(tiny):
    """Labels are those of Cellpose's eval on the tile as scaled, with no scaling of its own."""
    tile = draw_tile((180, 200), seed=5)
    recipe = Recipe(normalisation="background", cellprob_threshold=-2)

    [labels] = tiny.segment([tile], recipe)

    shown = normalise_input(tile, normalisation="background")
    expected = tiny.cellpose_model.eval(
        shown, channel_axis=0, normalize=False, cellprob_threshold=-2
    )[0]
    models.normalize_default["normalize"] = True  # eval has just switched it off for everybody
    assert labels.max() > 3
    np.testing.assert_array_equal(expected, labels)


def test_background_normalisation_does_not_depend_on_how_many_cells_there_are():
    """A cell looks the same beside many bright cells as beside none; percentiles change it."""
    rng = np.random.default_rng(0)
    few = rng.normal(100, 5, (2, 200, 200))
    few[:, 20:40, 20:40] += 20
    many = few.copy()
    for y in range(60, 180, 40):
        many[:, y : y + 8, 60:140] += 400

    def cell(tile, normalisation):
        return normalise_input(tile, normalisation=normalisation)[0, 22:38, 22:38].mean()

    background = cell(few, "background"), cell(many, "background")
    percentiles = cell(few, "percentiles"), cell(many, "percentiles")
    assert abs(np.log(background[0] / background[1])) < 0.2
    assert abs(np.log(percentiles[0] / percentiles[1])) > 0.7


@pytest.mark.parametrize("normalisation", ["percentiles", "background"])
@pytest.mark.parametrize("level", [0, 7])
def test_constant_channel_is_shown_as_zeros(normalisation, level):
    """A channel in which nothing is to be seen stays empty, and nothing is divided by 0."""
    tile = np.full((2, 40, 50), level, np.uint8)
    tile[0, 10:20, 10:20] = 200  # a background without any texture
    shown = normalise_input(tile, normalisation=normalisation)
    assert np.isfinite(shown).all()
    assert shown[0].any()
    assert not shown[1:].any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_background_normalisation_ignores_scale_and_offset(dtype):
    """Gain and offset of the camera change nothing, and the tile is left as it is."""
    tile = np.random.default_rng(1).integers(10, 60, (2, 64, 64)).astype(dtype)
    before = tile.copy()
    shown = normalise_input(tile, normalisation="background")
    other = normalise_input(tile.astype(np.float64) * 3 + 20, normalisation="background")
    np.testing.assert_allclose(shown, other, atol=1e-4)
    np.testing.assert_array_equal(before, tile)
