"""From what was watched and found to the figures of one size, and to the table of all sizes."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from tests.scale.watch import Watched

H200_S = 480.0
"""What an H200 needs for the real net on the whole study: 375 PFLOP at its peak."""
FULL_SHARDS = 231
_SHARD = re.compile(r"(\d+) tiles, \d+ cells, \d+ quarantined in ([\d.]+) s on (\S+)")


def describe_run(run: Watched) -> dict[str, float]:
    """Phases of a run of e5-inference and what its shards took, all in seconds.

    start_s: until the flow begins (imports, server). plan_s: until it knows what to do (inputs by
    content, plan). cluster_s: until a worker begins. work_s: until the last shard is committed.
    stop_s: until the command ends. busy_s: inside `infer_shard`, summed over workers.
    """
    begun_s = run.find("Beginning flow run")[0][0]
    planned_s = run.find(" shards done, ")[0][0]
    shards = [(when_s, match) for when_s, line in run.lines if (match := _SHARD.search(line))]
    busy = [float(match[2]) for _, match in shards]
    first_s = min(when_s - float(match[2]) for when_s, match in shards)
    last_s = shards[-1][0]
    return {
        "wall_s": run.wall_s,
        "start_s": begun_s,
        "plan_s": planned_s - begun_s,
        "cluster_s": first_s - planned_s,
        "work_s": last_s - first_s,
        "stop_s": run.wall_s - last_s,
        "busy_s": sum(busy),
        "shard_s": sum(busy) / len(busy),
        "idle_s_per_shard": _idle_between(shards),
        "flow_cpu_s": run.taken["flow"].cpu_s,
        "server_cpu_s": run.taken["server"].cpu_s,
    }


def _idle_between(shards: list[tuple[float, re.Match[str]]]) -> float:
    """Seconds from a worker's shard to its next one, mean; what the flow lets it wait."""
    ended: dict[str, float] = {}
    gaps = []
    for when_s, match in shards:
        worker = match[3]
        if worker in ended:
            gaps.append(when_s - float(match[2]) - ended[worker])
        ended[worker] = when_s
    return max(0.0, sum(gaps) / len(gaps)) if gaps else 0.0


def describe_memory(run: Watched) -> dict[str, float]:
    """Largest memory of one process of each role, and of all processes at one time, MB."""
    roles = {f"{role}_mb": taken.peak_mb for role, taken in run.taken.items()}
    return roles | {"all_mb": run.peak_mb}


def derive(row: dict[str, Any], nothing: Mapping[str, float]) -> dict[str, float]:
    """What orchestration costs, from a run and the run that found nothing to do.

    Args:
        row: of one size: "run", "found", "bare_shard_s".
        nothing: the run on the finished study; its CPU is the flow's fixed cost.
    """
    run, n_shards = row["run"], row["found"]["shards"]
    fixed_s = run["start_s"] + run["plan_s"] + run["cluster_s"] + run["stop_s"]
    return {
        "tiles_per_s": row["found"]["tiles"] / run["work_s"] if run["work_s"] else 0.0,
        "fixed_s": fixed_s,
        "flow_cpu_s_per_shard": max(0.0, run["flow_cpu_s"] - nothing["flow_cpu_s"]) / n_shards,
        "server_cpu_s_per_shard": max(0.0, run["server_cpu_s"] - nothing["server_cpu_s"])
        / n_shards,
        "shard_against_bare": run["shard_s"] / row["bare_shard_s"],
        # Of a run of the full size on one worker; workers wait for the flow, not for the server.
        "share_of_h200": (fixed_s + FULL_SHARDS * run["idle_s_per_shard"]) / H200_S,
    }


def tabulate(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One line a figure, one column a size, as text."""
    columns = {
        f"{row['found']['tiles']} tiles": pd.Series(_flatten(row), dtype=float) for row in rows
    }
    table = pd.DataFrame(columns)
    return table.map(lambda value: "-" if pd.isna(value) else f"{value:,.4g}").reset_index(
        names="figure"
    )


def _flatten(row: Mapping[str, Any], before: str = "") -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{before}{name} ")
        elif isinstance(value, int | float):
            flat[f"{before}{name}"] = float(value)
    return flat
