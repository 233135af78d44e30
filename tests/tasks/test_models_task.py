"""Which engine a worker has: one process around its CPU's net, or many around a GPU's."""

import pytest

from somaflow.engine import SerialEngine
from somaflow.errors import DeviceError, ModelError
from somaflow.recipes import Recipe
from tasks import models
from tasks.models import worker_engine

THRESHOLD = Recipe(name="plain", model="threshold")


def test_worker_on_a_cpu_does_a_tile_at_a_time() -> None:
    """Its neighbours on the same machine do the same; and it keeps what it has loaded."""
    engine = worker_engine(Recipe(), "cpu")

    assert isinstance(engine, SerialEngine)
    assert engine is worker_engine(Recipe(name="other"), "cpu")


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_recipe_without_a_net_needs_no_device(
    device: models.Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does a worker import torch to look for one."""

    def fail(_: str) -> str:
        raise AssertionError("looked for a device")

    monkeypatch.setattr(models, "choose_device", fail)
    assert isinstance(worker_engine(THRESHOLD, device), SerialEngine)


def test_hybrid_with_one_net_looks_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that was asked for and is not there is an error, though most sets need none."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    hybrid = THRESHOLD.model_copy(update={"per_marker": {"NeuN": Recipe(name="net")}})

    with pytest.raises(DeviceError, match="torch finds no CUDA device"):
        worker_engine(hybrid, "cuda")


def test_worker_with_a_gpu_has_a_process_for_each_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them around one net, which is made fast for the device."""
    made = []
    monkeypatch.setattr(models, "choose_device", lambda device: "cuda")
    monkeypatch.setattr(models, "Engine", lambda n, load: made.append((n, load)) or "engine")
    monkeypatch.setattr(models, "count_cores", lambda: 7)
    monkeypatch.setattr(models, "load_net", lambda *given: (given, "sha", "cuda"))
    monkeypatch.setattr(models, "make_fast", lambda net: (net, "fast"))
    models._gpu_engine.cache_clear()
    try:
        assert "engine" == worker_engine(Recipe(model="m.pt"), "auto")
    finally:
        models._gpu_engine.cache_clear()

    ((n_workers, load),) = made
    assert 7 == n_workers
    assert (("m.pt", "cuda", None), "fast") == load(Recipe(model="m.pt"))


def test_sweep_of_a_model_without_a_net_is_refused() -> None:
    """In a sentence that names the recipe, not by what the model lacks."""
    with pytest.raises(ModelError, match="threshold of recipe plain has none"):
        models.net_loader("cpu")(THRESHOLD)


def test_net_is_loaded_once_for_all_that_ask() -> None:
    """The engine, the scoring and the sweeps of a worker share it."""
    recipe = Recipe(model="tiny")

    assert models.net_loader("cpu")(recipe) is models.segmenter_loader("cpu")(recipe)
