"""The donors behind the tiles: how dense each marker's cells are, and how each slide was imaged.

A donor depends on the seed and its own number alone, so a larger study holds the smaller ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from somaflow.synthetic.markers import MARKERS

DENSITY_LOG_SD = 0.4
"""Spread of a donor's log density; donors of the middle two thirds differ by a factor of 2.2."""

# One stream of random numbers a purpose, so that a new draw in one leaves the others as they were.
_DONOR_STREAM, _TILE_STREAM, TRAIT_STREAM = 1, 2, 3


@dataclass(frozen=True)
class ChannelOptics:
    """How one channel of a donor's slides was stained and imaged; light in units of full scale."""

    gain: float
    blur_px: float
    background: float
    debris_per_mpx: float
    bleed: float
    """Share of this channel's light that shows in the other channel."""
    full_scale_photons: float
    read_noise: float
    vignette: float


@dataclass(frozen=True)
class Donor:
    """One person: the projid as folders spell it, latent densities and the look of the slides."""

    projid: str
    index: int
    density_latents: Mapping[str, float]
    """Marker -> standard normal number; the log density rises with it."""
    density_multipliers: Mapping[str, float]
    """Marker -> true density over the marker's mean; its mean over donors is 1."""
    cellularity: float
    """Nuclei without the marker, relative to the mean."""
    dapi: ChannelOptics
    marker: ChannelOptics


def draw_donor(seed: int, index: int) -> Donor:
    """Donor number `index` (from 0) of the studies with this seed."""
    rng = make_rng(seed, _DONOR_STREAM, index)
    latents = dict(zip(MARKERS, rng.standard_normal(len(MARKERS)).tolist(), strict=True))
    multipliers = {
        marker: float(np.exp(DENSITY_LOG_SD * latent - DENSITY_LOG_SD**2 / 2))
        for marker, latent in latents.items()
    }
    return Donor(
        projid=name_donor(index),
        index=index,
        density_latents=latents,
        density_multipliers=multipliers,
        cellularity=float(np.exp(0.25 * rng.standard_normal())),
        dapi=_draw_optics(rng, bleed_max=0.12),
        marker=_draw_optics(rng, bleed_max=0.15),
    )


def draw_donors(seed: int, n_donors: int) -> list[Donor]:
    """The first `n_donors` donors of the studies with this seed."""
    return [draw_donor(seed, index) for index in range(n_donors)]


def name_donor(index: int) -> str:
    """The projid as folders spell it: 8 digits, with leading zeros for every other donor."""
    number = (900_001 if index % 2 == 0 else 90_000_001) + index
    return f"{number:08d}"


def tabulate_donors(donors: list[Donor]) -> pd.DataFrame:
    """One row a donor: `donor`, `density_<marker>` multipliers, optics of both channels."""
    rows = []
    for donor in donors:
        row: dict[str, str | float] = {"donor": donor.projid, "cellularity": donor.cellularity}
        row |= {f"density_{name}": value for name, value in donor.density_multipliers.items()}
        for channel, optics in (("dapi", donor.dapi), ("marker", donor.marker)):
            row |= {f"{channel}_{name}": value for name, value in vars(optics).items()}
        rows.append(row)
    return pd.DataFrame(rows)


def make_rng(seed: int, *key: int) -> np.random.Generator:
    """A generator of its own for each key, whatever was drawn before."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def make_tile_rng(seed: int, donor: Donor, marker: str, snap: int) -> np.random.Generator:
    """The generator of one tile: the same tile whatever the order in which tiles are drawn."""
    return make_rng(seed, _TILE_STREAM, donor.index, MARKERS.index(marker), snap)


def _draw_optics(rng: np.random.Generator, bleed_max: float) -> ChannelOptics:
    return ChannelOptics(
        gain=float(np.clip(0.6 * np.exp(0.32 * rng.standard_normal()), 0.22, 1.3)),
        blur_px=float(rng.uniform(0.7, 2.0)),
        background=float(rng.uniform(0.03, 0.2)),
        debris_per_mpx=float(np.exp(rng.uniform(np.log(8), np.log(120)))),
        bleed=float(rng.uniform(0.0, bleed_max)),
        full_scale_photons=float(np.exp(rng.uniform(np.log(80), np.log(500)))),
        read_noise=float(rng.uniform(0.006, 0.02)),
        vignette=float(rng.uniform(0.05, 0.4)),
    )
