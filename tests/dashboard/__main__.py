"""Takes the pictures of docs/dashboard.md: `python -m tests.dashboard --out docs/images`."""

import argparse
import io
import tempfile
from pathlib import Path

from PIL import Image

from tests.dashboard.screen import open_screen
from tests.dashboard.tour import N_SHARDS, NAME, Tour, make_study
from tests.infra.services import Service

_COLOURS, _WIDTH_PX = 96, 1000


def take_pictures(tour: Tour, folder: Path) -> None:
    """Walks through a study and writes what is seen on the way.

    Args:
        tour: of a study that was not run yet.
        folder: where the pictures go, as `dashboard-*`.
    """

    def take(name: str) -> None:
        _write(tour.screen.take_picture(), folder / f"dashboard-{name}")

    tour.open_form()
    tour.screen.fill("study", "/data/cortex/study.yaml")
    take("form.png")
    run = tour.start()
    tour.part(run, f"segment all of {NAME}")
    with tour.holding([N_SHARDS - 1]):
        tour.await_shards(20)
        tour.open_run(run, "Subflow Runs")
        tour.screen.await_words("segment all of")
        take("run.png")
        tour.cancel(run)
    tour.retry(run)
    tour.await_state(run, "Completed")
    tour.open_run(run, "Subflow Runs")
    tour.screen.await_words("segment all of")
    take("retry.png")
    tour.open_artifact(tour.part(run, f"recipes of {NAME}").id, "e1-recipes")
    tour.screen.find("(document.images[0].scrollIntoView(), document.images[1].complete)")
    take("page.jpg")


def _write(png: bytes, path: Path) -> None:
    """Writes the picture small: a PNG with few colours, or a JPEG for what has tiles in it."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    height_px = round(picture.height * _WIDTH_PX / picture.width)
    small = picture.resize((_WIDTH_PX, height_px), Image.Resampling.LANCZOS)
    if path.suffix == ".png":
        small = small.quantize(_COLOURS, dither=Image.Dither.NONE)
    small.save(path, optimize=True, quality=75)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Starts a service of its own, takes the pictures and ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures")
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        service = Service.in_folder(folder / "home")
        address = f"http://127.0.0.1:{service.port}"
        with open_screen(folder / "profile", address) as screen, service.ending():
            service.up()
            take_pictures(Tour(service, screen, make_study(folder)), out)


if __name__ == "__main__":
    main()
