"""A finished figure: PNG bytes for screens, and the same figure as PDF for print.

Enters: matplotlib's own figure, or a finished PNG. Leaves: bytes that equal input repeats.
"""

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 100
# Without a date, and without the version of matplotlib, equal input gives equal bytes.
_NO_METADATA = {"Creator": None, "Producer": None, "CreationDate": None}


class Picture(bytes):
    """The PNG bytes of a figure, which know the figure's PDF as `.pdf`.

    They are bytes, so that whatever shows or writes a PNG takes them as they are. The PDF takes as
    long to draw as the PNG, so it is drawn when it is first asked for: a finished page that is
    looked up again has it on disk.
    """

    _source: "bytes | Figure"

    def __new__(cls, png: bytes, source: "bytes | Figure") -> "Picture":
        """Keeps the PNG, and the PDF or what it is drawn from."""
        picture = super().__new__(cls, png)
        picture._source = source
        return picture

    @property
    def pdf(self) -> bytes:
        """The same figure as PDF."""
        if not isinstance(self._source, bytes):
            self._source = _draw_pdf(self._source)
        return self._source

    def __reduce__(self) -> tuple[Any, ...]:
        """Takes the PDF along where the picture goes to another process."""
        return Picture, (bytes(self), self.pdf)


def render(figure: "Figure", dpi: int = _DPI) -> Picture:
    """The figure in both forms; it must not be changed any more."""
    from matplotlib.backend_bases import FigureCanvasBase

    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=dpi, metadata={"Software": None})
    FigureCanvasBase(figure)  # lets go of the pixels, which take more memory than all else
    return Picture(png.getvalue(), figure)


def wrap_png(png: bytes) -> bytes:
    """A PDF page of a finished PNG, pixel by pixel, for pictures that are pixels anyway."""
    import matplotlib.image
    from matplotlib.figure import Figure

    pixels = matplotlib.image.imread(io.BytesIO(png))
    height, width = pixels.shape[:2]
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.imshow(pixels, interpolation="none", aspect="auto")
    return _draw_pdf(figure)


def _draw_pdf(figure: "Figure") -> bytes:
    from matplotlib import rc_context

    content = io.BytesIO()
    # Fonts as TrueType, so that words can be edited.
    with rc_context({"pdf.fonttype": 42}):
        figure.savefig(content, format="pdf", dpi=_DPI, metadata=_NO_METADATA)
    return content.getvalue()
