"""A recipe is how a model is made and used: weights, thresholds and a gate.

Everything here is plain data that can be hashed, written to YAML and shown as a form.
"""

from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

Channels = Literal["both", "marker"]
Normalisation = Literal["percentiles", "background"]
RECIPE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


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
    """Weights, Cellpose thresholds and a gate under one name, possibly another set per marker."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: str = Field(default="baseline", pattern=RECIPE_NAME)
    """Short name, used in tables, file names and run names."""
    model: str = "tiny"
    """`tiny` (embedded), `cpsam_v2` (fetched by Cellpose), or the path of a checkpoint file;
    `threshold` uses no net, to try out a site or the disk with E5."""
    model_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """If given, the weights must have this checksum."""
    channels: Channels = "both"
    """`both`: the net sees DAPI and marker; `marker`: DAPI is blanked."""
    normalisation: Normalisation = "percentiles"
    """`percentiles`: each channel from its 1st to its 99th, as Cellpose does. `background`: in
    units of the background's own texture, for tiles that hold very different numbers of cells;
    only for weights that were trained so."""
    flow_threshold: float = Field(default=0.4, ge=0, le=10)
    """Cells whose flow error exceeds this are removed; 0 switches the check off."""
    cellprob_threshold: float = Field(default=0.0, ge=-10, le=10)
    """Pixels above this cell probability (a logit) belong to cells; lower finds more."""
    min_size_px: int = Field(default=15, ge=0)
    """Cells smaller than this many pixels are removed by Cellpose itself."""
    gate: Gate | None = None
    """What to remove after segmentation."""
    per_marker: dict[str, "Recipe"] = {}
    """Sets for tiles of these markers in place of the one above, as the hybrid has them."""

    @model_validator(mode="after")
    def _check_depth(self) -> "Recipe":
        deeper = [marker for marker, recipe in self.per_marker.items() if recipe.per_marker]
        if deeper:
            raise ValueError(f"a set per marker must not hold further sets, got {deeper}")
        return self

    def for_marker(self, marker: str) -> "Recipe":
        """The one set that tiles of this marker are segmented with, under this recipe's name."""
        chosen = self.per_marker.get(marker, self)
        return chosen.model_copy(update={"name": self.name, "per_marker": {}})


class TrainingSettings(BaseModel):
    """How weights are trained; the defaults are Cellpose's, except for the schedule."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    n_epochs: int = Field(default=100, ge=1)
    """Times the training set is gone through; the best epoch by F1 on val is kept."""
    images_per_epoch: int | None = Field(default=None, ge=1)
    """Images drawn an epoch; empty: every training image once."""
    batch_size: int = Field(default=1, ge=1)
    """Crops a step."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Highest learning rate; empty: 1e-5 for Cellpose-SAM, 0.002 for `tiny`."""
    weight_decay: float = Field(default=0.1, ge=0)
    """Of AdamW."""
    schedule: Literal["cosine", "cellpose"] = "cosine"
    """`cosine`: a warm-up of a share of all steps, then down to 0. `cellpose`: ten epochs of
    warm-up whatever the length, as train_seg has it."""
    warm_up_fraction: float = Field(default=0.1, ge=0, lt=1)
    """Share of all steps in which the learning rate rises; for `cosine`."""
    crop_px: int = Field(default=256, ge=32, multiple_of=8)
    """Side of the crops; Cellpose-SAM takes 256 only."""
    scale_range: float = Field(default=0.5, ge=0, le=2)
    """Images are resized at random by 1 - s/2 to 1 + s/2."""
    rescale: bool = False
    """Resize every image to a mean cell diameter of 30 px before that."""
    noise_range: float = Field(default=0.0, ge=0, le=2)
    """Crops get Gaussian noise of a deviation drawn from 0 to this, in units of the normalised
    image (its 1st percentile is 0, its 99th is 1). 0, as in Cellpose: none."""
    sampling: Literal["uniform", "balanced"] = "uniform"
    """`balanced`: every marker is drawn equally often, however many images it has."""
    channels: Channels = "both"
    """`both`: the net sees DAPI and marker; `marker`: DAPI is blanked."""
    normalisation: Normalisation = "percentiles"
    """How images are scaled before the net sees them, in training and ever after."""
    min_cells: int = Field(default=0, ge=0)
    """Training images with fewer cells are left out, counted and named; Cellpose's own is 5."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """`bf16`: autocast on a GPU; the weights stay fp32."""
    score_every: int = Field(default=1, ge=1)
    """Epochs between two scorings of val; the last epoch is always scored."""
    seed: int = Field(default=0, ge=0)
    """Of order and augmentation; 0 draws what Cellpose's train_seg draws."""

    def apply_to(self, recipe: Recipe) -> Recipe:
        """The recipe with tiles shown to the net as in this training: channels and scaling."""
        seen = {"channels": self.channels, "normalisation": self.normalisation}
        return recipe.model_copy(update=seen)


class Segments(Protocol):
    """Whatever applies a recipe to tiles; `segmenter.Segmenter` does."""

    @property
    def device(self) -> str:
        """`cuda` or `cpu`."""

    def segment(self, tiles: Any, recipe: Recipe) -> list[npt.NDArray[np.uint32]]:
        """Labels (Y, X) uint32 of each (2, Y, X) tile."""
