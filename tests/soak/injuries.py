"""What befalls a study: before its run starts, or at a random moment of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psutil
import yaml
from prefect.states import Cancelling

from somaflow.files import write_text
from tests.infra.services import Service

_RUN_ID = "PREFECT__FLOW_RUN_ID"


@dataclass(frozen=True)
class Injury:
    """One kind of it.

    Attributes:
        share: of all studies, in hundredths.
        end: how the study's last run must end.
        before: done to the study before its run starts.
        amid: done to the run while it is Running; False if there was nothing to do it to.
        after: done when the run has failed, before it is run again.
    """

    share: int
    end: str = "Completed"
    before: Callable[[Path], None] | None = None
    amid: Callable[[Service, UUID], bool] | None = None
    after: Callable[[Path], None] | None = None


def processes_of(run: UUID) -> list[psutil.Process]:
    """The processes of a run, its own first."""
    found = {p.pid: p for p in psutil.process_iter() if _run_of(p) == str(run)}
    return sorted(found.values(), key=lambda process: process.ppid() in found)


def _run_of(process: psutil.Process) -> str:
    try:
        return process.environ().get(_RUN_ID, "")
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return ""


def _kill_run(_: Service, run: UUID) -> bool:
    for process in processes_of(run)[:1]:
        process.kill()
        return True
    return False


def _kill_part(_: Service, run: UUID) -> bool:
    """Kills a process that the run started last: one of Dask's."""
    for process in reversed(processes_of(run)[1:]):
        process.kill()
        return True
    return False


def _end_politely(_: Service, run: UUID) -> bool:
    for process in processes_of(run)[:1]:
        process.terminate()
        return True
    return False


def _cancel(service: Service, run: UUID) -> bool:
    """As the dashboard's button does."""
    with service.api() as client:
        client.set_flow_run_state(run, Cancelling(message="cancelled by a person"))
    return True


def _lose_tiles(study: Path) -> None:
    content = yaml.safe_load(study.read_text())
    content["tiles"]["root"] = "../nowhere"
    write_text(study, yaml.safe_dump(content, sort_keys=False))


def _block_output(study: Path) -> None:
    (study.parent / "output").touch()


def _clear_output(study: Path) -> None:
    output = study.parent / "output"
    if output.is_file():
        output.unlink()


INJURIES: dict[str, Injury] = {
    "none": Injury(62),
    "run killed": Injury(8, amid=_kill_run),
    "run ended (SIGTERM)": Injury(6, amid=_end_politely),
    "Dask process killed": Injury(8, amid=_kill_part),
    "cancelled": Injury(6, amid=_cancel),
    "output blocked, then free": Injury(6, before=_block_output, after=_clear_output),
    "no tiles at all": Injury(4, "Failed", before=_lose_tiles),
}
"""By name; together 100."""
