"""Cellpose's own command line, with the net of `tiny` in the place of Cellpose-SAM.

``python -m tests.bench.cellpose_cli ARGUMENTS``: Cellpose knows no other architecture, and the full
one takes minutes a tile on a CPU.
"""

from typing import Any

from cellpose import models
from cellpose.__main__ import main

from somaflow.segmenter import build_tiny_net


def _build(dtype: Any) -> Any:
    """Takes the place of the class; in float32, which CPUs are faster with."""
    return build_tiny_net()


if __name__ == "__main__":
    models.CPSAM = _build
    main()
