"""Writes a whole synthetic study: tiles, labels, donors, traits, the truth and a study.yaml.

What enters is a handful of numbers; what leaves is a folder laid out like the field's own export.
It refuses senseless numbers, and a folder that holds anything else than this very study.
"""

import io
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
import yaml
from numpy.typing import NDArray

from somaflow.errors import StudyError
from somaflow.files import write_bytes, write_text
from somaflow.synthetic.cells import draw_tile
from somaflow.synthetic.donors import Donor, draw_donors, make_tile_rng, tabulate_donors
from somaflow.synthetic.plan import PlannedTile, choose_labelled, count_labelled, plan_tiles
from somaflow.synthetic.traits import EFFECTS, NULL_TRAITS, draw_traits

MIN_SIDE_PX = 64
_METADATA = '<?xml version="1.0"?><METADATA><Tags/></METADATA>\n'
_STUDY = """\
{stamp}
# Drawn by somaflow: every cell and every correlation is known, see truth.yaml.
name: synthetic
# Every tile, in the folders of the microscope's export.
tiles: {{root: tiles, layout: rosmap}}
# The tiles with human labels (here: the truth), and whose they are.
labelled: {{root: labelled, layout: flat, donor_table: labelled/donors.csv}}
# One row a donor.
traits: traits.csv
# Everything that somaflow writes goes here.
output: output
# Small shards, so that a small study shows its progress.
shard_tiles: 16
seed: {seed}
"""
_EXPERIMENTS = """\
# Short trainings of the small net; a study with Cellpose-SAM leaves these settings out.
fine_tuning:
  recipes: [generic, GFAP-only]
  settings:
    n_epochs: 4
    images_per_epoch: 96
    batch_size: 4
    crop_px: 192
    learning_rate: 0.003
    score_every: 2
    weight_decay: 0.0001
label_budgets: {budgets: [1, 2, 5], repeats: 2}
gating: {recipes: [baseline, generic, hybrid]}
thresholds: {recipes: [baseline, generic]}
# The hybrid segments all tiles, and the baseline too: does better segmentation tell more of donors?
inference_recipe: hybrid
compare_with: [baseline]
"""
_LEAST_LABELLED = 12


@dataclass(frozen=True)
class _Arguments:
    """What shapes every byte of a study."""

    n_donors: int
    n_tiles: int
    seed: int
    height_px: int
    width_px: int
    labelled_tiles: int

    def check(self) -> None:
        smallest = {
            "n_donors": 1,
            "n_tiles": 1,
            "seed": 0,
            "height_px": MIN_SIDE_PX,
            "width_px": MIN_SIDE_PX,
            "labelled_tiles": 0,
        }
        problems = [
            f"{name} must be at least {low}, got {getattr(self, name)}"
            for name, low in smallest.items()
            if getattr(self, name) < low
        ]
        if self.labelled_tiles > self.n_tiles:
            problems.append(
                f"labelled_tiles must not exceed n_tiles ({self.n_tiles}), "
                f"got {self.labelled_tiles}; ask for more tiles or fewer labelled ones"
            )
        if problems:
            raise StudyError("; ".join(problems))

    @property
    def stamp(self) -> str:
        """First line of study.yaml, by which a folder is known as this very study."""
        values = " ".join(f"{name}={value}" for name, value in asdict(self).items())
        return f"# somaflow init --synthetic: {values}"


