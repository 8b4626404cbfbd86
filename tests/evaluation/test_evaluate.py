"""Evaluation of a run, and its network as an ordinary module."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from layerprobe.data.datasets import open_dataset
from layerprobe.distill.run import distill_student
from layerprobe.distill.students import load_student, snippet
from layerprobe.errors import LayerprobeError
from layerprobe.evaluation.evaluate import evaluate
from layerprobe.records import Run
from layerprobe.settings.evaluate import EvaluateSettings
from layerprobe.settings.run import DistillSettings
from tests.helpers.commands import invoke


def pixels_and_labels(run: Run) -> tuple[torch.Tensor, np.ndarray]:
    """The test digits as the snippet's comment says: RGB / 255, less the mean, over the deviation."""
    dataset = open_dataset("digits", split="test")
    images = np.stack([np.array(dataset.image(row)) for row in range(len(dataset))]).transpose(0, 3, 1, 2)
    mean, std = (torch.tensor(run.config["preprocessing"][key])[:, None, None] for key in ("mean", "std"))
    return (torch.from_numpy(images) / 255 - mean) / std, dataset.labels


def test_the_snippet_loads_the_network(digits_teacher: Run) -> None:
    code = snippet(digits_teacher)
    assert code.count("\n") == 2 and "(n, 3, 8, 8)" in code and "[0.485, 0.456, 0.406]" in code
    images, labels = pixels_and_labels(digits_teacher)
    names = {"images": images}
    with torch.no_grad():
        exec(code, names)
    expected = evaluate(EvaluateSettings(run=digits_teacher.folder))
    assert expected.top1 == pytest.approx(100 * float(np.mean(names["logits"].argmax(dim=1).numpy() == labels)))
    assert not names["model"].training and type(names["model"]).__module__.startswith("layerprobe.models")


def test_counts_against_a_loop(digits_teacher: Run) -> None:
    evaluation = evaluate(EvaluateSettings(run=digits_teacher.folder))
    images, labels = pixels_and_labels(digits_teacher)
    with torch.no_grad():
        logits = load_student(digits_teacher)(images).numpy()
    matrix = np.zeros((10, 10), dtype=int)
    for row, label in zip(logits, labels, strict=True):
        matrix[label, row.argmax()] += 1
    assert np.array_equal(evaluation.confusion.numpy(), matrix) and evaluation.images == len(labels)
    among = np.mean([label in np.argsort(-row)[:5] for row, label in zip(logits, labels, strict=True)])
    assert evaluation.top5 == pytest.approx(100 * among)
    assert evaluation.per_class == pytest.approx(tuple(100 * matrix.diagonal() / matrix.sum(axis=1)))


def test_the_command_writes_matrix_and_figure(digits_teacher: Run, tmp_path: Path) -> None:
    result = invoke("evaluate", digits_teacher.folder, "--data", "digits", "--output", tmp_path, "--format", "json")
    table = json.loads(result.stdout)
    rows = {row["class"]: row for row in table["rows"]}
    details = table["details"]
    assert len(rows) == 11 and rows["all"]["accuracy"] == pytest.approx(details["top1"]) and details["top5"] > 50
    assert {path.name for path in tmp_path.iterdir()} == {
        f"confusion-digits.{end}" for end in ("pdf", "svg", "png", "csv")
    }
    cells = list(csv.DictReader((tmp_path / "confusion-digits.csv").read_text().splitlines()))
    assert [int(cell["images"]) for cell in cells] == np.array(details["confusion"]).ravel().tolist()
    assert "confusion-digits.{pdf,svg,png,csv}" in result.stderr
    command = ("evaluate", digits_teacher.folder, "--data", "digits", "--output", tmp_path)
    (tmp_path / "confusion-digits.csv").unlink()  # as after an interruption
    invoke(*command, "--width", "column")
    assert (tmp_path / "confusion-digits.csv").exists()
    (tmp_path / "confusion-digits.pdf").write_text("mine")
    refused = invoke(*command, code=2)
    assert "confusion-digits.pdf exists; --overwrite replaces it, another --output leaves it" in refused.stderr
    assert "top-5" in invoke("evaluate", digits_teacher.folder, "-o", tmp_path / "b", "--samples", 50).stdout
    assert (tmp_path / "b" / "confusion-50.csv").exists()


def test_which_weights(small: DistillSettings) -> None:
    config = small.replaced(training=small.training.replaced(holdout=0.2, epochs=3))
    run = distill_student(config)
    assert run.chosen
    sample = {"samples": 100}
    for which, epoch in (("last", run.epochs[-1]), ("latest", run.epochs[-1]), ("best", run.chosen)):
        top1 = evaluate(EvaluateSettings(run=run.folder, which=which, **sample)).top1
        assert top1 == pytest.approx(epoch.test_accuracy), which


def test_what_cannot_be_evaluated(digits_teacher: Run, small: DistillSettings, photos: Path, tmp_path: Path) -> None:
    def refused(*arguments: object) -> str:
        error = invoke("evaluate", *arguments, code=2).stderr
        assert error.startswith("error: ") and error.count("\n") == 1
        return error

    folder = digits_teacher.folder
    new = ("--output", tmp_path / "new")
    assert "holds no run: it has no config.yaml" in refused(tmp_path / "none", *new)
    assert "has no best weights (checkpoints/best/" in refused(folder, "--which", "best", *new)
    assert "--which is one of 'last', 'best', 'latest'; not 'first'" in refused(folder, "--which", "first", *new)
    other = refused(folder, "--data", photos, *new)
    assert "was trained on 10 classes (0, 1, 2, ...), the images have 3 (cat, dog, eel)" in other
    assert not (tmp_path / "new").exists()
    (tmp_path / "config.yaml").write_text("command: rank\n")
    with pytest.raises(LayerprobeError, match="is not the configuration of a run"):
        load_student(tmp_path)
    (tmp_path / "config.yaml").write_text("command: [")
    with pytest.raises(LayerprobeError, match="is not YAML"):
        load_student(tmp_path)


def test_classes_are_those_of_the_weights_that_are_evaluated(digits_teacher: Run, photos: Path, tmp_path: Path) -> None:
    """A run that isn't finished has checkpoints and no final weights."""
    stopped = shutil.copytree(digits_teacher.folder, tmp_path / "stopped")
    (stopped / digits_teacher.weights.name).unlink()
    with pytest.raises(LayerprobeError, match="was trained on 10 classes .* the images have 3"):
        evaluate(EvaluateSettings(run=stopped, data=str(photos), which="latest"))


def test_result_says_what_it_took_and_with_what(small: DistillSettings) -> None:
    training = small.training.replaced(holdout=0.2)
    run = distill_student(small.replaced(training=training))
    result = json.loads((run.folder / "result.json").read_text())
    assert result["wall_seconds"] >= sum(result["epoch_seconds"]) > 0 and result["peak_memory_bytes"] > 1e8
    assert result["epoch_chosen_on_holdout"] in (1, 2) and result["epoch_best_on_test"] in (1, 2)
    assert result["environment"]["threads"] == torch.get_num_threads() and result["environment"]["processes"] == 1
    assert result["environment"]["versions"]["torch"] == torch.__version__
