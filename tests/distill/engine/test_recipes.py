"""Optimizers, schedules, parameter groups and presets."""

import csv
import logging
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from layerprobe.distill.engine.catalogue import SCHEDULES
from layerprobe.distill.engine.optimizers import find_head, make_optimizer
from layerprobe.distill.prepare import PreparedRun
from layerprobe.distill.run import distill_student
from layerprobe.errors import LayerprobeError
from layerprobe.layers.discovery import discover_layers
from layerprobe.models.zoo import build_model
from layerprobe.settings.presets import PRESETS
from layerprobe.settings.recipe import RecipeSettings, TrainingSettings
from layerprobe.settings.run import DistillSettings


def rates(recipe: RecipeSettings, steps: int = 5) -> list[float]:
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=recipe.lr or 0.0)
    schedule = SCHEDULES[recipe.schedule].load()(optimizer, recipe, steps)
    seen = []
    for _ in range(recipe.epochs * steps):
        seen.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return seen


def test_onecycle_rises_for_three_tenths_and_falls() -> None:
    seen = rates(RecipeSettings(epochs=20, lr=0.5))
    peak = seen.index(max(seen))
    assert max(seen) == pytest.approx(0.5) and peak == 29 and seen[0] == pytest.approx(0.02) and seen[-1] < 1e-4
    assert all(one < other for one, other in pairwise(seen[: peak + 1]))


def test_cosine_is_the_formula() -> None:
    seen = rates(RecipeSettings(epochs=4, lr=0.5, schedule="cosine"))
    assert seen[0] == 0.5 and seen[10] == pytest.approx(0.25) and seen[15] == pytest.approx(0.25 * (1 - 0.5**0.5))


def test_multi_step_falls_after_its_epochs() -> None:
    seen = rates(RecipeSettings(epochs=8, lr=1.0, schedule="multi-step"))
    per_epoch = [seen[epoch * 5] for epoch in range(8)]
    assert per_epoch == pytest.approx([1, 1, 1, 1, 1, 0.1, 0.01, 0.001]) and seen[24] == 1.0
    given = rates(RecipeSettings(epochs=4, lr=1.0, schedule="multi-step", milestones=(2,), decay=0.5))
    assert given == [1.0] * 10 + [0.5] * 10


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_the_backbone_of_a_pretrained_network_learns_at_its_own_rate(optimizer: str) -> None:
    student = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 2))
    head = find_head(student, discover_layers(student, (2, 2)))
    assert head == ("3",)
    objective = nn.Linear(3, 3)
    recipe = RecipeSettings(lr=0.2, optimizer=optimizer, backbone_lr_factor=0.01, weight_decay=0.3, momentum=0.5)
    groups = make_optimizer(student, objective, head, recipe).param_groups
    assert [group["lr"] for group in groups] == [0.2, pytest.approx(0.002)]
    assert set(groups[0]["params"]) == {*student[3].parameters(), *objective.parameters()}
    assert set(groups[1]["params"]) == set(student[1].parameters())
    assert {group["weight_decay"] for group in groups} == {0.3}
    one = make_optimizer(student, objective, head, recipe.replaced(backbone_lr_factor=1.0)).param_groups
    assert len(one) == 1 and len(one[0]["params"]) == 6
    recipe = recipe.replaced(schedule="onecycle", epochs=10)
    two = make_optimizer(student, objective, head, recipe)
    SCHEDULES["onecycle"].load()(two, recipe, 10)
    assert two.param_groups[0]["lr"] == pytest.approx(100 * two.param_groups[1]["lr"])


def test_a_projector_within_the_student_is_no_backbone(small: DistillSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[PreparedRun] = []
    monkeypatch.setattr("layerprobe.distill.run.train_prepared", lambda session, prepared, *more: seen.append(prepared))
    training = small.training.replaced(backbone_lr_factor=0.1, lr=0.2)
    distill_student(small.replaced(method="simkd", layers=None, training=training))
    setup = seen[0].setup
    groups = make_optimizer(setup.student, setup.objective, setup.new_modules, training).param_groups
    names = {parameter: name for name, parameter in setup.student.named_parameters()}
    new, backbone = ({names[parameter] for parameter in group["params"]} for group in groups)
    assert new == {name for name in names.values() if "projector" in name or name.startswith("linear.")}
    assert "layer3.projector.layers.0.weight" in new and "layer3.map.2.conv2.weight" in backbone
    assert groups[0]["lr"] == 0.2 and groups[1]["lr"] == pytest.approx(0.02)


def test_a_network_without_a_flat_feature_has_its_last_module_as_head() -> None:
    assert find_head(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1), nn.Flatten()), []) == ("1",)


