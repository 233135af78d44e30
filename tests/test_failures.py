"""What failed is run again only where that may help; the words of the failure say whether."""

import pytest

from somaflow.failures import read_cause

FAILED = "Flow run encountered an exception: "
HEADING = "ExperimentError: 2 of 3 training(s) failed, the others are kept; run again:"
IN_STUDY = "ExperimentError: 2 of 4 stages failed, the others are done:"


@pytest.mark.parametrize(
    "message",
    [
        "Flow run process exited with non-zero status code -9.",
        "Execution was aborted by a termination signal.",
        "no heartbeat for 90 s",
        "",
        FAILED + "OutputError: output must be writable, cannot write /x: the disk is full",
        FAILED + "SiteError: site slurm: a worker must start within 60 minutes",
        FAILED + "ServerGoneError: Prefect server must answer at http://x/api",
        FAILED + "TrainingStopped: training in /x stopped at step 7: its deadline",
        FAILED + "RuntimeError: CUDA error: unspecified launch failure",
    ],
)
def test_what_may_be_over_tomorrow_heals(message: str) -> None:
    """Deaths, full disks, busy clusters and errors that nobody foresaw are worth another run."""
    assert read_cause(message).heals


@pytest.mark.parametrize(
    "message",
    [
        FAILED + "StudyError: /x/study.yaml: 2 value(s) must be changed:\n  tiles.root: no, got 3",
        FAILED + "BadInputError: 2 tile(s) cannot be used:\nt1: TileError: 0 bytes\nt2: gone",
        "Validation of flow parameters failed with error: ParameterTypeError: Flow run received "
        "invalid parameters:\n - study: Value error, study must be a YAML file, found none at /x",
        "ModelError: model must be tiny or a checkpoint file",
        "DeviceError: device cuda must be there",
        "WrongSiteError: a slurm site needs sbatch, found none on the PATH",
        "WorkerLimitError: a shard must be done within a worker's life",
        "BusyError: one run at a time works on a study",
        "LeakageError: donor 3 is in train and test",
    ],
)
def test_what_a_person_must_mend_does_not_heal(message: str) -> None:
    """Bad input, model, device, site and study are the same tomorrow."""
    assert not read_cause(message).heals


def test_one_that_heals_among_several_is_enough() -> None:
    """An experiment in which one training broke for good and another was cut short runs again."""
    broken = "generic: TrainingError: the loss is not a number"
    cut = "GFAP-only: TrainingStopped: stopped before its deadline"
    assert read_cause("\n".join([HEADING, broken, cut])).heals
    assert not read_cause("\n".join([HEADING, broken])).heals


def test_lists_in_lists_are_looked_through() -> None:
    """The flow `study` lists stages that list trainings or shards; headings do not count."""
    stage = "e1-recipes: " + HEADING
    broken = "generic: TrainingError: the loss is not a number"
    follows = "e5-inference: StudyError: recipe must be one of baseline, got 'generic'"
    assert not read_cause("\n".join([IN_STUDY, stage, broken, follows])).heals
    shards = "e5-inference: InferenceError: 1 of 9 shards failed, the others are kept:"
    shard = "hybrid, shard 3: MemoryError: 8 GB"
    assert read_cause("\n".join([IN_STUDY, stage, broken, shards, shard])).heals


def test_words_are_kept_whole() -> None:
    """Nothing of what the run said is lost, and a run that said nothing is not an empty line."""
    cause = read_cause("StudyError: a\nb")
    assert ("StudyError: a\nb", "StudyError: a") == (cause.words, cause.line)
    assert "it left no word; its log may say more" == read_cause(None).words
