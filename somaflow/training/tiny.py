"""Trains nets on labelled images with Cellpose's own building blocks; makes the embedded `tiny`.

Enters: images with instance labels, here synthetic nuclei. Leaves: weights, the loss of each epoch,
and scores. Everything random follows from one seed: on the same machine and versions, with one
thread, the same seed gives the same weights bit for bit.

``python -m somaflow.training`` trains `tiny` anew; with ``--evaluate FOLDER`` it prints how good a
model is instead. Figures in ``models/tiny.md`` come from these two commands.
"""

import argparse
import io
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from somaflow.errors import BadInputError
from somaflow.evaluation import count_matches, summarise
from somaflow.files import write_bytes
from somaflow.images import read_header, read_plane
from somaflow.labels import read_labels
from somaflow.recipes import Recipe
from somaflow.segmenter import (
    NORMALISATION,
    Segmenter,
    build_tiny_net,
    limit_threads,
    load_segmenter,
    prepare_input,
)
from somaflow.synthetic.nuclei import draw_nuclei

if TYPE_CHECKING:
    import torch

_HELD_OUT_SEED = 1_000_003
_N_HELD_OUT = 100


@dataclass(frozen=True)
class TinySettings:
    """How `tiny` is trained; the defaults made the embedded weights."""

    seed: int = 0
    n_images: int = 500
    n_epochs: int = 24
    batch_size: int = 8
    crop_px: int = 192
    learning_rate: float = 5e-3
    weight_decay: float = 1e-4
    warm_up_fraction: float = 0.1
    min_scale: float = 0.6
    """Images are resized by a factor from here ..."""
    max_scale: float = 1.7
    """... to here, drawn on a logarithmic scale."""
    single_fraction: float = 0.3
    """Share of crops in which the channel without the cells is blanked: many images have one."""


@dataclass(frozen=True)
class Example:
    """A training image as the net sees it, and what the net should say."""

    image: NDArray[np.float32]
    """(3, Y, X), normalised as Cellpose's eval does it."""
    targets: NDArray[np.float32]
    """(3, Y, X): cell 0 or 1, flow along Y, flow along X."""
    other_channel: int
    """0 or 1: the channel in which cells stand out less."""


@dataclass(frozen=True)
class Training:
    """A finished training."""

    net: Any
    losses: tuple[float, ...]
    """Mean training loss of each epoch."""


def train_tiny(
    settings: TinySettings, report: Callable[[int, float], None] = lambda epoch, loss: None
) -> Training:
    """Trains a new `tiny` net on synthetic nuclei, on the CPU.

    Args:
        settings: seed, sizes and schedule.
        report: called with the epoch (from 0) and its mean loss.
    """
    import torch

    examples = draw_examples(settings.seed, settings.n_images)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        net = build_tiny_net()
    losses = run_epochs(net, examples, settings, report)
    return Training(net.eval(), tuple(losses))


def draw_examples(seed: int, n_images: int) -> list[Example]:
    """Synthetic nuclei, each image with its own scene."""
    rng = np.random.default_rng(seed)
    return [make_example(*draw_nuclei(rng)) for _ in range(n_images)]


def make_example(image: NDArray[Any], labels: NDArray[np.uint32]) -> Example:
    """The example of one labelled image.

    Args:
        image: (2, Y, X), DAPI and marker.
        labels: (Y, X), 0 = background.
    """
    import torch
    from cellpose import dynamics

    # A copy, since labels_to_flows renumbers in place. Its planes: labels, cell, flow Y, flow X.
    flows = dynamics.labels_to_flows([labels.astype(np.int64)], device=torch.device("cpu"))[0]
    normalised = _normalise(image)
    cells = labels > 0
    # Up to a common factor, the mean inside cells minus the mean outside.
    contrast = [(plane * (cells - cells.mean())).sum() for plane in normalised[:2]]
    return Example(normalised, flows[1:], other_channel=0 if contrast[0] < contrast[1] else 1)


