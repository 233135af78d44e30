"""What a person does with a study on the dashboard, step by step."""

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun

from infra.service.processes import find_marked
from somaflow.claims import claim_shard
from somaflow.study import Study, load_study
from somaflow.synthetic import write_study
from tests.dashboard.screen import Screen
from tests.infra.services import Service, await_true

NAME = "cortex"
N_TILES, SHARD_TILES = 600, 2
N_SHARDS = N_TILES // SHARD_TILES
STATE = "document.querySelector('.state-badge').innerText.trim()"


@dataclass
class Tour:
    """A study, the service that serves it, and the screen on which that is seen."""

    service: Service
    screen: Screen
    file: Path

    @property
    def study(self) -> Study:
        """The study as its file says."""
        return load_study(self.file)

    def open_form(self) -> None:
        """Finds the deployment `study/laptop` and opens its form."""
        self.screen.open("/deployments")
        rows = "[...document.querySelectorAll('tr')].map(r => [...r.querySelectorAll('a')])"
        row = (
            f"{rows}.find(a => a[0]?.innerText === 'laptop' && a[1]?.innerText.trim() === 'study')"
        )
        self.screen.open(str(self.screen.find(f"{row}[0].href")))
        self.screen.press("Run")
        self.screen.press("Custom run")
        self.screen.await_words("Validate parameters")

    def start(self) -> UUID:
        """Starts a run with the path of the study in the form; returns its id."""
        self.open_form()
        self.screen.fill("study", str(self.file))
        self.screen.press("Submit")
        address = self.screen.find(
            "[...document.links].map(a => a.href).find(h => h.includes('/runs/flow-run/'))"
        )
        return UUID(str(address).rsplit("/", 1)[1])

    def open_run(self, run: UUID, tab: str) -> None:
        """Opens the page of a run, with one of its tabs in front."""
        self.screen.open(f"/runs/flow-run/{run}")
        self.screen.press(tab)

    def open_artifact(self, run: UUID, key: str) -> None:
        """Opens an artifact of a run."""
        self.open_run(run, "Artifacts")
        self.screen.follow(key, "/artifacts/artifact/")
        self.screen.await_words("Show raw data")

    def part(self, run: UUID, name: str) -> FlowRun:
        """The latest subflow of this name, as soon as there is one."""
        await_true(lambda: name in self.parts(run), lambda: str(list(self.parts(run))))
        return self.parts(run)[name]

    def parts(self, run: UUID) -> dict[str, FlowRun]:
        """The subflows of a run by name, of those that were run again the latest."""
        with self.service.api() as client:
            below = FlowRunFilter(parent_flow_run_id={"any_": [run]})
            found = client.read_flow_runs(flow_run_filter=below)
        return {part.name: part for part in sorted(found, key=lambda part: str(part.created))}

    def progress(self, run: UUID) -> int:
        """Tiles that the progress among the run's artifacts says are segmented, looked at anew."""
        self.open_run(run, "Artifacts")
        said = self.screen.find(r"document.body.innerText.match(/([\d,]+) of [\d,]+ tiles/)[1]")
        return int(re.sub(",", "", said))

    def await_shards(self, n_shards: int) -> None:
        """Waits until so many shards are committed."""
        await_true(lambda: len(self.records()) >= n_shards, self.service.logs)

    @contextmanager
    def holding(self, shards: Iterable[int]) -> Iterator[None]:
        """Keeps a run at work, on a machine of any speed: nobody else gets these shards meanwhile.

        Waits for a run that has planned them.
        """
        paths = self.study.paths
        await_true(lambda: bool(paths.inference_keys()), self.service.logs)
        (key,) = paths.inference_keys()
        with ExitStack() as held:
            for shard in shards:
                held.enter_context(claim_shard(paths, key, shard))
            yield

    def records(self) -> dict[str, tuple[int, int]]:
        """Of every committed shard when its record was written, and as which file."""
        files = self.study.paths.output.glob("ledger/*/shard-*.json")
        return {file.name: (file.stat().st_mtime_ns, file.stat().st_ino) for file in files}

    def cancel(self, run: UUID) -> None:
        """Cancels a run by its button, and waits until its page says so."""
        self.screen.open(f"/runs/flow-run/{run}")
        self.screen.press("Cancel")
        self.screen.press("Confirm")
        self.await_state(run, "Cancelled")

    def retry(self, run: UUID) -> None:
        """Has a run go on by its button."""
        self.screen.open(f"/runs/flow-run/{run}")
        self.screen.press("Retry")
        self.screen.await_words("This will retry")
        time.sleep(1)
        self.screen.press("Retry")
        self.screen.await_words("Retrying run")
        self.screen.find(f"{STATE} !== 'Cancelled'")

    def await_state(self, run: UUID, *states: str) -> None:
        """Waits until the run's page says that it is in one of these states."""
        self.screen.open(f"/runs/flow-run/{run}")
        wanted = " || ".join(f"{STATE} === '{state}'" for state in states)
        self.screen.find(wanted, limit_s=600)

    def processes(self) -> list[int]:
        """Processes that the service's worker has started and that are still there."""
        worker = self.service.child("worker").pid
        return [one.pid for one in find_marked(self.service.home.folder) if one.pid != worker]


def make_study(folder: Path) -> Path:
    """A study without a net: everything is there, and soon done."""
    place = folder / NAME
    size_px = 160
    write_study(place, 6, N_TILES, height_px=size_px, width_px=size_px, labelled_tiles=16)
    path = place / "study.yaml"
    content = yaml.safe_load(path.read_text())
    kept = ("tiles", "labelled", "traits", "output", "seed")
    recipe: dict[str, Any] = {"name": "by-brightness", "model": "threshold"}
    content = {name: content[name] for name in kept} | {
        "name": NAME,
        "shard_tiles": SHARD_TILES,
        "n_resamples": 200,
        "recipes": [recipe],
        "inference_recipe": recipe["name"],
        "donor_statistics": {"min_tiles": 1, "n_resamples": 200, "n_tile_draws": 20},
    }
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path
