"""What the dashboard and the terminal show: progress, score tables, lines about bad tiles."""

import json
import sys
import time
from uuid import UUID

import pandas as pd
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from tqdm import tqdm

from somaflow.experiments.results import Results, embed_pictures

_TERMINAL_INTERVAL_S = 1.0
_LOG_INTERVAL_S = 15.0
_ARTIFACT_INTERVAL_S = 2.0


class Progress:
    """One progress bar in the terminal and one progress artifact on the dashboard."""

    def __init__(self, name: str, total: int, unit: str) -> None:
        """Starts at none of `total` units done.

        Args:
            name: shown beside the bar; letters, digits and spaces.
            total: units in all, at least 1.
            unit: what is counted, in the plural.
        """
        self._total = total
        self._done = 0
        self._sent_at = time.monotonic()
        interval = _TERMINAL_INTERVAL_S if sys.stderr.isatty() else _LOG_INTERVAL_S
        self._bar = tqdm(total=total, desc=name, unit=f" {unit}", mininterval=interval)
        artifact = create_progress_artifact(
            progress=0.0, key=name.lower().replace(" ", "-"), description=f"{name}: {total} {unit}"
        )
        self._artifact = artifact if isinstance(artifact, UUID) else None

    def advance(self, units: int, note: str = "") -> None:
        """Counts `units` more as done; the dashboard is told at most every two seconds."""
        self._done += units
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(units)
        if time.monotonic() - self._sent_at > _ARTIFACT_INTERVAL_S:
            self._send()

    def close(self) -> None:
        """Shows the last state."""
        self._bar.close()
        self._send()

    def _send(self) -> None:
        self._sent_at = time.monotonic()
        if self._artifact is not None:
            update_progress_artifact(self._artifact, progress=100.0 * self._done / self._total)


def show_table(key: str, table: pd.DataFrame, description: str) -> None:
    """Puts a table on the dashboard."""
    rows = json.loads(table.to_json(orient="records"))  # plain numbers, None for NaN
    create_table_artifact(key=key, table=rows, description=description)


def show_results(key: str, results: Results) -> None:
    """Puts the page of an experiment on the dashboard, with its pictures."""
    page = embed_pictures(results.markdown, results.pictures)
    create_markdown_artifact(key=key, markdown=page, description=results.title)


def show_lines(key: str, heading: str, lines: list[str]) -> None:
    """Puts a list on the dashboard, a line an item."""
    items = "\n".join(f"- `{line}`" for line in lines)
    create_markdown_artifact(key=key, markdown=f"# {heading}\n\n{items}\n", description=heading)
