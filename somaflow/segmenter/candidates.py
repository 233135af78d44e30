"""Between the net and the labels: predictions, candidate objects, and the choice among them.

Enters: the net's flows and cell probabilities of a tile. Leaves: labels, bit for bit those of
``CellposeModel.eval``, for as many thresholds as wanted from one pass of the net. A new
cellprob_threshold needs new candidates; flow_threshold and min_size_px only choose among them.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from somaflow.recipes import Recipe
from somaflow.segmenter.dynamics import find_objects, number_objects
from somaflow.segmenter.holes import fill_and_clean

if TYPE_CHECKING:
    from somaflow.segmenter.flow_errors import FlowErrors

# Cellpose 4.2.1.1 (dynamics.py): above how many padded pixels it measures flow errors in float32
# instead of float64.
_FLOAT32_PX = 40_000_000


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the net says about one tile, as ``CellposeModel.eval`` computes it."""

    flows: NDArray[np.float32]
    """(2, Y, X) along Y and X, 5 times a unit vector where the net is sure."""
    cellprob: NDArray[np.float32]
    """(Y, X) logit of belonging to a cell."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Objects that the flows lead to, before any is removed; made by `find_candidates`."""

    labels: NDArray[np.unsignedinteger[Any]]
    """(Y, X) uint16 (uint32 above 65,535 objects), 1..N in order of their first pixel."""
    flows: NDArray[np.float32]
    """(2, Y, X) of the prediction."""
    exact: bool = True
    """Whether Cellpose decides where rounding could; not on a GPU, where bits differ anyway."""

    @cached_property
    def area_px(self) -> NDArray[np.int64]:
        """(N,) pixels of each candidate, with its holes left out."""
        return np.bincount(self.labels.ravel())[1:]

    @cached_property
    def filled(self) -> NDArray[np.unsignedinteger[Any]]:
        """(Y, X) labels with all holes filled, as if nothing was removed; ids as in `labels`."""
        return fill_and_clean(self.labels.copy(), 0)

    @cached_property
    def has_nested(self) -> bool:
        """Whether filling the holes of one candidate takes pixels of another.

        Where it does not, no choice among the candidates changes the pixels of a kept one.
        """
        return not np.array_equal(self.filled[self.labels > 0], self.labels[self.labels > 0])

    @property
    def flow_errors(self) -> NDArray[np.float64]:
        """(N,) mean squared distance between flows from each candidate and flows from the net."""
        return self._fast_errors.errors

    @cached_property
    def _fast_errors(self) -> "FlowErrors":
        from somaflow.segmenter.flow_errors import measure_flow_errors

        return measure_flow_errors(self.labels, self.flows)

    @cached_property
    def _cellpose_errors(self) -> NDArray[np.float64]:
        import torch
        from cellpose import dynamics

        return dynamics.flow_error(self.labels, self.flows, torch.device("cpu"))[0]

    def pass_flow(self, flow_threshold: float) -> NDArray[np.bool_]:
        """(N,) which candidates Cellpose keeps at this flow_threshold; all at 0.

        Errors so near to the threshold that rounding could decide are computed by Cellpose.
        """
        if flow_threshold <= 0 or not self.area_px.size:
            return np.ones(self.area_px.size, dtype=np.bool_)
        # Not `<=`: Cellpose keeps an object whose error is NaN.
        return ~(self._errors_beside(flow_threshold) > flow_threshold)

    def _errors_beside(self, flow_threshold: float) -> NDArray[np.float64]:
        """Flow errors that lie on the same side of the threshold as Cellpose's."""
        height, width = self.labels.shape
        if not self.exact:
            return self.flow_errors
        if (height + 2) * (width + 2) > _FLOAT32_PX:
            return self._cellpose_errors
        errors, doubts = self._fast_errors
        is_doubtful = (np.abs(errors - flow_threshold) <= doubts).any()
        return self._cellpose_errors if is_doubtful else errors

    def survive(self, flow_threshold: float, min_size_px: int) -> NDArray[np.bool_]:
        """(N,) which candidates `select` keeps, at least in part.

        One that passes both thresholds can still be lost: in a hole of another.
        """
        kept = self.pass_flow(flow_threshold) & (self.area_px >= min_size_px)
        if kept.any():
            filled = fill_and_clean(self._keep(kept), 0)
            area_px = np.bincount(filled.ravel(), minlength=int(kept.sum()) + 1)[1:]
            kept[kept] = area_px >= max(min_size_px, 1)
        return kept

    def select(self, flow_threshold: float, min_size_px: int) -> NDArray[np.uint32]:
        """Labels (Y, X) uint32 of what passes, 0 = background: those of ``CellposeModel.eval``.

        Args:
            flow_threshold: candidates with a larger flow error are removed; 0 removes none.
            min_size_px: smaller ones are removed; holes of the others are filled in any case.
        """
        labels = self._keep(self.pass_flow(flow_threshold))
        return fill_and_clean(labels, min_size_px).astype(np.uint32)

    def select_gated(self, recipe: Recipe, marker_image: NDArray[Any]) -> NDArray[np.uint32]:
        """`select` with a recipe's thresholds, and its gate, if it has one.

        Args:
            recipe: one set.
            marker_image: (Y, X) of the tile's marker.
        """
        labels = self.select(recipe.flow_threshold, recipe.min_size_px)
        if recipe.gate is None:
            return labels
        from somaflow.gating import gate_labels

        return gate_labels(labels, np.asarray(marker_image), recipe.gate)

    def _keep(self, kept: NDArray[np.bool_]) -> NDArray[np.unsignedinteger[Any]]:
        """Labels of the kept candidates alone, numbered 1.. in the same order."""
        numbers = np.zeros(kept.size + 1, dtype=self.labels.dtype)
        numbers[1:][kept] = np.arange(1, kept.sum() + 1)
        return numbers[self.labels]


def find_candidates(
    prediction: Prediction, cellprob_threshold: float, device: Any = None
) -> Candidates:
    """The objects that Cellpose finds where cellprob exceeds the threshold, before any check.

    Args:
        prediction: of `Segmenter.predict`.
        cellprob_threshold: a logit; lower finds more and larger objects.
        device: the torch device that follows the flows; the CPU if not given.
    """
    import torch

    flows, cellprob = (
        torch.from_numpy(array).to(device or "cpu")
        for array in (prediction.flows, prediction.cellprob)
    )
    # A Python float: numpy's would turn the comparison with float32 logits into float64.
    found = find_objects(flows, cellprob, float(cellprob_threshold)).cpu().numpy()
    return Candidates(number_objects(found), prediction.flows)
