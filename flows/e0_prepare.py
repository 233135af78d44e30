"""E0: from folders as they lie on disk to checked tiles, donor splits and Cellpose-ready images."""

from typing import Any

from prefect import flow, get_run_logger

from flows.forms import StudyOrPath
from flows.naming import named
from flows.outputs import announce_outputs
from flows.parts import cancel_parts
from flows.sites import dask_runner
from infra.specs import load_site
from somaflow.preparation import is_prepared
from somaflow.study import dump_study
from tasks.caching import keyed
from tasks.preparation import (
    audit_splits,
    check_labels,
    find_tiles,
    hash_labelled,
    prepare_images,
    split_labelled,
)
from tasks.privacy import private
from tasks.reporting import show_lines, show_table


@flow(name="e0-prepare", flow_run_name=named("prepare"), on_cancellation=[cancel_parts])
@private
def e0_prepare(study: StudyOrPath, site: str = "laptop") -> dict[str, Any]:
    """Finds and checks all tiles, splits the labelled ones by donor, writes Cellpose-ready images.

    Args:
        study: The study, or the path of its YAML file.
        site: Where tasks run. Preparation needs no GPU and runs beside the flow at every site.
    """
    announce_outputs(study)
    load_site(site)  # an unknown site is an error now, not in the next flow
    logger = get_run_logger()
    study.paths.write_current(study.paths.study, dump_study(study).encode())
    with dask_runner("laptop", study.output, most_workers=1) as runner:
        set_aside = runner.run(find_tiles, study=study)
        if set_aside:
            heading = f"{len(set_aside)} line(s) about tiles that are not used"
            logger.warning("%s:\n%s", heading, "\n".join(set_aside))
            show_lines("tiles-set-aside", heading, set_aside)
        labelled = runner.run(check_labels, study=study)
        if labelled.empty:
            logger.warning("No labelled tile: nothing to split or to score; e5-inference can run.")
            return {"set_aside": len(set_aside), "labelled": 0}
        splits = runner.run(split_labelled, study=study, labelled=labelled)
        runner.run(audit_splits, study=study, labelled=labelled, splits=splits)
        key = runner.run(hash_labelled, study=study, labelled=labelled, splits=splits)
        task = keyed(
            prepare_images, key, study.paths.task_results, is_prepared(study.paths.prepared(key))
        )
        prepared = runner.run(task, study=study, labelled=labelled, splits=splits, key=key)
    balance = prepared.groupby(["split", "marker"], sort=False).agg(
        n_tiles=("tile_id", "size"), n_donors=("donor", "nunique"), n_cells=("n_cells", "sum")
    )
    show_table("splits", balance.reset_index(), f"Labelled tiles per split ({splits.level}-level)")
    logger.info("Prepared %d labelled tiles in %s", len(prepared), study.paths.prepared(key))
    return {"set_aside": len(set_aside), "labelled": len(prepared), "prepared_key": key}
