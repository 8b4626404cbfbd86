"""The same good weights in the wrappings in which people publish them.

``python -m tests.helpers.wrappings`` prints what is said of each: the table of docs/models-and-data.md.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from layerprobe.errors import LayerprobeError
from layerprobe.models.weights import load_weights
from layerprobe.models.weights_file import read_weights
from layerprobe.models.zoo import build_model

State = dict[str, Tensor]
RESNET, VIT = "cifar:resnet20", "timm:test_vit"


@dataclass(frozen=True)
class Wrapping:
    """A file, and what must become of it.

    Attributes:
        name: of the file.
        holds: what is in it, for the table.
        content: what ``torch.save`` is given, or bytes.
        loads: whether the network then has the good weights.
        model: to load it into.
        classes: of this model.
        key: that the user names.
    """

    name: str
    holds: str
    content: Any
    loads: bool = True
    model: str = RESNET
    classes: int = 10
    key: str | None = None


def good(model: str, classes: int = 10) -> State:
    """The weights that every file is made of."""
    return dict(build_model(model, classes, seed=1).state_dict())


def prefixed(prefix: str, state: State) -> State:
    """The same tensors, with something before their names."""
    return {prefix + name: value for name, value in state.items()}


def wrappings() -> tuple[Wrapping, ...]:
    """Twenty and some files."""
    plain, vit = good(RESNET), good(VIT)
    zeros = {name: torch.zeros_like(value) for name, value in plain.items()}
    no_head = {name: value for name, value in plain.items() if not name.startswith("linear.")}
    no_head_vit = {name: value for name, value in vit.items() if not name.startswith("head.")}
    deeper = plain | {f"layer1.3.{name.partition('.0.')[2]}": v for name, v in plain.items() if "layer1.0" in name}
    query = prefixed("module.encoder_q.", no_head)
    moco = query | prefixed("module.encoder_k.", {name: zeros[name] for name in no_head})
    moco |= {"module.encoder_q.linear.0.weight": torch.ones(8, 64), "module.queue": torch.ones(8, 4)}
    dino = {"student": prefixed("module.backbone.", zeros), "teacher": prefixed("backbone.", plain)}
    dino["teacher"]["head.mlp.0.weight"] = torch.ones(8, 64)
    auxiliary = plain | {"AuxLogits.fc.weight": torch.ones(10, 8), "AuxLogits.fc.bias": torch.ones(10)}
    return (
        Wrapping("best.pth.tar", "bare", plain),
        Wrapping("pytorch_model.bin", "bare", plain),
        Wrapping("model.safetensors", "bare", "safetensors"),
        Wrapping("r20.th", "`state_dict`, `module.`", {"state_dict": prefixed("module.", plain), "best_prec1": 92.6}),
        Wrapping("compiled.pt", "`_orig_mod.`", prefixed("_orig_mod.module.", plain)),
        Wrapping("net.pth", "`net`, `acc`", {"net": prefixed("module.", plain), "acc": 93.0}),
        Wrapping("epoch=3.ckpt", "Lightning, a loss's weights", {
            "state_dict": prefixed("model.", plain) | {"criterion.weight": torch.ones(10)},
            "hyper_parameters": {"lr": 0.1},
        }),
        Wrapping("ema.pth", "`state_dict`, `state_dict_ema`", {"state_dict": zeros, "state_dict_ema": plain}),
        Wrapping("raw.pth", "the same", {"state_dict": plain, "state_dict_ema": zeros}, key="state_dict"),
        Wrapping("ema-inside.pt", "`ema.module`", {
            "ema": {"module": plain, "decay": 0.99}, "optimizer": {"state": {}},
        }),
        Wrapping("averaged.pth", "torch's `AveragedModel`", {
            "model": prefixed("module.", plain) | {"n_averaged": torch.tensor(3)}, "args": argparse.Namespace(lr=1)
        }),
        Wrapping("counted.pth", "thop's counters", plain | {"conv1.total_ops": torch.ones(1)}),
        Wrapping("dino.pth", "`student`, `teacher`", dino),
        Wrapping("moco.pth.tar", "MoCo, `--num-classes 0`", {"state_dict": moco}, classes=0),
        Wrapping("auxiliary.pth", "an auxiliary head", auxiliary),
        Wrapping("whole.pth", "a classifier, `--num-classes 0`", plain, classes=0),
        Wrapping("no-head.pth", "no classifier, `--num-classes 0`", no_head, classes=0),
        Wrapping("no-head-vit.pth", "`backbone.`, no classifier, `--num-classes 0`", prefixed("backbone.", no_head_vit),
                 model=VIT, classes=0),
        Wrapping("distilled.pth", "DeiT's second head", vit | {"head_dist.weight": vit["head.weight"]}, model=VIT),
        Wrapping("headless.pth", "no classifier", no_head, loads=False),
        Wrapping("headless-vit.pth", "no classifier", no_head_vit, loads=False, model=VIT),
        Wrapping("hundred.pth", "100 classes", good(RESNET, 100), loads=False),
        Wrapping("other-size.pth", "images of another size", dict(build_model(VIT, 10, 64).state_dict()),
                 loads=False, model=VIT),
        Wrapping("other-size-no-head.pth", "the same, no classifier",
                 dict(build_model(VIT, 0, 64).state_dict()), loads=False, model=VIT),
        Wrapping("deeper.pth", "more blocks", deeper, loads=False),
        Wrapping("vit.pth", "another network", vit, loads=False),
        Wrapping("other-key.pth", "`--weights-key net`", {"model": plain}, loads=False, key="net"),
        Wrapping("options.pth", "no tensors", {"lr": 0.1, "epoch": 3}, loads=False),
        Wrapping("pickled.pth", "a whole model", nn.Linear(1, 1), loads=False),
        Wrapping("cut.pth", "a third of a file", "cut", loads=False),
        Wrapping("page.pth", "a web page", b"<!DOCTYPE html>", loads=False),
    )  # fmt: skip


def write(wrapping: Wrapping, folder: Path) -> Path:
    """Make the file."""
    path, content = folder / wrapping.name, wrapping.content
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "safetensors":
        save_file(good(wrapping.model), path)
    elif content == "cut":
        torch.save(good(wrapping.model), path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    else:
        torch.save(content, path)
    return path


def load(path: Path, wrapping: Wrapping) -> tuple[nn.Module | None, str]:
    """The network with the weights, or None, and what was said."""
    model = build_model(wrapping.model, wrapping.classes, seed=2)
    with _heard() as said:
        try:
            load_weights(model, read_weights(path), path.name, wrapping.key)
        except LayerprobeError as error:
            return None, str(error).replace(f"{path.parent}{os.sep}", "")
    return model, "; ".join(said)


@contextmanager
def _heard() -> Iterator[list[str]]:
    """What is logged."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger, level = logging.getLogger("layerprobe"), logging.getLogger("layerprobe").level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield said
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def row(wrapping: Wrapping, loaded: bool, said: str) -> str:
    """A line of the table."""
    words = said.removeprefix(f"{wrapping.name}: ").replace("|", "\\|")
    return f"| `{wrapping.name}` | {wrapping.holds} | {'loaded' if loaded else 'refused'} | {words} |"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for one in wrappings():
            model, said = load(write(one, Path(folder)), one)
            print(row(one, model is not None, said))
