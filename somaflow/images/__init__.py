"""Images on disk: TIFF, PNG or NPY in, a header or one (Y, X) plane out, never guessed.

Refuses, with a TileError that names the file: truncated and empty files, stacks, NaN and Inf,
yes/no images, colour or several channels where no channel is named.
"""

from somaflow.images.formats import read_header, read_stored
from somaflow.images.header import ImageHeader
from somaflow.images.planes import read_plane

__all__ = ["ImageHeader", "read_header", "read_plane", "read_stored"]
