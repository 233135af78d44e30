"""What the clinical table of ROSMAP holds: kinds, codings and directions of its columns.

Codings are those of the table's public codebook (https://www.radc.rush.edu); values stay as they
are in the table. `ceradsc` runs backwards (1 = definite), so its direction is the other way round.
"""

from typing import Any

_WORSE, _BETTER = "higher_is_worse", "higher_is_better"
_AGE = {"kind": "continuous", "lowest": 0, "highest": 125, "top_codes": {"90+": 90}}
_MMSE = {"kind": "ordinal", "direction": _BETTER, "lowest": 0, "highest": 30}
# 1 to 5 are in order; another cause of dementia is not a grade above them.
_DIAGNOSIS = {
    "kind": "ordinal",
    "direction": _WORSE,
    "missing_codes": [6],
    "allowed": [1, 2, 3, 4, 5],
}
_DIAGNOSIS_WORDS = "1 = none, 2 and 3 = mild impairment, 4 and 5 = Alzheimer's dementia"
_PATHOLOGY = {"kind": "continuous", "direction": _WORSE, "lowest": 0}
_E4_DOSE = {
    "meaning": "number of APOE e4 alleles",
    "values": {22: 0, 23: 0, 24: 1, 33: 0, 34: 1, 44: 2},
}

ROSMAP: dict[str, Any] = {
    "id_column": "projid",
    "ignored": ["individualID"],
    "columns": {
        "Study": {"kind": "category", "meaning": "cohort, ROS or MAP", "allowed": ["ROS", "MAP"]},
        "msex": {"kind": "binary", "meaning": "1 = male, 0 = female", "allowed": [0, 1]},
        "educ": {"kind": "continuous", "meaning": "years of education", "lowest": 0, "highest": 40},
        "race": {"kind": "category", "meaning": "race, coded 1 to 7", "allowed": [*range(1, 8)]},
        "spanish": {"kind": "binary", "meaning": "1 = Hispanic, 2 = not", "allowed": [1, 2]},
        "apoe_genotype": {
            "kind": "category",
            "meaning": "APOE alleles, such as 34 for e3/e4",
            "allowed": [22, 23, 24, 33, 34, 44],
            "derived": {"apoe_e4_dose": _E4_DOSE},
        },
        "age_at_visit_max": {**_AGE, "meaning": "age at the last visit, years"},
        "age_first_ad_dx": {**_AGE, "meaning": "age at the first Alzheimer's diagnosis, years"},
        "age_death": {**_AGE, "meaning": "age at death, years"},
        "cts_mmse30_first_ad_dx": {**_MMSE, "meaning": "MMSE at the first Alzheimer's diagnosis"},
        "cts_mmse30_lv": {**_MMSE, "meaning": "MMSE at the last visit"},
        "pmi": {"kind": "continuous", "meaning": "post-mortem interval, hours", "lowest": 0},
        "braaksc": {
            "kind": "ordinal",
            "meaning": "Braak stage of tangles, 0 to 6",
            "direction": _WORSE,
            "allowed": [*range(7)],
        },
        "ceradsc": {
            "kind": "ordinal",
            "meaning": "CERAD score of neuritic plaques, 1 = definite Alzheimer's, 4 = none",
            "direction": _BETTER,
            "allowed": [1, 2, 3, 4],
        },
        "cogdx": {**_DIAGNOSIS, "meaning": f"diagnosis at death: {_DIAGNOSIS_WORDS}"},
        "dcfdx_lv": {**_DIAGNOSIS, "meaning": f"diagnosis at the last visit: {_DIAGNOSIS_WORDS}"},
        "plaq_d": {**_PATHOLOGY, "meaning": "burden of diffuse plaques"},
        "plaq_n": {**_PATHOLOGY, "meaning": "burden of neuritic plaques"},
        "nft": {**_PATHOLOGY, "meaning": "burden of neurofibrillary tangles"},
        "gpath": {**_PATHOLOGY, "meaning": "global Alzheimer's pathology"},
    },
}
"""A `Codebook` as YAML would give it."""
