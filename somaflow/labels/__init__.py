"""Instance label images: 0 is background, cells are 1..N, and each cell is its own id.

Enters: .npy, TIFF, PNG, an ImageJ RoiSet zip, or a zip of one PNG per object.
Leaves: (Y, X) uint32.
Refuses, with a LabelsError: anything from which cells would be counted wrongly.
"""

from somaflow.labels.checks import check_labels
from somaflow.labels.reading import check_labels_header, read_labels

__all__ = ["check_labels", "check_labels_header", "read_labels"]
