"""Runs from names to folders, with real digits."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open
from torch import nn

from layerprobe.data.datasets import open_dataset
from layerprobe.distill.layer_pairs import pair_layers
from layerprobe.distill.methods.catalogue import METHODS, MIDDLE
from layerprobe.distill.methods.simkd import ReusedEnding
from layerprobe.distill.run import distill_student, train_model
from layerprobe.distill.students import load_student
from layerprobe.errors import LayerprobeError
from layerprobe.evaluation.evaluate import evaluate
from layerprobe.layers.discovery import discover_layers
from layerprobe.networks import load_network
from layerprobe.ranking.file import save_ranking
from layerprobe.records import LayerGeometry, Ranking, Run
from layerprobe.settings.configuration import recorded_settings
from layerprobe.settings.data import DataSettings
from layerprobe.settings.evaluate import EvaluateSettings
from layerprobe.settings.model import ModelSettings
from layerprobe.settings.recipe import DEFAULT_RATES, TrainingSettings
from layerprobe.settings.run import DistillSettings, TrainSettings

TRAINING = TrainingSettings(epochs=2, batch_size=64, train_samples=300, test_samples=100)
DIGITS = DataSettings(name="digits")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("teacher") / "run"
    training = TRAINING.replaced(epochs=8, train_samples=None)
    return train_model(
        TrainSettings(model=ModelSettings(name="cifar:resnet20"), data=DIGITS, output=folder, training=training)
    )


@pytest.fixture
def config(teacher: Run, tmp_path: Path) -> DistillSettings:
    return DistillSettings(
        method="feature-only",
        teacher=ModelSettings(name="cifar:resnet20", weights=str(teacher.weights)),
        student=ModelSettings(name="cifar:resnet20"),
        data=DIGITS,
        output=tmp_path / "run",
        layers="layer2.0,layer3.1,9",
        training=TRAINING,
    )


def test_a_trained_teacher_knows_its_digits(teacher: Run) -> None:
    assert teacher.last_accuracy > 85
    assert {path.name for path in teacher.files} == {"config.yaml", "metrics.csv", "model.safetensors", "result.json"}
    assert all(path.is_file() for path in teacher.files)
    with safe_open(teacher.weights, "pt") as file:
        metadata = file.metadata()
    assert metadata["model"] == "cifar:resnet20" and json.loads(metadata["preprocessing"])["image_size"] == [8, 8]


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_makes_a_run_folder(config: DistillSettings, method: str, teacher: Run) -> None:
    needs_layers = METHODS[method].layers_required
    epochs = []
    run = distill_student(
        config.replaced(method=method, layers=config.layers if needs_layers else None), on_epoch=epochs.append
    )
    assert list(run.epochs) == epochs and len(epochs) == 2
    names = dict.fromkeys(name for epoch in epochs for name in epoch.losses)
    # The memory of crd starts random, and gets harder; the two stages of fitnets have no term in common.
    terms = {"crd": ["cross_entropy"], "fitnets": []}.get(method, list(names))
    assert not terms or sum(epochs[1].losses[name] for name in terms) < sum(epochs[0].losses[name] for name in terms)
    rows = list(csv.DictReader((run.folder / "metrics.csv").read_text().splitlines()))
    assert [float(row["test_accuracy"]) for row in rows] == [epoch.test_accuracy for epoch in epochs]
    assert {name for name in rows[0] if name.startswith("loss_")} == {f"loss_{name}" for name in names}
    result = json.loads((run.folder / "result.json").read_text())
    assert result["test_accuracy_last_epoch"] == run.last_accuracy == epochs[-1].test_accuracy
    settings = yaml.safe_load((run.folder / "config.yaml").read_text())
    assert settings["method"] == method and settings["setting"] == METHODS[method].default_setting
    assert settings["constants"] == METHODS[method].constants and settings["training"]["lr"] == 0.0075
    assert settings["teacher"]["weights_sha256"] and settings["versions"]["torch"] == torch.__version__
    needs = METHODS[method]
    one = needs.pairs_ends or needs.pairs == MIDDLE
    expected = 0 if not needs.uses_features else 1 if one else 3 if needs.layers_required else 4
    assert all(len((settings[key] or "").split(",")) == max(expected, 1) for key in ("layers", "student_layers"))
    assert bool(settings["layers"]) == bool(settings["student_layers"]) == bool(expected)
    assert run.teacher_accuracy is not None and run.teacher_accuracy > 85


def test_the_weights_are_the_students(config: DistillSettings) -> None:
    """Loaded again by name, the student reaches the reported accuracy, computed here without our engine."""
    run = distill_student(config)
    dataset = open_dataset("digits", split="test")
    network = load_network(ModelSettings(name="cifar:resnet20", weights=str(run.weights)), DIGITS, dataset)
    assert network.preprocessing.mean == (0.485, 0.456, 0.406)
    full = config.replaced(training=TRAINING.replaced(test_samples=None), overwrite=True)
    reported = distill_student(full).last_accuracy
    network = load_network(ModelSettings(name="cifar:resnet20", weights=str(run.weights)), DIGITS, dataset)
    mean, std = (torch.tensor(v)[:, None, None] for v in (network.preprocessing.mean, network.preprocessing.std))
    with torch.no_grad():
        grey = torch.from_numpy(np.stack([np.array(dataset.image(row))[:, :, 0] for row in range(len(dataset))]))
        inputs = (grey[:, None].expand(-1, 3, -1, -1) / 255 - mean) / std
        predicted = network.module(inputs).argmax(dim=1)
    accuracy = 100 * float((predicted == torch.from_numpy(dataset.labels)).double().mean())
    assert accuracy == pytest.approx(reported, abs=0.2)


@pytest.mark.parametrize("student", ["cifar:resnet9", pytest.param("cifar:vit-small", marks=pytest.mark.slow)])
def test_a_student_with_the_teachers_classifier_is_built_again(
    config: DistillSettings, student: str, teacher: Run, caplog: pytest.LogCaptureFixture
) -> None:
    few = TRAINING.replaced(epochs=1, train_samples=60)
    plan = config.replaced(method="simkd", student=ModelSettings(name=student, weights="random"), layers=None)
    run = distill_student(plan.replaced(training=few))
    module = load_student(run)
    assert type(module) is type(load_network(plan.student, DIGITS, open_dataset("digits")).module)
    again = evaluate(EvaluateSettings(run=run.folder, samples=100))
    assert again.top1 == pytest.approx(run.last_accuracy, abs=1e-6)
    ending = run.config["ending"]
    classifier = module.get_submodule(ReusedEnding(**ending).head)
    assert classifier.weight.shape == (10, 64) and ending["width"] == 64
    caplog.clear()
    with caplog.at_level("WARNING", logger="layerprobe"):
        once_more = distill_student(
            recorded_settings(run.folder / "config.yaml").replaced(output=run.folder.with_name("again"))
        )
    assert not caplog.records  # the layers that the configuration holds are those that the method takes
    assert once_more.last_accuracy == run.last_accuracy


def test_layers_come_from_a_ranking_file(config: DistillSettings, tmp_path: Path) -> None:
    model = load_network(config.teacher, DIGITS, open_dataset("digits"))
    geometries = tuple(LayerGeometry(layer, {"quality": 1.0}) for layer in model.layers)
    provenance = {"model": "cifar:resnet20", "weights_sha256": model.weights_sha256}
    save_ranking(Ranking(geometries, "quality", ("layer1.1", "layer3.0"), provenance), tmp_path / "r.json")
    run = distill_student(config.replaced(layers=str(tmp_path / "r.json")))
    assert run.config["layers"] == "layer1.1,layer3.0"
    assert run.config["student_layers"] == "layer2.1,layer3.2"


def test_a_ranking_of_another_teacher_is_refused_unless_that_is_allowed(
    config: DistillSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layers = discover_layers(nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(192, 2)), (8, 8))
    geometries = (LayerGeometry(replace(layers[0], name="layer1.1"), {"quality": 1.0}),)
    told = config.replaced(layers=str(tmp_path / "r.json"))
    for provenance, said in (
        ({"model": "other", "weights_sha256": "a" * 64}, "is of other, and the teacher is cifar:resnet20"),
        ({"model": "cifar:resnet20", "weights_sha256": "a" * 64}, "is of cifar:resnet20 with other weights than the"),
        ({"model": "cifar:resnet20"}, "does not say of which weights it is"),
        ({}, "does not say of which model it is"),
    ):
        save_ranking(Ranking(geometries, "quality", ("layer1.1",), provenance), tmp_path / "r.json")
        with pytest.raises(LayerprobeError, match=rf"r.json {said}.*; rank the .* or give allow_other_ranking to take"):
            distill_student(told)
    run = distill_student(told.replaced(allow_other_ranking=True))
    assert run.config["layers"] == "layer1.1" and run.config["allow_other_ranking"]
    assert "r.json does not say of which model it is; its layers are taken all the same" in caplog.text


def test_a_ranking_of_other_images_is_mentioned(
    config: DistillSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = load_network(config.teacher, DIGITS, open_dataset("digits"))
    geometries = tuple(LayerGeometry(layer, {"quality": 1.0}) for layer in model.layers)
    network = {"model": "cifar:resnet20", "weights_sha256": model.weights_sha256}
    images = {"dataset": "digits", "split": "train", "preprocessing": model.preprocessing.to_dict()}
    student = load_network(config.student.replaced(weights="random"), DIGITS, open_dataset("digits"))

    def said(**others: object) -> str:
        caplog.clear()
        ranking = Ranking(geometries, "quality", ("layer1.1",), {**network, **images, **others})
        save_ranking(ranking, tmp_path / "r.json")
        pair_layers(METHODS["feature-only"], config.replaced(layers=str(tmp_path / "r.json")), model, student)
        (*lines,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
        assert len(lines) <= 1
        return "".join(lines)

    assert said() == said(preprocessing=images["preprocessing"] | {"source": "elsewhere"}) == ""
    assert "r.json was made of the split 'all', which holds the images that the student is tested on" in said(
        split="all"
    )
    other = images["preprocessing"] | {"image_size": [16, 16], "mean": [0.5, 0.5, 0.5]}
    assert "(image_size [16, 16], not [8, 8]; mean [0.5, 0.5, 0.5], not [0.485, " in said(preprocessing=other)
    assert "the data set cifar10, while the student learns from digits and of the split 'test'" in said(
        dataset="cifar10", split="test"
    )


def test_held_out_images_choose_an_epoch(config: DistillSettings) -> None:
    run = distill_student(config.replaced(training=TRAINING.replaced(holdout=0.2)))
    held_out = [epoch.holdout_accuracy for epoch in run.epochs]
    assert run.chosen_accuracy == run.epochs[held_out.index(max(held_out))].test_accuracy


def test_an_existing_run_is_kept(config: DistillSettings) -> None:
    config.output.mkdir()
    (config.output / "student.safetensors").write_text("mine")
    with pytest.raises(LayerprobeError, match="run exists and is not empty; overwrite replaces the run in it"):
        distill_student(config)
    assert (config.output / "student.safetensors").read_text() == "mine"


def test_bad_requests(config: DistillSettings, tmp_path: Path) -> None:
    def refuse(message: str, **changes: object) -> None:
        with pytest.raises(LayerprobeError, match=message):
            distill_student(config.replaced(**changes))

    refuse("no method 'fitnet'; closest: 'fitnets'", method="fitnet")
    refuse("feature-only needs the teacher's layers: layers NAME", layers=None)
    refuse("layer 'layer9' is not in cifar:resnet20", layers="layer9")
    refuse("2 student layers for 3 teacher layers", student_layers=("layer1.0", "layer1.1"))
    refuse("no ranking file at", layers="none.json")
    refuse("kd needs a teacher of the same classes, but it has 7 and digits 10", method="kd", layers=None,
           teacher=ModelSettings(name="cifar:resnet20", weights="random", num_classes=7))  # fmt: skip
    refuse("the loss is not finite in epoch 1", training=TRAINING.replaced(lr=1e12))


def test_learning_rates_by_architecture() -> None:
    names = [
        "cifar:resnet20",
        "cifar:mobilenetv2",
        "torchvision:vgg11_bn",
        "cifar:vit-small",
        "timm:deit_tiny_patch16_224",
    ]
    assert [DEFAULT_RATES.of(name) for name in names] == [0.0075, 0.0075, 0.005, 0.001, 0.001]
