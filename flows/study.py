"""The whole study in the order of the data: prepare, train, experiment, segment all, donors."""

from typing import Any

from prefect import Flow, flow, get_run_logger
from prefect.flow_engine import FlowRunTimeoutError

from flows.e0_prepare import e0_prepare
from flows.e1_recipes import e1_recipes
from flows.e2_label_budget import e2_label_budget
from flows.e3_gating import e3_gating
from flows.e4_thresholds import e4_thresholds
from flows.e5_donors import e5_donors
from flows.e5_inference import e5_inference
from flows.forms import StudyOrPath
from flows.naming import named
from flows.outputs import announce_outputs
from flows.pages import publish_report
from flows.parts import cancel_parts
from flows.sites import abandon_work, shared_runner
from flows.turns import study_to_itself
from somaflow.claims import IfBusy
from somaflow.errors import DeviceError, ExperimentError, OutputError, SiteError
from somaflow.stages import note_stages, stages_of
from somaflow.study import Study
from tasks.privacy import private

_STAGES: dict[str, Flow[..., Any]] = {
    "e1-recipes": e1_recipes,
    "e2-label-budget": e2_label_budget,
    "e3-gating": e3_gating,
    "e4-thresholds": e4_thresholds,
    "e5-inference": e5_inference,
    "e5-donors": e5_donors,
}


@flow(name="study", flow_run_name=named("study"), on_cancellation=[cancel_parts])
@private
def study(study: StudyOrPath, site: str = "laptop", if_busy: IfBusy = "wait") -> dict[str, Any]:
    """Runs every stage that the study has a part for; what depends on a failed one says so.

    A failed experiment does not keep all tiles from being segmented, unless its recipe is needed.

    Args:
        study: The study, or the path of its YAML file.
        site: Where tasks run: `laptop`, `slurm`, or the path of a site file.
        if_busy: If another run segments this study now: wait until that has ended, or refuse.
    """
    announce_outputs(study)
    with study_to_itself(study, if_busy), shared_runner(site, study.output):
        return _run_stages(study, site)


def _run_stages(study: Study, site: str) -> dict[str, Any]:
    note_stages(study.paths, stages_of(study, has_labelled=True))
    done: dict[str, Any] = {"e0-prepare": e0_prepare(study, site)}
    names = stages_of(study, has_labelled=bool(done["e0-prepare"]["labelled"]))
    stages = {name: _STAGES[name] for name in names if name not in done}
    failures = []
    limit_s = None if study.stage_limit_hours is None else 3600 * study.stage_limit_hours
    for name, stage in stages.items():
        try:
            done[name] = stage.with_options(timeout_seconds=limit_s)(study, site)
        except (OutputError, DeviceError, SiteError):
            raise  # nothing else can be written, or run, either
        except FlowRunTimeoutError:
            abandon_work(f"{name} took too long")
            get_run_logger().error("%s took too long", name)
            failures.append(
                f"{name}: TimeoutError: took longer than stage_limit_hours "
                f"({study.stage_limit_hours:g}); raise it in the study file, or run again: what is "
                "finished is kept"
            )
        except Exception as error:  # noqa: BLE001 - listed, and this flow fails with the list
            get_run_logger().error("%s failed: %s", name, error)
            failures.append(f"{name}: {type(error).__name__}: {error}")
    if "e5-donors" not in done:
        publish_report(study)  # of what there is: the donors' flow would have made it
    if failures:
        heading = f"{len(failures)} of {len(stages) + 1} stages failed, the others are done:"
        raise ExperimentError("\n".join([heading, *failures]))
    return done
