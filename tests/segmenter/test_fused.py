"""Cellpose-SAM for GPUs says what the original says; shown on the CPU, around a small encoder."""

import os
import shutil

import pytest
import segment_anything
import torch
from segment_anything.modeling.image_encoder import Attention

from somaflow.segmenter import fused, make_fast
from somaflow.segmenter.fused import fuse_net, why_not_compiled
from somaflow.segmenter.fused_net import FusedAttention
from tests.small_sam import build_small_sam


@pytest.fixture
def net(monkeypatch):
    """Random weights everywhere, where untrained ones would be 0 too."""
    from cellpose.vit import CPSAM

    monkeypatch.setitem(segment_anything.sam_model_registry, "vit_l", build_small_sam)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        net = CPSAM().eval()
        for name, weights in net.named_parameters():
            if name != "W2":
                torch.nn.init.normal_(weights, std=0.3)
    return net


@pytest.fixture
def images():
    return torch.randn(3, 3, 256, 256, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def test_fused_net_says_what_the_original_says(net, images):
    """In double precision the two agree to 12 digits: only the order of sums differs."""
    expected = net.double()(images.double())[0]
    said = fuse_net(net)(images.double())[0]

    torch.testing.assert_close(said, expected, rtol=1e-10, atol=1e-12)
    assert expected.std() > 0.1


@torch.inference_mode()
def test_attention_says_what_the_original_says_where_rows_and_columns_differ():
    """Seen over 3 x 5 tokens, rows cannot pass for columns, nor a distance for its opposite."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        original = Attention(16, num_heads=2, use_rel_pos=True, input_size=(3, 5)).double()
        for weights in original.parameters():
            torch.nn.init.normal_(weights)
        tokens = torch.randn(2, 3, 5, 16).double()

    said = FusedAttention(original, 3, 5)(tokens)
    torch.testing.assert_close(said, original(tokens), rtol=1e-10, atol=1e-10)


@torch.inference_mode()
def test_every_bias_of_place_counts(net, images):
    """Without its biases of rows or of columns the net would say something else."""
    expected = net(images)[0]
    for name in ("rel_pos_h", "rel_pos_w"):
        weights = getattr(net.encoder.blocks[0].attn, name)
        kept = weights.clone()
        weights.zero_()
        assert (fuse_net(net)(images)[0] - expected).abs().max() > 1e-3
        weights.copy_(kept)


@torch.inference_mode()
def test_last_layer_that_does_more_than_move_numbers_is_kept(net, images):
    """A readout other than the identity is computed, not skipped."""
    torch.nn.init.normal_(net.W2)

    expected = net.double()(images.double())[0]
    torch.testing.assert_close(fuse_net(net)(images.double())[0], expected, rtol=1e-9, atol=1e-9)


@torch.inference_mode()
def test_original_stays_as_it_is_and_shares_its_weights(net, images):
    """The net in Cellpose's own model goes on as before, and no weight is held twice."""
    expected = net(images)[0]
    fast = fuse_net(net)

    assert torch.equal(expected, net(images)[0])
    own = {weights.data_ptr() for weights in net.parameters()}
    assert {weights.data_ptr() for weights in fast.parameters()} <= own


@pytest.fixture
def compiler():
    """A C++ compiler, which torch needs on a CPU; in CI, which installs it, it must be there."""
    if shutil.which("g++") is None or why_not_compiled() is not None:
        if os.environ.get("SOMAFLOW_TEST_COMPILER") == "required":
            pytest.fail("nets must be compiled here, there is no g++")
        pytest.skip("needs g++ and triton")


@pytest.mark.slow
def test_compiled_net_says_the_same(net, images, compiler):
    """Joining operations changes rounding alone."""
    expected = fuse_net(net)(images)[0]
    fast, note = fused._compile(net)

    assert not note
    with torch.inference_mode():
        torch.testing.assert_close(fast(images)[0], expected, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_compiler_that_fails_costs_time_alone(net, images, monkeypatch):
    """Headers are missing, say: the net runs as it is, and the note gives the compiler's reason."""

    def fail(_):
        raise RuntimeError("Python.h: No such file\nand much more")

    monkeypatch.setattr(fused, "why_not_compiled", lambda: None)
    monkeypatch.setattr(fused, "_run_once", fail)
    fast, note = fused._compile(net)

    assert note.endswith("longer: RuntimeError: Python.h: No such file")
    assert torch.equal(fuse_net(net)(images)[0], fast(images)[0])


def test_on_a_cpu_a_net_stays_cellposes_own(net):
    """Labels on CPUs are Cellpose's bit for bit, so nothing is exchanged there."""
    assert (net, "") == make_fast(net)


def test_other_nets_stay_as_they_are(tiny):
    """`tiny` has no encoder."""
    assert tiny.cellpose_model.net is fuse_net(tiny.cellpose_model.net)


def test_missing_compiler_is_named(monkeypatch):
    """Without one the net runs all the same, and the note says what to install."""
    monkeypatch.setattr(fused.importlib.util, "find_spec", lambda name: object())
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)

    assert "install gcc" in str(why_not_compiled())
