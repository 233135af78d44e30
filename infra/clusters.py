"""A site's Dask cluster, as the arguments of prefect-dask's task runner.

Enters: a site and where its jobs may write logs. Leaves: the cluster's class, its arguments and,
where workers come and go, how many at least and at most.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distributed.utils import get_ip, get_ip_interface

from infra.jobs import JobBoard
from infra.specs import LOOPBACK, LocalSite, SlurmSite
from infra.tls import security_of
from somaflow.errors import WrongSiteError
from somaflow.files import make_folder, read_umask

JOB_NAME = "somaflow"
# Dask has workers give freed memory back at once. Every temporary array is then mapped anew, and
# segmenting a tile takes about twice as long (`make bench`, worker_memory).
DASK_CONFIG: Mapping[str, Any] = {
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
    # Two workers more may die of the same work; then it is the work.
    "distributed.scheduler.allowed-failures": 2,
    # Never give up a worker whose nanny starts it again: where that happens a second time just as
    # Dask looks, a local worker is gone for good. Jobs that are gone are seen by JobWatch.
    "distributed.deploy.lost-worker-timeout": "8760h",
}
"""What Dask must be told before it starts workers; None unsets what it would set."""
_AS_EXPORT = (
    "export DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON='{\"MALLOC_TRIM_THRESHOLD_\": None}'"
)
# A job's log says where its worker listens and which shards it did.
_LOG_EXPORT = "export DASK_LOGGING__DISTRIBUTED=info"
# Dask's own pages ask nobody for a password; its usual port may be another user's.
_PAGES = f"{LOOPBACK}:0"
# Where a site's sbatch does not pass the environment on, Prefect in a worker must hear of it here.
_QUIET_EXPORT = "export DO_NOT_TRACK=1"
_EXPORTS = (_AS_EXPORT, _LOG_EXPORT, _QUIET_EXPORT)
# Workers that were started together do not leave together.
_STAGGER_SHARE = 0.2
# Seconds without work after which a job is given back.
_IDLE_S = 20
# A worker that cannot reach its scheduler ends, and frees its GPU.
_DEATH_TIMEOUT_S = 60


def scheduler_host(site: LocalSite | SlurmSite) -> str:
    """Address of this machine that the site's workers reach.

    Raises:
        WrongSiteError: if the site names a network interface that this machine does not have.
    """
    if isinstance(site, LocalSite):
        return LOOPBACK
    if site.interface is None:
        return str(get_ip())
    try:
        return str(get_ip_interface(site.interface))
    except ValueError as error:
        raise WrongSiteError(
            f"interface must be a network interface of this machine with an address, got "
            f"{site.interface!r} ({error})"
        ) from error


def runner_arguments(
    site: LocalSite | SlurmSite,
    output: Path,
    most_workers: int | None = None,
    board: JobBoard | None = None,
    keys: Path | None = None,
) -> dict[str, Any]:
    """Arguments of a `DaskTaskRunner` that starts the site's cluster.

    Args:
        site: where.
        output: folder of the study's outputs; a relative log folder is below it.
        most_workers: no more workers than there is work for.
        board: is told what becomes of each job.
        keys: folder of the run's keys, as `infra.tls.made_keys` makes it; None = not encrypted.

    Raises:
        WrongSiteError: if jobs cannot be submitted from here.
    """
    if isinstance(site, LocalSite):
        arguments = {
            "n_workers": _bounded(site.workers, most_workers),
            "threads_per_worker": site.threads_per_worker,
            "memory_limit": f"{site.memory_gb}GB",
            "host": LOOPBACK,
            "dashboard_address": None,
            **_secured(keys),
        }
        return {"cluster_class": "distributed.LocalCluster", "cluster_kwargs": arguments}
    if shutil.which("sbatch") is None:
        raise WrongSiteError(
            "a slurm site needs sbatch, found none on the PATH; run on a login node of the "
            "cluster, or with --site laptop"
        )
    from infra.submission import SLURMCluster  # dask-jobqueue, only where there is a SLURM

    most = _bounded(site.workers_max, most_workers)
    return {
        "cluster_class": SLURMCluster,
        "cluster_kwargs": {
            **_slurm_arguments(site, output / site.log_folder),
            **_secured(keys),
            "job_cls": (board or JobBoard()).job_class(site.clusters),
        },
        "adapt_kwargs": {
            "minimum": min(site.workers_min, most),
            "maximum": most,
            # A job for every task that waits, and time for the next stage to find its workers.
            "target_duration": "10ms",
            "wait_count": _IDLE_S,
        },
    }


def most_at_once(site: LocalSite | SlurmSite) -> int:
    """Tasks that the site's workers run at the same time, at most."""
    if isinstance(site, LocalSite):
        return site.workers * site.threads_per_worker
    return site.workers_max


def _secured(keys: Path | None) -> dict[str, Any]:
    return {} if keys is None else {"security": security_of(keys), "protocol": "tls://"}


def _bounded(workers: int, most_workers: int | None) -> int:
    return workers if most_workers is None else max(1, min(workers, most_workers))


def _slurm_arguments(site: SlurmSite, log_folder: Path) -> dict[str, Any]:
    make_folder(log_folder)  # SLURM drops a job's log, without a word, where the folder is missing
    retire_s = site.retire_minutes * 60
    extra = ["--lifetime", f"{site.walltime_s - retire_s:.0f}s"]
    extra += ["--lifetime-stagger", f"{retire_s * _STAGGER_SHARE:.0f}s"]
    extra += ["--dashboard-address", _PAGES]
    return {
        "queue": site.partition,
        "account": site.account,
        "job_name": JOB_NAME,
        # One task at a time; the further cores are for what numpy and torch do beside it.
        "cores": 1,
        "processes": 1,
        "job_cpu": site.cpus,
        "memory": f"{site.memory_gb}GiB",  # as SLURM counts them
        "walltime": site.walltime,
        "job_extra_directives": _directives(site),
        "job_script_prologue": [f"umask {read_umask():04o}", *_EXPORTS, *site.setup],
        "log_directory": str(log_folder),
        "local_directory": site.scratch,
        "python": site.python,
        "death_timeout": _DEATH_TIMEOUT_S,
        "worker_extra_args": extra,
        "scheduler_options": {
            "host": scheduler_host(site),
            "port": site.scheduler_port,
            "dashboard_address": _PAGES,
        },
    }


def sbatch_options(site: SlurmSite) -> list[str]:
    """Options of a job as the site's workers have them, without time limit, name and log."""
    options = {
        "partition": site.partition,
        "account": site.account,
        "cpus-per-task": site.cpus,
        "mem": f"{site.memory_gb * 1024:.0f}M",
    }
    return [*_as_options(options), *_directives(site)]


def _directives(site: SlurmSite) -> list[str]:
    """What dask-jobqueue has no argument for."""
    options = {"clusters": site.clusters, "gres": site.gres, "constraint": site.constraint}
    # A preempted job ends for good: the run that needs it submits another.
    return [*_as_options(options), "--no-requeue", *site.directives]


def _as_options(options: Mapping[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items() if value]
