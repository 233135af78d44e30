"""Cellpose itself: imported once, quietly, and given nets that are already loaded and checked."""

import logging
import warnings
from functools import cache
from typing import Any


@cache
def import_cellpose() -> tuple[Any, Any]:
    """``cellpose.models`` and ``cellpose.vit``; importing them takes 5 to 10 s."""
    # They would advise to install a net not used here, and report every empty tile.
    logging.getLogger("cellpose").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", "Sparse invariant checks are implicitly disabled")
    from cellpose import models, vit

    return models, vit


def wrap_in_cellpose(net: Any, name: str) -> Any:
    """Cellpose's ``CellposeModel`` around the net itself, not a copy; `name` is for its readers."""
    return _define_ready_model()(net, name)


@cache
def _define_ready_model() -> Any:
    models, _ = import_cellpose()

    class ReadyCellposeModel(models.CellposeModel):  # type: ignore[name-defined]
        """Cellpose's model around a net that is already loaded and checked."""

        def __init__(self, net: Any, name: str) -> None:
            # Not super().__init__: it looks for, fetches and loads weights by its own rules.
            self.net = net
            self.device = net.device
            self.gpu = net.device.type == "cuda"
            self.pretrained_model = name
            self.backbone = "sam_vitl"  # makes eval cut crops of 256 px

    return ReadyCellposeModel
