"""A study: where tiles, labels, donors and traits are, what to do with them, where outputs go.

Enters a YAML file (or its path, or a mapping); leaves a validated `Study` with absolute paths. The
class's JSON schema is the dashboard's form, so every field has its help here. Refuses unknown
fields, values out of range and files that are not YAML, all problems in one message.
"""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

import somaflow
from somaflow.errors import StudyError
from somaflow.keys import library_versions
from somaflow.paths import RunPaths
from somaflow.recipes import RECIPE_NAME, Recipe
from somaflow.schema import FIELDS, STUDY, check_stamp, make_stamp
from somaflow.settings import (
    MADE_ENDINGS,
    DonorStatistics,
    FineTuning,
    GateGrid,
    LabelBudgets,
    ThresholdGrid,
    is_made,
)

AS_RUN = "# As run by somaflow"
"""How the copy of a study that a run leaves in its outputs begins."""

_PATH_FIELDS = ("root", "also_in", "donor_table", "file", "codebook", "expected_tiles")


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class TileSource(_Settings):
    """A folder (or manifest) of tiles, and how its files are named."""

    root: Path
    """Folder that holds the tiles; for the layout `manifest`, the CSV file."""
    layout: Literal["rosmap", "flat", "manifest"] = "rosmap"
    """`rosmap`: marker/marker/donor/region folders; `flat`: gfap_1.tiff + gfap_1_marker.tiff;
    `manifest`: a CSV that names each file."""
    also_in: list[Path] = []
    """Further folders that tiles may really lie in. A tile that a link, or `..` in a manifest, has
    outside of `root` is refused unless its folder, or one above it, is named here."""
    donor_table: Path | None = None
    """CSV with columns tile_id,donor, for layouts whose names do not tell the donor."""
    pixel_offset: int = Field(default=0, ge=0)
    """Subtracted from every pixel (32768 for 16-bit files written as if they were signed)."""
    renumber_labels: bool = False
    """Accept label files whose ids have gaps, and renumber them 1..N."""


