"""Room 3: what runs after what, and how many at once. One file a flow, in the order of the data."""

import os

# Read when prefect is imported, here and in the workers that inherit it: nobody is told of a run.
os.environ.setdefault("DO_NOT_TRACK", "1")
# Dask reads this when it is first imported, here and in the workers that inherit it; its own
# chatter about connections would bury what a run says.
os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "warning")
# Its profiler walks the frames of running tasks, trips over compiled ones, and nobody reads it.
os.environ.setdefault("DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED", "False")