class TwoLayers(nn.Module):
    """A network whose classifier has a hidden layer and no module of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.pool = nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1)
        self.first, self.activation, self.last = nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)

    def forward(self, images: Tensor) -> Tensor:
        hidden: Tensor = self.activation(self.first(torch.flatten(self.pool(self.convolution(images).relu()), 1)))
        logits: Tensor = self.last(hidden)
        return logits


def test_the_head_is_all_layers_of_a_classifier() -> None:
    vgg = build_model("cifar:vgg11", num_classes=3, seed=0)
    assert find_head(vgg, discover_layers(vgg, (32, 32))) == ("classifier",)
    model = TwoLayers()
    assert find_head(model, discover_layers(model, (4, 4))) == ("first", "last")


def test_presets_are_values_of_a_training() -> None:
    found = {
        (name, model): TrainingSettings(**preset.values(model)).resolved(model)
        for name, preset in PRESETS.items()
        for model in ("cifar:resnet9", "cifar:mobilenetv2", "cifar:vgg11", "cifar:vit-small")
    }
    rates = {name: [found[name, model].lr for one, model in found if one == name] for name in PRESETS}
    assert rates == {
        "paper-50": [0.0075, 0.0075, 0.005, 0.001],
        "paper-augmented": [0.0075, 0.0075, 0.005, 0.001],
        "paper-240": [0.05, 0.05, 0.01, 0.01],
        "literature-240": [0.05] * 4,
    }
    assert TrainingSettings(**PRESETS["paper-50"].values("cifar:resnet9")) == TrainingSettings()
    augmented = TrainingSettings(**PRESETS["paper-augmented"].values("cifar:resnet9"))
    assert augmented == TrainingSettings(augment="crop-flip")
    for name, batch_size, augment in (("paper-240", 128, "none"), ("literature-240", 64, "crop-flip")):
        long = found[name, "cifar:resnet9"]
        assert (long.epochs, long.optimizer, long.momentum, long.weight_decay) == (240, "sgd", 0.9, 5e-4)
        assert (long.schedule, long.milestones, long.decay) == ("multi-step", (150, 180, 210), 0.1)
        assert (long.batch_size, long.augment) == (batch_size, augment)


_STUDENTS = {
    "MobileNetV2": "cifar:mobilenetv2",
    "ResNet9": "cifar:resnet9",
    "VGG11": "cifar:vgg11",
    "ViT_ETT": "cifar:vit-small",
}
_OPTIMIZERS = {"AdamW": ("adamw", "onecycle"), "SGD": ("sgd", "multi-step")}


@pytest.mark.realdata
def test_presets_are_the_released_configurations(shared: Path) -> None:
    """Of 50 epochs the peak rate is the one called MaxLR; weight decay -1 is the optimizer's own, 0.01."""
    with (shared / "paper" / "released_configurations.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["Model"] in _STUDENTS]
    used = set()
    for row in rows:
        augmented, epochs = row["DataAugmentation"] == "True", int(row["NumEpochs"])
        name = "paper-augmented" if augmented else f"paper-{epochs}"
        recipe = TrainingSettings(**PRESETS[name].values(_STUDENTS[row["Model"]])).resolved(_STUDENTS[row["Model"]])
        assert (recipe.optimizer, recipe.schedule) == _OPTIMIZERS[row["Optimizer"]]
        assert (recipe.epochs, recipe.batch_size) == (epochs, int(row["BatchSize"]))
        assert recipe.lr == float(row["MaxLR" if epochs == 50 else "LearningRate"])
        assert recipe.weight_decay == (0.01 if row["WeightDecay"] == "-1" else float(row["WeightDecay"]))
        assert recipe.augment == ("crop-flip" if augmented else "none")
        used.add(name)
    assert used == {"paper-50", "paper-240", "paper-augmented"} and len(rows) > 400


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "adam"}, "no optimizer 'adam'; closest: 'adamw'"),
        ({"schedule": "one-cycle"}, "no schedule 'one-cycle'; closest: 'onecycle'"),
        ({"milestones": (3,)}, "milestones belong to schedule multi-step, not to onecycle"),
        ({"schedule": "multi-step", "milestones": (1, 2)}, "ascending epochs below epochs 2, not '1,2'; e.g. 1"),
        ({"clip": 0.0}, "clip is above 0, not 0.0"),
        ({"lr": 0.0}, "lr is above 0, not 0.0"),
        ({"lr": -1.0}, "lr is above 0, not -1.0"),
        ({"weight_decay": -0.1}, "weight_decay is at least 0, not -0.1"),
        ({"momentum": -0.1, "optimizer": "sgd"}, "momentum is at least 0, not -0.1"),
        ({"decay": -1.0}, "decay is at least 0, not -1.0"),
        ({"accumulate": 0}, "accumulate is at least 1, not 0"),
        ({"backbone_lr_factor": -1.0}, "backbone_lr_factor is at least 0, not -1.0"),
        ({"batch_size": 1}, "batch_size is at least 2, not 1"),
        ({"augment": "flip"}, "no augmentation 'flip'; closest: 'crop-flip'"),
    ],
)
def test_recipes_that_cannot_be_are_refused(small: DistillSettings, changes: dict[str, object], message: str) -> None:
    with pytest.raises(LayerprobeError, match=message):
        distill_student(small.replaced(training=small.training.replaced(**changes)))
    assert not small.output.exists()


def test_an_unknown_preset() -> None:
    with pytest.raises(LayerprobeError, match="no preset 'paper-24'; closest: 'paper-240'"):
        PRESETS.find("paper-24")


def test_every_part_of_a_recipe_reaches_the_training(small: DistillSettings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    training = small.training.replaced(
        optimizer="sgd", schedule="multi-step", clip=1.0, accumulate=2, backbone_lr_factor=0.5, augment="crop-flip",
        lr=0.1, epochs=3,
    )  # fmt: skip
    run = distill_student(small.replaced(training=training))
    assert run.epochs[-1].losses["features"] < run.epochs[0].losses["features"]
    assert [epoch.learning_rate for epoch in run.epochs] == pytest.approx([0.01, 0.001, 0.001])
    assert run.config["training"]["milestones"] == [1, 2]
    assert "SGD (momentum 0.9), weight decay 0.01, x0.1 after epochs" in caplog.text
    assert "augmentation crop-flip" in caplog.text
    assert "the backbone's peak learning rate is 0.05; the classifier 'linear' has the full one" in caplog.text
