"""Sites as data: what is read, what is refused, and the jobs that come out."""

import subprocess
import sys
from pathlib import Path

import dask
import pytest
from distributed.nanny import _get_env_variables

from infra.clusters import DASK_CONFIG, runner_arguments
from infra.specs import SITES, LocalSite, SlurmSite, load_site
from somaflow.errors import SiteError, StudyError


def write_site(folder: Path, text: str) -> str:
    """Path of a site file."""
    path = folder / "site.yaml"
    path.write_text(text)
    return str(path)


def test_shipped_sites_are_valid() -> None:
    """Every YAML file of infra/ is a site."""
    sites = {path.stem: load_site(path.stem) for path in SITES.glob("*.yaml")}
    assert isinstance(sites["laptop"], LocalSite)
    assert isinstance(sites["slurm"], SlurmSite)
    assert {"laptop", "slurm", "slurm-l40s"} <= set(sites)


def test_template_shows_the_defaults() -> None:
    """What infra/slurm.yaml says of a field it fills in is what the field is without it."""
    shown = load_site("slurm").model_dump()
    assert shown == {**SlurmSite(kind="slurm").model_dump(), "gres": "gpu:1"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: slrm\n", "kind: must be local or slurm"),
        ("partition: gpu\n", "kind: must be local or slurm"),
        ("- a\n", "must be a YAML mapping"),
        ("kind: [\n", "must be YAML"),
        ("kind: slurm\npartion: gpu\n", "partion: is not a field of a site, got 'gpu'"),
        ("kind: slurm\nworkers_max: 0\n", "workers_max"),
        ("kind: slurm\nwalltime: 5h\n", "hours:minutes:seconds as 05:00:00, got '5h'"),
        ("kind: slurm\nwalltime: '05:61:00'\n", "got '05:61:00'"),
        ("kind: slurm\nworkers_min: 9\n", "workers_min must be at most workers_max, got 9 and 4"),
        ("kind: slurm\nwalltime: '00:06:00'\n", "at most half of the walltime 00:06:00, got 5"),
        ("kind: slurm\ndirectives: [qos=short]\n", "got 'qos=short'"),
        ("kind: local\nwalltime: '05:00:00'\n", "walltime: is not a field of a site"),
    ],
)
def test_what_is_no_site_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """One error that names the file, the field, what must hold and what was found."""
    path = write_site(tmp_path, text)
    with pytest.raises(StudyError) as refused:
        load_site(path)
    assert message in str(refused.value)
    assert path in str(refused.value)


def test_all_problems_of_a_site_are_listed(tmp_path: Path) -> None:
    """Three wrong fields are three lines below the one that names the file."""
    path = write_site(tmp_path, "kind: slurm\ncpus: x\nwalltime: 5h\npartion: gpu\n")
    with pytest.raises(StudyError) as refused:
        load_site(path)
    lines = str(refused.value).splitlines()[1:]
    assert ["  cpus", "  walltime", "  partion"] == [line.split(":")[0] for line in lines]


def test_unknown_site_names_those_there_are() -> None:
    """A typo shows what could have been meant."""
    with pytest.raises(StudyError, match="laptop, slurm, slurm-l40s"):
        load_site("slrum")


@pytest.mark.parametrize(
    ("walltime", "seconds"),
    [("'05:00:00'", 18000), ("5:00:00", 18000), ("1-12:30:05", 131405), ("'00:10:00'", 600)],
)
def test_walltimes_are_read_as_slurm_reads_them(
    tmp_path: Path, walltime: str, seconds: int
) -> None:
    """Also without quotes, where YAML makes a number of base 60 of it."""
    site = load_site(write_site(tmp_path, f"kind: slurm\nwalltime: {walltime}\n"))
    assert isinstance(site, SlurmSite)
    assert seconds == site.walltime_s


