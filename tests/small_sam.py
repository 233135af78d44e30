"""Cellpose's real CPSAM class around an image encoder that is small enough for a test."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import segment_anything
import torch
from segment_anything.modeling import ImageEncoderViT


def build_small_sam(_checkpoint: str | None = None) -> SimpleNamespace:
    """What segment_anything gives for "vit_l", 2 blocks of 16 features instead of 24 of 1024."""
    encoder = ImageEncoderViT(
        depth=2,
        embed_dim=16,
        num_heads=2,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        global_attn_indexes=[1],
        window_size=14,
        out_chans=256,
    )
    return SimpleNamespace(image_encoder=encoder)


def save_small_cpsam(path: Path, monkeypatch: pytest.MonkeyPatch, out_std: float = 0.0) -> Path:
    """Writes random weights of a small CPSAM, which the patched registry also builds.

    Args:
        path: of the file.
        monkeypatch: undoes the patch of the registry.
        out_std: of the last layer's weights, if given: strong enough, random weights find cells.
    """
    from cellpose.vit import CPSAM

    monkeypatch.setitem(segment_anything.sam_model_registry, "vit_l", build_small_sam)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = CPSAM()
        if out_std:
            torch.nn.init.normal_(net.out.weight, std=out_std)
    net.save_model(path)
    return path
