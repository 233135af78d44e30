"""E1: trains the study's recipes, scores them all, and picks the best per marker on val.

Train tiles are scored too: how much better a recipe is there tells how much it has overfitted.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from prefect import flow

from flows.forms import StudyOrPath
from flows.naming import named
from flows.outputs import announce_outputs
from flows.pages import experiment_key, publish
from flows.parts import cancel_parts
from flows.scoring import recipe_key, score_recipes, write_counts
from flows.sites import Runner, dask_runner
from flows.trainings import Trained, raise_failures, run_planned
from somaflow.evaluation.comparison import compare_recipes, summarise_seeds
from somaflow.evaluation.scores import choose_examples
from somaflow.experiments.choice import choose_hybrid
from somaflow.experiments.pages import describe_recipes
from somaflow.experiments.plan import (
    PlannedTraining,
    compose_recipes,
    plan_trainings,
    scored_recipes,
    training_tiles,
)
from somaflow.experiments.results import Results
from somaflow.figures import draw_training
from somaflow.files import write_bytes
from somaflow.inventory import Prepared, find_prepared
from somaflow.recipebook import write_recipes
from somaflow.recipes import Recipe
from somaflow.schema import EVALUATION
from somaflow.stamps import read_table
from somaflow.study import Study
from somaflow.training import read_history
from tasks.evaluation import draw_overlays, order_tiles
from tasks.privacy import private

NAME = "e1-recipes"


@flow(name=NAME, flow_run_name=named("recipes of"), on_cancellation=[cancel_parts])
@private
def e1_recipes(study: StudyOrPath, site: str = "laptop") -> dict[str, Any]:
    """Trains what `fine_tuning` asks for and scores every recipe, split by split.

    Args:
        study: The study, or the path of its YAML file.
        site: Where tasks run: `laptop`, `slurm`, or the path of a site file.
    """
    announce_outputs(study)
    prepared = find_prepared(study)
    tuning = study.fine_tuning
    planned = plan_trainings(tuning, prepared.tiles) if tuning else []
    trained: Trained = {}
    failures: list[str] = []
    with dask_runner(site, study.output) as runner:
        if tuning:
            trained, failures = run_planned(study, runner, prepared, planned, tuning)
        base = study.recipe(tuning.base) if tuning else study.recipes[0]
        finished = [plan for plan in planned if plan.name in trained]
        made = compose_recipes(planned, trained, base)
        counts = score_recipes(study, runner, prepared, [*study.recipes, *made])
        hybrids, choices = _choose_hybrids(study, prepared, planned, made, counts)
        recipes = [*study.recipes, *made, *hybrids]
        keys = {recipe.name: recipe_key(study, prepared, recipe) for recipe in recipes}
        tables = [read_table(EVALUATION, study.paths.evaluation(key)) for key in keys.values()]
        counts = pd.concat(tables)
        write_recipes(study, [*made, *hybrids], NAME, prepared.key)
        results = _describe(study, counts, base.name, planned, choices, failures, prepared)
        page_key = experiment_key(study, NAME, evaluations=keys)
        folder = study.paths.experiment(NAME, page_key)
        shown = [base, *made[:1], *hybrids[:1]]
        _add_overlays(study, runner, prepared, results, counts, shown, folder)
    _add_trainings(study, results, {plan.name: trained[plan.name][0] for plan in finished})
    publish(study, NAME, page_key, results)
    raise_failures(failures, "training(s)", len(planned))
    return {"evaluations": keys, "folder": str(folder)}


def _choose_hybrids(
    study: Study,
    prepared: Prepared,
    planned: Sequence[PlannedTraining],
    made: Sequence[Recipe],
    counts: pd.DataFrame,
) -> tuple[list[Recipe], pd.DataFrame]:
    """The best per marker on val, once a seed; its counts are those of what it chose."""
    if not made or not (counts.split == "val").any():
        return [], pd.DataFrame()
    seed_of = {name: seed for name, (_, seed) in scored_recipes(planned).items()}
    hybrids, tables = [], []
    for index, seed in enumerate(dict.fromkeys(seed_of.values())):
        candidates = [*study.recipes, *(r for r in made if seed_of[r.name] == seed)]
        name = "hybrid" if index == 0 else f"hybrid-seed{seed}"
        hybrid, choices = choose_hybrid(counts, candidates, name=name)
        key = recipe_key(study, prepared, hybrid)
        if not study.paths.evaluation(key).exists():
            chosen = counts.marker.map(choices.set_index("marker").recipe)
            write_counts(study, key, counts[counts.recipe == chosen].assign(recipe=name))
        hybrids.append(hybrid)
        tables.append(choices.assign(hybrid=name, seed=seed))
    return hybrids, pd.concat(tables, ignore_index=True)


def _describe(
    study: Study,
    counts: pd.DataFrame,
    baseline: str,
    planned: Sequence[PlannedTraining],
    choices: pd.DataFrame,
    failures: Sequence[str],
    prepared: Prepared,
) -> Results:
    recipe_of = scored_recipes(planned)
    if len(choices):
        hybrids = choices[["hybrid", "seed"]].drop_duplicates().itertuples(index=False)
        recipe_of |= {name: ("hybrid", seed) for name, seed in hybrids}
    scores = compare_recipes(counts, baseline, study.n_resamples, study.seed)
    seeds = summarise_seeds(counts, recipe_of) if recipe_of else pd.DataFrame()
    notes = [training_tiles(plan, prepared.tiles).note for plan in planned]
    return describe_recipes(
        study.name,
        scores,
        choices,
        seeds,
        failures,
        study.iou_threshold,
        [note for note in notes if note],
    )


def _add_trainings(study: Study, results: Results, weights: Mapping[str, str]) -> None:
    """The curve of each training that is finished, from the history beside its weights."""
    if weights:
        results.add_words(
            "### Trainings\n\nKept are the weights of the epoch with the best F1 on val."
        )
    for name, path in weights.items():
        history = read_history(study.paths.checkpoint(Path(path).parent.name))
        picture = draw_training(history, name)
        results.add_picture(f"training-{name}", picture, f"Loss and F1 on val of training {name}")


def _add_overlays(
    study: Study,
    runner: Runner,
    prepared: Prepared,
    results: Results,
    counts: pd.DataFrame,
    recipes: Sequence[Recipe],
    folder: Path,
) -> None:
    """Median, best and worst test tile of each marker by the last recipe, each as all saw it."""
    names = ", ".join(recipe.name for recipe in recipes)
    examples = choose_examples(counts[counts.recipe == recipes[-1].name])
    for place, tile_ids in examples.items():
        if not tile_ids:
            continue
        name = "overlays" if place == "median" else f"overlays-{place}"
        path = folder / f"{name}.png"
        if not path.exists():
            parameters = {
                "folder": prepared.folder,
                "recipes": list(recipes),
                "names": f"{place} tiles",
                "tile_ids": tile_ids,
                "device": study.device,
            }
            write_bytes(path, runner.run(draw_overlays, **parameters))
        caption = (
            f"The tile of {place} F1 ({recipes[-1].name}) of each marker: image, reference, {names}"
        )
        results.add_picture(name, path.read_bytes(), caption)
        rows = order_tiles(prepared.tiles, tile_ids)
        tiles = [f"{row.marker} {row.tile_id}" for row in rows.itertuples()]
        results.add_words(f"From the top: {', '.join(tiles)}.")
