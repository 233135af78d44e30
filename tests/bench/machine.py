"""What a figure was measured on."""

import os
import platform
from importlib import metadata
from pathlib import Path

_LIBRARIES = ("cellpose", "numba", "numpy", "pandas", "scikit-image", "scipy", "torch", "zarr")


def describe_machine() -> dict[str, object]:
    """Returns CPU model, cores this process may use, Python and library versions."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "python": platform.python_version(),
        "libraries": {name: metadata.version(name) for name in _LIBRARIES},
    }


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
