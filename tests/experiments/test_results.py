"""The page that an experiment leaves behind."""

import io
from pathlib import Path

import pandas as pd
from PIL import Image

from somaflow.experiments.results import Results, embed_pictures, merge_results, write_results


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
    """Whole tables as TSV, pictures as PNG."""
    write_results(make_results(), tmp_path)
    assert [0.5] == pd.read_csv(tmp_path / "scores.tsv", sep="\t").f1.tolist()
    assert make_picture() == (tmp_path / "curve.png").read_bytes()


def test_equal_page_is_not_written_again(tmp_path: Path) -> None:
    """Looked up again, a finished experiment changes no file, not even its time."""
    write_results(make_results(), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    write_results(make_results(), tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


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
    assert {"curve.png", "map.png", "scores.tsv", "summary.md"} == {
        path.name for path in tmp_path.iterdir()
    }
