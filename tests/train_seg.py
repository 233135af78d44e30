"""Cellpose's own trainer, called with our settings: the yardstick of equality and of speed."""

import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import tifffile

from somaflow.recipes import TrainingSettings


def call_train_seg(
    net: Any, rows: pd.DataFrame, folder: Path, settings: TrainingSettings, save_path: Path | str
) -> Any:
    """Trains `net` in place and returns the loss of each epoch.

    Args:
        net: trained in place.
        rows: prepared tiles, in this order.
        folder: the prepared folder.
        settings: with the schedule `cellpose`.
        save_path: where train_seg saves its own file.
    """
    from cellpose import train

    if not hasattr(net, "backbone"):
        net.backbone = "tiny"  # train_seg asks for one
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on autocast to float32, which does nothing
        _, losses, _ = train.train_seg(
            net,
            train_data=[tifffile.imread(folder / path) for path in rows.image_path],
            train_labels=[tifffile.imread(folder / path) for path in rows.labels_path],
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            n_epochs=settings.n_epochs,
            weight_decay=settings.weight_decay,
            normalize=True,
            save_path=save_path,
            nimg_per_epoch=settings.images_per_epoch,
            rescale=settings.rescale,
            scale_range=settings.scale_range,
            bsize=settings.crop_px,
            min_train_masks=settings.min_cells,
        )
    return losses