def _normalise(image: NDArray[Any]) -> NDArray[np.float32]:
    from cellpose import transforms

    prepared = prepare_input(image.astype(np.float32))
    return np.ascontiguousarray(transforms.normalize_img(prepared, **NORMALISATION, axis=0))


def make_batch(
    examples: Sequence[Example], settings: TinySettings
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Randomly turned, flipped, resized and cropped images and targets, both (B, 3, crop, crop).

    Draws from numpy's global generator, because Cellpose's augmentation does.
    """
    from cellpose import transforms

    low, high = math.log(settings.min_scale), math.log(settings.max_scale)
    scales = np.exp(np.random.uniform(low, high, len(examples)))
    images, targets, _ = transforms.random_rotate_and_resize(
        [example.image for example in examples],
        [example.targets for example in examples],
        rescale=1 / scales,
        scale_range=0.0,
        bsize=settings.crop_px,
    )
    is_single = np.random.random(len(examples)) < settings.single_fraction
    for index in np.flatnonzero(is_single).tolist():
        images[index, examples[index].other_channel] = 0
    return images, targets


def take_step(
    net: Any, optimizer: "torch.optim.Optimizer", images: "torch.Tensor", targets: "torch.Tensor"
) -> float:
    """One step of the optimizer on one batch; returns the loss before it."""
    from cellpose import train

    predicted, _ = net(images)
    loss = train._loss_fn_seg(targets, predicted, net.device)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.item())


def run_epochs(
    net: Any,
    examples: Sequence[Example],
    settings: TinySettings,
    report: Callable[[int, float], None],
) -> list[float]:
    """Trains `net` in place and returns the mean loss of each epoch."""
    import torch

    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=settings.weight_decay)
    losses = []
    for epoch in range(settings.n_epochs):
        net.train()
        with _seeded_numpy(settings.seed, epoch):
            losses.append(_run_epoch(net, optimizer, examples, settings, epoch))
        report(epoch, losses[-1])
    return losses


def _run_epoch(
    net: Any,
    optimizer: "torch.optim.Optimizer",
    examples: Sequence[Example],
    settings: TinySettings,
    epoch: int,
) -> float:
    order = np.random.permutation(len(examples))
    n_batches = math.ceil(len(order) / settings.batch_size)
    total = 0.0
    for index, chosen in enumerate(np.array_split(order, n_batches)):
        progress = (epoch + index / n_batches) / settings.n_epochs
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(progress, settings)
        images, targets = make_batch([examples[i] for i in chosen], settings)
        total += take_step(net, optimizer, images, targets) * len(chosen)
    return total / len(order)


def learning_rate_at(progress: float, settings: TinySettings) -> float:
    """Linear warm-up, then half a cosine down to 0; `progress` runs from 0 to 1."""
    warm_up = settings.warm_up_fraction
    if progress < warm_up:
        return settings.learning_rate * progress / warm_up
    decay = (progress - warm_up) / (1 - warm_up)
    return settings.learning_rate * (1 + math.cos(math.pi * decay)) / 2


@contextmanager
def _seeded_numpy(*entropy: int) -> Iterator[None]:
    """Seeds numpy's global generator for a while, and leaves it as it was."""
    before = np.random.get_state()
    np.random.seed(np.random.SeedSequence(entropy).generate_state(4))
    try:
        yield
    finally:
        np.random.set_state(before)


def encode_weights(net: Any) -> bytes:
    """The net's weights as a torch file; equal weights give equal bytes."""
    import torch

    state = {name: value.detach().cpu().clone() for name, value in net.state_dict().items()}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


# --- how good a model is -------------------------------------------------------------------------


def score_nuclei(segmenter: Segmenter, n_images: int) -> pd.DataFrame:
    """Counts on synthetic nuclei that no training saw: name group tp fp fn, a row an image."""
    rng = np.random.default_rng(_HELD_OUT_SEED)
    drawn = (draw_nuclei(rng) for _ in range(n_images))
    return pd.DataFrame(
        [
            _score_image(segmenter, f"{index:04d}", "synthetic nuclei", image, labels)
            for index, (image, labels) in enumerate(drawn)
        ]
    )


def score_folder(segmenter: Segmenter, folder: Path) -> pd.DataFrame:
    """Counts on a folder's pairs `<name>_img.tif`, `<name>_masks.tif`: name group tp fp fn.

    The single plane is given as DAPI beside an empty marker; the group is the start of the name up
    to its last underscore. Images of several channels are left out.

    Raises:
        BadInputError: if the folder holds no such pair of a single plane.
    """
    paths = sorted(folder.glob("*_img.tif"))
    single = [path for path in paths if read_header(path).axes == "YX"]
    if not single:
        raise BadInputError(
            f"a folder to evaluate must hold <name>_img.tif of one channel beside "
            f"<name>_masks.tif, found {len(paths)} images and none of one channel in {folder}; "
            "name another folder"
        )
    return pd.DataFrame([_score_pair(segmenter, path) for path in single])


def _score_pair(segmenter: Segmenter, path: Path) -> dict[str, Any]:
    name = path.name.removesuffix("_img.tif")
    plane = read_plane(path)
    labels = read_labels(path.with_name(f"{name}_masks.tif"), renumber=True)
    image = np.stack([plane, np.zeros_like(plane)])
    return _score_image(segmenter, name, name.rpartition("_")[0] or name, image, labels)


def _score_image(
    segmenter: Segmenter, name: str, group: str, image: NDArray[Any], labels: NDArray[np.uint32]
) -> dict[str, Any]:
    counts = count_matches(labels, segmenter.segment([image], Recipe())[0])
    return {"name": name, "group": group, "tp": counts.tp, "fp": counts.fp, "fn": counts.fn}


# --- command line --------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains `tiny` and writes its weights, or evaluates a model; prints what was found."""
    parser = argparse.ArgumentParser(prog="python -m somaflow.training", description=main.__doc__)
    parser.add_argument("--output", type=Path, default=None, help="weights file to write")
    parser.add_argument("--seed", type=int, default=TinySettings.seed)
    parser.add_argument("--epochs", type=int, default=TinySettings.n_epochs)
    parser.add_argument("--images", type=int, default=TinySettings.n_images)
    parser.add_argument("--evaluate", type=Path, metavar="FOLDER", help="score, do not train")
    parser.add_argument("--model", default="tiny", help="model to evaluate")
    options = parser.parse_args(arguments)
    limit_threads(1)
    if options.evaluate:
        segmenter = load_segmenter(options.model, device="cpu")
        counts = [score_nuclei(segmenter, _N_HELD_OUT), score_folder(segmenter, options.evaluate)]
        _print_scores(segmenter, counts)
        return
    settings = TinySettings(seed=options.seed, n_epochs=options.epochs, n_images=options.images)
    path = options.output or Path(str(files("somaflow") / "models" / "tiny.pt"))
    _train_and_write(settings, path)


def _train_and_write(settings: TinySettings, path: Path) -> None:
    start = time.monotonic()
    training = train_tiny(settings, lambda epoch, loss: print(f"epoch {epoch:3d}  loss {loss:.4f}"))
    content = encode_weights(training.net)
    sha256 = write_bytes(path, content)
    print(f"{settings}\n{time.monotonic() - start:.0f} s, {len(content)} bytes, sha256 {sha256}")
    segmenter = load_segmenter(path, device="cpu", sha256=sha256)
    _print_scores(segmenter, [score_nuclei(segmenter, _N_HELD_OUT)])


def _print_scores(segmenter: Segmenter, counts: Sequence[pd.DataFrame]) -> None:
    print(f"{segmenter.model} {segmenter.sha256} on {segmenter.device}, IoU threshold 0.5")
    scores = summarise(pd.concat(counts), by="group")
    columns = ["n_images", "n_reference", "precision_pooled", "recall_pooled", "f1_pooled"]
    print(scores[["group", *columns, "ap50_image_mean"]].to_string(index=False))
