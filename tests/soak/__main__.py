"""`python -m tests.soak --folder DIR`: 200 small studies through one service, with failures.

Runs are killed, ended and cancelled, workers killed, outputs blocked; the server dies twice, the
service's worker once. Then nothing may be stuck, no process left, no study unfinished that can be
finished. The exit code is 1 if something is.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect.client.schemas.filters import ArtifactFilter

from somaflow.files import write_text
from somaflow.ledger import read_records
from somaflow.study import load_study
from tests.bench.machine import describe_machine
from tests.infra.services import Service
from tests.soak.play import Story, play, tell_stories
from tests.soak.studies import N_TILES, make_service, make_studies
from tests.soak.watch import Memory, count_stuck, find_orphans, measure_database

_SETTLE_LIMIT_S = 600.0


def soak(folder: Path, number: int, seed: int) -> dict[str, Any]:
    """Plays `number` studies and returns what was found afterwards."""
    folder.mkdir(parents=True)
    studies = make_studies(folder, number)
    service = make_service(folder)
    stories, begun = tell_stories(studies, seed), time.monotonic()
    with service.ending():
        service.up()
        memory, ended = Memory(service), list[Story]()
        for story in play(service, stories, _weather(service, number)):
            ended.append(story)
            memory.note()
            print(f"{len(ended)} {story.study.parent.name}: {story.name}: {story.end} "
                  f"in {story.seconds:.0f} s", flush=True)  # fmt: skip
        before_night = count_stuck(service)
        stuck = _have_night(service, studies)
        found = {
            "studies": number,
            "seconds": time.monotonic() - begun,
            "injuries": dict(Counter(f"{one.name}: {one.end}" for one in ended)),
            "not_injured": [one.name for one in ended if one.injury.amid and not one.was_injured],
            "unwell": [f"{one.study}: {one.name}: {one.end}" for one in ended if not one.is_well],
            "unfinished": [str(path) for path in _find_unfinished(ended)],
            "stuck_before_the_night": before_night,
            "stuck": stuck,
            "orphans": find_orphans(service),
            "persons_called": _count_calls(service),
            "memory": memory.describe(),
            "database_bytes": measure_database(service),
        }
        service.down()
    return found


def _weather(service: Service, number: int) -> dict[int, Callable[[], None]]:
    """What is killed when a quarter, half and three quarters of the studies have ended."""
    killed = ("server", "worker", "server")
    return {
        number * (n + 1) // 4: lambda name=name: service.kill(name)  # type: ignore[misc]
        for n, name in enumerate(killed)
    }


def _have_night(service: Service, studies: list[Path]) -> dict[str, int]:
    """What is under way after `reconcile` has run, once nothing changes any more."""
    run = service.start("reconcile/service", roots=[str(studies[0].parent.parent)])
    service.await_state(run, "Completed")
    deadline = time.monotonic() + _SETTLE_LIMIT_S
    # A process lives on for seconds after its run has ended.
    while count_stuck(service) or find_orphans(service):
        if time.monotonic() > deadline:
            break
        time.sleep(5)
    return count_stuck(service)


def _find_unfinished(stories: list[Story]) -> list[Path]:
    return [
        one.study
        for one in stories
        if one.injury.end == "Completed" and _count_tiles(one.study) != N_TILES
    ]


def _count_tiles(study: Path) -> int:
    """Tiles that the study's ledger has as segmented."""
    paths = load_study(study).paths
    keys = paths.inference_keys()
    records = [record for key in keys for record in read_records(paths, key)]
    return len({tile.tile_id for record in records for tile in record.tiles})


def _count_calls(service: Service) -> int:
    with service.api() as client:
        key = ArtifactFilter.model_validate({"key": {"any_": ["needs-a-person"]}})
        return len(client.read_artifacts(artifact_filter=key))


def main() -> int:
    """Reads the command line, plays, writes and prints."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="For all of it; must be new.")
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("soak.json"))
    options = parser.parse_args()
    found = soak(options.folder.absolute(), options.studies, options.seed)
    content = json.dumps({"machine": describe_machine(), **found}, indent=2)
    write_text(options.out, content + "\n")
    print(content)
    return 1 if any(found[name] for name in ("unwell", "unfinished", "stuck", "orphans")) else 0


if __name__ == "__main__":
    sys.exit(main())
