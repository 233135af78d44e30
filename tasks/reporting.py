"""What the dashboard and the terminal show: progress, score tables, lines about bad tiles.

Nothing else makes artifacts; all of it goes through the filter of `tasks.privacy`. A server that
takes none is a warning and not the work's end: what is shown is on the disk too.
"""

import json
import logging
import re
import sys
import time
from collections import deque
from collections.abc import Mapping
from contextvars import copy_context
from pathlib import Path
from threading import Thread
from uuid import UUID

import pandas as pd
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from tqdm import tqdm

from somaflow.clocks import describe_duration
from somaflow.experiments.results import Results, embed_pictures
from tasks.privacy import hide, hide_table, note_on
from tasks.trouble import describe, find_trouble, not_vital

_LOGGER = logging.getLogger(__name__)
_TERMINAL_INTERVAL_S = 1.0
_LOG_INTERVAL_S = 15.0
_ARTIFACT_INTERVAL_S = 2.0
_LAST_LIMIT_S = 10.0
_RATE_INTERVAL_S, _RATE_SAMPLES = 5.0, 60


class Progress:
    """One progress bar in the terminal and one progress artifact on the dashboard.

    The artifact says in words how many are done, how fast, and how long the rest will take. A
    server that does not answer for a while is not the work's end: it is told later.
    """

    def __init__(self, name: str, total: int, unit: str, done: int = 0) -> None:
        """Starts at `done` of `total` units.

        Args:
            name: shown beside the bar.
            total: units in all, at least 1.
            unit: what is counted, in the plural.
            done: units that an earlier run did; they say nothing about the rate.
        """
        self._name, self._unit = name, unit
        self._total, self._done = total, done
        self._note = ""
        # When how many were done; the rate is that of the last minutes, as workers come and go.
        self._history: deque[tuple[float, int]] = deque(maxlen=_RATE_SAMPLES)
        self._teller = Teller(name, _ARTIFACT_INTERVAL_S)
        interval = _TERMINAL_INTERVAL_S if sys.stderr.isatty() else _LOG_INTERVAL_S
        self._bar = tqdm(
            total=total, initial=done, desc=name, unit=f" {unit}", mininterval=interval
        )
        self._tell()

    def advance(self, units: int, note: str = "") -> None:
        """Counts `units` more as done; the dashboard is told at most every two seconds."""
        self._done += units
        now = time.monotonic()
        if not self._history or now - self._history[-1][0] > _RATE_INTERVAL_S:
            self._history.append((now, self._done))
        self._note = note
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(units)
        if self._teller.is_due:
            self._tell()

    def close(self) -> None:
        """Shows the last state; a server that does not answer is not waited for long."""
        self._bar.close()
        self._teller.await_told()
        self._tell()
        self._teller.await_told()

    def describe(self) -> str:
        """How many are done, how fast, and how long the rest will take, as one line."""
        parts = [f"{self._done:,} of {self._total:,} {self._unit}"]
        if self._history and self._done > self._history[0][1]:
            since, done = self._history[0]
            rate = (self._done - done) / (time.monotonic() - since)
            parts.append(f"{rate:.3g} {self._unit}/s")
            if self._done < self._total:
                parts.append(f"{describe_duration((self._total - self._done) / rate)} left")
        return ", ".join([*parts, self._note] if self._note else parts)

    def _tell(self) -> None:
        self._teller.tell(100.0 * self._done / self._total, self.describe())


class Teller:
    """Keeps a progress bar of the dashboard up to date, from a thread of its own.

    Prefect's client tries for minutes where no server answers: the work does not wait for it.
    """

    def __init__(self, name: str, interval_s: float) -> None:
        """Nothing is told yet.

        Args:
            name: becomes the artifact's key.
            interval_s: between two updates.
        """
        self._name, self._interval_s = name, interval_s
        self._told_at = -interval_s
        self._is_silent = False
        self._artifact: UUID | None = None
        self._thread = Thread()

    @property
    def is_due(self) -> bool:
        """Whether the last update is old enough."""
        return time.monotonic() - self._told_at > self._interval_s

    def tell(self, progress: float, words: str) -> None:
        """Sends an update, unless the last one is still on its way.

        Args:
            progress: in percent.
            words: shown beside the bar.
        """
        self._told_at = time.monotonic()
        if self._thread.is_alive():
            return
        # The thread must know of which run the artifact is.
        arguments = (copy_context().run, self._send, progress, words)
        self._thread = Thread(target=arguments[0], args=arguments[1:], daemon=True)
        self._thread.start()

    def await_told(self) -> None:
        """Waits for what is on its way, but not for long."""
        if self._thread.ident is not None:
            self._thread.join(_LAST_LIMIT_S)

    def _send(self, progress: float, words: str) -> None:
        try:
            self._artifact = tell_progress(self._artifact, progress, self._name, words)
        except Exception as error:
            if (trouble := find_trouble(error)) is None:
                raise
            if not self._is_silent:
                _LOGGER.warning(
                    "The dashboard does not hear of the progress: %s", describe(trouble)
                )
            self._is_silent = True
        else:
            self._is_silent = False


def tell_progress(artifact: UUID | None, progress: float, name: str, words: str) -> UUID | None:
    """Makes or updates a progress bar of the dashboard; returns which it is.

    Args:
        artifact: what the last call returned; None before the first.
        progress: in percent.
        name: becomes the artifact's key.
        words: shown beside the bar.
    """
    if artifact is not None:
        update_progress_artifact(artifact, progress, hide(words))
        return artifact
    key = re.sub("[^a-z0-9]+", "-", hide(name).lower())
    made = create_progress_artifact(progress, key=key, description=hide(words))
    return made if isinstance(made, UUID) else None


def show_table(key: str, table: pd.DataFrame, description: str) -> None:
    """Puts a table on the dashboard."""
    rows = json.loads(hide_table(table).to_json(orient="records"))  # plain numbers, None for NaN
    with not_vital(f"the table {key}"):
        create_table_artifact(key=key, table=rows, description=hide(description))


def show_results(key: str, results: Results, pictures: Mapping[str, bytes] | None = None) -> None:
    """Puts the page of an experiment on the dashboard, with its pictures.

    Args:
        key: of the artifact.
        results: the page.
        pictures: to show instead of the page's own of these names, which name donors.
    """
    page = embed_pictures(_hide_page(results.markdown), {**results.pictures, **(pictures or {})})
    with not_vital(f"the page {key}"):
        create_markdown_artifact(key=key, markdown=page, description=hide(results.title))


def show_lines(key: str, heading: str, lines: list[str]) -> None:
    """Puts a list on the dashboard, a line an item."""
    items = "\n".join(f"- `{line}`" for line in lines)
    page = _hide_page(f"# {heading}\n\n{items}\n")
    with not_vital(f"the page {key}"):
        create_markdown_artifact(key=key, markdown=page, description=hide(heading))


def show_places(key: str, heading: str, words: str, places: Mapping[str, Path]) -> None:
    """Puts a list of files and folders on the dashboard, each to be copied, with what it is."""
    # Not a table: the dashboard would cut the paths.
    rows = "\n".join(f"- {what}: `{place}`" for what, place in places.items())
    show_page(key, heading, f"# {heading}\n\n{words}\n\n{rows}\n")


def show_page(key: str, heading: str, markdown: str) -> None:
    """Puts a page of Markdown on the dashboard."""
    create_markdown_artifact(key=key, markdown=_hide_page(markdown), description=hide(heading))


def _hide_page(page: str) -> str:
    """A page without donors, which then says where they are named."""
    note = note_on(page)
    return f"{hide(page)}\n*{note}.*\n" if note else page
