"""Weights: formats, prefixes, checks without partial loading, and hashes."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from layerprobe.errors import LayerprobeError
from layerprobe.models.classifier import head_classes
from layerprobe.models.weights import hash_weights, load_weights, save_weights
from layerprobe.models.weights_file import Weights, read_weights


def small(classes: int = 3, width: int = 4) -> nn.Sequential:
    layers = {"conv": nn.Conv2d(3, width, 3), "bn": nn.BatchNorm2d(width), "linear": nn.Linear(width, classes)}
    return nn.Sequential(OrderedDict(layers))


def equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 2)
        self.second = self.first
        self.register_buffer("view", torch.arange(6.0).reshape(2, 3).T)


def test_parameters_and_the_old_format_are_read(tmp_path: Path) -> None:
    torch.save(dict(small().named_parameters()), tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    state = read_weights(tmp_path / "w.pt").state
    assert not any(value.requires_grad for value in state.values())
    assert "linear.weight" in state


def test_safetensors_come_back_with_their_metadata(tmp_path: Path) -> None:
    model, path = small(), tmp_path / "w.safetensors"
    save_weights(model, path, {"model": "cifar:resnet20", "seed": "0"})
    weights = read_weights(path)
    assert equal(dict(sorted(weights.state.items())), dict(sorted(model.state_dict().items())))
    assert weights.metadata == {"model": "cifar:resnet20", "seed": "0"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["w.safetensors"]


class Danger:
    """Unpickling this would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_arbitrary_objects_are_refused_and_not_run(tmp_path: Path, writer: str, protocol: int) -> None:
    path, trap = tmp_path / "w.pt", tmp_path / "trap"
    content = {"state_dict": small().state_dict(), "extra": Danger(trap)}
    if writer == "torch":
        torch.save(content, path, pickle_protocol=protocol)
    else:
        path.write_bytes(pickle.dumps(content, protocol))
    with pytest.raises(LayerprobeError, match=r"holds arbitrary Python objects.* save model.state_dict\(\) as"):
        read_weights(path)
    assert not trap.exists()


def test_a_whole_model_is_refused_by_name(tmp_path: Path) -> None:
    torch.save(nn.Linear(1, 1), tmp_path / "w.pt")
    with pytest.raises(LayerprobeError, match=r"arbitrary Python objects \(torch.nn.modules.linear.Linear\)"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty, and no weights file"),
        (b"this is not a weights file", r"is a file that begins with b'this is not ', and no weights file"),
        (bytes(100), r"is a file that begins with b'\\x00"),
        (
            b"<!doctype html><html>",
            "is a web page, and no weights file of safetensors or torch.save; get the weights anew",
        ),
        (b"version https://git-lfs.github.com/spec/v1", "is a pointer of Git LFS, .* `git lfs pull` fetches that"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file, as Keras writes it"),
        (b"PK\x03\x04 cut", "can't be read as a file of torch.save: .*; get it anew"),
        (b"\x80\x02}q\x00", "can't be read as a file of torch.save: .*; get it anew"),
        (b"\x80\x02J", "can't be read as a file of torch.save: .*; get it anew"),
        (b"\xff" * 7 + b"\x00{}", "can't be read as a file of safetensors: .*; get it anew"),
    ],
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_what_is_no_weights_file_is_said_to_be_what_it_is(
    tmp_path: Path, suffix: str, content: bytes, said: str
) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(LayerprobeError, match=f"w{suffix} {said}") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value) and "?" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("zipped", [True, False])
def test_files_cut_short(tmp_path: Path, suffix: str, zipped: bool) -> None:
    path = tmp_path / f"w{suffix}"
    if suffix == ".pt":
        torch.save(small().state_dict(), path, _use_new_zipfile_serialization=zipped)
    else:
        save_weights(small(), path, {})
    content = path.read_bytes()
    for kept in (len(content) // 3, len(content) - 40):
        path.write_bytes(content[:kept])
        with pytest.raises(
            LayerprobeError, match="can't be read as a file of (torch.save|safetensors): .*; get it anew"
        ):
            read_weights(path)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(LayerprobeError, match=r"none.pt does not exist; name a file of safetensors"):
        read_weights(tmp_path / "none.pt")
    with pytest.raises(LayerprobeError, match=r"is a folder; name a file of"):
        read_weights(tmp_path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"epoch": 3, "lr": 0.1}, "found: 'epoch', 'lr'"),
        ([1, 2], "found: list"),
        ({1: torch.ones(1)}, "found: 1"),
        ({"model": {"a": 1}}, "found: 'model'"),
    ],
)
def test_files_without_a_state_dict(tmp_path: Path, content: object, found: str) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(LayerprobeError, match="holds no state dict") as caught:
        read_weights(tmp_path / "w.pt")
    assert found in str(caught.value)


