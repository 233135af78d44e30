"""What a training promises besides its weights: seeds, records, refusals, nothing in silence."""

import json
import logging
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import torch

import somaflow
from somaflow.evaluation import count_matches, summarise
from somaflow.evaluation.scoring import read_prepared
from somaflow.files import hash_file
from somaflow.recipes import Gate, Recipe, TrainingSettings
from somaflow.segmenter import load_segmenter, weights_sha256
from somaflow.training import loop as loop_module
from somaflow.training import read_history, read_training, training_key
from tests.training.tiles import ids, write_tiles

SOME_SHA256 = "a" * 64


def read_weights(path):
    return torch.load(path, weights_only=True)


def test_finished_training_says_what_it_was(train, prepared):
    """The record names base, tiles, settings, best epoch, device, versions and checksums."""
    _, table = prepared

    trained = train()

    record = json.loads((trained.path.parent / "training.json").read_text())
    assert record == trained.record
    assert weights_sha256("tiny") == record["base_sha256"]
    assert ids(table, "train") == record["train_ids"]
    assert ids(table, "val") == record["val_ids"]
    assert 32 == record["n_train_cells"]
    assert 64 == record["settings"]["crop_px"]
    assert ["cpu"] == record["devices"]
    assert 0 == record["n_resumes"]
    assert {"cellpose", "torch", "numpy"} == set(record["versions"])
    assert (1, somaflow.__version__) == (record["schema_version"], record["somaflow"])
    assert hash_file(trained.path) == trained.sha256 == record["files"]["best.pt"]
    assert hash_file(trained.last_path) == record["files"]["last.pt"]
    assert not (trained.path.parent / "state.pt").exists()


def test_trained_weights_load_by_their_checksum(train):
    """The best weights are a checkpoint as any other."""
    trained = train()

    assert trained.sha256 == load_segmenter(trained.path, "cpu", trained.sha256).sha256


def test_best_epoch_is_that_of_the_best_f1(train):
    """The first epoch with the highest pooled F1 on val is kept, whatever the loss says."""
    trained = train(n_epochs=5)
    history = read_history(trained.path.parent)

    first_best = history.loc[history.val_f1_pooled.idxmax()]
    assert first_best.epoch == trained.best_epoch
    assert first_best.val_f1_pooled == trained.val_f1_pooled


def test_best_weights_are_those_of_the_best_epoch(train):
    """Training for just as many epochs ends where the best weights were taken."""
    # So fast that it is soon worse than it was.
    fast = {"schedule": "cellpose", "learning_rate": 0.5}
    trained = train(n_epochs=5, **fast)
    assert 5 > trained.best_epoch

    again = train("again", n_epochs=trained.best_epoch, **fast)

    assert again.last_path.read_bytes() == trained.path.read_bytes()


def test_first_of_equally_good_epochs_is_kept(train, monkeypatch):
    """Where later epochs only tie, the earlier one is the best: it moved less."""
    from somaflow.training import validation

    scores = iter([0.5, 0.8, 0.8, 0.2])

    def score(tiles, net, check):
        return dict.fromkeys(validation.SCORES, next(scores))

    monkeypatch.setattr(validation.Validation, "score", score)

    trained = train(n_epochs=4)

    assert (2, 0.8) == (trained.best_epoch, trained.val_f1_pooled)
    assert trained.path.read_bytes() != trained.last_path.read_bytes()


def test_validation_scores_are_those_of_the_trained_segmenter(train, prepared):
    """The last row of the history is what the last weights score on val, from their file."""
    folder, table = prepared
    base = Recipe(cellprob_threshold=-1.0, gate=Gate(min_area_px=40))
    trained = train(base=base)

    segmenter = load_segmenter(trained.last_path, "cpu")
    counts = []
    for row in table[table.split == "val"].itertuples():
        image, reference = read_prepared(row, folder)
        found = count_matches(reference, segmenter.segment([image], base)[0])
        counts.append({"tp": found.tp, "fp": found.fp, "fn": found.fn})
    [expected] = summarise(pd.DataFrame(counts)).to_dict("records")
    row = read_history(trained.path.parent).iloc[-1]
    for metric in ("precision_pooled", "recall_pooled", "f1_pooled", "ap50_image_mean"):
        assert expected[metric] == row[f"val_{metric}"]


