"""The benchmark for a GPU runs from end to end on the CPU, so that nothing of it fails when a card is at hand."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from layerprobe.experiments.grid.grid_file import load_grid
from layerprobe.models.zoo import build_model

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SCRIPT = BENCHMARKS / "gpu.py"


@pytest.mark.slow
def test_the_rehearsal_fills_every_row_of_the_table(tmp_path: Path) -> None:
    command = [sys.executable, SCRIPT, "--rehearse", "--folder", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    table = [line for line in done.stdout.split("torch")[-1].splitlines() if line.startswith("| ")][1:]
    begun = ("extract, cifar", "extract, peak", "rank, 29 layers, no", "rank, 29 layers, 200", "rank, peak")
    begun += (
        "step of feature-only",
        "1 cells, cifar",
        "cells, peak",
        "distill, cifar",
        "distill, peak",
        "tests marked gpu",
    )
    assert len(table) == len(begun), done.stdout
    for line, beginning in zip(table, begun, strict=True):
        assert line.startswith(f"| {beginning}"), done.stdout
        assert "exit code" not in line and "stopped after" not in line


def test_the_papers_cell_is_planned_as_its_grid_says() -> None:
    cells = load_grid(BENCHMARKS / "paper_cell.yaml").cells
    paper = load_grid(BENCHMARKS.parent / "examples" / "paper" / "resnet34.yaml").cells
    assert [one.cell for one in cells] == [one.cell for one in paper] and len(cells) == 12
    fast = {"precision": "bf16", "channels_last": True, "compile": True, "cache_teacher": True}
    for ours, theirs in zip(cells, paper, strict=True):
        changed = theirs.settings.training.replaced(**fast) if theirs.settings.chosen_method.needs_teacher else None
        assert changed is None or ours.settings.training == changed


@pytest.mark.parametrize(("name", "learns"), [("cifar:resnet34-paper", False), ("cifar:resnet9-paper", True)])
def test_the_plan_counts_operations_as_pytorch_does(name: str, learns: bool) -> None:
    network = build_model(name, num_classes=10, image_size=32, seed=0).eval().requires_grad_(learns)
    with FlopCounterMode(display=False) as counter:
        logits = network(torch.zeros(1, 3, 32, 32))
        if learns:
            logits.sum().backward()
    what = f"| {'ResNet-9, forward and backward' if learns else 'ResNet-34, forward, once (`--cache-teacher`)'} |"
    row = next(line for line in (BENCHMARKS / "README.md").read_text().splitlines() if line.startswith(what))
    assert row.split("|")[2].strip() == f"{counter.get_total_flops() / 1e9:.3f}"
