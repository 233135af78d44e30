"""What is measured of each cell: size, place, shape and intensity."""

from somaflow.features.cells import measure_cells

__all__ = ["measure_cells"]
