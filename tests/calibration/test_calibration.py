"""The calibration program, on few simulations."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from somaflow.donors import estimates
from somaflow.donors.bca import bca_intervals
from tests.calibration import __main__ as program
from tests.calibration.associations import RHOS, Size, check_intervals
from tests.calibration.donors import GRADES, grade, graded_rho, latent_r, tied_to
from tests.calibration.lines import Line, capped_line, share_line
from tests.calibration.page import write_page

MACHINE = {"cores": 2, "cpu": "a CPU", "libraries": {"numpy": "2", "scipy": "1"}}
SMALL = Size(simulations=60, resamples=200, seed=1)


def _page(lines: list[Line]) -> str:
    return write_page(lines, SMALL, MACHINE, "2026-01-01", 1.0)


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("rho", [0.3, 0.6])
def test_simulated_traits_have_the_rho_they_should(rho: float, graded: bool) -> None:
    """A sample of 400,000 has the population's rho, with ties and without."""
    rng = np.random.default_rng(1)
    latent = rng.standard_normal(400_000)
    feature = tied_to(rng, latent, latent_r(rho, graded))
    found = stats.spearmanr(feature, grade(latent) if graded else latent).statistic

    assert rho == pytest.approx(found, abs=0.006)


def test_grades_have_their_shares_and_no_tie_means_no_loss() -> None:
    """Grades are as frequent as said; the formula is 0 without a tie, and grows with it."""
    graded = grade(np.random.default_rng(2).standard_normal(200_000))

    assert list(GRADES) == pytest.approx(
        (np.bincount(graded.astype(int)) / 200_000).tolist(), abs=0.01
    )
    assert 0.0 == pytest.approx(graded_rho(0.0), abs=1e-6)
    assert graded_rho(0.3) < graded_rho(0.6) < 0.6


def test_program_writes_every_part_and_a_verdict_a_line(tmp_path: Path) -> None:
    """All five parts are there, each line says holds or FAILS or asks nothing."""
    page = tmp_path / "calibration.md"
    code = program.main(["--out", str(page), "--simulations", "6", "--resamples", "100"])
    text = page.read_text()

    assert 5 == text.count("\n## ")
    assert "6 simulations of 69 donors a line, 100 bootstrap resamples" in text
    lines = [line for line in text.splitlines() if "±" in line and line.startswith("|")]
    asked = [line for line in lines if not line.endswith("|  |  |")]
    assert 6 + 6 + 6 + 24 + 8 == len(lines)
    assert len(lines) - 2 == len(asked)
    assert all("| holds |" in line or "| **FAILS** |" in line for line in asked)
    assert int("**FAILS**" in text) == code


def test_intervals_that_are_too_narrow_are_said_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals cut to a third hold rho far less than 93 times in 100, and the page says so."""

    def cut(rho: np.ndarray, draws: np.ndarray, left_out: np.ndarray) -> tuple[np.ndarray, ...]:
        low, high = bca_intervals(rho, draws, left_out)
        return rho + (low - rho) / 3, rho + (high - rho) / 3

    monkeypatch.setattr(estimates, "bca_intervals", cut)
    lines = check_intervals(SMALL)
    text = _page(lines)

    assert [False] * 2 * len(RHOS) == [line.holds for line in lines]
    assert 6 == text.count("| **FAILS** |")
    assert "**6 of 6 lines FAIL: " in text
    assert "Short of 95 % by more than chance: continuous trait, rho 0 " in text


def test_page_says_when_all_is_well_and_when_intervals_are_too_wide() -> None:
    """95 of 100 holds and is told as such; 1000 of 1000 is above, and fails."""
    hits = np.arange(1000) < 950
    well = _page([share_line("intervals", "x", hits, 0.93, 0.97)])
    wide = _page([share_line("intervals", "x", hits | True, 0.93, 0.97)])

    assert "**All 1 lines that have a range hold.**" in well
    assert "| x | 95.0 % ± 0.7 % | 93.0 % to 97.0 % | holds |" in well
    assert "None differs from 95 %" in well
    assert "Above 95 % by more than chance: x (5.0 %)." in wide
    assert "**1 of 1 lines FAIL: x (100.0 %).**" in wide


def test_a_limit_allows_two_standard_errors_and_no_more() -> None:
    """False discoveries of .054 hold; ones of .07 in 10,000 simulations do not; NaN never does."""
    well, ill = ((np.arange(10_000) < found).astype(float) for found in (540, 700))

    assert capped_line("discoveries", "x", well, 0.05).holds
    assert not capped_line("discoveries", "x", ill, 0.05).holds
    assert not Line("power", "x", np.nan, 0.0, 0.0, 1.0).holds
