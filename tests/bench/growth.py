"""What a tile costs as it grows, in px and in cells: ``python -m tests.bench.growth``.

One process, one thread, `tiny`; milliseconds by stage, medians. Cells are discs on a grid, so that
their number is known; the net sees what it knows.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import numpy as np
from scipy import ndimage

from somaflow import timing
from somaflow.engine import Job, SerialEngine
from somaflow.files import write_text
from somaflow.recipes import Recipe
from somaflow.segmenter import limit_threads, load_segmenter
from tests.bench.machine import describe_machine
from tests.bench.tiles import write_rows

SHAPES = ((256, 256), (512, 512), (1024, 1024), (2048, 2048), (4096, 4096))
SHAPE, CELLS = (1040, 1388), (10, 100, 500, 1000, 2000)
_CELLS_A_MPX = 400
# With less noise, a tile of 10 cells would be scaled to its noise alone, and none of them found.
_RADIUS_PX, _BACKGROUND, _CELL, _NOISE = 7, 500.0, 4000.0, 400.0
_REPEATS = 3


def draw_discs(rng: np.random.Generator, shape: tuple[int, int], n_cells: int) -> np.ndarray:
    """(2, Y, X) uint16 with so many blurred discs, in both channels."""
    n_rows = max(round((n_cells * shape[0] / shape[1]) ** 0.5), 1)
    n_columns = -(-n_cells // n_rows)
    rows = (np.arange(n_rows) + 0.5) * shape[0] / n_rows
    columns = (np.arange(n_columns) + 0.5) * shape[1] / n_columns
    seeds = np.zeros(shape)
    places = [(int(y), int(x)) for y in rows for x in columns][:n_cells]
    seeds[tuple(np.transpose(places))] = 1
    reach = np.arange(-_RADIUS_PX, _RADIUS_PX + 1)
    disc = reach[:, None] ** 2 + reach[None] ** 2 <= _RADIUS_PX**2
    plane = ndimage.gaussian_filter(ndimage.binary_dilation(seeds > 0, disc).astype(float), 1.5)
    tile = _BACKGROUND + _CELL * plane + rng.normal(0, _NOISE, (2, *shape))
    return tile.clip(0, 65_535).astype(np.uint16)


def measure(shape: tuple[int, int], n_cells: int, engine: SerialEngine) -> dict[str, object]:
    """Milliseconds of one tile by stage."""
    tile = draw_discs(np.random.default_rng(n_cells), shape, n_cells)
    with tempfile.TemporaryDirectory() as folder:
        job = Job(write_rows(Path(folder), [tile])[0], Recipe())
        done = [next(iter(engine.run([job]))) for _ in range(_REPEATS + 1)][1:]
    stages = {
        name: round(1000 * statistics.median(one.seconds[name] for one in done), 1)
        for name in timing.STAGES
    }
    total = round(sum(stages.values()), 1)
    row = {"shape": shape, "drawn": n_cells, "found": done[0].record.n_cells, "ms": total}
    return {**row, "ms_a_mpx": round(total / shape[0] / shape[1] * 1e6, 1), **stages}


def main() -> None:
    """Measures, prints a row a tile, and writes them."""
    parser = argparse.ArgumentParser(description="what a tile costs as it grows")
    parser.add_argument("--out", type=Path, default=Path("growth.json"))
    options = parser.parse_args()
    limit_threads(1)
    tiny = load_segmenter("tiny", device="cpu")
    engine = SerialEngine(lambda _: tiny)
    sizes = [(shape, round(_CELLS_A_MPX * shape[0] * shape[1] / 1e6)) for shape in SHAPES]
    rows = []
    for shape, n_cells in [*sizes, *((SHAPE, n_cells) for n_cells in CELLS)]:
        rows.append(measure(shape, n_cells, engine))
        print(json.dumps(rows[-1]), flush=True)
    write_text(
        options.out, json.dumps({"machine": describe_machine(), "rows": rows}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