def test_scoring_val_does_not_change_the_training(train):
    """The weights are the same with val tiles, without, and scored every second epoch."""
    contents = [
        train("a", n_epochs=3).last_path.read_bytes(),
        train("b", n_epochs=3, val_ids=[]).last_path.read_bytes(),
        train("c", n_epochs=3, score_every=2).last_path.read_bytes(),
    ]

    assert 1 == len(set(contents))


def test_epochs_that_are_not_scored_have_no_score(train):
    """score_every = 2 scores every second epoch, and the last one always."""
    trained = train(n_epochs=3, score_every=2)

    scored = read_history(trained.path.parent).val_f1_pooled.notna()
    assert [False, True, True] == scored.tolist()


def test_training_without_val_takes_the_last_epoch_and_says_so(train, caplog):
    """No best epoch is made up: log and record say that the last one was taken."""
    with caplog.at_level(logging.WARNING):
        trained = train(val_ids=[])

    assert 2 == trained.best_epoch
    assert trained.val_f1_pooled is None
    assert "no val tiles" in trained.record["best_by"]
    assert "no val tiles" in caplog.text
    assert trained.path.read_bytes() == trained.last_path.read_bytes()


def test_other_seeds_give_other_weights(train):
    """Seeds vary order and crops, so repeats of a training are repeats indeed."""
    contents = [train(f"{seed}", seed=seed).last_path.read_bytes() for seed in (0, 1, 2)]

    assert 3 == len(set(contents))


def test_training_leaves_the_random_numbers_of_the_caller_alone(train):
    """A notebook's numbers do not depend on a training in between, nor the other way round."""
    np.random.seed(7)
    torch.manual_seed(7)
    expected = np.random.rand(), torch.rand(1)
    first = train("first").last_path.read_bytes()
    np.random.seed(7)
    torch.manual_seed(7)

    second = train("second").last_path.read_bytes()

    assert expected == (np.random.rand(), torch.rand(1))
    assert first == second


