"""The parts of a study that say what its experiments do: trainings, budgets, gates, thresholds.

Plain data: validated here, written to YAML, shown as parts of the dashboard's form.
"""

import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from somaflow.recipes import TrainingSettings
from somaflow.tiles.quality import QualityLimits

Phenotype = Literal["p60", "p70", "p75", "p80", "p90", "otsu", "mixture"]

PRESETS = ("generic", "per-marker", "without-dapi", "balanced", "two-stage")
"""Recipes that `FineTuning.recipes` may ask for, besides `<MARKER>-only`."""
ONLY = "-only"
MADE_ENDINGS = ("-gated", "-best-f1", "-precise")
"""What e3-gating and e4-thresholds add to the name of a recipe."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class FineTuning(_Settings):
    """Which weights are trained on the labelled tiles, from which start."""

    base: str = "baseline"
    """Recipe of the study whose weights training starts from, and its thresholds."""
    recipes: list[str] = Field(default=list(PRESETS), min_length=1)
    """`generic`: all markers. `per-marker`: one training each (or name them: `GFAP-only`).
    `without-dapi`: the marker channel alone. `balanced`: every marker drawn equally often.
    `two-stage`: generic first, then each marker. Per marker the best on val is the `hybrid`."""
    seeds: list[int] = Field(default=[0], min_length=1)
    """Each recipe is trained once a seed; several give mean and standard deviation."""
    settings: TrainingSettings = TrainingSettings()
    """Epochs, learning rate, augmentation."""
    time_limit_minutes: float | None = Field(default=None, gt=0)
    """A training stops itself, checkpointed, before it has run so long; run again, it goes on.
    Empty: the job's own wall-time, where the cluster tells it."""
    checkpoint_minutes: float = Field(default=3, gt=0)
    """At most so much work is lost when a training is killed."""

    @property
    def names(self) -> list[str]:
        """Names of the recipes that come out, `<MARKER>-only` for those of `per-marker`."""
        names = ["<MARKER>-only" if name == "per-marker" else name for name in self.recipes]
        if "two-stage" in names and "generic" not in names:
            names.insert(0, "generic")
        return [*names, "hybrid"]

    @field_validator("recipes")
    @classmethod
    def _check_recipes(cls, value: list[str]) -> list[str]:
        unknown = [name for name in value if name not in PRESETS and not name.endswith(ONLY)]
        if unknown or len(set(value)) < len(value):
            raise ValueError(
                f"must be different ones of {', '.join(PRESETS)} or <MARKER>{ONLY}, "
                f"got {', '.join(value)}"
            )
        return value

    @field_validator("seeds")
    @classmethod
    def _check_seeds(cls, value: list[int]) -> list[int]:
        return _distinct(value, least=0)


class LabelBudgets(_Settings):
    """How many labelled tiles a marker the label-budget curve is drawn at."""

    budgets: list[int] = Field(default=[2, 5, 10, 20, 30], min_length=1)
    """Training tiles a marker; one above what a marker has is capped to that."""
    repeats: int = Field(default=5, ge=1, le=100)
    """Random draws of tiles, nested: a smaller budget is part of the larger one's tiles."""

    @field_validator("budgets")
    @classmethod
    def _check_budgets(cls, value: list[int]) -> list[int]:
        return sorted(_distinct(value, least=1))


class GateGrid(_Settings):
    """Gates to try; per marker the one with the best F1 on val is kept. None = no limit."""

    recipes: list[str] | None = None
    """Recipes to gate; empty means all that e1-recipes scored."""
    min_area_px: list[int | None] = [None, 20, 30, 50, 80, 120, 180]
    """Smallest areas to try, in pixels."""
    max_area_px: list[int | None] = [None, 600, 900, 1400, 2000]
    """Largest areas to try, in pixels."""
    min_marker_quantile: list[float | None] = [None, 0.5, 0.75, 0.9]
    """Lowest mean marker intensities to try, as quantiles of the tile's pixels."""
    max_marker_quantile: list[float | None] = [None]
    """Highest mean marker intensities to try."""


class ThresholdGrid(_Settings):
    """Cellpose thresholds to try, for every recipe and marker, on val."""

    recipes: list[str] | None = None
    """Recipes to sweep; empty means all that e1-recipes scored."""
    flow_threshold: list[float] = Field(default=[0.2, 0.4, 0.6, 0.8, 0.0], min_length=1)
    """Largest flow errors to keep; 0 switches the check off."""
    cellprob_threshold: list[float] = Field(
        default=[-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0], min_length=1
    )
    """Cell probabilities (logits) above which pixels belong to cells."""
    min_size_px: list[int] = Field(default=[15, 50, 100], min_length=1)
    """Smallest areas to keep."""
    required_recall: float = Field(default=0.7, gt=0, lt=1)
    """The second operating point has the best precision among those with this recall on val."""


class DonorStatistics(_Settings):
    """How cells become donors' numbers, and which traits those are held against (e5-donors)."""

    pixel_size_um: float | None = Field(default=None, gt=0)
    """Side of a pixel. Empty: unknown, and densities are per megapixel instead of per mm2."""
    traits: list[str] = Field(
        default=[*("braaksc", "ceradsc", "cogdx", "dcfdx_lv", "plaq_d", "plaq_n", "nft", "gpath")],
        min_length=1,
    )
    """Columns of the trait table to look at."""
    covariates: list[str] = ["age_death", "msex", "pmi", "educ"]
    """Columns that partial correlations are adjusted for."""
    codebook: Path | None = None
    """YAML that says what the trait table's columns mean; empty: that of ROSMAP."""
    expected_tiles: Path | None = None
    """CSV with columns donor,marker,tiles: how many there should be; empty: not checked."""
    phenotypes: list[Phenotype] = Field(
        default=["p60", "p70", "p75", "p80", "p90", "otsu", "mixture"], min_length=1
    )
    """When a cell is positive: mean marker above this percentile of its tile's pixels, above the
    tile's Otsu threshold, or in the brighter part of a mixture over the donor's cells."""
    primary_phenotype: Phenotype = "p75"
    """The one that the main tables and figures show."""
    min_tiles: int = Field(default=2, ge=1)
    """A donor with fewer usable tiles of a marker is flagged and left out of its statistics."""
    tile_quality: QualityLimits = QualityLimits()
    """Which tiles are too blurred, saturated or empty to count."""
    n_resamples: int = Field(default=10_000, ge=200, le=100_000)
    """Draws of donors behind each interval."""
    n_tile_draws: int = Field(default=200, ge=20, le=10_000)
    """Draws of tiles within donors, 80 % each, behind stability."""

    @model_validator(mode="after")
    def _check_primary(self) -> "DonorStatistics":
        if self.primary_phenotype not in self.phenotypes:
            raise ValueError(
                f"primary_phenotype must be one of phenotypes ({', '.join(self.phenotypes)}), "
                f"got {self.primary_phenotype!r}"
            )
        return self


def is_made(name: str, known: list[str]) -> bool:
    """Whether a recipe of that name is known, or can come out of an experiment on a known one."""
    for ending in MADE_ENDINGS:
        name = name.removesuffix(ending)
    name = re.sub(r"-seed\d+$", "", name)
    return name in known or ("<MARKER>-only" in known and name.endswith(ONLY))


def _distinct(value: list[int], least: int) -> list[int]:
    if len(set(value)) < len(value) or min(value) < least:
        raise ValueError(f"must be different numbers of at least {least}, got {value}")
    return value
