"""Students that learn from images without labels: the run, its folder, and the backbone of a run with labels."""

import csv
import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from layerprobe import load_student
from layerprobe.distill.folder import read_run
from layerprobe.models.zoo import build_model
from layerprobe.records import Run
from tests.helpers.commands import invoke, run

COMMON = ("--teacher", "cifar:resnet20", "--teacher-weights", "random", "--student", "cifar:resnet20",
          "--layers", "layer1.2,layer3.2", "--student-layers", "layer1.2,layer3.2", "--image-size", 8,
          "--batch-size", 12, "--device", "cpu", "--quiet")  # fmt: skip


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """First weights of the student, with a classifier of three classes."""
    file = tmp_path / "start.safetensors"
    save_file(build_model("cifar:resnet20", num_classes=3, image_size=8, seed=5).state_dict(), file)
    return file


def distilled(photos: Path, output: Path, *more: object, epochs: int = 2) -> Run:
    run("distill", *COMMON, "--data", photos, "--epochs", epochs, "--output", output, *more)
    return read_run(output)


def test_the_backbone_is_that_of_a_run_with_labels_to_the_bit(photos: Path, start: Path, tmp_path: Path) -> None:
    own = distilled(photos, tmp_path / "own", "--student-weights", start, "--teacher-num-classes", 3)
    free = distilled(photos, tmp_path / "free", "--student-weights", start, "--teacher-num-classes", 3, "--unlabelled")
    first, second = load_file(own.weights), load_file(free.weights)
    assert first.keys() - second.keys() == {"linear.weight", "linear.bias"} and second.keys() <= first.keys()
    assert all(torch.equal(value, first[name]) for name, value in second.items())
    features = [epoch.losses["features"] for epoch in free.epochs]
    assert features == [epoch.losses["features"] for epoch in own.epochs] and features[1] < features[0]


def test_what_a_run_says_without_labels(photos: Path, tmp_path: Path) -> None:
    found = distilled(photos, tmp_path / "run", "--unlabelled", "--holdout", 0.25, epochs=3)
    assert [epoch.losses.keys() for epoch in found.epochs] == [{"features"}] * 3
    assert found.last_accuracy is None and found.best_on_test is None and found.teacher_accuracy is None
    losses = [epoch.holdout_losses["features"] for epoch in found.epochs]
    assert found.chosen is not None and found.chosen.holdout_losses["features"] == min(losses)
    with (found.folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["holdout_loss_features"]) for row in rows] == losses and rows[0]["test_accuracy"] == ""
    result = json.loads((found.folder / "result.json").read_text())
    assert result["test_accuracy_last_epoch"] is None and result["labels_reach_backbone"] is False
    assert result["epoch_chosen_on_holdout"] == found.chosen.epoch
    best, last = load_student(found.folder, "best").state_dict(), load_file(found.weights)
    assert all(torch.equal(value, best[name]) for name, value in last.items()) == (found.chosen.epoch == 3)
    assert load_student(found.folder)(torch.zeros(2, 3, 8, 8)).shape == (2, 64)
    assert "the student has no classifier" in run("report", found.folder)
    page = (found.folder / "report.html").read_text()
    assert "loss" in page and "top-1" not in page and "held out" in page


def test_held_out_losses_are_those_of_the_student_on_held_out_images(photos: Path, tmp_path: Path) -> None:
    """With the teacher's features kept in memory or read from a file they are those of a teacher that computes them."""
    run("extract", "--model", "cifar:resnet20", "--weights", "random", "--num-classes", 3, "--data", photos,
        "--unlabelled", "--samples", "all", "--image-size", 8, "--layers", "layer1.2,layer3.2", "--device", "cpu",
        "--output", tmp_path / "t.h5", "--quiet")  # fmt: skip
    same = ("--unlabelled", "--holdout", 0.25, "--teacher-num-classes", 3)
    live = distilled(photos, tmp_path / "live", *same)
    cached = distilled(photos, tmp_path / "cached", *same, "--cache-teacher")
    stored = distilled(photos, tmp_path / "stored", *same, "--teacher-features", tmp_path / "t.h5")
    for other in (cached, stored):
        for ours, theirs in zip(live.epochs, other.epochs, strict=True):
            assert ours.losses["features"] == pytest.approx(theirs.losses["features"], rel=1e-4)
            assert ours.holdout_losses["features"] == pytest.approx(theirs.holdout_losses["features"], rel=1e-4)


