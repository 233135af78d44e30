"""Names of flow runs on the dashboard: what is done, to which study."""

from collections.abc import Callable

from prefect.runtime import flow_run

from somaflow.study import Study


def named(words: str) -> Callable[[], str]:
    """Names a run `words` and its study's name, whether it was given as a form or as a path."""
    return lambda: f"{words} {Study.model_validate(flow_run.parameters['study']).name}"