def write_study(
    folder: Path | str,
    n_donors: int = 12,
    n_tiles: int = 96,
    seed: int = 0,
    height_px: int = 520,
    width_px: int = 694,
    labelled_tiles: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Writes the study and returns the path of its study.yaml.

    The same arguments give the same bytes. A folder that holds the finished study is left as it is;
    one whose writing was cut short is written again.

    Args:
        folder: where; made if it is not there.
        n_donors: donors with tiles (as far as `n_tiles` reaches); the trait table has one more.
        n_tiles: tiles in all, dealt out over donors and markers (see `plan_tiles`).
        seed: 0 or more.
        height_px: of a tile, 64 or more.
        width_px: of a tile, 64 or more.
        labelled_tiles: how many tiles carry labels; by default a quarter, at least 48, at most 120.
        progress: called with the tiles done and all tiles, after each.

    Raises:
        StudyError: for a number out of range, or a folder that holds something else; nothing is
            written then.
        OutputError: if the folder cannot be written to.
    """
    folder = Path(folder)
    n_labelled = count_labelled(n_tiles) if labelled_tiles is None else labelled_tiles
    arguments = _Arguments(n_donors, n_tiles, seed, height_px, width_px, n_labelled)
    arguments.check()
    study_path, truth_path = folder / "study.yaml", folder / "truth.yaml"
    is_claimed = _check_folder(folder, arguments)
    if is_claimed and truth_path.is_file():
        return study_path
    # The stamped study.yaml comes first and claims the folder; truth.yaml comes last and says that
    # the study is whole.
    if not is_claimed:
        experiments = _EXPERIMENTS if n_labelled >= _LEAST_LABELLED else ""
        write_text(study_path, _STUDY.format(stamp=arguments.stamp, seed=seed) + experiments)
    donors = draw_donors(seed, n_donors + 1)
    tiles = plan_tiles(donors[:n_donors], n_tiles)
    labelled = choose_labelled(tiles, n_labelled)
    _write_tables(folder, arguments, donors, labelled)
    counts = _write_tiles(folder, arguments, tiles, {tile.snap for tile in labelled}, progress)
    write_text(truth_path, _describe_truth(arguments, donors, tiles, counts))
    return study_path


def _check_folder(folder: Path, arguments: _Arguments) -> bool:
    """True if the folder was claimed for this very study, False if it is free."""
    study_path = folder / "study.yaml"
    if study_path.is_file():
        found = study_path.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
        if found.strip() == arguments.stamp:
            return True
        raise StudyError(
            f"a synthetic study needs a folder of its own, but {study_path} begins with "
            f"{found.strip()!r} instead of {arguments.stamp!r}; choose another folder"
        )
    for name in ("tiles", "labelled", "traits.csv", "truth.yaml"):
        if (folder / name).exists():
            raise StudyError(
                f"a synthetic study needs a folder of its own, but {folder} already holds {name} "
                "and no study.yaml; choose another folder"
            )
    return False


def _write_tables(
    folder: Path, arguments: _Arguments, donors: list[Donor], labelled: list[PlannedTile]
) -> None:
    traits = draw_traits(arguments.seed, donors)
    write_text(folder / "traits.csv", traits.to_csv(index=False, lineterminator="\n"))
    table = pd.DataFrame(
        {
            "tile_id": [tile.stem for tile in labelled],
            "donor": [tile.donor.projid for tile in labelled],
        }
    )
    write_text(folder / "labelled/donors.csv", table.to_csv(index=False, lineterminator="\n"))


def _write_tiles(
    folder: Path,
    arguments: _Arguments,
    tiles: list[PlannedTile],
    labelled_snaps: set[int],
    progress: Callable[[int, int], None] | None,
) -> list[int]:
    """Draws and writes every tile, and returns their true cell counts."""
    counts = []
    for done, tile in enumerate(tiles, start=1):
        rng = make_tile_rng(arguments.seed, tile.donor, tile.marker, tile.snap)
        shape = (arguments.height_px, arguments.width_px)
        image, labels = draw_tile(rng, tile.marker, tile.donor, shape)
        files = [_encode_tiff(channel) for channel in image]
        for name, content in zip(tile.file_names(*shape), files, strict=True):
            write_bytes(folder / tile.folder / name, content)
            write_text(folder / tile.folder / f"{name}_metadata.xml", _METADATA)
        if tile.snap in labelled_snaps:
            _write_labelled(folder / "labelled", tile.stem, files, labels)
        counts.append(int(labels.max()))
        if progress is not None:
            progress(done, len(tiles))
    return counts


def _write_labelled(
    folder: Path, stem: str, files: list[bytes], labels: NDArray[np.uint32]
) -> None:
    buffer = io.BytesIO()
    np.save(buffer, labels.astype(np.uint16))
    write_bytes(folder / f"{stem}.tiff", files[0])
    write_bytes(folder / f"{stem}_marker.tiff", files[1])
    write_bytes(folder / f"{stem}_cellbodies.npy", buffer.getvalue())


def _encode_tiff(channel: NDArray[np.uint8]) -> bytes:
    """The file of one channel: grey stored as RGB (Y, X, 3), as the microscope's export does."""
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        np.repeat(channel[:, :, None], 3, axis=2),
        photometric="rgb",
        compression="zlib",
        compressionargs={"level": 1},
        metadata=None,
        software="somaflow",
    )
    return buffer.getvalue()


def _describe_truth(
    arguments: _Arguments, donors: list[Donor], tiles: list[PlannedTile], counts: list[int]
) -> str:
    density = {
        donor.projid: {name: round(value, 6) for name, value in donor.density_multipliers.items()}
        for donor in donors
    }
    optics = tabulate_donors(donors).set_index("donor").filter(regex="^(dapi|marker)_").round(6)
    truth = {
        "made_with": asdict(arguments),
        "effects": [
            {
                "marker": effect.marker,
                "trait": effect.trait,
                "rho_spearman": effect.rho,
                "latent_r_pearson": round(effect.latent_r, 6),
            }
            for effect in EFFECTS
        ],
        "null_traits": list(NULL_TRAITS),
        "donor_without_tiles": donors[-1].projid,
        "density_multipliers": density,
        "optics": optics.to_dict(orient="index"),
        "cells": {
            f"{tile.marker}/{tile.donor.projid}/{tile.region}/Snap-{tile.snap}": count
            for tile, count in zip(tiles, counts, strict=True)
        },
    }
    return yaml.dump(truth, Dumper=_dumper(), sort_keys=False, width=100)


def _dumper() -> type[yaml.SafeDumper]:
    """The C dumper where PyYAML has it: ten times quicker for 15,000 tiles."""
    return getattr(yaml, "CSafeDumper", yaml.SafeDumper)
