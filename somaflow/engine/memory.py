"""How much memory a tile takes, and how much this process may still take."""

from pathlib import Path

from somaflow.errors import TileError

BYTES_A_PIXEL = 180
"""Of a tile that is segmented on a CPU, at most: its channels, crops, flows, and what is computed
from them. Measured: 111 to 164, from 520 x 694 to 4096 x 4096 px."""
_GB = 1e9


def check_memory(height_px: int, width_px: int, tile_id: str) -> None:
    """Refuses a tile that there is no memory for, before its worker is killed for it.

    Raises:
        TileError: if less is free than it takes; where that cannot be told, nothing is refused.
    """
    needed = height_px * width_px * BYTES_A_PIXEL
    available = free_bytes()
    if available is not None and needed > available:
        raise TileError(
            f"a tile must fit in memory, {tile_id} of {height_px} x {width_px} px takes about "
            f"{needed / _GB:.2g} GB, {available / _GB:.2g} GB are free; give workers more memory "
            "(memory_gb of the site), or cut the tile"
        )


def free_bytes(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What the machine has free and the limit of this process's group leaves; None: unknown.

    SLURM and containers limit a job by its control group (version 2), on Linux alone.
    """
    found = [*_free_in_groups(proc, cgroups)]
    for line in _read(proc / "meminfo").splitlines():
        name, _, amount = line.partition(":")
        if name == "MemAvailable":
            found.append(int(amount.split()[0]) * 1024)
    return min(found, default=None)


def _free_in_groups(proc: Path, cgroups: Path) -> list[int]:
    """Of this process's group and of those around it: what their limits leave."""
    own = next(
        (line[3:] for line in _read(proc / "self" / "cgroup").splitlines() if line[:3] == "0::"),
        None,
    )
    if own is None:
        return []
    group, found = cgroups / own.strip("/"), []
    while group != cgroups.parent and group.is_relative_to(cgroups):
        limit, used = _read(group / "memory.max").strip(), _read(group / "memory.current").strip()
        if limit.isdigit() and used.isdigit():
            found.append(max(int(limit) - int(used), 0))
        group = group.parent
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
