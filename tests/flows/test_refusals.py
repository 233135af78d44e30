"""What a user sees when something is wrong: one clear error, nothing half-written."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.flows.conftest import Finished, Run
from tests.mounts import with_mount

pytestmark = pytest.mark.server


def edit(study: Path, **fields: object) -> None:
    """Changes fields of a study file."""
    study.write_text(yaml.safe_dump({**yaml.safe_load(study.read_text()), **fields}))


def tiffs(study: Path) -> list[Path]:
    """Files of the tile tree, in order."""
    return sorted((study.parent / "tiles").rglob("*.tiff"))


def test_thirty_bad_files_are_one_report_of_thirty_lines(study: Path, somaflow: Run) -> None:
    """All bad tiles are listed at once, before any model is loaded."""
    for path in [p for p in tiffs(study) if "b0c1" in p.name][:30]:
        path.write_bytes(path.read_bytes()[:100])
    edit(study, bad_tiles="fail")
    done = somaflow("run", "study", study)
    assert done.returncode == 1
    report = done.stderr.split("somaflow: ")[-1].strip().splitlines()
    assert report[0] == "30 tile(s) cannot be used:", done.stderr
    assert len(report) == 31
    assert all(".tiff" in line for line in report[1:])
    assert not (study.parent / "output" / "labels").exists()
    checked = somaflow("check", study)
    assert checked.returncode == 1
    assert "30 problem(s)" in checked.stdout


def test_bad_tile_is_set_aside_and_counted(study: Path, somaflow: Run) -> None:
    """By default one truncated tile costs itself: the rest is segmented, the row says why."""
    victim = next(p for p in tiffs(study) if "b0c1" in p.name)
    victim.write_bytes(victim.read_bytes()[:100])
    assert somaflow("run", "e0-prepare", study).returncode == 0
    done = somaflow("run", "e5-inference", study)
    assert done.returncode == 0, done.stderr
    assert "47 ok, 1 refused" in done.stdout
    assert victim.name in done.stdout
    assert "31 of 31 tiles" in done.stdout


def test_inference_before_preparation_says_what_to_run(study: Path, somaflow: Run) -> None:
    """A stage whose input is missing names the stage that makes it."""
    done = somaflow("run", "e5-inference", study)
    assert done.returncode == 1
    assert "run e0-prepare" in done.stderr


def test_donor_in_two_splits_is_refused(study: Path, finished: Finished, somaflow: Run) -> None:
    """A donor on both sides stops e0-prepare, which names the donor by code and says where."""
    written = finished.folder / "output" / "splits.yaml"
    splits = yaml.load(written.read_text(), yaml.BaseLoader)
    donor = splits["donors"]["train"][0]
    splits["donors"]["test"].append(donor)
    (study.parent / "mine.yaml").write_text(yaml.safe_dump(splits))
    edit(study, splits={"file": "mine.yaml"})
    done = somaflow("run", "e0-prepare", study)
    assert done.returncode == 1
    codes = study.parent / "output" / "donor-codes" / "codes.tsv"
    code = dict(line.split("\t")[::-1] for line in codes.read_text().splitlines())[donor]
    words = done.stderr.split("somaflow: ")[-1]
    assert code in words and str(codes) in words and donor not in done.stderr


def test_labelled_tile_in_two_splits_under_two_names_is_a_leak(study: Path, somaflow: Run) -> None:
    """The same pixels under another donor's name fail the flow."""
    folder = study.parent / "labelled"
    donors = dict(line.split(",") for line in (folder / "donors.csv").read_text().split()[1:])
    splits = {"level": "donor", "seed": 0, "fractions": {"train": 0.6, "val": 0.2, "test": 0.2}}
    names = sorted(set(donors.values()))
    splits["donors"] = {"train": names[:2], "val": names[2:3], "test": names[3:]}
    (study.parent / "mine.yaml").write_text(yaml.safe_dump(splits))
    edit(study, splits={"file": "mine.yaml"})
    first = next(tile for tile, donor in donors.items() if donor == names[0])
    last = next(tile for tile, donor in donors.items() if donor == names[3])
    for ending in (".tiff", "_marker.tiff", "_cellbodies.npy"):
        (folder / f"{last}{ending}").write_bytes((folder / f"{first}{ending}").read_bytes())
    done = somaflow("run", "e0-prepare", study)
    assert done.returncode == 1
    message = done.stderr.split("somaflow: ")[-1]
    assert first in message and last in message and "same pixels" in message


def test_tiles_without_donors_must_be_split_as_images_by_name(study: Path, somaflow: Run) -> None:
    """Without donor identity e0-prepare stops; asked for, the split says image-level everywhere."""
    labelled = {"root": "labelled", "layout": "flat"}
    edit(study, labelled=labelled)
    refused = somaflow("run", "e0-prepare", study)
    assert refused.returncode == 1
    assert "donor" in refused.stderr.split("somaflow: ")[-1]
    edit(study, labelled=labelled, splits={"level": "image"})
    assert somaflow("run", "e0-prepare", study).returncode == 0
    done = somaflow("run", "e1-recipes", study)
    assert done.returncode == 0, done.stderr
    assert "image-level splits" in done.stdout
    assert "image-level" in (study.parent / "output" / "splits.yaml").read_text()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tiles": {"root": "nowhere"}}, "nowhere"),
        ({"markers": ["GFAP", "CD68"]}, "CD68"),
        ({"device": "cuda"}, "device"),
        ({"recipes": [{"name": "baseline", "model": "mine.pt"}]}, "mine.pt"),
        ({"recipes": [{"name": "baseline", "model_sha256": "0" * 64}]}, "sha256"),
    ],
)
def test_check_names_what_is_wrong(
    study: Path, somaflow: Run, fields: dict[str, object], message: str
) -> None:
    """`somaflow check` finds it without a server or a run, and says it in words."""
    edit(study, **fields)
    done = somaflow("check", study)
    assert done.returncode == 1, done.stdout
    assert message in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [("ro", "the file system is read-only"), ("size=2m", "is full; free space")],
)
def test_output_that_cannot_be_written_is_refused(
    study: Path, tmp_path: Path, options: str, message: str
) -> None:
    """A read-only place, or one where not even the server's database fits, is one clear error."""
    place = tmp_path / "place"
    place.mkdir()
    edit(study, output=str(place / "output"))
    done = subprocess.run(
        [*with_mount(place, options), sys.executable, "-m", "somaflow", "run", "study", str(study)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert message in done.stderr


def test_unknown_flow_and_site_are_named(study: Path, somaflow: Run) -> None:
    """A wrong word on the command line lists the right ones."""
    flow = somaflow("run", "e9-magic", study)
    assert flow.returncode != 0
    assert "e5-inference" in flow.stderr
    site = somaflow("run", "e0-prepare", study, "--site", "moon")
    assert site.returncode == 1
    assert "site must be one of laptop" in site.stderr


def test_check_of_an_unknown_site_names_those_there_are(study: Path, somaflow: Run) -> None:
    """`--site` is looked at beside the study, and what is wrong with it is one line more."""
    done = somaflow("check", study, "--site", "slrum")
    assert done.returncode == 1
    assert "got 'slrum'" in done.stdout
    assert "1 problem(s)" in done.stdout
