"""Small tiles and a short way to train on them."""

import pytest

from somaflow.recipes import Recipe, TrainingSettings
from somaflow.segmenter import limit_threads
from somaflow.training import train_model
from tests.training.tiles import ids, write_tiles

BASE = Recipe()
NO_ARGUMENTS: dict[str, object] = {}
QUICK = TrainingSettings(n_epochs=2, crop_px=64, learning_rate=1e-3, batch_size=2)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    limit_threads(1)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """(folder, table) of four train and two val tiles."""
    folder = tmp_path_factory.mktemp("prepared")
    return folder, write_tiles(folder)


@pytest.fixture
def train(prepared, tmp_path):
    """Trains `tiny` on the prepared tiles; keywords replace arguments or fields of settings."""
    usual_folder, usual_table = prepared

    def run(
        place="run",
        prepared_folder=usual_folder,
        table=usual_table,
        train_ids=None,
        val_ids=None,
        base=BASE,
        arguments=NO_ARGUMENTS,
        **changes,
    ):
        return train_model(
            tmp_path / place,
            table,
            prepared_folder,
            ids(table, "train") if train_ids is None else train_ids,
            ids(table, "val") if val_ids is None else val_ids,
            base,
            QUICK.model_copy(update=changes),
            device="cpu",
            **arguments,
        )

    return run
