"""What the report of a study says, and what lies beside it."""

import html.parser
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from somaflow.figures.charts import INK
from somaflow.files import write_text
from somaflow.report import cautions, write_report
from somaflow.report.style import DARK, LIGHT
from tests.report.studies import (
    EVIL,
    QUARANTINED,
    REFUSED,
    infer,
    make_study,
    prepare,
    run_everything,
)

VOID = {"meta", "link", "img", "br", "hr"}
NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


class Outline(html.parser.HTMLParser):
    """Elements with their attributes, in order, and whether tags are closed as opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(text)
        assert [] == self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag == self._open.pop()

    def handle_data(self, data: str) -> None:
        self.words.append((self._open[-1] if self._open else "", data))

    def attributes(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]

    @property
    def text(self) -> str:
        return " ".join("".join(words for tag, words in self.words if tag != "style").split())


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a study of which everything has run, and something of everything failed."""
    folder = tmp_path_factory.mktemp("report")
    return write_report(run_everything(make_study(folder)), folder / "study.yaml", NOW)


@pytest.fixture(scope="module")
def outline(report: Path) -> Outline:
    return Outline(report.read_text())


def test_report_of_nothing_says_so(tmp_path: Path) -> None:
    """Of a study that has not run each part says so in a line, with the command that makes it."""
    study = make_study(tmp_path)
    text = write_report(study, Path("my study.yaml")).read_text()
    assert 7 == text.count('<p class="absent-part">Not run.')
    for flow in ("e0-prepare", "e1-recipes", "e4-thresholds", "e5-inference", "e5-donors"):
        assert f"Not run. <code>somaflow run {flow} my study.yaml</code>" in text
    assert 7 == Outline(text).text.count("was not run: somaflow run")


def test_report_lies_in_a_folder_of_its_own(tmp_path: Path) -> None:
    """A second report, even within the second, leaves the first as it is."""
    study = make_study(tmp_path)
    first = write_report(study, now=NOW)
    before = first.read_bytes()
    prepare(study)
    second = write_report(study, now=NOW)
    assert study.output / "reports" / "20260504T030201Z" / "report.html" == first
    assert first != second
    assert before == first.read_bytes() != second.read_bytes()


def test_report_that_would_say_the_same_is_not_written_again(tmp_path: Path) -> None:
    """Days later and nothing new: the report that is there is the answer."""
    study = make_study(tmp_path)
    first = write_report(study, now=NOW)
    assert first == write_report(study, now=NOW + timedelta(days=3))
    assert [first.parent] == list((study.output / "reports").iterdir())


def test_warnings_come_first_and_name_what_is_wrong(outline: Outline) -> None:
    """Refused and quarantined tiles, failed runs, flags, gaps and open verdicts are all there."""
    sections = [str(attributes["id"]) for attributes in outline.attributes("section")]
    assert ["warnings", "run", "e0-prepare"] == sections[:3]
    warnings = outline.text[outline.text.index("Warnings") : outline.text.index("Devices")]
    for words in (
        "1 tile(s) refused",
        "1 tile(s) quarantined by 0c",
        REFUSED,
        QUARANTINED,
        "the net gave NaN",
        "1 run(s) of e1-recipes failed: OLIG2-only: the loss was not finite",
        "1 donor(s) flagged in donors: 02",
        "Fewer tiles than expected",
        "1 donor(s) without traits",
        "1 of 2 verdicts in stability of e5-donors are not conclusive",
        "differences in F1 against the baseline",
        "E2 Label budgets was not run",
    ):
        assert words in warnings


def test_names_from_outside_stay_words(report: Path, outline: Outline) -> None:
    """A script, a link or a picture in a reason is shown letter by letter and does nothing."""
    text = report.read_text()
    assert "<script" not in text
    assert EVIL in outline.text
    links = [str(attributes["href"]) for attributes in outline.attributes("a", "link")]
    assert not [link for link in links if "example" in link or "://" in link]