def test_trainings_beside_each_other_do_not_disturb_each_other(train):
    """Two threads of one process train to the weights that each trains to alone."""
    alone = [train(f"alone{seed}", seed=seed).last_path.read_bytes() for seed in (1, 2)]
    threads = [
        threading.Thread(target=train, args=(f"both{seed}",), kwargs={"seed": seed})
        for seed in (1, 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    both = [train(f"both{seed}", seed=seed).last_path.read_bytes() for seed in (1, 2)]
    assert alone == both


def test_finished_training_is_returned_without_work(train, monkeypatch):
    """The second call neither trains nor writes, nor does it need the base weights."""
    first = train()
    before = {path: path.stat().st_mtime_ns for path in first.path.parent.iterdir()}
    monkeypatch.setattr(loop_module.Loop, "run", None)

    second = train()

    assert first == second == read_training(first.path.parent)
    assert before == {path: path.stat().st_mtime_ns for path in first.path.parent.iterdir()}


def test_training_on_images_without_cells_works(train, tmp_path):
    """Background alone is something to learn from, too."""
    table = write_tiles(tmp_path / "empty", n_cells=(0, 0))

    trained = train(table=table, prepared_folder=tmp_path / "empty")

    assert 0 == trained.record["n_train_cells"]
    assert [] == trained.record["dropped"]
    assert read_history(trained.path.parent).loss.gt(0).all()


def test_weights_that_moved_are_counted(train):
    """At learning rate 0 no weight moves; after a warm-up step nearly all have."""
    still = train("still", schedule="cellpose", n_epochs=1)
    moved = train("moved", n_epochs=1)

    assert 0 == read_history(still.path.parent).weights_moved_fraction.item()
    assert 0.9 < read_history(moved.path.parent).weights_moved_fraction.item() <= 1
    start = load_segmenter("tiny", "cpu").cellpose_model.net.state_dict()
    assert all(
        torch.equal(start[name], value)
        for name, value in read_weights(still.last_path).items()
        if name != "diam_labels"
    )


def test_marker_training_does_not_see_dapi(train, tmp_path, prepared):
    """With channels = marker, another DAPI channel gives the same weights; with both, others."""
    import tifffile

    folder, table = prepared
    for row in table.itertuples():
        image = tifffile.imread(folder / row.image_path)
        image[0] = image[0][::-1]
        for path, pixels in (
            (row.image_path, image),
            (row.labels_path, tifffile.imread(folder / row.labels_path)),
        ):
            (tmp_path / path).parent.mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / path, pixels, photometric="minisblack")

    def weights(place, channels, prepared_folder):
        trained = train(place, channels=channels, prepared_folder=prepared_folder)
        return trained.last_path.read_bytes(), trained.val_f1_pooled

    assert weights("a", "marker", folder) == weights("b", "marker", tmp_path)
    assert weights("c", "both", folder)[0] != weights("d", "both", tmp_path)[0]
    assert weights("a", "marker", folder)[0] != weights("c", "both", folder)[0]


def test_order_of_ids_does_not_matter(train, prepared):
    """The same tiles in another order are the same training."""
    _, table = prepared
    first = train("a")
    second = train("b", train_ids=ids(table, "train")[::-1], val_ids=ids(table, "val")[::-1])

    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.record["training"] == second.record["training"]


def test_key_changes_with_all_that_shapes_the_weights():
    """Tiles, base weights, thresholds that score val, and settings each change the key."""
    base, settings = Recipe(), TrainingSettings()
    keys = [
        training_key("p", ["a", "b"], ["c"], base, SOME_SHA256, settings),
        training_key("q", ["a", "b"], ["c"], base, SOME_SHA256, settings),
        training_key("p", ["a"], ["c"], base, SOME_SHA256, settings),
        training_key("p", ["a", "b"], [], base, SOME_SHA256, settings),
        training_key("p", ["a", "b"], ["c"], Recipe(flow_threshold=0), SOME_SHA256, settings),
        training_key("p", ["a", "b"], ["c"], base, "b" * 64, settings),
        training_key("p", ["a", "b"], ["c"], base, SOME_SHA256, TrainingSettings(seed=1)),
    ]

    assert len(keys) == len(set(keys))


def test_key_does_not_change_with_names_and_order():
    """What a recipe is called, where its file lies and how ids are sorted shapes nothing."""
    settings = TrainingSettings()
    other = Recipe(name="other", model="/elsewhere/tiny.pt", model_sha256=SOME_SHA256)

    first = training_key("p", ["a", "b"], ["c"], Recipe(), SOME_SHA256, settings)
    second = training_key("p", ["b", "a"], ["c"], other, SOME_SHA256, settings)

    assert first == second


def test_second_stage_starts_from_the_first(train):
    """Trained weights are a base for further training."""
    first = train("first")
    base = Recipe(name="generic", model=str(first.path), model_sha256=first.sha256)

    second = train("second", base=base, schedule="cellpose", n_epochs=1)

    expected, actual = read_weights(first.path), read_weights(second.last_path)
    assert all(torch.equal(expected[name], actual[name]) for name in expected)
    assert first.sha256 == second.record["base_sha256"]


def test_history_has_a_row_an_epoch(train):
    """Epochs from 1, steps, and the learning rate of the last step of each."""
    history = read_history(train(n_epochs=3, schedule="cellpose").path.parent)

    assert [1, 2, 3] == history.epoch.tolist()
    assert [2, 2, 2] == history.steps.tolist()
    np.testing.assert_array_equal(np.linspace(0, 1e-3, 10)[:3], history.learning_rate)
    assert history.seconds.gt(0).all()
    assert isinstance(history, pd.DataFrame)


def test_import_of_the_trainer_is_light():
    """Neither torch nor Cellpose is imported before something is trained."""
    code = (
        "import sys, somaflow.training; "
        "sys.exit(' '.join({'torch', 'cellpose', 'torchvision'} & set(sys.modules)) or 0)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert (0, "") == (done.returncode, done.stderr)
