"""The page that an experiment leaves behind."""

import io
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from somaflow.errors import StoreError
from somaflow.experiments.results import (
    Results,
    as_pdf,
    embed_pictures,
    merge_results,
    read_results,
    write_results,
)
from somaflow.figures.pictures import Picture


def make_picture() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (8, 6), (10, 200, 30)).save(content, "PNG")
    return content.getvalue()


def make_results() -> Results:
    results = Results("Recipes of s")
    results.add_words("Some words.")
    table = pd.DataFrame({"marker": ["GFAP"], "f1": [0.5]})
    results.add_table("scores", table, table.astype(str))
    results.add_picture("curve", make_picture(), "A curve")
    return results


def test_page_has_its_parts_in_order(tmp_path: Path) -> None:
    """Words, tables and pictures follow each other as they were added."""
    text = write_results(make_results(), tmp_path).read_text()
    places = [
        text.index(part) for part in ("# Recipes of s", "Some words", "| GFAP |", "curve.png")
    ]
    assert sorted(places) == places


def test_tables_and_pictures_lie_beside_the_page(tmp_path: Path) -> None:
    """Whole tables as TSV, pictures as PNG and as PDF."""
    write_results(make_results(), tmp_path)
    assert [0.5] == pd.read_csv(tmp_path / "scores.tsv", sep="\t").f1.tolist()
    assert make_picture() == (tmp_path / "curve.png").read_bytes()
    assert (tmp_path / "curve.pdf").read_bytes().startswith(b"%PDF")


def test_drawn_picture_is_written_as_its_own_pdf(tmp_path: Path) -> None:
    """A figure that knows its PDF is not turned into pixels."""
    results = Results("One")
    results.add_picture("chart", Picture(make_picture(), b"%PDF of lines"), "A chart")
    write_results(results, tmp_path)
    assert b"%PDF of lines" == (tmp_path / "chart.pdf").read_bytes()


def test_page_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Words, tables and both forms of a picture come back; a donor 00900001 stays text."""
    results = make_results()
    donors = pd.DataFrame({"donor": ["00900001"], "n_tiles": [3], "reason": [""]})
    results.add_table("donors", donors, donors)
    results.add_picture("chart", Picture(make_picture(), b"%PDF of lines"), "A chart")
    write_results(results, tmp_path)
    again = read_results(tmp_path)
    assert results.markdown == again.markdown
    assert ["00900001"] == again.tables["donors"].donor.tolist()
    assert results.pictures == again.pictures
    assert b"%PDF of lines" == as_pdf(again.pictures["chart"])


def test_folder_without_a_page_is_refused(tmp_path: Path) -> None:
    """The error names the page and says what to do."""
    with pytest.raises(StoreError, match=r"summary\.md; run"):
        read_results(tmp_path)


def test_equal_page_is_not_written_again(tmp_path: Path) -> None:
    """Looked up again, a finished experiment changes no file, not even its time."""
    write_results(make_results(), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    write_results(make_results(), tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


def test_bars_in_a_table_are_no_new_columns() -> None:
    """Headings and cells may hold a bar, also one that is escaped already."""
    results = Results("One")
    results.add_table("t", pd.DataFrame(), pd.DataFrame({"|rho|": ["a|b"], "c": [r"d\|e"]}))
    assert "| \\|rho\\| | c |\n| --- | --- |\n| a\\|b | d\\|e |" in results.markdown


def test_dashboard_page_holds_its_pictures() -> None:
    """On the dashboard nothing is a link to a file that a browser cannot reach."""
    results = make_results()
    page = embed_pictures(results.markdown, results.pictures)
    assert "curve.png" not in page
    assert "](data:image/jpeg;base64," in page


def test_merged_page_holds_every_part(tmp_path: Path) -> None:
    """Parts of several pages stand under their own titles; their files are all written."""
    other = Results("Other")
    other.add_picture("map", make_picture(), "A map")
    write_results(merge_results("Both", [make_results(), other]), tmp_path)
    text = (tmp_path / "summary.md").read_text()
    assert text.index("## Recipes of s") < text.index("## Other")
    stems = {path.stem for path in tmp_path.iterdir()}
    assert {"curve", "map", "schema", "scores", "summary"} == stems
