"""What Prefect's server knows after a study whose donors are in trouble: not who they are."""

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from somaflow.paths import RunPaths
from tests.conftest import REPOSITORY
from tests.permissions import open_to_others

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.long]
WORD, NUMBER = "hush-hush", "77.125"
"""Cells of the trait table that no codebook allows."""


def spoil(study: Path) -> None:
    """Has as many lines be said about donors as can be: bad tiles, bad traits, few tiles."""
    folder = study.parent
    tiles = sorted(folder.glob("tiles/*/*/*/*/*/*b0c1*.tiff"))
    tiles[0].write_bytes(tiles[0].read_bytes()[:100])  # no header: refused
    content = tiles[5].read_bytes()
    middle = len(content) // 2
    tiles[5].write_bytes(content[:middle] + bytes(500) + content[middle + 500 :])  # quarantined
    misplaced = folder / "tiles" / "GFAP" / "90000002" / "Grey" / "Snap-900.tiff_files"
    misplaced.mkdir(parents=True)
    (misplaced / "Snap-900_b0c0.tiff").write_bytes(tiles[1].read_bytes())
    traits = pd.read_csv(folder / "traits.csv", dtype=str)
    traits.loc[0, "braaksc"], traits.loc[1, "braaksc"] = WORD, NUMBER
    traits.to_csv(folder / "traits.csv", index=False)
    (folder / "expected.csv").write_text("donor,marker,tiles\n00900001,GFAP,9\n00900077,GFAP,2\n")
    settings = {"n_resamples": 200, "n_tile_draws": 20, "min_tiles": 3}
    edit(study, labelled=None, donor_statistics={**settings, "expected_tiles": "expected.csv"})


def edit(study: Path, **fields: object) -> None:
    study.write_text(yaml.safe_dump(yaml.safe_load(study.read_text()) | fields))


def run(study: Path, flow: str) -> subprocess.CompletedProcess[str]:
    """The command with a server of its own, whose database stays in the study's outputs."""
    unset = ("PREFECT_API_URL", "PREFECT_HOME", "SOMAFLOW_UMASK")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    return subprocess.run(
        [sys.executable, "-m", "somaflow", "run", flow, str(study)],
        cwd=REPOSITORY,
        env={**environment, "PREFECT_HOME": str(study.parent / "no-profile")},
        capture_output=True,
        text=True,
        check=False,
    )


def told(study: Path) -> dict[str, str]:
    """Everything that the server was ever told, a text a table of its database."""
    path = RunPaths(study.parent / "output").output / "prefect" / "prefect.db"
    with sqlite3.connect(path) as database:
        names = database.execute("select name from sqlite_master where type = 'table'").fetchall()
        return {
            name: "\n".join(
                " | ".join(map(str, row)) for row in database.execute(f'select * from "{name}"')
            )
            for (name,) in names
        }


def find_told(study: Path, words: set[str]) -> dict[str, set[str]]:
    """Which of these words are in which tables."""
    found = {
        name: {word for word in words if re.search(rf"(?<!\d){re.escape(word)}(?!\d)", text)}
        for name, text in told(study).items()
    }
    return {name: some for name, some in found.items() if some}


def donors_of(study: Path) -> set[str]:
    """All ids that the study's files hold, with and without their zeros, and other registers'."""
    traits = pd.read_csv(study.parent / "traits.csv", dtype=str)
    tiles = {path.name for path in study.parent.glob("tiles/*/*/*") if path.is_dir()}
    names = {*traits.projid, *traits.individualID, *tiles, "00900077"} - {"Grey"}
    return names | {name.lstrip("0") for name in names}


def test_server_is_told_no_donor_and_no_trait(study: Path) -> None:
    """Refused and quarantined tiles, donors without tiles or traits: by codes, in every table.

    The files of the study name them, and say whose the codes are. A study that shows its donors
    has the very same lines in clear.
    """
    spoil(study)
    done = run(study, "study")
    assert done.returncode == 0, done.stderr
    assert {} == find_told(study, donors_of(study) | {WORD, NUMBER})
    server = told(study)
    for table in ("log", "artifact"):
        assert "donor-" in server[table], f"{table} has no line about donors: nothing was tried"
        assert "donor-codes/codes.tsv" in server["artifact"]
    for words in ("tiles that are not used", "Quarantined", "are not allowed by the codebook"):
        assert words in server["log"]
    paths = RunPaths(study.parent / "output")
    codes = pd.read_csv(paths.donor_codes, sep="\t", dtype=str)
    assert {"00900001", "90000002", "900005", "00900077"} <= set(codes.donor)
    assert [] == open_to_others(paths.output), "with the server's own database and its log"
    (report,) = paths.output.glob("reports/*/report.html")
    assert "90000002" in report.read_text()

    edit(study, show_donors=True)
    done = run(study, "study")
    assert done.returncode == 0, done.stderr
    shown = find_told(study, {"00900001", "90000002", WORD, NUMBER})
    assert {"00900001", "90000002", WORD, NUMBER} <= shown["log"]
    assert {"00900001", "90000002", WORD, NUMBER} <= shown["artifact"]


def test_failed_runs_name_no_donor(study: Path) -> None:
    """States, events and tracebacks of a flow that a donor made fail, and of its task's retries."""
    donors = pd.read_csv(study.parent / "labelled" / "donors.csv", dtype=str).donor.unique()
    splits = {"train": list(donors[:3]), "val": [donors[0]], "test": [donors[3]]}
    content = {"level": "donor", "seed": 0, "fractions": {"train": 0.6, "val": 0.2, "test": 0.2}}
    (study.parent / "mine.yaml").write_text(yaml.safe_dump({**content, "donors": splits}))
    edit(study, splits={"file": "mine.yaml"})
    done = run(study, "e0-prepare")
    assert done.returncode == 1
    assert "found twice: donor-" in done.stderr
    assert {} == find_told(study, donors_of(study))
    server = told(study)
    assert "found twice: donor-" in server["flow_run_state"]
    assert "found twice: donor-" in server["task_run_state"]
    assert "found twice: donor-" in server["events"]
    edit(study, show_donors=True)
    assert run(study, "e0-prepare").returncode == 1
    assert {donors[0]} <= find_told(study, {donors[0]})["flow_run_state"]
