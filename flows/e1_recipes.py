"""E1: scores each recipe per split and marker, with intervals.

Train tiles are scored too: how much better a recipe is there tells how much it has overfitted.
"""

from typing import Any

import pandas as pd
from prefect import flow, get_run_logger
from prefect.futures import PrefectFuture, as_completed
from prefect_dask.task_runners import DaskTaskRunner

from flows.naming import named
from flows.sites import dask_runner, run_on
from somaflow.evaluation.scores import choose_examples, scores_table
from somaflow.evaluation.scoring import evaluation_key
from somaflow.files import write_bytes, write_text
from somaflow.inventory import find_prepared
from somaflow.recipes import Recipe
from somaflow.segmenter import weights_sha256
from somaflow.study import Study
from somaflow.tables import describe_scores, score_rows
from tasks.caching import keyed
from tasks.evaluation import draw_overlays, score_marker
from tasks.reporting import Progress, show_table


@flow(name="e1-recipes", flow_run_name=named("recipes of"))
def e1_recipes(study: Study, site: str = "laptop") -> dict[str, Any]:
    """Scores every recipe of the study on all labelled tiles, split by split.

    Args:
        study: The study, or the path of its YAML file.
        site: Where tasks run.
    """
    prepared_key, prepared = find_prepared(study)
    keys = {
        recipe.name: evaluation_key(
            prepared_key, recipe, weights_sha256(recipe.model), study.iou_threshold
        )
        for recipe in study.recipes
    }
    todo = [r for r in study.recipes if not study.paths.evaluation(keys[r.name]).exists()]
    if todo:
        progress = Progress("Tiles scored", total=len(todo) * len(prepared), unit="tiles")
        with dask_runner(site) as runner:
            for recipe in todo:
                _score(study, runner, recipe, keys[recipe.name], prepared_key, prepared, progress)
        progress.close()
    tables = [_summarise(study, key) for key in keys.values()]
    scores = pd.concat(tables, ignore_index=True)
    show_table(
        "scores", pd.DataFrame(score_rows(scores)), describe_scores(scores, study.iou_threshold)
    )
    get_run_logger().info("Scores in %s", study.paths.output / "evaluations")
    return {"evaluations": keys}


def _score(
    study: Study,
    runner: DaskTaskRunner,
    recipe: Recipe,
    key: str,
    prepared_key: str,
    prepared: pd.DataFrame,
    progress: Progress,
) -> None:
    """Scores one recipe, a task a split and marker; its counts are written last."""
    paths, folder = study.paths, study.paths.prepared(prepared_key)
    sizes: dict[PrefectFuture[Any], int] = {}
    for (split, marker), rows in prepared.groupby(["split", "marker"], sort=False):
        task = keyed(score_marker, f"{key}-{split}-{marker}", paths.task_results, on_disk=True)
        future = runner.submit(
            task,
            parameters={
                "folder": folder,
                "recipe": recipe,
                "split": split,
                "marker": marker,
                "device": study.device,
                "iou_threshold": study.iou_threshold,
            },
        )
        sizes[future] = len(rows)
    parts = []
    for finished in as_completed(list(sizes)):
        parts.append(finished.result())
        progress.advance(sizes[finished], note=recipe.name)
    counts = pd.concat(parts).sort_values(["split", "marker", "tile_id"], ignore_index=True)
    run_on(
        runner,
        draw_overlays,
        folder=folder,
        recipe=recipe,
        tile_ids=choose_examples(counts),
        device=study.device,
        target=paths.overlays(key),
    )
    write_bytes(paths.evaluation(key), counts.to_parquet(index=False))


def _summarise(study: Study, key: str) -> pd.DataFrame:
    """The scores of one recipe, also beside its counts; they follow the study's resampling."""
    counts = pd.read_parquet(study.paths.evaluation(key))
    scores = scores_table(counts, study.n_resamples, study.seed)
    content = scores.to_csv(sep="\t", index=False)
    path = study.paths.scores(key)
    if not path.exists() or path.read_text(encoding="utf-8") != content:
        write_text(path, content)
    return scores
