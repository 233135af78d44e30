"""Flows that stand in for somaflow's own: they sleep, they write down what they are given."""

import os
import time
from pathlib import Path
from uuid import UUID

from prefect import flow


@flow(name="sleeper", flow_run_name="sleeps in {folder}")
def sleep_in(folder: Path, seconds: float = 600) -> None:
    """Leaves its process id in a folder, and sleeps."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pid").write_text(str(os.getpid()))
    time.sleep(seconds)


@flow(name="fails")
def fail() -> None:
    """Fails."""
    raise ValueError("it was told to")


@flow(name="rerun")
def note_run(flow_run_id: UUID) -> None:
    """Writes down the run that it was started for."""
    with Path(os.environ["SOMAFLOW_SERVICE"], "reruns").open("a") as notes:
        notes.write(f"{flow_run_id}\n")
