"""Starts the studies' runs, injures them, and follows each until its last run has ended."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import httpx
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType

from tests.infra.services import Service
from tests.soak.injuries import INJURIES, Injury

_DEPLOYMENT = "study/laptop"
_AT_ONCE = 3
"""One more than run at once: there is always one that waits for its turn."""
_LIMIT_S = 1800.0
"""A server that has just come back holds the event of a crash back for a quarter of an hour."""
_MOST_DELAY_S = 15.0
_ENDED = (StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED)


@dataclass
class Story:
    """One study: what befell it, and its runs."""

    study: Path
    name: str
    injury: Injury
    delay_s: float
    runs: list[UUID] = field(default_factory=list)
    begun: float = 0.0
    running_since: float | None = None
    was_injured: bool = False
    end: str = ""
    seconds: float = 0.0

    @property
    def is_well(self) -> bool:
        """Whether its last run ended as it must."""
        return self.end == self.injury.end


def tell_stories(studies: Sequence[Path], seed: int) -> list[Story]:
    """An injury for each study, at random but the same for a seed, each in its share."""
    rng = random.Random(seed)
    names = [name for name, one in INJURIES.items() for _ in range(one.share)]
    deck = [names[n * len(names) // len(studies)] for n in range(len(studies))]
    rng.shuffle(deck)
    return [
        Story(study, name, INJURIES[name], rng.uniform(0, _MOST_DELAY_S))
        for study, name in zip(studies, deck, strict=True)
    ]


def play(
    service: Service, stories: Sequence[Story], weather: dict[int, Callable[[], None]]
) -> Iterator[Story]:
    """Plays them, a few at a time; yields each when it has ended.

    Args:
        service: that runs them.
        stories: in this order.
        weather: what befalls the service itself, by how many stories have ended.
    """
    waiting, active, n_ended = list(stories), list[Story](), 0
    while waiting or active:
        while waiting and len(active) < _AT_ONCE:
            active.append(_begin(waiting.pop(0)))
        for story in list(active):
            with suppress(httpx.TransportError):  # the server was killed; it comes back
                if not _go_on(service, story):
                    continue
                active.remove(story)
                n_ended += 1
                yield story
                weather.pop(n_ended, _nothing)()
        time.sleep(1)


def _nothing() -> None:
    """The service is left alone."""


def _begin(story: Story) -> Story:
    if story.injury.before is not None:
        story.injury.before(story.study)
    story.begun = time.monotonic()
    return story


def _start(service: Service, story: Story) -> None:
    story.runs.append(service.start(_DEPLOYMENT, study=str(story.study)).id)


def _go_on(service: Service, story: Story) -> bool:
    """Looks at the newest run and does what is due; whether the story has ended."""
    if not story.runs:
        _start(service, story)
    run = _find_last(service, story)
    story.seconds = time.monotonic() - story.begun
    if story.seconds > _LIMIT_S:
        story.end = f"still {run.state_name} after {_LIMIT_S:g} s"
        return True
    if run.state_type == StateType.RUNNING and not story.was_injured:
        _injure(service, story, run)
    if run.state_type not in _ENDED:
        return False
    if run.state_type == StateType.CANCELLED and story.injury.end == "Completed":
        _start(service, story)  # the person who cancelled it
        return False
    if run.state_type in (StateType.FAILED, StateType.CRASHED):
        if story.injury.after is not None:
            story.injury.after(story.study)
        if story.injury.end == "Completed":
            return False  # `rerun` starts another
    story.end = run.state_type.value.capitalize()
    return True


def _injure(service: Service, story: Story, run: FlowRun) -> None:
    now = time.monotonic()
    if story.running_since is None:
        story.running_since = now
    if story.injury.amid is not None and now - story.running_since >= story.delay_s:
        story.was_injured = story.injury.amid(service, run.id)


def _find_last(service: Service, story: Story) -> FlowRun:
    """The study's newest run: its own, or the one by which `rerun` has replaced it."""
    with service.api() as client:
        tags = [f"first-run-{run}" for run in story.runs]
        again = FlowRunFilter.model_validate({"tags": {"any_": tags}})
        runs = [*client.read_flow_runs(flow_run_filter=again), client.read_flow_run(story.runs[-1])]
    return max(runs, key=lambda run: run.created)
