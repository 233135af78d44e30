"""A SLURM, a Prefect server, a study on a disk of its own, and runs of E5 to be disturbed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml

from flows.server import temporary_server
from infra.sandbox import Sandbox
from somaflow.paths import RunPaths
from somaflow.synthetic import write_study
from tests.chaos.audit import RESULTS, Stamp, stamp_of
from tests.conftest import REPOSITORY
from tests.slurm import resume_nodes, running_sandbox

# Python's own clock, off by what a file says, in every process of a run and its jobs.
_SITE_CUSTOMIZE = """\
import time
_true = time.time
def _shifted():
    with open({clock!r}) as handle:
        return _true() + float(handle.read() or 0)
time.time = _shifted
"""
_RUN_LIMIT_S = 300
_DISK = "size=48m"
_N_NODES = 3


@dataclass
class Run:
    """One `somaflow run e5-inference`, and what it printed on standard error."""

    process: subprocess.Popen[bytes]
    log: Path
    was_killed: bool = False
    is_noted: bool = False

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    def last_words(self) -> str:
        """The last line it printed on standard error."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        said = [line for line in lines if line.startswith("somaflow:")]
        return said[-1] if said else (lines[-1] if lines else "")

    def processes(self, word: str) -> list[psutil.Process]:
        """Its own processes whose command has the word."""
        try:
            family = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return [process for process in family if word in _command(process)]


@dataclass
class Lab:
    """Everything that events can disturb."""

    folder: Path
    sandbox: Sandbox
    environment: dict[str, str]
    site: Path
    key: str = ""
    runs: list[Run] = field(default_factory=list)
    n_started: int = 0
    committed: dict[Path, Stamp] = field(default_factory=dict)
    """Records that must not be written again."""
    spoilt: set[Path] = field(default_factory=set)
    """Records of shards that an event damaged: they have to be."""

    @property
    def study(self) -> Path:
        """The study file."""
        return self.folder / "study" / "study.yaml"

    @property
    def output(self) -> Path:
        """Of the study; a disk of its own."""
        return self.folder / "study" / "output"

    @property
    def reference(self) -> Path:
        """What an undisturbed run left."""
        return self.folder / "reference"

    @property
    def clock(self) -> Path:
        """By how much the clock of runs and their jobs is off."""
        return self.folder / "clock"

    def start(self) -> Run:
        """Starts E5 on the SLURM site."""
        self.n_started += 1
        log = self.folder / f"run-{self.n_started}.log"
        command = [sys.executable, "-m", "somaflow", "run", "e5-inference", str(self.study)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "--site", str(self.site)],
                cwd=REPOSITORY,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.runs.append(Run(process, log))
        return self.runs[-1]

    def finish(self, run: Run) -> int:
        """Waits for a run's end and returns its exit code.

        Raises:
            TimeoutError: if it hangs.
        """
        try:
            return run.process.wait(timeout=_RUN_LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(run.process.pid, signal.SIGKILL)
            words = run.log.read_text(errors="replace")[-2000:]
            raise TimeoutError(
                f"a run must end in {_RUN_LIMIT_S} s, this one hung:\n{words}"
            ) from None

    def n_done(self) -> int:
        """Shards that are committed."""
        return len(list(RunPaths(self.output).ledger(self.key).glob("shard-*.json")))

    def note_committed(self) -> None:
        """Remembers the records that are there."""
        for path in RunPaths(self.output).ledger(self.key).glob("shard-*.json"):
            if path not in self.spoilt:
                self.committed.setdefault(path, stamp_of(path))

    def workers(self) -> list[tuple[psutil.Process, list[psutil.Process]]]:
        """The nanny of each job of this SLURM, and its worker."""
        found = []
        for process in psutil.process_iter():
            if "distributed.cli.dask_worker" not in _command(process):
                continue
            try:
                if process.environ().get("SLURM_CONF") == str(self.sandbox.conf):
                    children = [c for c in process.children() if "spawn_main" in _command(c)]
                    found.append((process, children))
            except psutil.NoSuchProcess:
                continue
        return found

    def servers(self) -> list[psutil.Process]:
        """The processes of the Prefect server."""
        family = psutil.Process().children(recursive=True)
        return [p for p in family if "prefect" in _command(p) and "server" in _command(p)]

    def heal(self) -> None:
        """Undoes what events left: nodes that take no jobs, a clock that is off."""
        self.clock.write_text("0")
        resume_nodes(self.sandbox)

    def clear(self) -> None:
        """Removes labels, cells and ledger, and waits until no job is left."""
        for part in RESULTS:
            shutil.rmtree(self.output / part, ignore_errors=True)
        self.committed.clear()
        self.spoilt.clear()
        self.sandbox.ask("scancel", "--user", "root")
        while self.jobs():
            time.sleep(0.5)

    def jobs(self) -> list[str]:
        """Numbers of the running jobs."""
        listed = self.sandbox.ask("squeue", "-h", "-t", "R", "-o", "%A")
        return listed.split()


@contextmanager
def open_lab(folder: Path, n_tiles: int) -> Iterator[Lab]:
    """Sets everything up, with the reference; all of it ends with the block."""
    with running_sandbox(folder / "slurm", _N_NODES) as sandbox, temporary_server(folder) as server:
        environment = {**os.environ, **server, "SLURM_CONF": str(sandbox.conf)}
        lab = Lab(folder, sandbox, environment, folder / "site.yaml")
        lab.clock.write_text("0")
        (folder / "python").mkdir()
        shift = _SITE_CUSTOMIZE.format(clock=str(lab.clock))
        (folder / "python" / "sitecustomize.py").write_text(shift)
        environment["PYTHONPATH"] = str(folder / "python")
        site = yaml.safe_load(sandbox.site.read_text())
        site |= {"log_folder": str(folder / "job-logs"), "walltime": "00:02:00"}
        lab.site.write_text(yaml.safe_dump(site | {"retire_minutes": 0.5}))
        _write_study(lab, n_tiles)
        subprocess.run(["mount", "-t", "tmpfs", "-o", _DISK, "none", str(lab.output)], check=True)
        try:
            for flow in ("e0-prepare", "e5-inference"):
                _run_here(lab, flow)
            (lab.key,) = RunPaths(lab.output).inference_keys()
            for part in RESULTS:
                shutil.copytree(lab.output / part, lab.reference / part)
            yield lab
        finally:
            for run in lab.runs:
                if run.is_running:
                    os.killpg(run.process.pid, signal.SIGKILL)
                    run.process.wait()
            subprocess.run(["umount", "--lazy", str(lab.output)], check=True)


def _write_study(lab: Lab, n_tiles: int) -> None:
    path = write_study(
        lab.study.parent, n_donors=4, n_tiles=n_tiles, height_px=400, width_px=520, labelled_tiles=0
    )
    study = yaml.safe_load(path.read_text())
    for name in ("fine_tuning", "label_budgets", "gating", "thresholds", "labelled"):
        study.pop(name, None)
    study |= {
        "recipes": [{"name": "stand-in", "model": "threshold"}],
        "inference_recipe": "stand-in",
        "shard_tiles": 4,
    }
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    lab.output.mkdir()


def _run_here(lab: Lab, flow: str) -> None:
    command = [sys.executable, "-m", "somaflow", "run", flow, str(lab.study)]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=lab.environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{flow} must run undisturbed, it said: {done.stderr}")


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""
