"""Small studies that share their tiles, and a service that takes two of them at a time."""

from pathlib import Path

import yaml

from somaflow.files import make_folder, write_text
from somaflow.synthetic import write_study
from tests.conftest import REPOSITORY
from tests.infra.services import Service

N_TILES = 8
_SHARD_TILES = 2
_SIDE_PX = 96
_AT_ONCE = 2
_WAITS_MINUTES = [0.1, 0.5, 1.0]
_RECIPE = {"name": "stand-in", "model": "threshold"}
_LIGHT_SITE = {"kind": "local", "workers": 1, "memory_gb": 2}


def make_studies(folder: Path, number: int) -> list[Path]:
    """Writes the study files, each with an output folder of its own; their paths."""
    write_study(folder / "source", 4, N_TILES, 0, _SIDE_PX, _SIDE_PX, labelled_tiles=0)
    paths = []
    for n in range(1, number + 1):
        content = {
            "name": f"soak-{n}",
            "tiles": {"root": "../source/tiles", "layout": "rosmap"},
            "output": "output",
            "recipes": [_RECIPE],
            "inference_recipe": "stand-in",
            "shard_tiles": _SHARD_TILES,
        }
        path = make_folder(folder / f"soak-{n}") / "study.yaml"
        write_text(path, yaml.safe_dump(content, sort_keys=False))
        paths.append(path)
    return paths


def make_service(folder: Path) -> Service:
    """The shipped deployments and automations; shorter waits, two studies at once, one worker each.

    Raises:
        KeyError: if prefect.yaml has no such deployments any more.
    """
    site = folder / "site.yaml"
    write_text(site, yaml.safe_dump(_LIGHT_SITE))
    content = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())
    for one in content["deployments"]:
        if one["entrypoint"] == "flows.study.study" and one["name"] == "laptop":
            one["concurrency_limit"]["limit"] = _AT_ONCE
            one["parameters"] = {"site": str(site)}
        if one["entrypoint"] == "flows.rerun.rerun":
            one["parameters"] = {"waits_minutes": _WAITS_MINUTES}
    deployments = folder / "prefect.yaml"
    write_text(deployments, yaml.safe_dump(content))
    return Service.in_folder(folder / "service", deployments=str(deployments))
