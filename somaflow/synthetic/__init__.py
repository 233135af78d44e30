"""Tiles, labels, donors and traits whose every answer is known, drawn from a seed.

`nuclei` draws generic nuclei (to pretrain a small model), `cells` two-channel tiles of one marker,
`donors` and `traits` the people behind them, and `study` writes it all as a folder to work on.
"""

from somaflow.synthetic.cells import draw_tile
from somaflow.synthetic.nuclei import draw_nuclei
from somaflow.synthetic.study import write_study

__all__ = ["draw_nuclei", "draw_tile", "write_study"]
