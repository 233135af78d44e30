"""The one error tree: each leaf says what must hold, what was found, where, and what to do.

Every error takes a single string, so it crosses process borders by pickle. Leaves also inherit the
builtin that a caller who does not know somaflow would catch. Each also knows when trying the same
again may help, `heals`: a task tries again at once, a run is started again later, or a person must
mend the cause first.
"""

from typing import ClassVar, Literal

Heals = Literal["at once", "later", "never"]


class SomaflowError(Exception):
    """Anything that somaflow refuses, with a sentence a user can act on."""

    heals: ClassVar[Heals] = "never"


class StudyError(SomaflowError, ValueError):
    """The study file, or a value in it, cannot be used."""


class TileError(SomaflowError, ValueError):
    """One tile (or one of its files) cannot be read or does not fit its partner."""


class LabelsError(SomaflowError, ValueError):
    """A label file or array is not an instance label image for its tile."""


class BadInputError(SomaflowError, ValueError):
    """Several inputs are bad; the message is one line for each of them."""


class SplitError(SomaflowError, ValueError):
    """Donors cannot be split as asked."""


class LeakageError(SomaflowError, ValueError):
    """The same donor, the same pixels or a near-duplicate lies in two splits."""


class ModelError(SomaflowError, ValueError):
    """A model name, file, key set or checksum is not what was asked for."""


class DeviceError(SomaflowError, RuntimeError):
    """The device asked for is not there, or not usable."""


class ScoringError(SomaflowError, ValueError):
    """Reference and predicted labels, or two count tables, cannot be compared."""


class TrainingError(SomaflowError, RuntimeError):
    """A training cannot start or go on as asked; its last checkpoint is kept."""


class TrainingStopped(SomaflowError, RuntimeError):
    """A training ended early in good order: checkpointed, to be gone on with by the next run."""

    heals: ClassVar[Heals] = "later"


class ExperimentError(SomaflowError, RuntimeError):
    """Some runs of an experiment failed; the others are finished and kept."""

    heals: ClassVar[Heals] = "later"  # or what it lists does not: `failures.read_cause`


class SiteError(SomaflowError, RuntimeError):
    """Workers cannot be had where they were asked for."""

    heals: ClassVar[Heals] = "later"  # a queue grows shorter, a node comes back


class WrongSiteError(SiteError):
    """Workers cannot be had from here at all: no sbatch, no such network interface."""

    heals: ClassVar[Heals] = "never"


class BusyError(SomaflowError, RuntimeError):
    """Another run is at work on the study, and waiting for it was not asked for."""


class InferenceError(SomaflowError, RuntimeError):
    """Shards could not be segmented; what was committed is kept."""

    heals: ClassVar[Heals] = "at once"


class WorkerLimitError(InferenceError):
    """Workers have too little memory, or live too short, for a shard."""

    heals: ClassVar[Heals] = "never"


class StoreError(SomaflowError, OSError):
    """The label store, the ledger or a cell file is missing, torn or not what its record says."""

    heals: ClassVar[Heals] = "at once"


class OutputError(SomaflowError, OSError):
    """The output folder cannot be written: full, read-only or not a folder."""

    heals: ClassVar[Heals] = "later"  # once there is space again


class SchemaError(SomaflowError, ValueError):
    """A file of a study has a layout that this release of somaflow does not read."""
