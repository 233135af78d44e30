"""Writes the report of a study: one HTML file, its figures and tables, and what columns mean.

Enters: a study, run as far as it may be. Leaves: a new folder under `<output>/reports/`, whole or
not at all; a former report is never touched.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from somaflow.experiments.results import Results, as_pdf
from somaflow.files import write_folder
from somaflow.paths import DONORS
from somaflow.report.cautions import describe_cautions
from somaflow.report.dictionary import describe_columns
from somaflow.report.document import Part, write_document
from somaflow.report.evidence import Evidence, gather
from somaflow.report.markup import file_name
from somaflow.report.provenance import describe_provenance
from somaflow.report.tiles import describe_inference, describe_preparation
from somaflow.study import Study

_TITLES = {
    "e0-prepare": "E0 Tiles and splits",
    "e1-recipes": "E1 Recipes",
    "e2-label-budget": "E2 Label budgets",
    "e3-gating": "E3 Gates",
    "e4-thresholds": "E4 Thresholds and diagnosis",
    "e5-inference": "E5 Segmentation of all tiles",
    DONORS: "E5 Donors",
}
"""Flows in the order of the data."""
_BASE64 = 4 / 3
_HEAD_LETTERS = 1000


def write_report(study: Study, study_file: Path | None = None, now: datetime | None = None) -> Path:
    """Writes a report of all that a study has left on disk, and returns the HTML file.

    Where the newest report says just the same, that one is returned and nothing is written.

    Args:
        study: as it is now; it need not have run.
        study_file: named in the commands that repeat the study.
        now: time of the report, UTC.

    Raises:
        OutputError: if the output folder cannot be written.
    """
    now = (now or datetime.now(UTC)).astimezone(UTC)
    evidence = gather(study)
    parts = _list_parts(evidence, study_file)
    pages = {part.anchor: part.page for part in parts if part.page is not None}
    files = _list_files(pages)
    digest = _digest(write_document("", "", [], parts), files)
    if (same := _find_same(study, digest)) is not None:
        return same
    folder = _find_free(study, now)
    title = f"Report of {study.name}"
    subtitle = [
        f"Made {now:%Y-%m-%d %H:%M} UTC by somaflow from {study.output}.",
        "Intervals are 95 % intervals; the unit of statistics is the donor, never a tile or cell.",
    ]
    document = write_document(title, digest, subtitle, parts)
    write_folder(folder, {"report.html": document.encode()} | files)
    return folder / "report.html"


def _digest(body: str, files: Mapping[str, bytes]) -> str:
    """Of all that a report says, but for when it was made."""
    digest = hashlib.sha256(body.encode())
    for name, content in files.items():
        # A PDF is drawn from the figure that the PNG shows, but not always to the same bytes.
        if not name.endswith(".pdf"):
            digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()


def _find_same(study: Study, digest: str) -> Path | None:
    """The newest report, if it has this digest in its head."""
    newest = study.paths.newest_report()
    if newest is None:
        return None
    with newest.open(encoding="utf-8", errors="replace") as handle:
        head = handle.read(_HEAD_LETTERS)
    return newest if digest in head else None


def _list_parts(evidence: Evidence, study_file: Path | None) -> list[Part]:
    """Warnings, what was run, then each flow in order."""
    name = str(study_file) if study_file else "STUDY"
    pages: dict[str, Results | None] = dict(evidence.pages)
    pages["e0-prepare"] = describe_preparation(evidence)
    pages["e5-inference"] = describe_inference(evidence)
    parts = [
        Part(flow, title, pages.get(flow), f"somaflow run {flow} {name}")
        for flow, title in _TITLES.items()
    ]
    run = [part.anchor for part in parts if part.page is not None]
    provenance = Part("run", "What was run", describe_provenance(evidence, study_file, run))
    absent = [
        f"{part.title} was not run: `{part.command.replace('`', '')}`"
        for part in parts
        if part.page is None
    ]
    n_bytes = sum(len(png) for part in parts if part.page for png in part.page.pictures.values())
    cautions = describe_cautions(evidence, absent, n_bytes * _BASE64 / 1e6)
    return [Part("warnings", "Warnings", cautions), provenance, *parts]


def _find_free(study: Study, now: datetime) -> Path:
    """A folder of its own, also for two reports within a second."""
    stamp = f"{now:%Y%m%dT%H%M%SZ}"
    folder = study.paths.report(stamp)
    number = 2
    while folder.exists():
        folder = study.paths.report(f"{stamp}-{number}")
        number += 1
    return folder


def _list_files(pages: Mapping[str, Results]) -> dict[str, bytes]:
    """Figures and tables of all parts, and the dictionary of columns, by path."""
    files: dict[str, bytes] = {}
    tables: dict[str, pd.DataFrame] = {}
    for anchor, page in pages.items():
        for name, picture in page.pictures.items():
            path = f"figures/{file_name(anchor, name)}"
            files[f"{path}.png"], files[f"{path}.pdf"] = bytes(picture), as_pdf(picture)
        for name, table in page.tables.items():
            tables[file_name(anchor, name)] = table
    for name, table in tables.items():
        files[f"tables/{name}.tsv"] = _as_tsv(table)
        files[f"tables/{name}.parquet"] = _as_parquet(table)
    files["columns.tsv"] = _as_tsv(describe_columns(tables))
    return files


def _as_tsv(table: pd.DataFrame) -> bytes:
    return table.to_csv(sep="\t", index=False).encode()


def _as_parquet(table: pd.DataFrame) -> bytes:
    """Columns of mixed kinds become what they have in common, or text."""
    kinds = table.convert_dtypes()
    mixed = [name for name in kinds if kinds[name].dtype == object]
    return kinds.astype(dict.fromkeys(mixed, "string")).to_parquet(index=False)
