"""Workers of a real SLURM that are refused, die, wait or leave, as the work sees it."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest
import yaml
from distributed import get_worker

from flows.sites import Runner, dask_runner
from infra.sandbox import Sandbox
from somaflow.errors import SiteError
from tests.infra.test_tls import refuses
from tests.permissions import open_to_others
from tests.slurm import resume_nodes, running_sandbox

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A real SLURM of two nodes."""
    with running_sandbox(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture(autouse=True)
def slurm(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Has this process talk to it, and leaves no job."""
    monkeypatch.setenv("SLURM_CONF", str(sandbox.conf))
    yield
    sandbox.ask("scancel", "--user", "root")
    wait_until(lambda: not sandbox.ask("squeue", "-h").strip())


def wait_until(is_true: Callable[[], object], limit_s: float = 120) -> None:
    """Waits, and fails after the limit."""
    deadline = time.monotonic() + limit_s
    while not is_true():
        assert time.monotonic() < deadline, "it did not come to be in time"
        time.sleep(0.2)


def write_site(sandbox: Sandbox, folder: Path, **fields: object) -> str:
    """The sandbox's site file with other fields."""
    site = {**yaml.safe_load(sandbox.site.read_text()), **fields}
    path = folder / "site.yaml"
    path.write_text(yaml.safe_dump(site))
    return str(path)


def job_number() -> str:
    """On a worker: its job."""
    return os.environ["SLURM_JOB_ID"]


def wait_for(path: str) -> str:
    """On a worker: notes its job beside the path, and waits for the path to be there."""
    number = job_number()
    Path(f"{path}-{number}").touch()
    while not Path(path).exists():
        time.sleep(0.1)
    return number


def ask(site: str, folder: Path) -> str:
    """Asks any worker of the site for its job."""
    with dask_runner(site, folder) as runner:
        return str(runner.compute("job", job_number))


def worker_address() -> str:
    """On a worker: where it listens."""
    return str(get_worker().address)


def test_jobs_and_scheduler_take_nobody_without_the_key(sandbox: Sandbox, tmp_path: Path) -> None:
    """Everything is encrypted, a client without key is refused, and the key goes with the run."""
    site = write_site(sandbox, tmp_path)
    with dask_runner(site, tmp_path) as runner:
        worker = str(runner.compute("address", worker_address))
        scheduler = str(runner.start().client.scheduler.address)
        (keys,) = tmp_path.glob("tls*")
        assert [] == open_to_others(keys) and 0o700 == keys.stat().st_mode & 0o777
        assert worker.startswith("tls://") and scheduler.startswith("tls://")
        for address in (worker, scheduler):
            assert refuses(address.replace("tls://", "tcp://"), None)
    assert [] == list(tmp_path.glob("tls*"))


def test_partition_that_does_not_exist_is_named(sandbox: Sandbox, tmp_path: Path) -> None:
    """A refused submission ends the work with what sbatch said."""
    site = write_site(sandbox, tmp_path, partition="nope")
    with pytest.raises(SiteError, match=r"sbatch refused: .*invalid partition specified: nope"):
        ask(site, tmp_path)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"setup": ["module load cuda/99", "exit 3"]}, "module: command not found"),
        ({"python": "/no/such/python"}, "/no/such/python"),
        ({"setup": ["set -e", "python3 -c 'import nomodule'"]}, "No module named 'nomodule'"),
    ],
)
def test_jobs_that_die_at_once_are_quoted(
    sandbox: Sandbox, tmp_path: Path, fields: dict[str, object], said: str
) -> None:
    """A wrong environment ends the work with the last lines of a job's log, and its path."""
    site = write_site(sandbox, tmp_path, **fields)
    expected = rf"in a row did not: job \d+ ended early; .*somaflow-\d+.err ends with: .*{said}"
    with pytest.raises(SiteError, match=expected):
        ask(site, tmp_path)


def test_job_that_waits_too_long_is_named_with_its_reason(sandbox: Sandbox, tmp_path: Path) -> None:
    """A full cluster ends the work at the site's limit, with SLURM's own reason."""
    for _ in sandbox.node_names():
        sandbox.ask("sbatch", "-c4", "-o", "/dev/null", "--wrap", "sleep 300")
    site = write_site(sandbox, tmp_path, queue_limit_minutes=0.1)
    with pytest.raises(SiteError, match=r"job \d+ still waits, says SLURM: (Resources|Priority)"):
        ask(site, tmp_path)


