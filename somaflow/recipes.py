"""A recipe is how a model is made and used: weights, thresholds and a gate.

Everything here is plain data that can be hashed, written to YAML and shown as a form.
"""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator


class Gate(BaseModel):
    """Which predicted cells to keep, by size and marker intensity; None switches a limit off."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    min_area_px: int | None = Field(default=None, ge=0)
    """Cells smaller than this many pixels are removed."""
    max_area_px: int | None = Field(default=None, ge=1)
    """Cells larger than this many pixels are removed."""
    min_marker_quantile: float | None = Field(default=None, ge=0, le=1)
    """Cells whose mean marker lies below this quantile of the tile's pixels are removed."""
    max_marker_quantile: float | None = Field(default=None, ge=0, le=1)
    """Cells whose mean marker lies above this quantile of the tile's pixels are removed."""

    @model_validator(mode="after")
    def _check_order(self) -> "Gate":
        pairs = [
            ("area_px", self.min_area_px, self.max_area_px),
            ("marker_quantile", self.min_marker_quantile, self.max_marker_quantile),
        ]
        for name, low, high in pairs:
            if low is not None and high is not None and low > high:
                raise ValueError(f"min_{name} must not exceed max_{name}, got {low} > {high}")
        return self


class Recipe(BaseModel):
    """Weights, Cellpose thresholds and a gate under one name."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: str = Field(default="baseline", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Short name, used in tables, file names and run names."""
    model: str = "tiny"
    """`tiny` (embedded), `cpsam_v2` (fetched by Cellpose), or the path of a checkpoint file."""
    model_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """If given, the weights must have this checksum."""
    flow_threshold: float = Field(default=0.4, ge=0, le=10)
    """Cells whose flow error exceeds this are removed; 0 switches the check off."""
    cellprob_threshold: float = Field(default=0.0, ge=-10, le=10)
    """Pixels above this cell probability (a logit) belong to cells; lower finds more."""
    min_size_px: int = Field(default=15, ge=0)
    """Cells smaller than this many pixels are removed by Cellpose itself."""
    gate: Gate | None = None
    """What to remove after segmentation."""


class Segments(Protocol):
    """Whatever applies a recipe to tiles; `segmenter.Segmenter` does."""

    @property
    def device(self) -> str:
        """`cuda` or `cpu`."""

    def segment(self, tiles: Any, recipe: Recipe) -> list[npt.NDArray[np.uint32]]:
        """Labels (Y, X) uint32 of each (2, Y, X) tile."""
