"""The label-budget curve: means over repeats, their spread and paired gains."""

import numpy as np
import pandas as pd
import pytest

from somaflow.errors import ScoringError
from somaflow.evaluation import compare, summarise
from somaflow.evaluation.bootstrap import METRICS
from somaflow.experiments import budget_curve, budget_gains
from tests.experiments.tables import prepared_tiles

TILES = prepared_tiles({("GFAP", "test"): 10, ("OLIG2", "test"): 6})


def _counts(budgets: tuple[int, ...] = (2, 5, 10), repeats: int = 4, seed: int = 0) -> pd.DataFrame:
    """Counts of runs that grow better with their budget."""
    rng = np.random.default_rng(seed)
    n_reference = rng.integers(5, 30, size=len(TILES))
    frames = []
    for place, budget in enumerate(budgets):
        for repeat in range(repeats):
            tp = rng.binomial(n_reference, 0.4 + 0.15 * place)
            fp = rng.integers(0, 12 - 3 * place, size=len(TILES))
            counts = {"tp": tp, "fp": fp, "fn": n_reference - tp}
            frames.append(TILES.assign(budget=budget, repeat=repeat, **counts))
    return pd.concat(frames, ignore_index=True)


def _run(counts: pd.DataFrame, budget: int, repeat: int) -> pd.DataFrame:
    return counts[(counts.budget == budget) & (counts.repeat == repeat)]


def test_curve_is_mean_and_spread_over_repeats() -> None:
    """Each row is the mean and standard deviation of the runs' own summaries."""
    counts = _counts()
    curve = budget_curve(counts, n_resamples=50)

    assert ["all"] * 3 + ["GFAP"] * 3 + ["OLIG2"] * 3 == curve.marker.tolist()
    assert [2, 5, 10] * 3 == curve.budget.tolist()
    for row in curve.itertuples():
        own = counts if row.marker == "all" else counts[counts.marker == row.marker]
        runs = summarise(own[own.budget == row.budget], by="repeat", n_resamples=1)
        for metric in METRICS:
            assert getattr(row, metric) == pytest.approx(runs[metric].mean())
            assert getattr(row, f"{metric}_sd") == pytest.approx(runs[metric].std())
        assert (row.n_repeats, row.n_images) == (4, own.tile_id.nunique())
        assert row.f1_pooled_low < row.f1_pooled < row.f1_pooled_high


def test_curve_of_one_repeat_has_the_interval_of_its_summary() -> None:
    """Without repeats to draw, only donors are: the same resamples as everywhere."""
    counts = _counts(budgets=(5,), repeats=1)
    row, expected = (
        budget_curve(counts, 200, seed=3).iloc[0],
        summarise(counts, None, 200, 3).iloc[0],
    )

    for metric in METRICS:
        for end in ("", "_low", "_high"):
            assert expected[f"{metric}{end}"] == pytest.approx(row[f"{metric}{end}"])
        assert np.isnan(row[f"{metric}_sd"])


def test_curve_interval_agrees_with_a_plain_loop() -> None:
    """Drawing donors and repeats one by one gives the same interval, up to the luck of the draw."""
    counts = _counts(budgets=(5,))
    sums = {
        (repeat, donor): group[["tp", "fp", "fn"]].sum().to_numpy()
        for (repeat, donor), group in counts.groupby(["repeat", "donor"])
    }
    donors = sorted(counts.donor.unique())
    rng = np.random.default_rng(1)
    draws = []
    for _ in range(3000):
        drawn = rng.choice(donors, size=len(donors))
        scores = []
        for repeat in rng.integers(0, 4, size=4):
            tp, fp, fn = sum(sums[repeat, donor] for donor in drawn)
            scores.append(2 * tp / (2 * tp + fp + fn))
        draws.append(np.mean(scores))

    row = budget_curve(counts, n_resamples=4000).iloc[0]
    expected = np.percentile(draws, [2.5, 97.5])
    assert [row.f1_pooled_low, row.f1_pooled_high] == pytest.approx(expected, abs=0.005)


def test_curve_of_equal_runs_is_as_sure_as_one_of_them() -> None:
    """Repeats that agree add no uncertainty and take none away."""
    one = _counts(budgets=(5,), repeats=1)
    same = pd.concat([one.assign(repeat=repeat) for repeat in range(5)])
    expected, actual = budget_curve(one, 300).iloc[0], budget_curve(same, 300).iloc[0]

    assert actual.f1_pooled_low == pytest.approx(expected.f1_pooled_low)
    assert actual.f1_pooled_high == pytest.approx(expected.f1_pooled_high)
    assert actual.f1_pooled_sd == pytest.approx(0)


def test_curve_does_without_a_run_that_failed() -> None:
    """A missing run lowers n_repeats of its budget and moves no other budget."""
    counts = _counts()
    lacking = counts.drop(_run(counts, 5, 2).index)
    whole, curve = (budget_curve(table, 100).set_index(["marker", "budget"]) for table in
                    (counts, lacking))  # fmt: skip

    assert (4, 3) == (curve.n_repeats["all", 2], curve.n_repeats["all", 5])
    pd.testing.assert_frame_equal(whole.drop(5, level=1), curve.drop(5, level=1))
    expected = [summarise(_run(counts, 5, repeat)).f1_pooled[0] for repeat in (0, 1, 3)]
    assert np.mean(expected) == pytest.approx(curve.f1_pooled["all", 5])
    assert not np.isnan(curve.f1_pooled_low["all", 5])


