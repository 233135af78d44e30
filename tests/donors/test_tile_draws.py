import numpy as np
import pytest

from somaflow.donors.tile_draws import deal_halves, draw_tiles
from somaflow.errors import BadInputError

DONORS = np.array([2, 0, 2, 2, 0, 2, 2, 3, 2, 2, 2, 2])  # 0 has 2 tiles, 2 has 9, 3 has 1


def _per_donor(mask: np.ndarray) -> np.ndarray:
    return np.array([np.bincount(DONORS, weights=row, minlength=4) for row in mask])


def test_draw_takes_the_share_of_each_donor() -> None:
    """80 % of 2, 9 and 1 tiles are 2, 7 and 1, in every redraw."""
    counts = _per_donor(draw_tiles(DONORS, 0.8, 50, seed=1))

    assert [[2, 0, 7, 1]] == np.unique(counts, axis=0).tolist()


def test_draw_takes_every_tile_equally_often() -> None:
    """Over 4000 redraws each of nine tiles is in seven ninths of them, within 3 %."""
    often = draw_tiles(DONORS, 0.8, 4000, seed=1).mean(axis=0)[DONORS == 2]

    assert [pytest.approx(7 / 9, abs=0.03)] * 9 == often.tolist()


def test_halves_differ_by_one_tile_at_most_and_either_may_be_larger() -> None:
    """Nine tiles are dealt 4 to 5 or 5 to 4, a single one to either side, about equally often."""
    counts = _per_donor(deal_halves(DONORS, 2000, seed=3))

    assert {1.0} == set(counts[:, 0])
    assert {4.0, 5.0} == set(counts[:, 2])
    assert [4.5, 0.5] == pytest.approx(counts[:, [2, 3]].mean(axis=0).tolist(), abs=0.05)


def test_draws_are_those_of_the_seed() -> None:
    """Equal seeds draw the same tiles, others do not."""
    first, again, other = (draw_tiles(DONORS, 0.5, 20, seed) for seed in (1, 1, 2))

    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_draws_refuse_no_redraws_and_an_impossible_share() -> None:
    """Zero redraws and shares of 0 or above 1 are refused."""
    for call in (
        lambda: draw_tiles(DONORS, 0.0, 5, 0),
        lambda: draw_tiles(DONORS, 1.2, 5, 0),
        lambda: deal_halves(DONORS, 0, 0),
    ):
        with pytest.raises(BadInputError, match="got"):
            call()
