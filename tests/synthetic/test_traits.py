from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from somaflow.synthetic.donors import Donor, draw_donors
from somaflow.synthetic.markers import MARKERS
from somaflow.synthetic.traits import EFFECTS, NULL_TRAITS, Effect, draw_traits

COLUMNS = [
    "projid", "Study", "msex", "educ", "race", "spanish", "apoe_genotype", "age_at_visit_max",
    "age_first_ad_dx", "age_death", "cts_mmse30_first_ad_dx", "cts_mmse30_lv", "pmi", "braaksc",
    "ceradsc", "cogdx", "dcfdx_lv", "individualID", "plaq_d", "plaq_n", "nft", "gpath",
]  # fmt: skip


@cache
def draw_many() -> tuple[list[Donor], pd.DataFrame]:
    donors = draw_donors(3, 2000)
    return donors, draw_traits(3, donors)


def density(donors: list[Donor], marker: str) -> np.ndarray:
    return np.array([donor.density_multipliers[marker] for donor in donors])


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: effect.trait)
def test_trait_is_tied_to_density_by_the_stated_rho(effect: Effect) -> None:
    """Over 2000 donors Spearman's rho of density and trait is the stated one to within .05."""
    donors, table = draw_many()
    rho = stats.spearmanr(density(donors, effect.marker), table[effect.trait])[0]
    assert abs(rho - effect.rho) < 0.05


def test_trait_effects_are_the_documented_two() -> None:
    """GFAP rises with plaq_n by .9 and NeuN falls with braaksc by .85."""
    expected = [("GFAP", "plaq_n", 0.9), ("NeuN", "braaksc", -0.85)]
    assert expected == [(effect.marker, effect.trait, effect.rho) for effect in EFFECTS]


def test_trait_latents_follow_from_spearman() -> None:
    """Without ties r = 2 sin(pi rho / 6); grades need a stronger r for the same rho."""
    continuous = Effect("GFAP", "plaq_n", rho=0.5)
    assert continuous.latent_r == pytest.approx(2 * np.sin(np.pi / 12))
    assert Effect("GFAP", "x", rho=0.5, shares=(0.5, 0.5)).latent_r > continuous.latent_r


@pytest.mark.parametrize("marker", MARKERS)
def test_trait_without_effect_has_none(marker: str) -> None:
    """All other pairs of marker and trait correlate no more than chance lets 2000 donors."""
    donors, table = draw_many()
    tied = {effect.trait for effect in EFFECTS if effect.marker == marker}
    for trait in {*NULL_TRAITS, "braaksc", "plaq_n"} - tied:
        rho = stats.spearmanr(density(donors, marker), table[trait], nan_policy="omit")[0]
        assert abs(rho) < 0.09, trait


def test_trait_table_has_the_fields_columns_and_codes() -> None:
    """Columns, their order and their codes are those of the clinical table."""
    _, table = draw_many()
    assert COLUMNS == table.columns.tolist()
    assert set(range(7)) == set(table["braaksc"])
    assert set(range(1, 5)) == set(table["ceradsc"])
    assert set(range(1, 7)) == set(table["cogdx"])
    assert set(range(1, 7)) == set(table["dcfdx_lv"])
    assert {22, 23, 24, 33, 34, 44} == set(table["apoe_genotype"])


def test_trait_table_has_the_fields_traps() -> None:
    """Ages above 90 are the text "90+", projid lost its zeros, and some values are missing."""
    donors, table = draw_many()
    assert [int(donor.projid) for donor in donors] == table["projid"].tolist()
    ages = table["age_death"]
    assert (ages == "90+").any()
    assert ages[ages != "90+"].astype(float).le(90).all()
    for column in ("educ", "pmi", "plaq_d", "nft"):
        assert 0.01 < table[column].isna().mean() < 0.08
    for column in ("braaksc", "plaq_n"):
        assert not table[column].isna().any()


def test_traits_of_a_donor_do_not_depend_on_the_others() -> None:
    """A larger table holds the rows of a smaller one."""
    donors, table = draw_many()
    small = draw_traits(3, donors[:40])
    pd.testing.assert_frame_equal(small, table.head(40), check_dtype=False)