def test_curve_says_undefined_where_a_repeat_predicts_nothing() -> None:
    """Precision of nothing is NaN, and so is a mean with it; F1 is 0 there and stays defined."""
    counts = _counts(budgets=(2,), repeats=2)
    silent = counts.repeat == 1
    counts.loc[silent, "fn"] += counts.loc[silent, "tp"]
    counts.loc[silent, ["tp", "fp"]] = 0

    row = budget_curve(counts, 100).iloc[0]
    assert np.isnan([row.precision_pooled, row.precision_pooled_low]).all()
    assert row.f1_pooled == pytest.approx(summarise(_run(counts, 2, 0)).f1_pooled[0] / 2)


@pytest.mark.parametrize(
    ("donors", "level", "unit"),
    [
        ("own", "donor", "donor"),
        ("", "donor", "image"),
        ("own", "image", "image"),
        ("a", "donor", "none"),
    ],
)
def test_curve_names_the_unit_it_resampled(donors: str, level: str, unit: str) -> None:
    """Intervals over images never pass for intervals over donors, as in `summarise`."""
    counts = _counts(budgets=(2,), repeats=2).assign(split_level=level)
    counts = counts if donors == "own" else counts.assign(donor=donors)
    row = budget_curve(counts, 50).iloc[0]

    assert unit == row.bootstrap_unit == summarise(counts.query("repeat == 0")).bootstrap_unit[0]
    assert (unit == "none") == np.isnan(row.f1_pooled_low)


def test_gains_are_paired_differences_of_the_curve() -> None:
    """Each is the difference of two points of the curve, surer than the points themselves."""
    counts = _counts()
    curve = budget_curve(counts, 300).set_index(["marker", "budget"])
    gains = budget_gains(counts, 300)
    pairs = gains[gains.marker == "all"][["versus", "budget", "versus_budget"]].to_numpy().tolist()

    assert pairs == [
        ["previous", 5, 2], ["previous", 10, 5], ["largest", 2, 10], ["largest", 5, 10],
    ]  # fmt: skip
    for row in gains.itertuples():
        a, b = (curve.loc[(row.marker, budget)] for budget in (row.budget, row.versus_budget))
        assert row.f1_pooled_difference == pytest.approx(a.f1_pooled - b.f1_pooled)
    first = gains.iloc[0]
    assert first.f1_pooled_difference_low > 0


def test_gains_of_one_repeat_are_those_of_compare() -> None:
    """The donors drawn are those of every other paired comparison."""
    counts = _counts(budgets=(2, 5), repeats=1)
    row = budget_gains(counts, 200, seed=2).iloc[0]
    expected = compare(_run(counts, 2, 0), _run(counts, 5, 0), None, 200, 2).iloc[0]

    for metric in METRICS:
        for end in ("", "_low", "_high"):
            name = f"{metric}_difference{end}"
            assert expected[name] == pytest.approx(row[name])


def test_gains_of_a_saturated_budget_are_exactly_zero() -> None:
    """The same run under two budgets gains nothing, with an interval of no width."""
    counts = _counts(budgets=(2, 5))
    counts = pd.concat([counts, counts[counts.budget == 5].assign(budget=9)])
    gains = budget_gains(counts, 100)
    row = gains[(gains.budget == 9) & (gains.marker == "all")].iloc[0]

    ends = ("", "_low", "_high")
    assert [0, 0, 0] == [row[f"f1_pooled_difference{end}"] for end in ends]


def test_gains_use_the_repeats_that_both_have() -> None:
    """A failed run takes its partner out of the difference; without any pair it is undefined."""
    counts = _counts(budgets=(2, 5), repeats=2)
    lacking = counts.drop(_run(counts, 5, 0).index)
    row = budget_gains(lacking, 50).iloc[0]
    apart = budget_gains(lacking.drop(_run(counts, 2, 1).index), 50).iloc[0]

    f1 = [summarise(_run(counts, budget, 1)).f1_pooled[0] for budget in (2, 5)]
    assert f1[1] - f1[0] == pytest.approx(row.f1_pooled_difference)
    assert (1, 0) == (row.n_repeats, apart.n_repeats)
    assert np.isnan(apart.f1_pooled_difference)


def test_curve_refuses_runs_on_other_tiles_and_several_splits() -> None:
    """Runs that were not scored alike cannot be compared."""
    counts = _counts()
    with pytest.raises(ScoringError, match="budget 5 repeat 1 not"):
        budget_curve(counts.drop(_run(counts, 5, 1).index[0]))
    with pytest.raises(ScoringError, match="got test, val"):
        budget_curve(counts.assign(split=["val", *["test"] * (len(counts) - 1)]))
    with pytest.raises(ScoringError, match="scored once"):
        budget_curve(pd.concat([counts, counts]))
