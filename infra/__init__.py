"""Where tasks run: a YAML file a site, and the Dask cluster it describes."""

import os

# Read when prefect is imported: nobody is told of a check.
os.environ.setdefault("DO_NOT_TRACK", "1")