def test_a_run_that_was_stopped_goes_on_to_the_same_end(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = ("--unlabelled", "--holdout", 0.25)
    whole = distilled(photos, tmp_path / "whole", *same, epochs=3)
    from layerprobe.distill.folder import RunFolder

    add = RunFolder.add_epoch

    def stop_after_two(self: RunFolder, metrics: object) -> None:
        add(self, metrics)  # type: ignore[arg-type]
        if metrics.epoch == 2:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "add_epoch", stop_after_two)
        invoke("distill", *COMMON, "--data", photos, "--epochs", 3, "--output", tmp_path / "cut", *same, code=130)
    resumed = distilled(photos, tmp_path / "cut", *same, "--resume", epochs=3)
    assert [epoch.holdout_losses for epoch in resumed.epochs] == [epoch.holdout_losses for epoch in whole.epochs]
    first, second = load_file(whole.weights), load_file(resumed.weights)
    assert all(torch.equal(value, second[name]) for name, value in first.items()) and resumed.resumed_after == (2,)


GRID = """
title: no labels
reference: feature-only (even:2)
common:
  data: {name: PHOTOS, image_size: 8, unlabelled: true}
  training: {epochs: 1, batch_size: 12, device: cpu}
pairs:
  small:
    teacher: {name: "cifar:resnet20", weights: random}
    student: {name: "cifar:resnet20"}
methods:
  feature-only: {}
  kd: {}
choices: ["even:2", "stagewise-effective-rank:2"]
seeds: [0]
"""


def test_a_grid_has_losses_in_place_of_accuracies(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text(GRID.replace("PHOTOS", str(photos)))
    result = invoke("compare", tmp_path / "grid.yaml", "--output", tmp_path / "grid", "--format", "json", code=1)
    rows = {(row["method"], row["choice"]): row["loss small"] for row in json.loads(result.stdout)["rows"]}
    assert rows[("feature-only", "even:2")] > 0 and rows[("feature-only", "stagewise-effective-rank:2")] > 0
    assert rows[("kd", "")] is None and "kd needs labels" in result.stderr
    run("report", tmp_path / "grid")
    page = (tmp_path / "grid" / "report" / "index.html").read_text()
    assert "there is no accuracy to draw" in page and "loss, last epoch" in page
    assert not list((tmp_path / "grid" / "report").glob("*.svg"))


REFUSED = {
    "kd": (("--method", "kd"), "kd needs labels or the logits"),
    "cross entropy": (("--cross-entropy",), "this form of feature-only needs labels"),
    "by class": (("--alignment", "geometry", "--by-class"), "this form of feature-only needs labels"),
    "test samples": (("--test-samples", 5), "--test-samples are for the accuracy"),
    "classes": (("--student-num-classes", 3), "has 3 outputs, .* has no labels"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_labels_is_refused_in_one_line(name: str, photos: Path, tmp_path: Path) -> None:
    options, message = REFUSED[name]
    command = ("distill", *COMMON, "--data", photos, "--unlabelled", "--epochs", 1, "--output", tmp_path / "run")
    error = run(*command, *options, code=2)
    assert re.search(message, error) and error.count("\n") == 1 and not (tmp_path / "run" / "config.yaml").exists()


def test_what_nothing_trains_is_named(photos: Path, tmp_path: Path) -> None:
    options = ("--layers", "layer1.2", "--student-layers", "layer1.2", "--unlabelled", "--epochs", 1)
    command = [one for one in COMMON if one != "--quiet"]
    result = invoke("distill", *command, "--data", photos, "--output", tmp_path / "run", *options)
    assert "nothing trains what lies behind its last paired layer: layer2.0.conv1.weight (and" in result.stderr
    training = ("train", "--model", "cifar:resnet20", "--data", photos, "--unlabelled", "--output", tmp_path / "t")
    assert "training needs labels" in run(*training, code=2)
