"""Reference cells and proposed objects whose fate is known by construction."""

from dataclasses import dataclass, field

import pandas as pd

from tests.figures.tables import threshold_scores

TILE = "olig2_3501"


@dataclass
class Fates:
    """Tables of a diagnosis, cell by cell; every cell has 100 px, and its own IoU."""

    cells: list[dict] = field(default_factory=list)
    objects: list[dict] = field(default_factory=list)

    def found(self, n: int, tile_id: str = TILE) -> "Fates":
        """Cells with a kept object of their own."""
        return self._add(n, tile_id, 2.0, found=True, object_iou=0.8, kept_iou=0.8)

    def below(self, n: int, tile_id: str = TILE) -> "Fates":
        """Cells where the net is not sure enough to propose anything."""
        return self._add(n, tile_id, -1.5)

    def in_part(self, n: int, tile_id: str = TILE) -> "Fates":
        """Cells of which only the nucleus has an object."""
        return self._add(n, tile_id, -1.0, object_iou=0.3, kept_iou=0.3, object_area_px=30)

    def removed(self, n: int, reason: str, tile_id: str = TILE) -> "Fates":
        """Cells whose well-outlined object a check removed."""
        return self._add(n, tile_id, 1.0, object_iou=0.7, removed_by=reason)

    def outlined_badly(self, n: int, tile_id: str = TILE) -> "Fates":
        """Cells with a kept object of their size that lies beside them."""
        return self._add(n, tile_id, 1.0, object_iou=0.3, kept_iou=0.3)

    def merged(self, n: int, tile_id: str = TILE) -> "Fates":
        """Pairs of cells that share one kept object of twice their size."""
        for _ in range(n):
            self._add(1, tile_id, 1.0, object_iou=0.45, kept_iou=0.45, object_area_px=220)
            self._add(1, tile_id, 1.0, kept_iou=0.40)
        return self

    def wrong(self, n: int, tile_id: str = TILE) -> "Fates":
        """Kept objects where there is no cell."""
        for _ in range(n):
            self.objects.append(self._object(tile_id, 0.0, 100, ""))
        return self

    def tables(self) -> dict[str, pd.DataFrame]:
        """per_tile, reference_cells and candidates, as `diagnose_marker` takes them."""
        cells, objects = pd.DataFrame(self.cells), pd.DataFrame(self.objects)
        if objects.empty:
            objects = pd.DataFrame([self._object(TILE, 0.0, 1, "")]).iloc[:0]
        grouped = cells.groupby("tile_id", sort=False)
        per_tile = grouped.agg(n_reference=("label", "size"), tp=("found", "sum")).reset_index()
        kept = objects[objects["kept"]].groupby("tile_id").size()
        per_tile["n_predicted"] = kept.reindex(per_tile["tile_id"], fill_value=0).to_numpy()
        return {"per_tile": per_tile, "reference_cells": cells, "candidates": objects}

    def _add(
        self,
        n: int,
        tile_id: str,
        cellprob: float,
        found: bool = False,
        object_iou: float = 0.0,
        kept_iou: float = 0.0,
        object_area_px: int = 95,
        removed_by: str = "",
    ) -> "Fates":
        for _ in range(n):
            # No two pairs have one IoU, as is likely among real ones.
            shift = 1e-4 * len(self.cells)
            self.cells.append(
                {
                    "tile_id": tile_id,
                    "label": len(self.cells) + 1,
                    "area_px": 100,
                    "cellprob_median": cellprob,
                    "best_iou": kept_iou + shift if kept_iou else 0.0,
                    "found": found,
                }
            )
            if object_iou:
                self.objects.append(
                    self._object(tile_id, object_iou + shift, object_area_px, removed_by)
                )
        return self

    def _object(self, tile_id: str, iou: float, area_px: int, removed_by: str) -> dict:
        return {
            "tile_id": tile_id,
            "label": len(self.objects) + 1,
            "area_px": area_px,
            "flow_error": 0.9 if removed_by == "flow" else 0.1,
            "cellprob_median": 1.0,
            "best_iou": iou,
            "matches": iou >= 0.5,
            "kept": removed_by == "",
            "removed_by": removed_by,
        }


def val_scores(f1: dict[tuple[str, str], float]) -> pd.DataFrame:
    """Scores on val by recipe and marker, with intervals and differences from the first recipe."""
    first = next(iter(f1))[0]
    rows = []
    for (recipe, marker), value in f1.items():
        row = {"recipe": recipe, "split": "val", "marker": marker}
        difference = value - f1.get((first, marker), value)
        for name, middle in (("f1_pooled", value), ("f1_pooled_difference", difference)):
            row |= {name: middle, f"{name}_low": middle - 0.05, f"{name}_high": middle + 0.05}
        rows.append(row)
    return pd.DataFrame(rows)


def grid_scores(recipe: str = "generic") -> pd.DataFrame:
    """A threshold grid in which a lower cellprob threshold helps most."""
    return threshold_scores([recipe])
