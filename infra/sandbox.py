"""A real SLURM on one machine: `python -m infra.sandbox up | down | status`, or `make slurm-up`.

munged, slurmctld and a slurmd a node, as root, without systemd, containers or cgroups. Nodes,
cores, memory and GPUs are pretended: SLURM schedules, starts, times out and cancels jobs as on a
site, and jobs see no device. All files are in one folder; nothing in /etc is touched.
"""

import argparse
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from somaflow.errors import SiteError
from somaflow.processes import is_alive

_START_LIMIT_S = 30
_STOP_LIMIT_S = 10
_GPU_DEVICE = os.makedev(1, 3)  # a twin of /dev/null: SLURM wants character devices


@dataclass(frozen=True)
class Sandbox:
    """Where it lies and what it pretends.

    Attributes:
        folder: of all its files.
        nodes: number of nodes.
        gpus: of a node.
        cpus: of a node.
        memory_mb: of a node.
        port: of slurmctld; nodes take the ones after it.
    """

    folder: Path
    nodes: int = 2
    gpus: int = 1
    cpus: int = 4
    memory_mb: int = 8000
    port: int = 17000

    @property
    def conf(self) -> Path:
        """slurm.conf; SLURM's commands find it through SLURM_CONF."""
        return self.folder / "etc" / "slurm.conf"

    @property
    def site(self) -> Path:
        """A site file for `--site`."""
        return self.folder / "site.yaml"

    @property
    def environment(self) -> dict[str, str]:
        """Environment of SLURM's commands."""
        return {**os.environ, "SLURM_CONF": str(self.conf)}

    def node_names(self) -> list[str]:
        """n1, n2, ..."""
        return [f"n{number}" for number in range(1, self.nodes + 1)]

    def ask(self, *command: str) -> str:
        """Output of one of SLURM's commands.

        Raises:
            SiteError: if it fails; the message quotes its last line.
        """
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
            raise SiteError(f"{' '.join(command)} must succeed, it said: {last}")
        return done.stdout

    def pid(self, daemon: str) -> int | None:
        """Process id of munged, slurmctld or slurmd-<node>, if it runs."""
        path = self.folder / "run" / f"{daemon}.pid"
        try:
            pid = int(path.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return pid if is_alive(pid) else None

    def up(self) -> None:
        """Starts what does not run yet, and returns when every node takes jobs.

        Raises:
            SiteError: if SLURM is not installed, this is not root, or a node does not come up.
        """
        _check_installed()
        self._write_files()
        run, etc = self.folder / "run", self.folder / "etc"
        munged = ["munged", "--force", f"--key-file={self.folder}/munge/key"]
        munged += [f"--socket={run}/munge.sock", f"--pid-file={run}/munged.pid"]
        munged += [f"--log-file={self.folder}/log/munged.log"]
        munged += [f"--seed-file={self.folder}/munge/seed"]
        self._start("munged", munged)
        self._start("slurmctld", ["slurmctld", "-f", str(etc / "slurm.conf")])
        for node in self.node_names():
            self.start_node(node)
        _await(self._is_up, _START_LIMIT_S, self._why_not_up)

    def start_node(self, node: str) -> None:
        """Starts a node's slurmd if it does not run."""
        (self.folder / "spool" / node).mkdir(parents=True, exist_ok=True)
        self._start(f"slurmd-{node}", ["slurmd", "-f", str(self.conf), "-N", node])

    def down(self) -> None:
        """Cancels all jobs, ends every daemon, and removes the folder."""
        if self.pid("slurmctld"):
            self.ask("scancel", "--user", "root")
            _await(lambda: not self.ask("squeue", "-h").strip(), _STOP_LIMIT_S, str)
        daemons = [*(f"slurmd-{node}" for node in self.node_names()), "slurmctld", "munged"]
        pids = [pid for pid in map(self.pid, daemons) if pid]
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        _await(lambda: not any(map(is_alive, pids)), _STOP_LIMIT_S, str)
        shutil.rmtree(self.folder, ignore_errors=True)

    def status(self) -> str:
        """Nodes and jobs, as SLURM shows them."""
        return self.ask("sinfo", "-N", "-o", "%N %t %c cores %m MB %G") + self.ask("squeue")

    def _start(self, daemon: str, command: Sequence[str]) -> None:
        if self.pid(daemon) is None:
            self.ask(*command)

    def _is_up(self) -> bool:
        ready = subprocess.run(
            ["sinfo", "-h", "-N", "-t", "idle,mix,alloc", "-o", "%N"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return set(self.node_names()) <= set(ready.stdout.split())

    def _why_not_up(self) -> str:
        logs = sorted((self.folder / "log").glob("*.log"))
        lines = [line for log in logs for line in log.read_text().splitlines() if "error" in line]
        return lines[-1] if lines else "nothing"

    def _write_files(self) -> None:
        for name in ("etc", "log", "run", "state", "spool", "munge", "dev"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        (self.folder / "munge").chmod(0o700)
        key = self.folder / "munge" / "key"
        if not key.exists():
            key.touch(mode=0o600)
            key.write_bytes(os.urandom(128))
        for number in range(self.gpus):
            device = self.folder / "dev" / f"nvidia{number}"
            if not device.exists():
                os.mknod(device, stat.S_IFCHR | 0o666, _GPU_DEVICE)
        etc = self.folder / "etc"
        self.conf.write_text("\n".join(self._conf_lines()) + "\n")
        (etc / "gres.conf").write_text("\n".join(self._gres_lines()) + "\n")
        (etc / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        site = {
            "kind": "slurm",
            "partition": "gpu",
            "gres": "gpu:1",
            "cpus": 1,
            "memory_gb": 4,
            "walltime": "01:00:00",
            "workers_max": self.nodes * self.gpus,
            "interface": "lo",
        }
        self.site.write_text(yaml.safe_dump(site, sort_keys=False))

    def _conf_lines(self) -> Iterator[str]:
        host, top = socket.gethostname().split(".")[0], self.folder
        yield from (
            "ClusterName=sandbox",
            f"SlurmctldHost={host}(127.0.0.1)",
            "SlurmUser=root",
            "SlurmdUser=root",
            "AuthType=auth/munge",
            "CredType=cred/munge",
            f"AuthInfo=socket={top}/run/munge.sock",
            f"SlurmctldPort={self.port}",
            f"SlurmctldPidFile={top}/run/slurmctld.pid",
            f"SlurmctldLogFile={top}/log/slurmctld.log",
            f"SlurmdPidFile={top}/run/slurmd-%n.pid",
            f"SlurmdLogFile={top}/log/slurmd-%n.log",
            f"SlurmdSpoolDir={top}/spool/%n",
            f"StateSaveLocation={top}/state",
            # Without cgroups, and with more cores than this machine has.
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "SlurmdParameters=config_overrides",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_Core_Memory",
            "JobAcctGatherType=jobacct_gather/none",
            "AccountingStorageType=accounting_storage/none",
            "JobCompType=jobcomp/filetxt",
            f"JobCompLoc={top}/log/jobcomp.txt",
            "MpiDefault=none",
            "GresTypes=gpu",
            "ReturnToService=2",
            "KillWait=5",
            "OverTimeLimit=0",
            "SlurmctldTimeout=30",
            "SlurmdTimeout=30",
            # Jobs start within a second or two, not within SLURM's usual minute.
            "SchedulerParameters=bf_interval=5,sched_min_interval=200000,sched_interval=5",
        )
        last = self.port + self.nodes
        yield (
            f"NodeName=n[1-{self.nodes}] NodeHostname={host} NodeAddr=127.0.0.1 "
            f"Port=[{self.port + 1}-{last}] CPUs={self.cpus} CoresPerSocket={self.cpus} "
            f"RealMemory={self.memory_mb} Gres=gpu:{self.gpus} State=UNKNOWN"
        )
        yield f"PartitionName=gpu Nodes=n[1-{self.nodes}] Default=YES MaxTime=5:00:00 State=UP"

    def _gres_lines(self) -> Iterator[str]:
        yield "AutoDetect=off"
        last = f"[0-{self.gpus - 1}]" if self.gpus > 1 else "0"
        for node in self.node_names():
            yield f"NodeName={node} Name=gpu File={self.folder}/dev/nvidia{last}"


def _check_installed() -> None:
    daemons = ("munged", "slurmctld", "slurmd", "sbatch")
    missing = [name for name in daemons if shutil.which(name) is None]
    if missing:
        raise SiteError(
            f"SLURM must be installed, found no {', '.join(missing)}; on Debian "
            "`apt install slurm-wlm munge`"
        )
    if os.geteuid() != 0:
        raise SiteError("the sandbox's daemons must be started by root")


def _await(is_true: Callable[[], bool], limit_s: float, why: Callable[[], str]) -> None:
    deadline = time.monotonic() + limit_s
    while not is_true():
        if time.monotonic() > deadline:
            raise SiteError(f"SLURM must answer within {limit_s} s; it says: {why()}")
        time.sleep(0.1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Starts, ends or shows the sandbox; returns 0, or 1 after one clear line."""
    default = Path(tempfile.gettempdir()) / "somaflow-slurm"
    parser = argparse.ArgumentParser(prog="python -m infra.sandbox", description=__doc__)
    parser.add_argument("do", choices=["up", "down", "status"])
    parser.add_argument("--folder", type=Path, default=default, help=f"default: {default}")
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--gpus", type=int, default=1, help="of a node, pretended")
    parser.add_argument("--port", type=int, default=17000)
    options = parser.parse_args(arguments)
    sandbox = Sandbox(options.folder, options.nodes, options.gpus, port=options.port)
    try:
        if options.do == "down":
            sandbox.down()
            return 0
        if options.do == "up":
            sandbox.up()
        print(sandbox.status())
        print(f"export SLURM_CONF={sandbox.conf}")
        print(f"somaflow run e5-inference STUDY --site {sandbox.site}")
    except SiteError as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
