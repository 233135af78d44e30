"""E3: which cells to leave out afterwards: gates by size and marker, chosen on val."""

from typing import Any

import pandas as pd
from prefect import flow

from flows.forms import StudyOrPath
from flows.naming import named
from flows.outputs import announce_outputs
from flows.pages import experiment_key, publish
from flows.parts import cancel_parts
from flows.recipes import default_recipes
from flows.scoring import last_split, recipe_key, write_counts
from flows.sites import dask_runner
from flows.sweeps import run_sweeps
from somaflow.evaluation.comparison import compare_recipes
from somaflow.experiments.pages import describe_gating
from somaflow.experiments.results import merge_results
from somaflow.experiments.sweeps import GATE_TABLES, read_tables, sweep_key
from somaflow.gating import choose_gates, describe_removed, gate_quantiles, list_gates, sweep_gates
from somaflow.inventory import find_prepared
from somaflow.recipebook import write_recipes
from somaflow.recipes import Gate, Recipe
from somaflow.segmenter import weights_sha256
from somaflow.settings import GateGrid
from tasks.privacy import private
from tasks.sweeps import measure_gates

NAME = "e3-gating"
_SIZE_EDGES_PX = (25, 50, 100, 200, 400, 800)
_SPLITS = ("val", "test")


@flow(name=NAME, flow_run_name=named("gating of"), on_cancellation=[cancel_parts])
@private
def e3_gating(study: StudyOrPath, site: str = "laptop") -> dict[str, Any]:
    """Tries gates on val, picks one a recipe and marker, and scores it once on test.

    The chosen ones are recipes of their own, `<recipe>-gated`, that e5-inference can use.

    Args:
        study: The study, or the path of its YAML file.
        site: Where tasks run: `laptop`, `slurm`, or the path of a site file.
    """
    announce_outputs(study)
    grid = study.gating or GateGrid()
    gates = list_gates(grid)
    prepared = find_prepared(study)
    recipes = default_recipes(study, prepared, grid.recipes)
    keys = {
        recipe.name: sweep_key(
            "gate",
            prepared.key,
            recipe,
            weights_sha256,
            quantiles=gate_quantiles(gates),
            iou_threshold=study.iou_threshold,
        )
        for recipe in recipes
    }
    parameters = {
        "folder": prepared.folder,
        "splits": list(_SPLITS),
        "quantiles": gate_quantiles(gates),
        "device": study.device,
        "iou_threshold": study.iou_threshold,
    }
    with dask_runner(site, study.output) as runner:
        run_sweeps(study, runner, measure_gates, GATE_TABLES, recipes, keys, parameters)
    made, pages = [], []
    for recipe in recipes:
        tables = read_tables(study.paths.sweep(keys[recipe.name]), GATE_TABLES)
        swept = sweep_gates(tables["cells"], tables["tiles"], gates, study.iou_threshold)
        choices = choose_gates(swept, gates)
        chosen = {row["marker"]: gates[row["gate"]] for row in choices.to_dict("records")}
        gated = _apply(recipe, chosen)
        counts = _counts_of(swept, recipe.name, gated.name, choices)
        key = recipe_key(study, prepared, gated)
        if not study.paths.evaluation(key).exists():
            write_counts(study, key, counts[counts.recipe == gated.name])
        shown = counts[counts.split == last_split(counts)]
        removed = describe_removed(
            tables["cells"], tables["tiles"], chosen, _SIZE_EDGES_PX, study.iou_threshold
        )
        removed = removed[removed.split == last_split(counts)]
        scores = compare_recipes(shown, recipe.name, study.n_resamples, study.seed)
        made.append(gated)
        pages.append(describe_gating(recipe.name, choices, removed, scores))
    write_recipes(study, made, NAME, prepared.key)
    results = merge_results(f"Gating of {study.name}", pages)
    key = experiment_key(study, NAME, tables=keys, grid=grid.model_dump(mode="json"))
    folder = publish(study, NAME, key, results)
    return {"recipes": [recipe.name for recipe in made], "folder": folder}


def _apply(recipe: Recipe, gate_of: dict[str, Gate]) -> Recipe:
    """The recipe with a gate per marker, as `<name>-gated`."""
    sets = {
        marker: recipe.for_marker(marker).model_copy(update={"gate": gate})
        for marker, gate in gate_of.items()
    }
    return recipe.model_copy(
        update={
            "name": f"{recipe.name}-gated",
            "gate": None,
            "per_marker": {**recipe.per_marker, **sets},
        }
    )


def _counts_of(swept: pd.DataFrame, raw: str, gated: str, choices: pd.DataFrame) -> pd.DataFrame:
    """Counts without a gate and with the chosen ones; both follow from the pair tables."""
    chosen = swept.marker.map(choices.set_index("marker").gate)
    parts = [
        swept[swept.gate == 0].assign(recipe=raw),
        swept[swept.gate == chosen].assign(recipe=gated),
    ]
    columns = ["tile_id", "donor", "marker", "recipe", "split", "split_level"]
    counts = ["tp", "fp", "fn", "n_reference", "n_predicted"]
    return pd.concat(parts, ignore_index=True)[[*columns, *counts]]
