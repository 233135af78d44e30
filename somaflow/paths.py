"""One object owns every path below a study's output folder; nothing else joins them.

What a user takes out of a study lies elsewhere: `exported_image` names its files.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from somaflow.errors import StoreError, StudyError
from somaflow.files import hash_file, write_bytes
from somaflow.schema import find_kind
from somaflow.stamps import check_file, is_same

DONORS = "e5-donors"
"""The one experiment whose results lie in `<output>/donors`."""


_PLAIN = re.compile(r"[^./\\\0][^/\\\0]*")


def is_plain(name: str) -> bool:
    """Whether a name is that of one file in the folder it is joined to, and not a hidden one."""
    return _PLAIN.fullmatch(name) is not None


def _plain(name: str) -> str:
    if not is_plain(name):
        raise StudyError(
            "a name that files are called by must be plain, without slashes and without a dot in "
            f"front, got {name!r}; rename the recipe or marker, or restore the file that says so"
        )
    return name


@dataclass(frozen=True)
class RunPaths:
    """Where everything of one study lies: below its output folder, whatever names come in.

    Raises:
        StudyError: for a key or name that is no plain one.

    Attributes:
        output: the study's output folder, absolute.
    """

    output: Path

    @property
    def study(self) -> Path:
        """The study as it was run, defaults filled in, with versions."""
        return self.output / "study.yaml"

    @property
    def tiles(self) -> Path:
        """One row a tile, refused ones with their reason."""
        return self.output / "tiles.parquet"

    @property
    def splits(self) -> Path:
        """Donors (or, without donors, tiles) per split."""
        return self.output / "splits.yaml"

    @property
    def fingerprints(self) -> Path:
        """What input files hashed to when they were last read."""
        return self.output / "fingerprints.parquet"

    @property
    def task_results(self) -> Path:
        """Results that Prefect keeps for its task cache."""
        return self.output / "task-results"

    @property
    def logs(self) -> Path:
        """What jobs and workers wrote, for people."""
        return self.output / "logs"

    @property
    def claim(self) -> Path:
        """An empty file that the run which segments the study locks."""
        return self.output / "at-work.lock"

    @property
    def claim_holder(self) -> Path:
        """Which run that is; counts only while the lock is held."""
        return self.output / "at-work.json"

    @property
    def stages(self) -> Path:
        """What the last run of the flow `study` set out to do."""
        return self.output / "stages.json"

    @property
    def code_secret(self) -> Path:
        """What the codes of donors are keyed by; never to leave this folder."""
        return self.output / "donor-codes" / "secret"

    @property
    def donor_codes(self) -> Path:
        """Code and id of every donor."""
        return self.output / "donor-codes" / "codes.tsv"

    def prepared(self, key: str) -> Path:
        """Cellpose-ready images and labels, a folder a split."""
        return self.output / "prepared" / _plain(key)

    def prepared_folders(self) -> list[Path]:
        """All folders of prepared tiles."""
        return sorted((self.output / "prepared").glob("*"))

    def checkpoint_folders(self) -> list[Path]:
        """All trainings that have begun."""
        return sorted((self.output / "checkpoints").glob("*"))

    def checkpoint(self, key: str) -> Path:
        """One training: trainer state while it runs, best and last weights, history, record."""
        return self.output / "checkpoints" / _plain(key)

    def recipe(self, name: str) -> Path:
        """A recipe that an experiment made, with the checksum of its weights."""
        return self.output / "recipes" / f"{_plain(name)}.yaml"

    def experiment(self, name: str, key: str) -> Path:
        """Tables, figures and choices of one experiment, for example `e2-label-budget`."""
        return self._experiment_folder(name) / _plain(key)

    def current_experiment(self, name: str) -> Path:
        """Says which key the experiment of the study as it is has."""
        return self._experiment_folder(name) / "current.txt"

    def experiments(self) -> list[str]:
        """Names of the experiments that have run, in the order of the data."""
        found = [path.parent.name for path in (self.output / "experiments").glob("*/current.txt")]
        return sorted(found) + [DONORS] * self.current_experiment(DONORS).exists()

    def _experiment_folder(self, name: str) -> Path:
        return (
            self.output / "donors" if name == DONORS else self.output / "experiments" / _plain(name)
        )

    def donor_part(self, name: str, key: str) -> Path:
        """A table that the donor statistics are made from, for example `tile-quality`."""
        return self.output / "donors" / "parts" / f"{_plain(name)}-{_plain(key)}.parquet"

    @property
    def reports(self) -> Path:
        """Folder of all reports."""
        return self.output / "reports"

    def report(self, stamp: str) -> Path:
        """Folder of one report, by when it was made."""
        return self.reports / _plain(stamp)

    def newest_report(self) -> Path | None:
        """The page of the latest report, if one was written."""
        return max(self.reports.glob("*/report.html"), default=None)

    def sweep(self, key: str) -> Path:
        """Folder of one threshold sweep or gate table: counts and cells, one row each."""
        return self.output / "sweeps" / _plain(key)

    def evaluation(self, key: str) -> Path:
        """Counts, one row an image."""
        return self.output / "evaluations" / f"{_plain(key)}.parquet"

    def labels(self, key: str) -> Path:
        """Folder of label arrays, one a tile shape."""
        return self.output / "labels" / _plain(key)

    def label_array(self, key: str, array: str) -> Path:
        """The zarr array of one tile shape, for example `1040x1388`."""
        return self.labels(key) / f"{_plain(array)}.zarr"

    def label_shard(self, key: str, array: str, index: int) -> Path:
        """The file of one shard inside the array; the name is zarr v3's default chunk key."""
        return self.label_array(key, array) / "c" / str(index) / "0" / "0"

    def cells(self, key: str, shard: int) -> Path:
        """One row a cell of the shard."""
        return self.output / "cells" / _plain(key) / f"shard-{shard:05d}.parquet"

    def cells_folder(self, key: str) -> Path:
        """All cell files of one inference; pandas and pyarrow read the folder as one table."""
        return self.output / "cells" / _plain(key)

    def record(self, key: str, shard: int) -> Path:
        """The shard's commit record, written last."""
        return self.ledger(key) / f"shard-{shard:05d}.json"

    def ledger(self, key: str) -> Path:
        """Commit records of one inference, with its plan."""
        return self.output / "ledger" / _plain(key)

    def plan(self, key: str) -> Path:
        """Which tile lies in which shard, at which place."""
        return self.ledger(key) / "plan.parquet"

    def claims(self, key: str) -> Path:
        """An empty file of which each byte stands for a shard: who works on one locks its byte."""
        return self.ledger(key) / "claims"

    def run_record(self, key: str) -> Path:
        """What the inference was: model, recipe, versions."""
        return self.ledger(key) / "run.json"

    def inference_keys(self) -> list[str]:
        """Keys of all inferences that have a plan, in order of name."""
        return sorted(path.parent.name for path in (self.output / "ledger").glob("*/plan.parquet"))

    def places(self) -> dict[str, Path]:
        """Where to look for what: files and folders, there or still to be made, by what they are.

        In folders, each result has a folder of its own, called after its key.
        """
        return {
            "Reports: an HTML file each, with all the rest in figures and tables": self.reports,
            "A page an experiment; `current.txt` names the latest": self.output / "experiments",
            "Donor tables, associations, stability": self.output / "donors",
            "Labels of every tile (zarr)": self.output / "labels",
            "One row a cell (parquet)": self.output / "cells",
            "Trained weights, with their history": self.output / "checkpoints",
            "Images and labels as Cellpose opens them": self.output / "prepared",
            "Which tiles were found, refused and why": self.tiles,
            "Which donor is in which split": self.splits,
        }

    @classmethod
    def of_labels(cls, path: Path) -> tuple["RunPaths", str]:
        """The paths and the key that a label folder, or an array in it, belongs to.

        Raises:
            StoreError: if the folder does not lie in `<output>/labels/<key>`.
        """
        folder = path.resolve()
        if folder.suffix == ".zarr":
            folder = folder.parent
        paths, key = cls(folder.parent.parent), folder.name
        if folder.parent.name != "labels" or not paths.plan(key).exists():
            raise StoreError(
                f"labels must lie in <output>/labels/<key> beside their ledger, found {path}; "
                "pass that folder as somaflow e5-inference wrote it"
            )
        return paths, key

    def write_current(self, path: Path, content: bytes) -> bool:
        """Writes one of the few files whose name holds no key, keeping a former version.

        A file with other content is first copied to `previous/`, under its own hash, so nothing
        that an earlier result was made from is ever lost. One that says the same stays, whichever
        release wrote it. Returns whether anything was written.

        Raises:
            SchemaError: if a newer release wrote what is there.
        """
        if path.exists():
            if kind := find_kind(path.relative_to(self.output)):
                check_file(kind, path)
            if is_same(path, content):
                return False
            name = f"{path.stem}-{hash_file(path)[:12]}{path.suffix}"
            write_bytes(self.output / "previous" / name, path.read_bytes())
        write_bytes(path, content)
        return True


def exported_image(folder: Path, donor: str, region: str, tile_id: str) -> Path:
    """Where the OME-Zarr image of a tile goes: `<folder>/<donor>/<region>/<tile_id>.ome.zarr`.

    Args:
        folder: chosen by the user.
        donor: safe as a folder's name; "" = unknown, and no folder for it.
        region: likewise.
        tile_id: unique and safe as a file name, so that no two tiles have one path.
    """
    return folder.joinpath(*filter(None, (donor, region)), f"{tile_id}.ome.zarr")
