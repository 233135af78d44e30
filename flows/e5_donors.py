"""E5, from cells to conclusions: donors, what is associated with traits, and how firmly."""

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.futures import PrefectFuture, as_completed

from flows.forms import StudyOrPath
from flows.naming import named
from flows.outputs import announce_outputs
from flows.pages import publish, publish_report
from flows.parts import cancel_parts
from flows.sites import Runner, dask_runner
from somaflow.coverage import Coverage
from somaflow.donors.inputs import (
    audit_study,
    donors_key,
    find_inferences,
    read_study_traits,
)
from somaflow.donors.page import describe_donors
from somaflow.donors.parts import (
    QualityPart,
    digest_records,
    features_key,
    plan_quality,
    read_quality,
)
from somaflow.experiments.results import Results
from somaflow.figures import draw_coverage
from somaflow.inventory import fingerprint_tiles, inference_tiles, read_tiles
from somaflow.paths import DONORS
from somaflow.study import Study
from tasks.caching import keyed
from tasks.donors import analyse, measure_features, measure_tiles
from tasks.privacy import hide_table, private
from tasks.reporting import Progress, show_lines


@flow(name=DONORS, flow_run_name=named("donors of"), on_cancellation=[cancel_parts])
@private
def e5_donors(study: StudyOrPath, site: str = "laptop") -> dict[str, Any]:
    """Tables of donors, their associations with traits, and how firm those are by recipe.

    Args:
        study: The study, or the path of its YAML file.
        site: Where tasks run: `laptop`, `slurm`, or the path of a site file.
    """
    announce_outputs(study)
    problems: list[str] = []
    settings = study.donor_statistics
    tiles = inference_tiles(read_tiles(study.paths))
    parts = plan_quality(tiles, fingerprint_tiles(tiles, study.paths), study.tiles.pixel_offset)
    inferences = find_inferences(study, problems)
    traits = read_study_traits(study, problems)
    with dask_runner(site, study.output) as runner:
        _measure_quality(study, runner, parts)
        features, mixtures = _measure_features(study, runner, parts, inferences)
        key = donors_key(study, features)
        task = keyed(analyse, key, study.paths.task_results, on_disk=True)
        analysis = runner.run(
            task,
            output=study.output,
            features=features,
            mixtures=mixtures,
            parts=parts,
            traits=traits,
            settings=settings,
            seed=study.seed,
        )
    quality = read_quality(study.paths, parts, settings.tile_quality)
    coverage = audit_study(study, inferences[study.inference_recipe], quality, traits, problems)
    analysis.problems[:0] = problems
    results = describe_donors(study, analysis, quality, coverage)
    if analysis.problems:
        heading = f"{len(analysis.problems)} line(s) about donors and traits to look into"
        get_run_logger().warning("%s:\n%s", heading, "\n".join(analysis.problems))
        show_lines("donors-to-look-into", heading, analysis.problems)
    folder = publish(study, DONORS, key, results, _pictures_without_names(results, coverage))
    return {"key": key, "folder": folder, "report": publish_report(study)}


def _pictures_without_names(results: Results, coverage: Coverage | None) -> dict[str, bytes]:
    """The one picture that has a row a donor, as the dashboard may show it."""
    if coverage is None or "coverage" not in results.pictures:
        return {}
    return {"coverage": draw_coverage(hide_table(coverage.table))}


def _measure_quality(study: Study, runner: Runner, parts: list[QualityPart]) -> None:
    targets = {part.key: study.paths.donor_part("tile-quality", part.key) for part in parts}
    todo = [(n, part) for n, part in enumerate(parts, 1) if not targets[part.key].exists()]
    if not todo:
        return
    progress = Progress("Tiles measured", total=sum(len(p.tiles) for _, p in todo), unit="tiles")
    futures: dict[PrefectFuture[Any], QualityPart] = {}
    for number, part in todo:
        task = keyed(measure_tiles, part.key, study.paths.task_results, on_disk=False)
        future = runner.submit(
            task,
            tiles=part.tiles,
            pixel_offset=study.tiles.pixel_offset,
            target=targets[part.key],
            number=number,
            n_parts=len(parts),
        )
        futures[future] = part
    for done in as_completed(list(futures)):
        n_failed = done.result()
        progress.advance(len(futures.pop(done).tiles), note=f"{n_failed} unreadable")
    progress.close()


def _measure_features(
    study: Study, runner: Runner, parts: list[QualityPart], inferences: dict[str, str]
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Files of tile features and of mixtures by recipe, made where they are not there."""
    settings = study.donor_statistics
    fields = ("phenotypes", "pixel_size_um", "tile_quality")
    content = settings.model_dump(mode="json", include=set(fields))
    targets: dict[str, Path] = {}
    mixtures: dict[str, Path] = {}
    futures = []
    for recipe, inference in inferences.items():
        key = features_key(inference, digest_records(study.paths, inference), parts, content)
        targets[recipe] = study.paths.donor_part("tile-features", key)
        mixtures[recipe] = study.paths.donor_part("mixtures", key)
        if targets[recipe].exists():
            continue
        task = keyed(measure_features, key, study.paths.task_results, on_disk=False)
        futures.append(
            runner.submit(
                task,
                output=study.output,
                recipe=recipe,
                key=inference,
                parts=parts,
                settings=settings,
                target=targets[recipe],
                mixtures_target=mixtures[recipe],
            )
        )
    for future in futures:
        future.result()
    return targets, mixtures
