"""When a training must end, and who tells it."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tasks.training import find_deadline


def test_deadline_is_the_earlier_of_limit_and_job_end() -> None:
    """A study's time limit and the job's own end are both kept."""
    soon = str(time.time() + 60)
    assert find_deadline(10, {"SLURM_JOB_END_TIME": soon}) == float(soon)
    far = {"SLURM_JOB_END_TIME": str(time.time() + 6000)}
    assert find_deadline(1, far) == pytest.approx(time.time() + 60, abs=5)


def test_there_is_no_deadline_without_a_limit() -> None:
    """On a laptop a training may take its time."""
    assert find_deadline(None, {}) is None


def test_worker_tells_its_trainings_before_it_ends() -> None:
    """SIGTERM to a Dask worker's process asks trainings in its threads to stop, then ends it."""
    code = """
import threading, time
from somaflow.training.stopping import StopRequest, listen
from tasks.workers import StopTrainings
StopTrainings().setup(None)
def train():
    with listen(StopRequest()) as request:
        print("ready", flush=True)
        while not request.reason:
            time.sleep(0.01)
        time.sleep(0.5)
        print("saved because", request.reason, flush=True)
thread = threading.Thread(target=train)
thread.start()
thread.join()
time.sleep(30)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "ready\n" == process.stdout.readline()
    os.kill(process.pid, signal.SIGTERM)
    printed = process.communicate(timeout=60)[0]
    assert "saved because its worker received SIGTERM" in printed
    assert -signal.SIGTERM == process.returncode