def with_sbatch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts something named sbatch on the PATH."""
    (folder / "sbatch").write_text("#!/bin/sh\n")
    (folder / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_worked_example_submits_as_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job script of slurm-l40s has the options it promises, and is cancelled on its cluster."""
    with_sbatch(tmp_path, monkeypatch)
    arguments = runner_arguments(load_site("slurm-l40s"), tmp_path)
    with arguments["cluster_class"](**arguments["cluster_kwargs"]) as cluster:
        script = cluster.job_script()
        cancel = cluster.job_cls.cancel_command
    options = [line.removeprefix("#SBATCH ") for line in script.splitlines()]
    wanted = ["--clusters=gpu", "-p l40s", "--gres=gpu:1", "--mem=64G", "-t 05:00:00"]
    assert set(wanted) <= set(options)
    assert f"-o {tmp_path}/logs/slurm/somaflow-%J.out" in options
    assert "scancel --clusters=gpu" == cancel


def test_workers_leave_before_their_time_limit_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five hours less five minutes, spread over one minute; one task a process."""
    with_sbatch(tmp_path, monkeypatch)
    arguments = runner_arguments(load_site("slurm"), tmp_path)
    with arguments["cluster_class"](**arguments["cluster_kwargs"]) as cluster:
        script = cluster.job_script()
    assert "--lifetime 17700s --lifetime-stagger 60s" in script
    assert "--nthreads 1 " in script
    assert "--nworkers" not in script


@pytest.mark.parametrize(("asked", "line"), [("", "umask 0077"), ("027", "umask 0027")])
def test_jobs_make_files_as_the_flow_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, line: str
) -> None:
    """The first line of a job, before anything can be written."""
    with_sbatch(tmp_path, monkeypatch)
    monkeypatch.setenv("SOMAFLOW_UMASK", asked)
    arguments = runner_arguments(load_site("slurm"), tmp_path)
    with arguments["cluster_class"](**arguments["cluster_kwargs"]) as cluster:
        script = cluster.job_script().splitlines()
    commands = [text for text in script if text and not text.startswith("#")]
    assert line == commands[0]


def test_workers_keep_their_memory_and_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask's own setting for malloc, which doubles the time of a tile, reaches no worker."""
    with_sbatch(tmp_path, monkeypatch)
    arguments = runner_arguments(load_site("slurm"), tmp_path)
    with arguments["cluster_class"](**arguments["cluster_kwargs"]) as cluster:
        (line,) = [line for line in cluster.job_script().splitlines() if "MALLOC" in line]
    print_environment = (
        "from distributed.nanny import _get_env_variables as read; "
        "print(sorted(read('distributed.nanny.pre-spawn-environ')))"
    )
    command = f'{line}\n{sys.executable} -c "{print_environment}"'
    in_a_job = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, text=True, check=True
    )
    with dask.config.set(DASK_CONFIG):
        here = sorted(_get_env_variables("distributed.nanny.pre-spawn-environ"))
    assert ["MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"] == here
    assert str(here) == in_a_job.stdout.strip()


@pytest.mark.parametrize(("todo", "most"), [(None, 4), (2, 2), (100, 4), (0, 1)])
def test_no_more_jobs_than_there_is_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, todo: int | None, most: int
) -> None:
    """Jobs come and go between the site's minimum and what the work can use."""
    with_sbatch(tmp_path, monkeypatch)
    site = SlurmSite(kind="slurm", workers_min=3, workers_max=4)
    arguments = runner_arguments(site, tmp_path, todo)
    scaling = arguments["adapt_kwargs"]
    assert (min(3, most), most) == (scaling["minimum"], scaling["maximum"])


def test_without_sbatch_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slurm site on a machine without SLURM is an error at once."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SiteError, match="needs sbatch"):
        runner_arguments(load_site("slurm"), tmp_path)


def test_interface_that_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong network interface is named before a job is submitted to it."""
    with_sbatch(tmp_path, monkeypatch)
    site = SlurmSite(kind="slurm", interface="ib77")
    with pytest.raises(SiteError, match="got 'ib77'"):
        runner_arguments(site, tmp_path)