def test_an_empty_state_dict(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "w.pt")
    with pytest.raises(LayerprobeError, match="holds no tensors"):
        read_weights(tmp_path / "w.pt")


def test_weights_load_without_batch_counters() -> None:
    source, target = small(), small()
    state = {name: value for name, value in source.state_dict().items() if "num_batches" not in name}
    load_weights(target, Weights({"": state}), "w.pt")
    assert hash_weights(target) == hash_weights(source)


def check_refused(model: nn.Module, state: dict[str, Tensor], message: str) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(LayerprobeError) as caught:
        load_weights(model, Weights({"": state}), "w.pt")
    assert str(caught.value) == "w.pt: the weights don't fit the model: " + message
    assert equal(dict(model.state_dict()), before)


def test_another_number_of_classes_is_named_and_nothing_is_loaded() -> None:
    check_refused(
        small(classes=3),
        small(classes=100).state_dict(),
        "7 of its 9 tensors do; linear.weight is 100x4 in the file, 3x4 in the model; "
        "linear.bias is 100 in the file, 3 in the model; the classifier in the file has 100 classes: "
        "give num_classes 100",
    )


def test_another_architecture_is_named_and_nothing_is_loaded() -> None:
    state = {f"other.{index}": torch.ones(1) for index in range(5)} | {"conv.weight": torch.ones(())}
    check_refused(
        small(),
        state,
        "0 of its 9 tensors do; missing in the file: conv.bias, bn.weight, bn.bias, and 4 more; "
        "not in the model: other.0, other.1, other.2, and 2 more; "
        "conv.weight is a single number in the file, 4x3x3x3 in the model; "
        "name must be the model that the weights are of",
    )


def test_another_width_is_named_and_nothing_is_loaded() -> None:
    state = small().state_dict() | {"conv.weight": torch.ones(4, 3, 5, 5)}
    check_refused(
        small(),
        state,
        "8 of its 9 tensors do; conv.weight is 4x3x5x5 in the file, 4x3x3x3 in the model; "
        "name must be the model that the weights are of",
    )


def test_shared_and_strided_tensors_are_saved_whole(tmp_path: Path) -> None:
    model, path = Tied(), tmp_path / "w.safetensors"
    save_weights(model, path, {})
    assert equal(dict(sorted(load_file(path).items())), dict(sorted(model.state_dict().items())))
    copy = Tied()
    load_weights(copy, read_weights(path), "w")
    assert hash_weights(copy) == hash_weights(model)


