"""What the pages of experiments say about their own numbers."""

import pandas as pd
import pytest

from somaflow.evaluation.comparison import compare_recipes
from somaflow.experiments.pages import describe_recipes
from tests.experiments.tables import prepared_tiles, random_counts


@pytest.mark.parametrize(("n_donors", "is_said"), [(2, True), (9, True), (10, False)])
def test_intervals_over_few_donors_are_said_to_be_too_narrow(n_donors: int, is_said: bool) -> None:
    """With fewer than ten test donors the page warns of its own intervals and names the number."""
    tiles = prepared_tiles({("GFAP", "test"): 2 * n_donors})
    scores = compare_recipes(random_counts(tiles, ["baseline", "generic"]), "baseline", 100)
    page = describe_recipes("study", scores, pd.DataFrame(), pd.DataFrame(), [], 0.5).markdown
    assert is_said == (f"Intervals are over {n_donors} donors" in page)
    assert is_said == ("too narrow" in page)
