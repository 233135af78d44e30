"""What `load_segmenter` promises of models, checksums and devices: an error, never a fallback."""

import io
import pickle
import re
from importlib.resources import files
from urllib.error import URLError

import numpy as np
import pytest
import torch
from cellpose import models, utils

from somaflow.errors import DeviceError, ModelError
from somaflow.files import hash_file
from somaflow.recipes import Recipe
from somaflow.segmenter import build_tiny_net, load_segmenter, weights_sha256
from somaflow.training.tiny import encode_weights

MODELS = files("somaflow") / "models"


@pytest.fixture
def tiny_state():
    """Weights of a new tiny net, by name."""
    return build_tiny_net().state_dict()


def save(state, path):
    torch.save(state, path)
    return path


def test_embedded_weights_are_those_of_the_note():
    """The note about the embedded weights gives the checksum and size of the shipped file."""
    note, weights = (MODELS / "tiny.md").read_text(), (MODELS / "tiny.pt").read_bytes()

    assert len(weights) < 300_000
    assert [hash_file(MODELS / "tiny.pt")] == re.findall(r"[0-9a-f]{64}", note)
    assert f"{len(weights)} bytes" in note


def test_checksum_is_known_without_loading(tiny):
    """A model's checksum, which keys depend on, is that of the segmenter it would give."""
    assert weights_sha256("tiny") == tiny.sha256


def test_embedded_weights_are_found_from_anywhere(tiny, tmp_path, monkeypatch):
    """The embedded model comes from the package, whatever the working folder holds."""
    (tmp_path / "tiny").write_text("something else")
    monkeypatch.chdir(tmp_path)

    assert tiny.sha256 == load_segmenter("tiny", device="cpu").sha256


@pytest.mark.parametrize("prefix", ["", "module."])
def test_checkpoint_file_is_loaded_whole(tiny_state, tmp_path, prefix):
    """Every weight comes from the file, also when it was saved by DataParallel."""
    renamed = {prefix + name: value for name, value in tiny_state.items()}
    path = save(renamed, tmp_path / "checkpoint")

    segmenter = load_segmenter(path, device="cpu", sha256=hash_file(path))

    loaded = segmenter.cellpose_model.net.state_dict()
    assert list(tiny_state) == list(loaded)
    assert all(torch.equal(tiny_state[name], loaded[name]) for name in tiny_state)
    assert (str(path), hash_file(path)) == (segmenter.model, segmenter.sha256)


def test_checkpoint_is_accepted_by_cellpose_itself(tiny_state, tmp_path):
    """Cellpose's own loader takes a tiny file into a tiny net."""
    path, net = save(tiny_state, tmp_path / "checkpoint"), build_tiny_net()

    net.load_model(path, device=torch.device("cpu"))

    assert all(torch.equal(value, net.state_dict()[name]) for name, value in tiny_state.items())


def test_only_trained_parameters_can_be_trained(tiny):
    """After loading, the same parameters take gradients as in a new net."""
    expected = {name: value.requires_grad for name, value in build_tiny_net().named_parameters()}
    net = tiny.cellpose_model.net

    assert expected == {name: value.requires_grad for name, value in net.named_parameters()}


def test_equal_weights_give_equal_bytes(tiny_state):
    """A weights file is a pure function of the weights, so its checksum names them."""
    net = build_tiny_net()
    net.load_state_dict(tiny_state)
    first = encode_weights(net)

    again = build_tiny_net()
    again.load_state_dict(torch.load(io.BytesIO(first), weights_only=True))

    assert first == encode_weights(again)


