"""Many tiles at once: worker processes around one device, results in order, memory bounded."""

from somaflow.engine.engine import Engine, count_cores
from somaflow.engine.jobs import Job, RunsJobs
from somaflow.engine.profile import Profile
from somaflow.engine.serial import SerialEngine
from somaflow.engine.work import TileDone, segment_tile, set_aside

__all__ = [
    "Engine",
    "Job",
    "Profile",
    "RunsJobs",
    "SerialEngine",
    "TileDone",
    "count_cores",
    "segment_tile",
    "set_aside",
]