def test_report_needs_no_other_file(outline: Outline) -> None:
    """Every picture is inside; nothing is loaded, neither from beside the file nor from afar."""
    images = outline.attributes("img")
    assert 3 == len(images)
    assert all(str(image["src"]).startswith("data:image/png;base64,") for image in images)
    loading = outline.attributes("script", "iframe", "object", "embed", "video", "source")
    assert [] == loading
    assert ["data:,"] == [attributes["href"] for attributes in outline.attributes("link")]
    style = "".join(words for tag, words in outline.words if tag == "style")
    assert not re.search(r"url\(|@import", style)


def test_report_can_be_read_with_a_screen_reader(outline: Outline) -> None:
    """Language, one h1, no jump between headings, landmarks, a skip link that leads to main."""
    assert [{"lang": "en"}] == outline.attributes("html")
    levels = [int(tag[1]) for tag, _ in outline.elements if re.fullmatch(r"h[1-6]", tag)]
    assert 1 == levels.count(1)
    assert all(below <= above + 1 for above, below in pairwise(levels))
    for landmark in ("header", "nav", "main", "footer"):
        assert 1 == len(outline.attributes(landmark))
    first_link = outline.attributes("a")[0]
    assert ("skip", "#main") == (first_link["class"], first_link["href"])
    assert all(str(image["alt"]).strip() for image in outline.attributes("img"))


def test_anchors_lead_somewhere(outline: Outline) -> None:
    """Every entry of the contents has its place, and no id is given twice."""
    ids = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    targets = [str(attributes["href"]) for attributes in outline.attributes("a")]
    assert {target[1:] for target in targets if target.startswith("#")} <= set(ids)


def test_tables_say_what_their_headers_are_of(outline: Outline) -> None:
    """Header cells have a scope; each table scrolls in a region that keyboards reach."""
    assert {"col", "row"} == {str(cell.get("scope")) for cell in outline.attributes("th")}
    regions = [
        attributes
        for attributes in outline.attributes("div", "pre")
        if attributes.get("class") == "scroll"
    ]
    n_expected = len(outline.attributes("table")) + len(outline.attributes("pre"))
    assert n_expected == len(regions) > 8
    assert all(("region", "0") == (each["role"], each["tabindex"]) for each in regions)
    assert all(each["aria-label"] for each in regions)


def test_files_lie_beside_the_report(report: Path) -> None:
    """Each figure as PNG and PDF, each table as TSV and parquet with the same content."""
    figures = {path.name for path in (report.parent / "figures").iterdir()}
    assert {f"{name}.{end}" for name in ("e5-donors-coverage", "e1-recipes-scores")
            for end in ("png", "pdf")} <= figures  # fmt: skip
    tables = sorted((report.parent / "tables").glob("*.tsv"))
    assert len(tables) > 8
    for path in tables:
        one = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        two = pd.read_parquet(path.with_suffix(".parquet"))
        assert (one.shape, list(one)) == (two.shape, list(two))
    assert "01" == pd.read_parquet(report.parent / "tables" / "e5-donors-donors.parquet").donor[0]


def test_links_to_files_are_right(report: Path, outline: Outline) -> None:
    """Every relative link names a file that is there."""
    links = [str(attributes["href"]) for attributes in outline.attributes("a")]
    files = [link for link in links if not link.startswith("#")]
    assert len(files) > 20
    assert [] == [link for link in files if not (report.parent / link).is_file()]


def test_every_column_is_described(report: Path) -> None:
    """The dictionary has exactly one entry a table and column, with unit and meaning."""
    columns = pd.read_csv(report.parent / "columns.tsv", sep="\t")
    expected = [
        (path.stem, column)
        for path in sorted((report.parent / "tables").glob("*.tsv"))
        for column in pd.read_csv(path, sep="\t", nrows=0)
    ]
    assert sorted(expected) == sorted(zip(columns.table, columns.column, strict=True))
    undescribed = columns[columns.meaning.isin(["", "not described"]) | columns.unit.isna()]
    assert [] == undescribed.column.tolist()