def start_waiting(runner: Runner, marker: Path) -> list[str]:
    """Has a worker wait for the marker; the list gets its job once it is done."""
    found: list[str] = []
    Thread(
        target=lambda: found.append(runner.compute("wait", wait_for, str(marker))), daemon=True
    ).start()
    wait_until(lambda: list(marker.parent.glob(f"{marker.name}-*")))
    return found


@pytest.mark.parametrize("how", ["scancel", "node down", "kill -9 of all"])
def test_work_of_a_lost_job_is_done_by_another(sandbox: Sandbox, tmp_path: Path, how: str) -> None:
    """A job that is cancelled, whose node fails or whose processes die costs no work."""
    marker = tmp_path / "marker"
    site = write_site(sandbox, tmp_path, workers_max=1)
    with dask_runner(site, tmp_path) as runner:
        found = start_waiting(runner, marker)
        (first,) = (path.name.split("-")[1] for path in tmp_path.glob("marker-*"))
        if how == "scancel":
            sandbox.ask("scancel", first)
        elif how == "node down":
            node = sandbox.ask("squeue", "-h", "-j", first, "-o", "%N").strip()
            sandbox.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
        else:
            sandbox.ask("scancel", "--signal=KILL", "--full", first)
        wait_until(lambda: len(list(tmp_path.glob("marker-*"))) == 2)
        if how == "node down":
            resume_nodes(sandbox)
        marker.touch()
        wait_until(lambda: bool(found))
    assert [first] != found


def test_job_killed_at_its_walltime_costs_no_work(sandbox: Sandbox, tmp_path: Path) -> None:
    """A worker that is still at work when its time is over is killed; another does the work."""
    marker = tmp_path / "marker"
    site = write_site(sandbox, tmp_path, workers_max=1, walltime="00:01:00", retire_minutes=0.01)
    with dask_runner(site, tmp_path) as runner:
        found = start_waiting(runner, marker)
        (first,) = (path.name.split("-")[1] for path in tmp_path.glob("marker-*"))
        wait_until(lambda: len(list(tmp_path.glob("marker-*"))) == 2, limit_s=200)
        marker.touch()
        wait_until(lambda: bool(found))
    assert [first] != found


def test_idle_worker_leaves_before_its_walltime(sandbox: Sandbox, tmp_path: Path) -> None:
    """A worker retires in good order; the next work finds another."""
    site = write_site(
        sandbox, tmp_path, workers_min=1, workers_max=1, walltime="00:01:00", retire_minutes=0.5
    )
    with dask_runner(site, tmp_path) as runner:
        first = runner.compute("job", job_number)
        wait_until(lambda: first not in sandbox.ask("squeue", "-h", "-o", "%A").split())
        assert first != runner.compute("job", job_number)
    jobs = (sandbox.folder / "log" / "jobcomp.txt").read_text()
    (line,) = [line for line in jobs.splitlines() if f"JobId={first} " in line]
    assert "JobState=TIMEOUT" not in line


def test_no_job_is_left_when_the_work_fails(sandbox: Sandbox, tmp_path: Path) -> None:
    """What a worker raises reaches the caller, and the cluster is given back."""
    with (
        pytest.raises(FileNotFoundError),
        dask_runner(write_site(sandbox, tmp_path), tmp_path) as runner,
    ):
        runner.compute("open", os.stat, str(tmp_path / "absent"))
    wait_until(lambda: not sandbox.ask("squeue", "-h").strip(), limit_s=30)


def test_clock_that_is_set_back_ends_the_work_in_words(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask would wait for the clock to catch up; the work says so instead."""
    true_time = time.time
    with dask_runner(write_site(sandbox, tmp_path), tmp_path) as runner:
        found = runner.compute("job", job_number)
        assert found
        monkeypatch.setattr(time, "time", lambda: true_time() - 3600)
        with pytest.raises(SiteError, match=r"clock must not be set back .* by 3600 s"):
            runner.compute("wait", wait_for, str(tmp_path / "never"))
        monkeypatch.undo()
