"""Scheduler and workers of a run talk to those alone that hold its key."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from distributed import Client, LocalCluster, Security

from infra.clusters import runner_arguments
from infra.specs import LocalSite, SlurmSite
from infra.tls import made_keys, security_of
from somaflow.files import name_temporary
from tests.infra.test_specs import with_sbatch
from tests.permissions import open_to_others


def test_keys_are_the_owners_and_gone_with_the_run(tmp_path: Path) -> None:
    """Nobody else can read them; each run has its own; none stays."""
    contents = []
    for _ in range(2):
        folder = name_temporary(tmp_path / "output" / "tls")
        with made_keys(folder):
            assert 2 == len(list(folder.iterdir()))
            assert [] == [line for line in open_to_others(tmp_path) if "tls" in line]
            contents.append((folder / "key.pem").read_bytes())
        assert not folder.exists()
    assert contents[0] != contents[1]


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return name_temporary(tmp_path / "tls")


def test_clock_that_is_behind_takes_the_certificate(keys: Path) -> None:
    """A node's clock, or one that is set back in mid-run, may be days behind."""
    with made_keys(keys):
        certificate = x509.load_pem_x509_certificate((keys / "certificate.pem").read_bytes())
    assert certificate.not_valid_before_utc < datetime.now(UTC) - timedelta(days=7)
    assert certificate.not_valid_after_utc > datetime.now(UTC) + timedelta(days=60)


def refuses(address: str, security: Security | None) -> bool:
    """Whether a client that comes so is not let in."""

    async def connect() -> None:
        async with Client(address, security=security, asynchronous=True, timeout=10):
            pass

    try:
        asyncio.run(connect())
    except (OSError, RuntimeError, TypeError, ValueError):
        return True
    return False


def test_local_workers_take_nobody_without_the_key(tmp_path: Path, keys: Path) -> None:
    """Another user of this machine can reach the port, and not have code run."""
    arguments = runner_arguments(LocalSite(kind="local", workers=1), tmp_path, keys=keys)
    other = name_temporary(tmp_path / "tls")
    with made_keys(keys), made_keys(other), LocalCluster(**arguments["cluster_kwargs"]) as cluster:
        with Client(cluster) as client:
            assert 3 == client.submit(sum, [1, 2]).result()
            (worker,) = client.scheduler_info()["workers"]
        address = cluster.scheduler_address
        assert address.startswith("tls://127.0.0.1:") and worker.startswith("tls://127.0.0.1:")
        assert not refuses(address, security_of(keys))
        assert refuses(address.replace("tls://", "tcp://"), None)
        assert refuses(address, security_of(other))


def test_job_script_holds_paths_of_the_keys_and_no_key(
    tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SLURM shows scripts to others; Dask's own pages listen on the node alone."""
    with_sbatch(tmp_path, monkeypatch)
    arguments = runner_arguments(SlurmSite(kind="slurm"), tmp_path, keys=keys)
    with made_keys(keys), arguments["cluster_class"](**arguments["cluster_kwargs"]) as cluster:
        script = cluster.job_script()
        address = cluster.scheduler_address
    assert address.startswith("tls://") and f"dask_worker {address}" in script
    assert "--protocol tls://" in script
    for option, name in (("ca-file", "certificate"), ("cert", "certificate"), ("key", "key")):
        assert f"--tls-{option} {keys}/{name}.pem" in script
    assert "PRIVATE" not in script
    assert "--dashboard-address 127.0.0.1:0" in script


def test_site_may_do_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine or cluster that is one person's."""
    with_sbatch(tmp_path, monkeypatch)
    arguments = runner_arguments(SlurmSite(kind="slurm", tls=False), tmp_path)
    with arguments["cluster_class"](**arguments["cluster_kwargs"]) as cluster:
        assert cluster.scheduler_address.startswith("tcp://")
        assert "--tls" not in cluster.job_script()
