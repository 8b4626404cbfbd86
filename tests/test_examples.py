"""The examples run."""

import subprocess
import sys
from pathlib import Path

from layerprobe.models.layers import discover_layers
from layerprobe.models.zoo import build_model

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_own_model() -> None:
    model = build_model(f"{EXAMPLES / 'own_model.py'}:small_net", num_classes=10)
    layers = discover_layers(model, (8, 8))
    assert [(layer.name, layer.kind) for layer in layers] == [
        ("2", "activation"), ("3", "block"), ("4", "block"), ("5", "block"), ("8.input", "feature"),
    ]  # fmt: skip


def test_rank_your_tensors() -> None:
    output = subprocess.run(
        [sys.executable, EXAMPLES / "rank_your_tensors.py"], capture_output=True, text=True, check=True
    ).stdout
    assert [line.split()[0] for line in output.splitlines()] == ["separation", "information", "efficiency", "quality"]
