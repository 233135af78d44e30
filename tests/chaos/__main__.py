"""`python -m tests.chaos --seed N --rounds N`: disturbs runs, audits what they leave, reports.

Each round is one study segmented from nothing while events befall it, then run again until it is
done. The last line counts tiles lost, twice and torn; the exit code is 1 unless all are 0.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.chaos.audit import Audit, audit_study
from tests.chaos.events import EVENTS, Event
from tests.chaos.lab import Lab, Run, open_lab

_IN_NAMESPACE = "SOMAFLOW_CHAOS_NAMESPACE"
_MOST_RERUNS = 5


@dataclass
class Round:
    """What happened in one round."""

    number: int
    events: list[str] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)
    seconds: float = 0.0
    audit: Audit | None = None


def play_rounds(
    folder: Path, seed: int, rounds: int, events: int, tiles: int, chosen: Sequence[Event] = EVENTS
) -> Iterator[Round]:
    """Plays the rounds, one after the other; each event comes up before any comes up twice."""
    rng = random.Random(seed)
    deck = _shuffled(chosen, rng)
    with open_lab(folder, tiles) as lab:
        for number in range(1, rounds + 1):
            yield _play(lab, number, [next(deck) for _ in range(events)], rng)


def _shuffled(events: Sequence[Event], rng: random.Random) -> Iterator[Event]:
    while True:
        yield from rng.sample(list(events), len(events))


def _play(lab: Lab, number: int, events: list[Event], rng: random.Random) -> Round:
    played, started = Round(number), time.monotonic()
    lab.clear()
    lab.start()
    for event in events:
        _await_work(lab, rng)
        if not lab.runs[-1].is_running:
            _note_end(lab, lab.runs[-1], played)
            lab.start()
            _await_work(lab, rng)
        lab.note_committed()
        after = time.monotonic() - started
        played.events.append(f"{after:.0f} s, {lab.n_done()} shards: {event(lab, rng)}")
    lab.heal()
    for run in lab.runs:
        _note_end(lab, run, played)
    _run_to_the_end(lab, played)
    played.audit = audit_study(lab.output, lab.reference, lab.key, lab.committed)
    played.seconds = time.monotonic() - started
    lab.runs.clear()
    return played


def _await_work(lab: Lab, rng: random.Random) -> None:
    """Waits for a random moment after the run has begun to commit shards, or has ended."""
    before, run = lab.n_done(), lab.runs[-1]
    while run.is_running and lab.n_done() == before:
        time.sleep(0.05)
    time.sleep(rng.uniform(0.0, 2.0))


def _run_to_the_end(lab: Lab, played: Round) -> None:
    """Runs again, as a schedule would, until a run says that all is done."""
    for _ in range(_MOST_RERUNS):
        run = lab.start()
        if lab.finish(run) == 0:
            played.ends.append("rerun: done")
            return
        _note_end(lab, run, played)
    raise RuntimeError(f"a rerun must finish an undisturbed study: {played.ends[-1]}")


def _note_end(lab: Lab, run: Run, played: Round) -> None:
    """How a run ended; one that was not killed must have said what it needs."""
    code = lab.finish(run)
    if run.is_noted:
        return
    run.is_noted = True
    words = run.last_words()
    played.ends.append("done" if code == 0 else f"code {code}: {words}")
    if code and not run.was_killed and not words.startswith("somaflow:"):
        played.unclear.append(words)


def main(arguments: list[str] | None = None) -> int:
    """Plays, prints a line an event, writes the report; returns 0 if nothing was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--events", type=int, default=3, help="a round")
    parser.add_argument("--tiles", type=int, default=400)
    names = {event.__name__.replace("_", "-"): event for event in EVENTS}
    parser.add_argument("--only", nargs="+", choices=names, default=list(names))
    parser.add_argument("--keep", action="store_true", help="the folder, with the logs of runs")
    parser.add_argument("--report", type=Path, default=Path("chaos.json"))
    options = parser.parse_args(arguments)
    played: list[Round] = []
    with _folder(options.keep) as folder:
        chances = (options.seed, options.rounds, options.events, options.tiles)
        for one in play_rounds(folder, *chances, [names[name] for name in options.only]):
            played.append(one)
            _show(one)
            options.report.write_text(json.dumps([asdict(r) for r in played], indent=2) + "\n")
    audits = [one.audit for one in played if one.audit is not None]
    lost = sum(audit.n_lost for audit in audits)
    twice = sum(audit.n_twice for audit in audits)
    torn = sum(audit.n_torn for audit in audits)
    unclear = sum(len(one.unclear) for one in played)
    n_events = sum(len(one.events) for one in played)
    print(f"{len(played)} rounds, {n_events} events, {unclear} ends without a reason")
    print(f"tiles lost: {lost}, twice: {twice}, torn: {torn}")
    return 1 if lost or twice or torn or unclear else 0


@contextmanager
def _folder(keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="somaflow-chaos-"))
    try:
        yield folder
    finally:
        if keep:
            print(f"logs of runs and jobs: {folder}")
        else:
            shutil.rmtree(folder)


def _show(one: Round) -> None:
    print(f"round {one.number}, {one.seconds:.0f} s")
    for line in [*one.events, *(f"run ended: {end}" for end in one.ends)]:
        print(f"  {line}", flush=True)


def _enter_namespace() -> None:
    """Starts this program again where mounts are its own, and end with it."""
    if os.environ.get(_IN_NAMESPACE) is None:
        command = ["unshare", "--mount", sys.executable, "-m", "tests.chaos", *sys.argv[1:]]
        os.execvpe(command[0], command, {**os.environ, _IN_NAMESPACE: "1"})


if __name__ == "__main__":
    _enter_namespace()
    sys.exit(main())
