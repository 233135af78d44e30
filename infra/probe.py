"""What a worker's machine sees: `python -m infra.probe FOLDER`, run in a job by `infra.check`.

Enters: FOLDER/request.json. Leaves: FOLDER/report.json, one entry a thing that was tried. Imports
nothing but the standard library before it has to, so that a broken environment is named, not met.
"""

import hashlib
import json
import platform
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from importlib import import_module
from pathlib import Path
from typing import Any

REQUEST, REPORT = "request.json", "report.json"
ROOMS = ("somaflow", "infra", "tasks", "flows")
_LIMIT_S = 10


def code_digest() -> str:
    """sha256 over the Python files of the rooms beside this one, names and contents."""
    top = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for room in ROOMS:
        for path in sorted((top / room).rglob("*.py")):
            digest.update(f"{path.relative_to(top)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def look(request: dict[str, Any]) -> dict[str, Any]:
    """What this machine sees; each failure is a sentence, an empty one is success.

    Args:
        request: scheduler ("host:port"), api (a URL, or ""), cuda (whether a GPU must be usable).
    """
    host, port = request["scheduler"].rsplit(":", 1)
    return {
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "code": code_digest(),
        "gpu": _find_gpu(),
        "imports": (imports := _try_imports()),
        "scheduler": _try_connect(host, int(port)),
        "api": _try_api(request["api"]) if request["api"] else "",
        "cuda": _try_cuda() if request["cuda"] and not imports else "",
    }


def _find_gpu() -> str:
    """Names and driver of the GPUs as nvidia-smi prints them, or ""."""
    if shutil.which("nvidia-smi") is None:
        return ""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=_LIMIT_S)
    return done.stdout.strip() if done.returncode == 0 else ""


def _try_imports() -> str:
    try:
        for package in ("distributed", "prefect", "torch", "zarr", "somaflow.segmenter"):
            import_module(package)
    except ImportError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _try_connect(host: str, port: int) -> str:
    try:
        with socket.create_connection((host, port), timeout=_LIMIT_S):
            return ""
    except OSError as error:
        return str(error)


def _try_api(url: str) -> str:
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=_LIMIT_S) as answer:
            return "" if answer.status == 200 else f"status {answer.status}"
    except (urllib.error.URLError, OSError) as error:
        return str(getattr(error, "reason", error))


def _try_cuda() -> str:
    from somaflow.errors import DeviceError
    from somaflow.segmenter.device import choose_device

    try:
        choose_device("cuda")
    except DeviceError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    report = look(json.loads((folder / REQUEST).read_text(encoding="utf-8")))
    temporary = folder / f"{REPORT}.partial"
    temporary.write_text(json.dumps(report), encoding="utf-8")
    temporary.rename(folder / REPORT)
