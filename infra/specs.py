"""Sites as data: what `infra/<name>.yaml` may say.

Enters: the name of a site or the path of a YAML file. Leaves: `LocalSite` or `SlurmSite`, complete
and checked. Refuses: unknown names and fields, values that a scheduler would refuse later, each
with what must hold, before anything is submitted.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from somaflow.errors import StudyError

LOOPBACK = "127.0.0.1"
SITES = Path(__file__).resolve().parent
_WALLTIME = re.compile(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)")


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class LocalSite(_Spec):
    """Worker processes of the machine that runs the flow."""

    kind: Literal["local"]
    """`local`: this machine."""
    workers: int = Field(default=2, ge=1, le=256)
    """Worker processes; each holds one copy of the model."""
    threads_per_worker: int = Field(default=1, ge=1)
    """Tasks a worker runs at once."""
    memory_gb: float = Field(default=4, gt=0)
    """Memory (GB) at which a worker is restarted."""
    tls: bool = True
    """Scheduler and workers take a key that is made for the run; false: whoever is logged in on
    this machine may have them run code."""


class SlurmSite(_Spec):
    """Workers as jobs of a SLURM cluster: one process a job, one job a GPU."""

    kind: Literal["slurm"]
    """`slurm`: jobs submitted with sbatch."""
    partition: str | None = None
    """`--partition`; empty: the cluster's default."""
    account: str | None = None
    """`--account` that is charged; empty: the user's default."""
    clusters: str | None = None
    """`--clusters`: where several are run by one SLURM, the one that takes the jobs."""
    gres: str | None = None
    """`--gres`, for example gpu:1; empty: no GPU."""
    constraint: str | None = None
    """`--constraint`, for example a GPU model."""
    cpus: int = Field(default=4, ge=1)
    """Cores of a job: the net's host work, reading, writing."""
    memory_gb: float = Field(default=64, gt=0)
    """`--mem` of a job in GB as SLURM counts them (2**30 bytes)."""
    walltime: str = "05:00:00"
    """Time limit of a job, [days-]hours:minutes:seconds."""
    retire_minutes: float = Field(default=5, gt=0)
    """A worker takes no more work so long before its time limit, and leaves."""
    workers_min: int = Field(default=0, ge=0, le=1000)
    """Jobs that are kept while there is any work; 0 lets all go when there is none."""
    workers_max: int = Field(default=4, ge=1, le=1000)
    """Jobs at most, pending ones included."""
    interface: str | None = None
    """Network interface (eth0, ib0) at which workers reach this machine; empty: its default one."""
    scheduler_port: int = Field(default=0, ge=0, le=65535)
    """Port of the scheduler, where a firewall lets only some through; 0: any free one."""
    tls: bool = True
    """Scheduler and workers talk encrypted, and to those alone that hold a key made for the run;
    false: whoever reaches their ports may have them run code."""
    setup: list[str] = []
    """Shell lines run in the job before the worker starts, for example `module load cuda`."""
    directives: list[str] = []
    """Further sbatch options, one an entry, for example --qos=short."""
    python: str | None = None
    """Interpreter on the nodes; empty: the one that runs the flow, on a shared file system."""
    scratch: str | None = None
    """Folder of the node for a worker's temporary files; empty: $TMPDIR of the job."""
    log_folder: Path = Path("logs/slurm")
    """Where jobs write their logs; a relative path is below the study's outputs."""
    pending_limit_minutes: float = Field(default=10, gt=0)
    """`somaflow check --site` waits so long for its job to start, then says why it waits; a run
    logs why a job of its own waits longer."""
    queue_limit_minutes: float = Field(default=720, gt=0)
    """A run that has no worker waits so long for a job to start, then ends and says why."""

    @field_validator("walltime", mode="before")
    @classmethod
    def _read_walltime(cls, value: Any) -> Any:
        # YAML reads 5:00:00 without quotes as a number of base 60, which is its seconds.
        if isinstance(value, int) and not isinstance(value, bool):
            return f"{value // 3600:02}:{value % 3600 // 60:02}:{value % 60:02}"
        return value

    @field_validator("walltime")
    @classmethod
    def _check_walltime(cls, value: str) -> str:
        match = _WALLTIME.fullmatch(value)
        if not match or int(match[3]) > 59 or int(match[4]) > 59:
            raise ValueError(f"must be [days-]hours:minutes:seconds as 05:00:00, got {value!r}")
        return value

    @field_validator("directives")
    @classmethod
    def _check_directives(cls, value: list[str]) -> list[str]:
        wrong = [option for option in value if not re.fullmatch(r"-[^\s].*", option)]
        if wrong:
            raise ValueError(f"must be sbatch options such as --qos=short, got {wrong[0]!r}")
        return value

    @model_validator(mode="after")
    def _check_together(self) -> "SlurmSite":
        if self.workers_min > self.workers_max:
            raise ValueError(
                f"workers_min must be at most workers_max, got {self.workers_min} and "
                f"{self.workers_max}"
            )
        if self.retire_minutes * 60 * 2 > self.walltime_s:
            raise ValueError(
                f"retire_minutes must be at most half of the walltime {self.walltime}, got "
                f"{self.retire_minutes:g}"
            )
        return self

    @property
    def walltime_s(self) -> int:
        """Time limit of a job in seconds."""
        match = _WALLTIME.fullmatch(self.walltime)
        assert match is not None  # checked above
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


Site = Annotated[LocalSite | SlurmSite, Field(discriminator="kind")]
_SITE: TypeAdapter[LocalSite | SlurmSite] = TypeAdapter(Site)


def load_site(name: str) -> LocalSite | SlurmSite:
    """The site `name` from `infra/<name>.yaml`, or from a path that ends in .yaml.

    Raises:
        StudyError: if there is no such site, or its file holds something else; a line a field.
    """
    path = Path(name) if name.endswith(".yaml") else SITES / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in SITES.glob("*.yaml")))
        raise StudyError(f"site must be one of {known} or the path of a YAML file, got {name!r}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise StudyError(f"site file {path} must be YAML: {error}") from error
    if not isinstance(content, dict):
        raise StudyError(f"site file {path} must be a YAML mapping with a kind, local or slurm")
    try:
        return _SITE.validate_python(content)
    except ValidationError as error:
        problems = [_describe(problem) for problem in error.errors()]
        raise StudyError(
            "\n".join([f"site file {path} must describe workers:", *problems])
        ) from error


def _describe(problem: Any) -> str:
    """One line: which field, what must hold, what was found."""
    # The first part of the place is the kind, by which pydantic chose among the sites.
    place = ".".join(str(part) for part in problem["loc"][1:])
    found = "" if problem["type"] in ("missing", "value_error") else f", got {problem['input']!r}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = "is not a field of a site"
    if problem["type"].startswith("union_tag"):
        place, message, found = "kind", "must be local or slurm", ""
    return f"  {place or 'site'}: {message}{found}"
