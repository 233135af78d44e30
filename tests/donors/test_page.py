"""The page of e5-donors says what was found, what was not, and what could not be looked at."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from somaflow.donors.analysis import analyse_donors
from somaflow.donors.page import describe_donors
from somaflow.experiments.results import Results
from somaflow.report import describe_columns
from somaflow.study import Study
from tests.donors.test_analysis import (
    N_DONORS,
    N_TILES,
    SETTINGS,
    make_features,
    make_quality,
    noise,
    read,
)


def make_page(folder: Path, traits: dict[str, object] | None, every: int = 1) -> Results:
    """The page of two recipes on one marker, of which one counts with little noise.

    Of the tiles every first, or every n-th, is segmented; those of a donor follow each other.
    """
    quality = make_quality()
    density = np.arange(N_DONORS, dtype=float)
    features = {
        "good": make_features(quality, density, 1.0).iloc[::every],
        "poor": make_features(quality, density, 40.0).iloc[::every],
    }
    table = None if traits is None else read(folder, traits)
    analysis = analyse_donors(features, quality, table, SETTINGS, seed=0)
    study = Study.model_validate(
        {
            "name": "s", "tiles": {"root": "/t"}, "output": "/o",
            "recipes": [{"name": "good"}, {"name": "poor"}],
            "inference_recipe": "good", "compare_with": ["poor"],
            "donor_statistics": SETTINGS.model_dump(),
        }
    )  # fmt: skip
    return describe_donors(study, analysis, quality, None)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """With a trait that rises with density, and one of nothing."""
    traits = {"nft": np.arange(N_DONORS) / 10, "gpath": noise(7)}
    return make_page(tmp_path_factory.mktemp("page"), traits)


def test_page_names_what_is_found_and_states_power(page: Results) -> None:
    """The known association is named with its recipe, after what so many donors can show."""
    words = page.markdown
    assert "GFAP density_per_mpx with nft (rho +1.00)" in words
    assert words.index("is found with 80 % power") < words.index("GFAP density_per_mpx with nft")
    assert "against poor" in words


def test_page_says_which_end_of_a_trait_is_worse(page: Results) -> None:
    """A rho without the trait's direction says little."""
    assert "higher is worse" in page.markdown


def test_page_has_its_figures_and_described_tables(page: Results) -> None:
    """Figures of associations and stability; every column of every table has its meaning."""
    assert {"effects", "associations"} <= set(page.pictures)
    assert any(name.startswith("stability-GFAP-") for name in page.pictures)
    columns = describe_columns(page.tables)
    assert [] == columns[columns.meaning == "not described"].to_dict("records")
    assert {"donors", "associations", "stability", "reliability"} <= set(page.tables)
    assert isinstance(page.tables["donors"], pd.DataFrame)


def test_page_without_finding_is_not_conclusive(tmp_path: Path) -> None:
    """Noise alone: no q below .05, and the page says that this is not conclusive."""
    words = make_page(tmp_path, {"nft": noise(11), "gpath": noise(12)}).markdown
    assert "**good**: 0 of 6 have q < .05: none: not conclusive." in words


def test_page_of_one_tile_a_donor_lists_why_there_is_nothing(tmp_path: Path) -> None:
    """No donor has tiles enough: the page has the lines, and no table without rows."""
    page = make_page(tmp_path, {"nft": noise(11), "gpath": noise(12)}, every=N_TILES)
    assert "donor(s) left out for too few usable tiles" in page.markdown
    assert "None could be looked at" in page.markdown
    assert "Reliability" not in page.markdown


def test_page_without_traits_says_so_and_shows_donors(tmp_path: Path) -> None:
    """Reliability and agreement need no traits, and are there."""
    page = make_page(tmp_path, None)
    assert "None could be looked at" in page.markdown
    assert {"donors", "reliability", "agreement"} <= set(page.tables)