def test_saving_replaces_whole_files_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(small(), path, {"run": "1"})

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(LayerprobeError, match=r"can't write .*w.safetensors: No space left on device"):
            save_weights(small(), path, {"run": "2"})
    assert read_weights(path).metadata == {"run": "1"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["w.safetensors"]
    save_weights(small(), path, {"run": "3"})
    assert read_weights(path).metadata == {"run": "3"}


def test_saving_where_it_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(LayerprobeError, match="No such file or directory; choose another --output"):
        save_weights(small(), tmp_path / "none" / "w.safetensors", {})
    with pytest.raises(LayerprobeError, match=r"written as .safetensors, not 'w.pt'; name it w.safetensors"):
        save_weights(small(), tmp_path / "w.pt", {})


def test_saved_files_have_ordinary_permissions(tmp_path: Path) -> None:
    save_weights(small(), tmp_path / "w.safetensors", {})
    (tmp_path / "other").write_text("x")
    assert (tmp_path / "w.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_the_hash_does_not_depend_on_the_format(tmp_path: Path, dtype: torch.dtype) -> None:
    model = small().to(dtype)
    save_weights(model, tmp_path / "w.safetensors", {"any": "thing"})
    torch.save({"state_dict": model.state_dict()}, tmp_path / "w.pt")
    hashes = {hash_weights(model)}
    for name in ("w.safetensors", "w.pt"):
        copy = small().to(dtype)
        load_weights(copy, read_weights(tmp_path / name), name)
        hashes.add(hash_weights(copy))
    assert len(hashes) == 1


def test_the_hash_sees_values_types_shapes_and_names() -> None:
    def holding(name: str, value: Tensor) -> str:
        module = nn.Module()
        module.register_buffer(name, value)
        return hash_weights(module)

    zeros = torch.zeros(2, 3)
    last = torch.zeros(2, 3)
    last[-1, -1] = 1
    others = [holding("b", zeros), holding("a", zeros.T), holding("a", zeros.to(torch.int32)), holding("a", last)]
    hashes = {holding("a", zeros), *others, holding("a", torch.zeros(0)), holding("a", torch.zeros(()))}
    assert len(hashes) == 7
    assert all(len(digest) == 64 for digest in hashes)


def test_the_hash_is_the_same_from_version_to_version() -> None:
    """Feature files keep it, so it may not drift: SHA-256 of the bytes that the docstring names."""
    import hashlib
    import struct

    module = nn.Module()
    module.register_buffer("b", torch.tensor([1.5, -2.0]))
    module.register_buffer("a", torch.tensor(7))
    content = b"a\0torch.int64\0()\0" + struct.pack("<q", 7) + b"b\0torch.float32\0(2,)\0" + struct.pack("<2f", 1.5, -2)
    assert hash_weights(module) == hashlib.sha256(content).hexdigest()


def test_state_that_is_no_tensor_is_refused() -> None:
    class Extra(nn.Module):
        def get_extra_state(self) -> dict[str, int]:
            return {"step": 1}

    with pytest.raises(LayerprobeError, match="'_extra_state' is dict"):
        hash_weights(Extra())


def test_head_classes() -> None:
    matrix, other = torch.zeros(10, 4), torch.zeros(8, 4)
    assert head_classes(small(classes=7).state_dict()) == 7
    assert head_classes({"head.fc.weight": matrix, "layers.3.mlp.fc2.weight": other}) == 10
    assert head_classes({"classifier.0.weight": other, "classifier.3.weight": matrix}) == 10
    assert head_classes({"z.weight": other, "a.weight": matrix, "a.bias": torch.zeros(10)}) == 10
    assert head_classes({"a.weight": matrix, "z.weight": other}) is None
    assert head_classes({"only.weight": matrix}) == 10
    assert head_classes({"classifier.weight": torch.zeros(10, 4, 1, 1)}) is None
    assert head_classes({}) is None


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["resnet20-12fca82f.th", "resnet56-4bfd9763.th"])
def test_published_files_tell_their_classes(name: str, shared: Path) -> None:
    weights = read_weights(shared / "weights" / name)
    assert head_classes(weights.state) == 10 and list(weights.parts) == ["state_dict"]


def test_a_name_of_two_lines_is_one_in_the_message(tmp_path: Path) -> None:
    save_file({"a\nb": torch.zeros(2)}, tmp_path / "w.safetensors")
    with pytest.raises(LayerprobeError, match="a b") as error:
        load_weights(nn.Linear(2, 2), read_weights(tmp_path / "w.safetensors"), "w.safetensors")
    assert "\n" not in str(error.value)
