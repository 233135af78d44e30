"""Whether a site can run a study: `python -m infra.check STUDY SITE`, what `somaflow check` calls.

On a SLURM site one small job, submitted with the site's own options, looks around on a node.
Leaves: one line a problem; nothing on the cluster, whatever happens.
"""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from infra.clusters import sbatch_options, scheduler_host
from infra.jobs import NOTHING, WAITING, last_lines, last_words, read_queue, scancel
from infra.probe import REPORT, REQUEST, code_digest
from infra.specs import LocalSite, SlurmSite, load_site
from somaflow.errors import SiteError, SomaflowError
from somaflow.files import make_folder, write_text
from somaflow.study import Study, load_study

_POLL_S = 0.5
_RUN_LIMIT_S = 300
# What a node wrote may take so long to be seen here, on a shared file system.
_VISIBLE_WITHIN_S = 15
_UNKNOWN = "UNKNOWN"


def find_site_problems(study: Study, site: str, api: str = "") -> list[str]:
    """One line a problem of running the study at the site; an empty list means ready.

    Args:
        study: says the device and where outputs go.
        site: name of the site, or path of its YAML file.
        api: URL of the Prefect API that workers report to; "" if a run starts its own.
    """
    try:
        spec = load_site(site)
        if isinstance(spec, LocalSite):
            return []
        seen = _send_probe(spec, study, api)
        gpu = seen["gpu"] or "no GPU seen"
        print(f"Node {seen['host']}: Python {seen['python']}, {gpu}", file=sys.stderr)
        return _judge(spec, study, seen)
    except SomaflowError as error:
        return str(error).splitlines()


@dataclass(frozen=True)
class _Job:
    number: str
    folder: Path
    site: SlurmSite

    def state(self) -> tuple[str, str]:
        """Its state and, while it waits, SLURM's reason; ("", "") once SLURM has let go of it."""
        queue = read_queue(self.site.clusters)
        if queue is None:
            return _UNKNOWN, "SLURM does not answer"
        return queue.get(self.number, ("", ""))

    def log(self) -> str:
        """The last lines it wrote, in one."""
        said = last_lines(self.folder / "job.log")
        return said if said != NOTHING else f"{NOTHING} (it may not see this folder)"

    def cancel(self) -> None:
        """Ends it, if it has not."""
        subprocess.run(
            [*scancel(self.site.clusters), self.number], capture_output=True, check=False
        )


def _send_probe(site: SlurmSite, study: Study, api: str) -> dict[str, Any]:
    """What the job saw on its node.

    Raises:
        SiteError: if it could not be submitted, did not start in time, or left no report.
    """
    if shutil.which("sbatch") is None:
        raise SiteError(
            "a slurm site needs sbatch, found none on the PATH; run on a login node of the cluster"
        )
    parent = study.output / site.log_folder
    make_folder(parent)
    with TemporaryDirectory(prefix="check-", dir=parent) as folder, _listen(site) as address:
        request = {"scheduler": address, "api": api, "cuda": _needs_cuda(site, study)}
        write_text(Path(folder) / REQUEST, json.dumps(request))
        job = _submit(site, Path(folder))
        try:
            _await_start(job, site)
            return _await_report(job)
        finally:
            job.cancel()


@contextmanager
def _listen(site: SlurmSite) -> Iterator[str]:
    """Answers where a scheduler would, so that the node can try to reach it."""
    host = scheduler_host(site)
    try:
        server = socket.create_server((host, site.scheduler_port), backlog=8)
    except OSError as error:
        raise SiteError(
            f"the scheduler must be able to listen at {host}:{site.scheduler_port}, found: "
            f"{error.strerror}; choose another scheduler_port or interface"
        ) from error
    with server:
        yield f"{host}:{server.getsockname()[1]}"


def _submit(site: SlurmSite, folder: Path) -> _Job:
    command = [site.python or sys.executable, "-m", "infra.probe", str(folder)]
    lines = ["#!/usr/bin/env bash", *site.setup, " ".join(command)]
    options = [*sbatch_options(site), "--time=5", f"--output={folder}/job.log"]
    options += ["--job-name=somaflow-check", "--no-requeue"]
    done = subprocess.run(
        ["sbatch", "--parsable", *options],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[1],
    )
    if done.returncode:
        said = last_words(done.stderr)
        raise SiteError(f"sbatch must accept the site's jobs, it refused with: {said}")
    return _Job(done.stdout.split(";")[0].strip(), folder, site)


def _await_start(job: _Job, site: SlurmSite) -> None:
    deadline = time.monotonic() + site.pending_limit_minutes * 60
    while (state := job.state())[0] in (*WAITING, _UNKNOWN):
        if time.monotonic() > deadline:
            raise SiteError(
                f"a job must start within {site.pending_limit_minutes:g} minutes, job {job.number} "
                f"still waits: SLURM's reason is {state[1]}; choose another partition or account, "
                "or raise pending_limit_minutes"
            )
        time.sleep(_POLL_S)


def _await_report(job: _Job) -> dict[str, Any]:
    path = job.folder / REPORT
    deadline = time.monotonic() + _RUN_LIMIT_S
    while not path.exists():
        if job.state()[0] not in ("RUNNING", "COMPLETING", _UNKNOWN):
            deadline = min(deadline, time.monotonic() + _VISIBLE_WITHIN_S)
        if time.monotonic() > deadline:
            raise SiteError(
                f"a job must leave its report in {job.folder.parent}, job {job.number} left none; "
                "the folder must be on a file system that nodes share, and the environment must "
                f"work there. Its last lines: {job.log()}"
            )
        time.sleep(_POLL_S)
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _needs_cuda(site: SlurmSite, study: Study) -> bool:
    return study.device == "cuda" or (study.device == "auto" and site.gres is not None)


def _judge(site: SlurmSite, study: Study, seen: dict[str, Any]) -> list[str]:
    """What must hold of a report, and does not."""
    node = f"node {seen['host']}"
    problems = []
    if seen["code"] != code_digest():
        problems.append(
            f"{node} must run this version of somaflow, {seen['executable']} has another; update "
            "it, or name another python in the site's file"
        )
    if seen["imports"]:
        problems.append(f"{node} must import the packages, it says {seen['imports']}")
    if seen["scheduler"]:
        problems.append(
            f"{node} must reach the Dask scheduler at {scheduler_host(site)}, it says "
            f"{seen['scheduler']}; set interface, or a scheduler_port that is open"
        )
    if seen["api"]:
        problems.append(
            f"{node} must reach the Prefect API, it says {seen['api']}; set PREFECT_API_URL to an "
            "address that nodes reach"
        )
    if seen["cuda"]:
        found = f"nvidia-smi shows {seen['gpu']}" if seen["gpu"] else "nvidia-smi shows none"
        problems.append(
            f"{node} must have a GPU that torch can use (gres {site.gres}, device {study.device}), "
            f"torch says {seen['cuda']}, {found}"
        )
    return problems


def main(arguments: list[str]) -> int:
    """Prints the problems; returns 1 if there is any."""
    study, site = arguments
    from prefect.settings import PREFECT_API_URL

    problems = find_site_problems(load_study(Path(study)), site, PREFECT_API_URL.value() or "")
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
