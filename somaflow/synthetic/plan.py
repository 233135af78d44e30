"""Which tiles a synthetic study holds, and which of them are labelled."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from somaflow.synthetic.donors import Donor
from somaflow.synthetic.markers import MARKERS


@dataclass(frozen=True)
class PlannedTile:
    """One tile before it is drawn."""

    donor: Donor
    marker: str
    region: str
    snap: int
    """The microscope's running number, unique in the study; it says nothing of the donor."""
    visit: int
    """How often this donor and marker were imaged before."""

    @property
    def stem(self) -> str:
        """Name of the tile in the labelled set, as `gfap_12`."""
        return f"{self.marker.lower()}_{self.snap}"

    @property
    def folder(self) -> PurePosixPath:
        """The tile's folder, relative to the study's."""
        return PurePosixPath(
            "tiles", self.marker, self.marker, self.donor.projid, self.region,
            f"Snap-{self.snap}.tiff_files",
        )  # fmt: skip

    def file_names(self, height_px: int, width_px: int) -> tuple[str, str]:
        """Names of the DAPI and the marker file, as the microscope's export gives them."""
        first, second = ("dapi-b0c0", "NeuN-b0c1") if self.marker == "NeuN" else ("b0c0", "b0c1")
        size = f"x0-{width_px}y0-{height_px}.tiff"
        return f"Snap-{self.snap}_{first}{size}", f"Snap-{self.snap}_{second}{size}"


def plan_tiles(donors: Sequence[Donor], n_tiles: int) -> list[PlannedTile]:
    """`n_tiles` tiles, dealt out over donors and markers in rounds.

    A round has one tile of each pair of donor and marker. It begins with one tile a donor, going
    through the markers, so that few tiles still reach every donor and every marker; then it gives
    one donor after the other the markers that are missing, so that the first ones are complete.
    Every second round is White matter.
    """
    n_donors, n_markers = len(donors), len(MARKERS)
    tiles = []
    for index in range(n_tiles):
        visit, place = divmod(index, n_donors * n_markers)
        if place < n_donors:
            donor, turn = place, 0
        else:
            donor, turn = divmod(place - n_donors, n_markers - 1)
            turn += 1
        tiles.append(
            PlannedTile(
                donor=donors[donor],
                marker=MARKERS[(donor + turn) % n_markers],
                region="White" if visit % 2 else "Grey",
                snap=index + 1,
                visit=visit,
            )
        )
    return tiles


def choose_labelled(tiles: Sequence[PlannedTile], n_labelled: int) -> list[PlannedTile]:
    """The tiles to label: one of every marker from a donor before the next donor's turn.

    A labelled donor thus carries every marker where its tiles allow, so that a split by donor has
    every marker on every side. Second visits come after every donor's first.
    """
    order = sorted(tiles, key=lambda tile: (tile.visit, tile.donor.index, tile.marker))
    return sorted(order[:n_labelled], key=lambda tile: tile.snap)


def count_labelled(n_tiles: int) -> int:
    """How many tiles are labelled unless one says so: a quarter, at least 48 and at most 120."""
    return min(n_tiles, max(48, min(120, n_tiles // 4)))
