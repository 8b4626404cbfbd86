"""The examples run."""

import subprocess
import sys
from pathlib import Path

import pytest

from layerprobe.experiments.grid.compare import plan_grid
from layerprobe.experiments.grid.grid_file import load_grid
from layerprobe.experiments.validation.candidates import spread_out
from layerprobe.layers.discovery import discover_layers
from layerprobe.models.zoo import build_model
from layerprobe.settings.compare import CompareSettings

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


@pytest.mark.parametrize("path", sorted((EXAMPLES / "paper").glob("*.yaml")), ids=lambda path: path.stem)
def test_grids_are_read_and_say_their_command(path: Path, tmp_path: Path) -> None:
    grid = load_grid(path)
    command = "validate" if grid.validate else "compare"
    assert f"layerprobe {command} examples/paper/{path.name} --output" in grid.text
    if grid.validate:
        grid = spread_out(grid, path.name)
    else:
        assert plan_grid(CompareSettings(grid=path, output=tmp_path / "grid")).cells == grid.cells
    row = next(line for line in (EXAMPLES / "paper" / "README.md").read_text().splitlines() if f"`{path.name}`" in line)
    said = [int(word) for word in row.split("|")[2].replace("each", "").split(" to ")]
    assert said[0] <= len(grid.cells) <= said[-1]
