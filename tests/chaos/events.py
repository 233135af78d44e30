"""What befalls a run: each event takes a lab, disturbs it and says what it did, in words."""

import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from somaflow.ledger import read_plan
from somaflow.paths import RunPaths
from tests.chaos.lab import Lab

Event = Callable[[Lab, random.Random], str]
_HOLD_S = 4.0
_REMOUNT_TRIES = 400


def cancel_job(lab: Lab, rng: random.Random) -> str:
    """Scancel of a running job."""
    jobs = lab.jobs()
    if not jobs:
        return "no job ran that could be cancelled"
    job = rng.choice(jobs)
    lab.sandbox.ask("scancel", job)
    return f"scancel {job}"


def drain_node(lab: Lab, rng: random.Random) -> str:
    """A node that takes no more jobs."""
    node = rng.choice(lab.sandbox.node_names())
    lab.sandbox.ask("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=chaos")
    return f"{node} drained"


def fail_node(lab: Lab, rng: random.Random) -> str:
    """A node that is down: its job ends with it."""
    node = rng.choice(lab.sandbox.node_names())
    lab.sandbox.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=chaos")
    return f"{node} down"


def kill_worker(lab: Lab, rng: random.Random) -> str:
    """Kill -9 of a worker under its nanny."""
    return _kill(rng, [worker for _, workers in lab.workers() for worker in workers], "worker")


def kill_nanny(lab: Lab, rng: random.Random) -> str:
    """Kill -9 of a nanny over its worker."""
    return _kill(rng, [nanny for nanny, _ in lab.workers()], "nanny")


def end_walltime(lab: Lab, rng: random.Random) -> str:
    """A worker that hangs until its job's wall-time is over and SLURM kills it."""
    pairs = [(nanny, worker) for nanny, workers in lab.workers() for worker in workers]
    if not pairs:
        return "no worker ran that could hang"
    nanny, worker = rng.choice(pairs)
    job = nanny.environ()["SLURM_JOB_ID"]
    worker.suspend()
    lab.sandbox.ask("scontrol", "update", f"JobId={job}", "EndTime=now+1")
    # SLURM looks every 30 s for jobs whose time is over.
    while job in lab.jobs():
        time.sleep(0.2)
    return f"job {job} hung and was killed at its wall-time"


def kill_flow(lab: Lab, rng: random.Random) -> str:
    """Kill -9 of the flow's process, which is Dask's scheduler too."""
    run = rng.choice(lab.runs[-2:])
    run.was_killed = True
    return _kill(rng, run.processes("-m flows"), "flow with its scheduler")


def kill_server(lab: Lab, rng: random.Random) -> str:
    """Kill -9 of the Prefect server; it is started again."""
    servers = lab.servers()
    for process in servers:
        process.kill()
    return f"kill -9 of the Prefect server ({len(servers)} processes)"


def fill_disk(lab: Lab, rng: random.Random) -> str:
    """A full disk, for a while."""
    filler = lab.output / "filler"
    try:
        with filler.open("wb", buffering=0) as handle:
            while handle.write(bytes(1 << 16)) == 1 << 16:
                pass
    except OSError:
        time.sleep(_HOLD_S)
    filler.unlink()
    return f"disk full for {_HOLD_S:.0f} s"


def lock_disk(lab: Lab, rng: random.Random) -> str:
    """A disk that cannot be written to, for a while."""
    for _ in range(_REMOUNT_TRIES):
        if _remount(lab, "ro"):
            time.sleep(_HOLD_S)
            _remount(lab, "rw")
            return f"disk read-only for {_HOLD_S:.0f} s"
        time.sleep(0.02)
    return "the disk was too busy to become read-only"


def start_again(lab: Lab, rng: random.Random) -> str:
    """A second run of the same study, beside the first."""
    lab.start()
    return "a second run started"


def jump_clock(lab: Lab, rng: random.Random) -> str:
    """A clock that jumps, for the flow and its jobs."""
    hours = rng.choice([72.0, -48.0, 1.5, -0.1])
    # Renamed, since a process may read it at any moment.
    new = lab.clock.with_suffix(".new")
    new.write_text(str(3600 * hours))
    new.replace(lab.clock)
    return f"clock jumped by {hours:+g} h"


def truncate_file(lab: Lab, rng: random.Random) -> str:
    """A committed file cut in half behind everybody's back."""
    paths = RunPaths(lab.output)
    files = [p for p in paths.labels(lab.key).rglob("c/*/0/0") if p.is_file()]
    files += paths.cells_folder(lab.key).glob("shard-*.parquet")
    files += paths.ledger(lab.key).glob("shard-*.json")
    if not files:
        return "nothing was there to be truncated"
    path = rng.choice(sorted(files))
    shard = _shard_of(paths, lab.key, path)
    lab.spoilt.add(paths.record(lab.key, shard))
    lab.committed.pop(paths.record(lab.key, shard), None)
    with path.open("r+b") as handle:
        handle.truncate(path.stat().st_size // 2)
    return f"{path.relative_to(lab.output)} truncated"


EVENTS: tuple[Event, ...] = (
    *(cancel_job, end_walltime, drain_node, fail_node, kill_worker, kill_nanny, kill_flow),
    *(kill_server, fill_disk, lock_disk, start_again, jump_clock, truncate_file),
)


def _shard_of(paths: RunPaths, key: str, path: Path) -> int:
    """The shard that a file of labels, cells or ledger belongs to."""
    if path.name.startswith("shard-"):
        return int(path.stem.split("-")[1])
    plan = read_plan(paths, key)
    array, index = path.parents[3].stem, int(path.parents[1].name)
    return int(plan["shard"][(plan["array"] == array) & (plan["index"] == index)].iloc[0])


def _kill(rng: random.Random, processes: list[psutil.Process], what: str) -> str:
    if not processes:
        return f"no {what} ran that could be killed"
    process = rng.choice(processes)
    process.kill()
    return f"kill -9 of a {what} ({process.pid})"


def _remount(lab: Lab, mode: str) -> bool:
    command = ["mount", "-o", f"remount,{mode}", str(lab.output)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