def test_report_says_how_to_do_it_again(outline: Outline) -> None:
    """Commands, weights, versions, key, device and the study file with its defaults."""
    for words in (
        "somaflow run e1-recipes",
        "somaflow report",
        "abababababab",
        "torch",
        "9.9",
        "0c",
        "Devices: cpu",
        "iou_threshold: 0.5",
    ):
        assert words in outline.text


def test_totals_are_those_of_the_ledger(report: Path) -> None:
    """14 tiles with 5 cells each, one tile quarantined, one refused and not planned."""
    totals = pd.read_csv(report.parent / "tables" / "e5-inference-totals.tsv", sep="\t")
    assert [15, 15, 70, 1] == totals.loc[
        0, ["n_tiles", "n_tiles_done", "n_cells", "n_quarantined"]
    ].tolist()
    markers = pd.read_csv(report.parent / "tables" / "e5-inference-by-marker.tsv", sep="\t")
    assert [7, 8] == markers.n_tiles.tolist()


def test_image_level_splits_are_warned_of(tmp_path: Path) -> None:
    """Scores on splits that are not by donor say so at the top."""
    study = make_study(tmp_path, level="image")
    prepare(study)
    assert "Splits are image-level" in Outline(write_report(study).read_text()).text


def test_unfinished_inference_is_warned_of(tmp_path: Path) -> None:
    """A shard without a record is a line among the warnings."""
    study = make_study(tmp_path)
    prepare(study)
    infer(study)
    study.paths.record("0c", 0).unlink()
    text = Outline(write_report(study).read_text()).text
    assert "Inference 0c is not finished: 0 of 15 tiles" in text


def test_changed_study_is_warned_of(tmp_path: Path) -> None:
    """Results of another study file than today's do not pass for its own."""
    study = make_study(tmp_path)
    prepare(study)
    assert "has changed since" not in write_report(study).read_text()
    changed = study.model_copy(update={"iou_threshold": 0.6})
    assert "The study file has changed since e0-prepare ran" in write_report(changed).read_text()


def test_file_that_cannot_be_read_is_a_warning(tmp_path: Path) -> None:
    """A torn page is named, and the rest of the report is there."""
    study = run_everything(make_study(tmp_path))
    (study.paths.experiment("e1-recipes", "0b") / "summary.md").unlink()
    write_text(study.paths.recipe("generic"), "a: [")
    text = Outline(write_report(study).read_text()).text
    assert "e1-recipes: results must have a page" in text
    assert "generic.yaml cannot be read" in text
    assert "Donors of" not in text[: text.index("E5 Donors")]


def test_large_report_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit the first section says how large the pictures are, and what helps."""
    study = run_everything(make_study(tmp_path))
    assert "This file is large" not in write_report(study).read_text()
    monkeypatch.setattr(cautions, "SIZE_LIMIT_MB", 0.1)
    assert "This file is large" in write_report(study).read_text()


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb, as WCAG 2.2 defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_contrast_is_known() -> None:
    """Black on white is 21, by definition, and a colour on itself is 1."""
    assert 21 == pytest.approx(contrast("#000000", "#ffffff"))
    assert 1 == pytest.approx(contrast(INK, INK))


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("ink", "ground"),
    [
        ("ink", "ground"), ("ink", "raised"), ("muted", "ground"), ("muted", "raised"),
        ("link", "ground"), ("link", "raised"), ("warning-ink", "warning-ground"),
    ],
)  # fmt: skip
def test_words_stand_out(scheme: dict[str, str], ink: str, ground: str) -> None:
    """Every pair of ink and ground in use has a contrast of 4.5 or more."""
    assert contrast(scheme[ink], scheme[ground]) >= 4.5


def test_style_uses_no_other_colours(report: Path) -> None:
    """All colours are the tested ones, apart from the white card under figures."""
    text = report.read_text()
    style = text[text.index("<style>") : text.index("</style>")]
    assert {*LIGHT.values(), *DARK.values(), "#ffffff"} == set(re.findall(r"#[0-9a-f]{6}", style))
    assert set(re.findall(r"var\(--([a-z-]+)\)", style)) <= set(LIGHT) == set(DARK)
