"""The whole study, in the order of the data: prepare, score the recipes, segment everything."""

from typing import Any

from prefect import flow

from flows.e0_prepare import e0_prepare
from flows.e1_recipes import e1_recipes
from flows.e5_inference import e5_inference
from flows.naming import named
from somaflow.study import Study


@flow(name="study", flow_run_name=named("study"))
def study(study: Study, site: str = "laptop") -> dict[str, Any]:
    """Runs every stage; a stage that fails stops those that need it, and says why.

    Args:
        study: The study, or the path of its YAML file.
        site: Where tasks run.
    """
    prepared = e0_prepare(study, site)
    scores = e1_recipes(study, site) if prepared["labelled"] else {}
    inference = e5_inference(study, site)
    return {"e0-prepare": prepared, "e1-recipes": scores, "e5-inference": inference}