@pytest.mark.parametrize("name", ["no-such-file.pt", "tinny", "cpsam_v3", ""])
def test_wrong_model_is_refused(name, tmp_path, monkeypatch):
    """A mistyped name or path is an error, not the stock model."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ModelError, match="correct the name or the path"):
        load_segmenter(name, device="cpu")


def test_folder_is_refused(tmp_path):
    """A folder is not a checkpoint."""
    with pytest.raises(ModelError, match="found a folder"):
        load_segmenter(tmp_path, device="cpu")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a checkpoint",
        b"\x89PNG\r\n\x1a\n" + bytes(64),
        pickle.dumps({"weight": 1}),
        (MODELS / "tiny.pt").read_bytes()[:20_000],
    ],
    ids=["empty", "text", "png", "pickle", "truncated"],
)
def test_file_that_is_no_checkpoint_is_refused(content, tmp_path):
    """A file that torch cannot read as weights is named in the error."""
    path = tmp_path / "weights.pt"
    path.write_bytes(content)

    with pytest.raises(ModelError, match=re.escape(str(path))):
        load_segmenter(path, device="cpu")


class Payload:
    """Something a pickle can run code through."""

    def __reduce__(self):
        return (print, ("ran",))


def test_checkpoint_with_code_is_not_run(tmp_path, capsys):
    """A checkpoint that would run code is refused unread."""
    path = save(Payload(), tmp_path / "weights.pt")

    with pytest.raises(ModelError, match="weights"):
        load_segmenter(path, device="cpu")

    assert "" == capsys.readouterr().out


@pytest.mark.parametrize("content", [torch.zeros(3), {"epoch": 3}, [torch.zeros(1)]])
def test_file_without_named_tensors_is_refused(content, tmp_path):
    """A torch file of anything but named tensors is refused."""
    path = save(content, tmp_path / "weights.pt")

    with pytest.raises(ModelError, match="map names to tensors"):
        load_segmenter(path, device="cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("head.bias"), "head.bias missing"),
        (lambda state: state.update(extra=torch.zeros(1)), "extra unexpected"),
        (
            lambda state: state.update({"head.bias": torch.zeros(4)}),
            r"head.bias \(4,\) instead of \(3,\) of another shape",
        ),
        (
            lambda state: state.update({"head.bias": torch.full((3,), torch.nan)}),
            "head.bias with NaN or infinity",
        ),
        (lambda state: state.clear(), "and 21 more missing"),
    ],
    ids=["missing", "unexpected", "shape", "nan", "empty"],
)
def test_weights_of_another_net_are_refused(tiny_state, tmp_path, change, message):
    """A file that fits in all but one weight is refused, and the weight is named."""
    state = dict(tiny_state)
    change(state)
    path = save(state, tmp_path / "weights.pt")

    with pytest.raises(ModelError, match=message):
        load_segmenter(path, device="cpu")


def test_wrong_checksum_is_refused(tiny):
    """Weights of another checksum are refused, and both checksums are said."""
    with pytest.raises(ModelError) as caught:
        load_segmenter("tiny", device="cpu", sha256="0" * 64)

    assert "0" * 64 in str(caught.value)
    assert tiny.sha256 in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_missing_gpu_is_refused():
    """Where a GPU is asked for and there is none, nothing runs on the CPU instead."""
    with pytest.raises(DeviceError, match="no CUDA device"):
        load_segmenter("tiny", device="cuda")


def test_broken_gpu_is_refused_and_auto_says_cpu(monkeypatch):
    """A GPU that is listed but fails is an error for cuda, and a CPU that says so for auto."""

    def fail(*_, **__):
        raise RuntimeError("driver too old")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "init", fail)
    monkeypatch.setattr(torch.cuda, "_lazy_init", fail)

    with pytest.raises(DeviceError, match="driver too old"):
        load_segmenter("tiny", device="cuda")
    assert "cpu" == load_segmenter("tiny", device="auto").device


def test_unknown_device_is_refused():
    """Only the three device words are taken."""
    with pytest.raises(DeviceError, match="auto, cuda or cpu"):
        load_segmenter("tiny", device="gpu")


def test_weights_that_cannot_be_fetched_are_an_error(tmp_path, monkeypatch):
    """Without a network the error says from where, to where, and what else can be given."""

    def refuse(*_, **__):
        raise URLError("no network")

    monkeypatch.setattr(models, "MODEL_DIR", tmp_path)
    monkeypatch.setattr(utils, "download_url_to_file", refuse)

    with pytest.raises(ModelError) as caught:
        load_segmenter("cpsam_v2", device="cpu")

    for part in (models._MODEL_URL + "cpsam_v2", str(tmp_path), "no network", "checkpoint file"):
        assert part in str(caught.value)


def test_fetched_weights_are_checked_like_any_file(tmp_path, monkeypatch):
    """A cut-off download in Cellpose's cache folder is refused, not used."""
    (tmp_path / "cpsam_v2").write_bytes(b"half of it")
    monkeypatch.setattr(models, "MODEL_DIR", tmp_path)

    with pytest.raises(ModelError, match="cannot read"):
        load_segmenter("cpsam_v2", device="cpu")


def test_loaded_net_gives_the_weights_predictions(tiny, tmp_path):
    """The same weights from the package and from a copy of the file give the same labels."""
    path = tmp_path / "copy.pt"
    path.write_bytes((MODELS / "tiny.pt").read_bytes())
    tile = np.zeros((2, 64, 80), np.float32)
    tile[0, 20:40, 30:50] = 1
    copy = load_segmenter(str(path), device="cpu")

    [expected] = tiny.segment([tile], Recipe())

    np.testing.assert_array_equal(expected, copy.segment([tile], Recipe())[0])
    assert expected.max() == 1
    assert tiny.sha256 == copy.sha256