class SplitSettings(_Settings):
    """How labelled tiles are divided into train, val and test."""

    level: Literal["donor", "image"] = "donor"
    """`donor`: all tiles of a donor on one side. `image`: for data without donor identity; scores
    are then named image-level everywhere."""
    train: float = Field(default=0.6, gt=0, lt=1)
    """Share of the labelled tiles for training."""
    val: float = Field(default=0.2, gt=0, lt=1)
    """Share for choosing epochs, thresholds and gates."""
    test: float = Field(default=0.2, gt=0, lt=1)
    """Share that is scored once, when everything is chosen."""
    file: Path | None = None
    """A splits.yaml made elsewhere, used as it is instead of drawing new splits."""

    @property
    def fractions(self) -> dict[str, float]:
        """Share of the labelled tiles per split."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @model_validator(mode="after")
    def _check_sum(self) -> "SplitSettings":
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train + val + test must be 1, got {total:g}")
        return self


class Study(_Settings):
    """Everything somaflow needs to know about one study."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$", max_length=80)
    """Short name, shown in run names on the dashboard."""
    tiles: TileSource
    """The tiles to segment."""
    labelled: TileSource | None = None
    """Labelled tiles, where they lie apart; otherwise those of `tiles` that have labels."""
    traits: Path | None = None
    """CSV of donor-level variables; used by the donor statistics."""
    output: Path
    """Folder for all results; made if absent."""
    markers: list[str] | None = None
    """Markers to use; empty means those the layout knows, or all that a manifest names."""
    splits: SplitSettings = SplitSettings()
    """Train, val and test."""
    recipes: list[Recipe] = Field(default=[Recipe()], min_length=1)
    """What to evaluate: weights, thresholds and gate, each under its own name."""
    fine_tuning: FineTuning | None = None
    """What e1-recipes trains; empty: it scores the recipes above alone."""
    label_budgets: LabelBudgets | None = None
    """Budgets of e2-label-budget; needs `fine_tuning`."""
    gating: GateGrid | None = None
    """Gates that e3-gating tries."""
    thresholds: ThresholdGrid | None = None
    """Thresholds that e4-thresholds tries."""
    inference_recipe: str = Field(default="baseline", pattern=RECIPE_NAME)
    """Name of the recipe that segments all tiles: one of the above, or one that an experiment made,
    for example `hybrid`."""
    compare_with: list[str] = []
    """Recipes that segment all tiles too, for example the baseline: e5-donors then says whether
    conclusions about donors are more reliable with `inference_recipe`."""
    donor_statistics: DonorStatistics = DonorStatistics()
    """Phenotypes, traits and resamples of e5-donors."""
    show_donors: bool = False
    """Let ids of donors and values of traits go to the dashboard and the logs of runs. Otherwise a
    donor is shown there by a code; files in the study's own folder hold the ids in any case."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """`auto` uses a GPU where there is one; `cuda` fails where there is none."""
    bad_tiles: Literal["quarantine", "fail"] = "quarantine"
    """What to do with unlabelled tiles that cannot be used: set them aside, counted and with their
    reason, or stop. A bad labelled tile always stops e0-prepare."""
    shard_tiles: int = Field(default=64, ge=1, le=4096)
    """Tiles that one task segments and commits together."""
    stage_limit_hours: float | None = Field(default=None, gt=0)
    """The flow `study` ends a stage that takes longer, and goes on without it; empty: no limit."""
    iou_threshold: float = Field(default=0.5, gt=0, le=1)
    """Overlap (intersection over union) from which a predicted cell counts as found."""
    n_resamples: int = Field(default=2000, ge=100, le=100_000)
    """Bootstrap resamples behind each interval."""
    seed: int = Field(default=0, ge=0)
    """Seed of splits and resampling."""

    @model_validator(mode="before")
    @classmethod
    def _read_path(cls, value: Any) -> Any:
        """Lets a deployment be given the path of a study file in place of its content."""
        if isinstance(value, str | Path):
            return _read_resolved(Path(value))
        return _take_stamp(value, "that was passed") if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _check_recipes(self) -> "Study":
        names = [recipe.name for recipe in self.recipes]
        if len(set(names)) < len(names):
            raise ValueError(f"recipe names must be unique, got {', '.join(names)}")
        if self.label_budgets is not None and self.fine_tuning is None:
            raise ValueError("label_budgets needs fine_tuning, which says how weights are trained")
        if self.fine_tuning is not None:
            self._check_base(self.fine_tuning, names)
        used = self.inference_recipes
        if len(set(used)) < len(used):
            raise ValueError(
                "compare_with must name other recipes than inference_recipe, each once, got "
                f"{', '.join(self.compare_with)}"
            )
        used += [name for grid in (self.gating, self.thresholds) for name in _recipes_of(grid)]
        trained = self.fine_tuning.names if self.fine_tuning else []
        for name in used:
            if not is_made(name, [*names, *trained]):
                known = ", ".join([*names, *trained])
                raise ValueError(
                    "inference_recipe and recipes to compare, gate or sweep must be one of "
                    f"{known}, or one that is made from it ({', '.join(MADE_ENDINGS)}), "
                    f"got {name!r}"
                )
        return self

    def _check_base(self, tuning: FineTuning, names: list[str]) -> None:
        if tuning.base not in names or self.recipe(tuning.base).per_marker:
            raise ValueError(
                f"fine_tuning.base must be one of the recipes ({', '.join(names)}) and have no "
                f"sets per marker, got {tuning.base!r}"
            )
        twice = sorted({*tuning.names, "hybrid"} & set(names))
        if twice:
            raise ValueError(f"recipes must not have the names of trained ones, got {twice}")

    @property
    def paths(self) -> RunPaths:
        """Where the results of this study lie."""
        return RunPaths(self.output)

    @property
    def labelled_source(self) -> TileSource:
        """Where labelled tiles come from."""
        return self.labelled or self.tiles

    @property
    def inference_recipes(self) -> list[str]:
        """Names of all recipes that segment all tiles; the one that is relied on comes first."""
        return [self.inference_recipe, *self.compare_with]

    def recipe(self, name: str) -> Recipe:
        """The recipe of that name.

        Raises:
            StudyError: if there is none.
        """
        for recipe in self.recipes:
            if recipe.name == name:
                return recipe
        known = ", ".join(recipe.name for recipe in self.recipes)
        raise StudyError(f"recipe must be one of {known}, got {name!r}")


def load_study(path: Path | str) -> Study:
    """Reads a study file; relative paths in it start at the file's own folder.

    Raises:
        StudyError: one message with a line for every problem in the file.
    """
    path = Path(path)
    content = _read_resolved(path)
    try:
        return Study.model_validate(content)
    except ValidationError as error:
        problems = [
            f"  {'.'.join(str(part) for part in item['loc']) or 'study'}: {item['msg']}, "
            f"got {_shorten(item['input'])}"
            for item in error.errors()
        ]
        raise StudyError(
            f"{path}: {len(problems)} value(s) must be changed:\n" + "\n".join(problems)
        ) from error


def dump_study(study: Study) -> str:
    """The study as YAML with defaults filled in and the versions that run it."""
    versions = library_versions("cellpose", "torch", "numpy", "zarr", "prefect", "dask")
    header = ", ".join(f"{name} {number}" for name, number in versions.items())
    content = {**make_stamp(STUDY), **study.model_dump(mode="json")}
    body = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return f"{AS_RUN} {somaflow.__version__} ({header})\n{body}"


def _recipes_of(grid: GateGrid | ThresholdGrid | None) -> list[str]:
    return [] if grid is None or grid.recipes is None else grid.recipes


def _read_resolved(path: Path) -> Any:
    if not path.is_file():
        raise StudyError(
            f"study must be a YAML file, found none at {path}; `somaflow init DIR` writes one"
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StudyError(f"study must be a YAML file, {path} is not: {error}") from error
    if not isinstance(content, dict):
        raise StudyError(f"study must be a YAML mapping of fields, {path} holds {content!r:.60}")
    return _resolve_paths(_take_stamp(content, path), path.resolve().parent)


def _take_stamp(content: dict[str, Any], where: Path | str) -> dict[str, Any]:
    """The fields of a study, which has a stamp or not, without it."""
    check_stamp(STUDY, where, content)
    return {name: value for name, value in content.items() if name not in FIELDS}


def _resolve_paths(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The same mapping with every path in it absolute."""
    resolved = dict(content)
    for name in ("traits", "output"):
        resolved[name] = _absolute(content.get(name), folder)
    for name in ("tiles", "labelled", "splits", "donor_statistics"):
        if isinstance(section := content.get(name), dict):
            resolved[name] = {
                key: _absolute(value, folder) if key in _PATH_FIELDS else value
                for key, value in section.items()
            }
    if isinstance(recipes := content.get("recipes"), list):
        resolved["recipes"] = [_resolve_model(recipe, folder) for recipe in recipes]
    return {key: value for key, value in resolved.items() if value is not None}


def _resolve_model(recipe: Any, folder: Path) -> Any:
    """A model with a slash or a suffix is a file; a bare word is a model's name."""
    if isinstance(recipe, dict) and isinstance(model := recipe.get("model"), str):
        is_file = "/" in model or Path(model).suffix != ""
        recipe = {**recipe, "model": str(_absolute(model, folder)) if is_file else model}
    if isinstance(recipe, dict) and isinstance(sets := recipe.get("per_marker"), dict):
        sets = {marker: _resolve_model(part, folder) for marker, part in sets.items()}
        recipe = {**recipe, "per_marker": sets}
    return recipe


def _absolute(value: Any, folder: Path) -> Any:
    if isinstance(value, list):
        return [_absolute(item, folder) for item in value]
    if not isinstance(value, str) or not value:
        return value
    return str((folder / Path(value).expanduser()).resolve())


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
