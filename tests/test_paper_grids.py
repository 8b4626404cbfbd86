"""The grids of examples/paper stand for the configurations that the paper's authors released, file by file."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, wraps
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, softmax

from layerprobe.cli.main import load_command
from layerprobe.cli.run_settings import run_settings
from layerprobe.distill.layer_pairs import choose_student_layers, pair_layers
from layerprobe.distill.methods.catalogue import FEATURES, LABELS, LOGITS
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.pairing import NO_PAIRS, Pairing, distinct
from layerprobe.distill.projectors import Projector, ThreeLayerProjector
from layerprobe.experiments.grid.grid_file import Grid, PlannedCell, load_grid
from layerprobe.layers.capture import Captured
from layerprobe.networks import Network, find_model_layers
from layerprobe.records import Layer
from layerprobe.records.preprocessing import Preprocessing
from layerprobe.settings.data import DataSettings
from layerprobe.settings.recipe import TrainingSettings
from layerprobe.settings.run import DistillSettings, TrainSettings
from tests.helpers.objectives import loss_terms
from tests.test_documented_code import blocks, commands, own_words

EXAMPLES = Path(__file__).parents[1] / "examples" / "paper"
README = EXAMPLES / "README.md"

NETWORKS = {
    "VGG19": "cifar:vgg19-paper",
    "ResNet34": "cifar:resnet34-paper",
    "ViT_B": "cifar:vit-base-mean",
    "VGG11": "cifar:vgg11-paper",
    "ResNet9": "cifar:resnet9-paper",
    "MobileNetV2": "cifar:mobilenetv2-paper",
    "ViT_ETT": "cifar:vit-small-mean",
}
TEACHERS = ("VGG19", "ResNet34", "ViT_B")
DATA = {"CIFAR10": ("CIFAR10", 32), "CIFAR100F": ("CIFAR100", 32), "TinyImagenet": ("tiny-imagenet/", 64)}
OF_DATA = {"CIFAR10": "cifar10", "CIFAR100F": "cifar100", "TinyImagenet": "tiny-imagenet"}
GRIDS = {"ablations": "ablations", "240": "paper-240", "augmented": "paper-augmented"}
"""What the README calls the grids that are of all data sets."""
TRAINERS = {"AdamW": ("adamw", "onecycle"), "SGD": ("sgd", "multi-step")}
MAPPINGS = {"One2One": "one-to-one", "FullyConnected": "full", "LearnedAttn": "attention"}
STUDENT_FILE = "../Baselines/STUDENT_Baseline.json"
Row = Mapping[str, str]


@cache
def grid(name: str) -> Grid:
    return load_grid(EXAMPLES / f"{name}.yaml")


def released_grids() -> tuple[str, ...]:
    return (*OF_DATA.values(), *GRIDS.values())


@dataclass(frozen=True)
class Files:
    """A line of the README's table of files.

    Attributes:
        label: of the cell.
        places: the grids that stand for the file, as the README calls them.
        again: grids that repeat the cell.
    """

    label: str
    places: frozenset[str]
    again: frozenset[str]


def table_rows(columns: int) -> list[list[str]]:
    """The rows of the README's tables of so many columns."""
    lines = [line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith(("| `", "| ["))]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if len(row) == columns]


def files() -> Mapping[str, Files]:
    """The README's table of files, by the file."""
    found = {}
    for file, cell, places in [row for row in table_rows(3) if ".json" in row[0]]:
        usual, _, again = places.partition("; again in ")
        repeated = frozenset({again.partition(",")[0]} - {""})
        found[file.strip("`")] = Files(cell.split("`")[1], frozenset(usual.split(", ")), repeated)
    return found


@cache
def teachers() -> Mapping[Path, TrainSettings]:
    """The commands of the README that make the paper's teachers, read by the real command line, by their weights."""
    command = load_command("train")
    told: list[TrainSettings] = []

    @wraps(command.run)
    def remember(source: Any, given: Any, **others: Any) -> None:
        told.append(run_settings(given, source))

    parser: Any = replace(command, run=remember).parser
    for code in blocks(README, "bash"):
        for words in commands(code):
            if "--adapt" in (own := own_words(words)):
                parser.main(own[1:], standalone_mode=False)
    return {settings.output / "model.safetensors": settings for settings in told}


def groups(name: str) -> Mapping[tuple[str, str, str], list[PlannedCell]]:
    """The cells of a grid that differ in their seed alone, by pair, data set and label."""
    found: dict[tuple[str, str, str], list[PlannedCell]] = {}
    for planned in grid(name).cells:
        cell = planned.cell
        found.setdefault((cell.pair, cell.data or grid(name).title.partition(",")[0], cell.label), []).append(planned)
    return found


def test_the_readme_counts_every_released_file_once() -> None:
    counted = {row[0]: row for row in table_rows(4)}
    numbers = {file: int(row[3].split()[0].strip(",")) for file, row in counted.items()}
    assert sum(numbers.values()) == 426 and len(counted) == len(released_grids()) + 1
    for name in released_grids():
        again = {entry.label for entry in files().values() for called in entry.again if GRIDS[called] == name}
        stands = [key for key in groups(name) if key[2] not in again]
        assert len(stands) == numbers[f"`{name}.yaml`"], name
    assert len(teachers()) == numbers["[teachers](#the-teachers)"]


def test_the_readme_says_in_which_grids_the_cell_of_a_file_is() -> None:
    for file, entry in files().items():
        called = {
            **dict.fromkeys(OF_DATA.values(), "data sets"),
            **{name: short for short, name in GRIDS.items()},
        }
        holding = {called[name] for name in released_grids() if any(key[2] == entry.label for key in groups(name))}
        assert entry.places | entry.again == holding, file
    labels = {key[2] for name in released_grids() for key in groups(name)}
    assert labels == {entry.label for entry in files().values()}


def test_every_grid_has_the_teachers_that_the_readme_makes() -> None:
    used = set()
    for name in (*released_grids(), "resnet34", "layer-choice", "validate"):
        for planned in grid(name).cells:
            settings, weights = planned.settings, Path(str(planned.settings.teacher.weights))
            made = teachers()[weights]
            assert made.model.name == settings.teacher.name and made.data == settings.data, weights
            assert made.training.augment == settings.training.augment
            used.add(weights)
    assert used == teachers().keys()


def test_pairs_are_the_same_in_all_grids() -> None:
    pairs = {
        name: {(planned.settings.teacher.name, planned.settings.student.name) for planned in grid(name).cells}
        for name in released_grids()
    }
    assert all(len(found) == 4 and found == pairs["cifar10"] for found in pairs.values())


# The oracle: every released file against the settings of its cell.


@pytest.fixture(scope="module")
def rows(shared: Path) -> list[Row]:
    with (shared / "paper" / "released_configurations.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def is_teacher(row: Row) -> bool:
    return row["Model"] in TEACHERS


def place(row: Row) -> tuple[str, tuple[str, str, str]]:
    """The grid of a released file, and its cell there, by the README's tables."""
    *above, _ = row["file"].removeprefix("DataAug/").split("/")
    student = above[1:2] == ["Baselines"]
    inner = STUDENT_FILE if student else row["file"].partition("->")[2].partition("/")[2].replace("+240E", "")
    entry = files()[inner]
    called = "augmented" if row["file"].startswith("DataAug/") else "240" if "+240E" in row["file"] else ""
    called = called or next(iter(entry.places - {"240", "augmented"}))
    assert called in entry.places, row["file"]
    name = GRIDS.get(called, OF_DATA[row["Dataset"]])
    (key,) = [
        key
        for key, (planned, *_) in groups(name).items()
        if key[2] == entry.label
        and planned.settings.data.name == DATA[row["Dataset"]][0]
        and planned.settings.student.name == NETWORKS[row["Model"]]
        and (student or planned.settings.teacher.name == NETWORKS[row["Teacher"]])
    ]
    return name, key


@pytest.mark.realdata
def test_every_released_file_has_a_cell_or_a_teacher(rows: list[Row]) -> None:
    places = [place(row) for row in rows if not is_teacher(row)]
    assert len(rows) == 426 and len(set(places)) == len(places) == 426 - len(teachers())
    again = {(GRIDS[called], entry.label) for entry in files().values() for called in entry.again}
    cells = {(name, key) for name in released_grids() for key in groups(name)}
    assert {(name, key[2]) for name, key in cells - set(places)} == again


def check_recipe(row: Row, training: TrainingSettings, model: str) -> None:
    """Weight decay -1 is AdamW's own, 0.01; of 50 epochs the peak rate is the one called MaxLR, see departures.md."""
    recipe = training.resolved(model)
    assert (recipe.optimizer, recipe.schedule) == TRAINERS[row["Optimizer"]]
    assert (recipe.epochs, recipe.batch_size) == (int(row["NumEpochs"]), int(row["BatchSize"]))
    assert recipe.lr == float(row["MaxLR" if row["Optimizer"] == "AdamW" else "LearningRate"])
    assert recipe.weight_decay == (0.01 if row["WeightDecay"] == "-1" else float(row["WeightDecay"]))
    assert recipe.augment == ("crop-flip" if row["DataAugmentation"] == "True" else "none")
    assert row["AugmentTeacher"] == row["DataAugmentation"]  # a teacher sees its student's images
    if recipe.schedule == "multi-step":
        assert (recipe.milestones, recipe.decay, recipe.momentum) == ((150, 180, 210), 0.1, 0.9)


def check_data(row: Row, data: DataSettings) -> None:
    name, size = DATA[row["Dataset"]]
    assert (data.name, data.image_size or 32) == (name, size)


@pytest.mark.realdata
def test_teachers_are_trained_as_released(rows: list[Row]) -> None:
    """One run each, from weights of ImageNet, the backbone at a hundredth of the rate."""
    left = dict(teachers())
    for row in filter(is_teacher, rows):
        (made,) = [
            path
            for path, settings in left.items()
            if settings.model.name == NETWORKS[row["Model"]]
            and settings.data.name == DATA[row["Dataset"]][0]
            and (settings.training.augment != "none") == (row["DataAugmentation"] == "True")
        ]
        settings = left.pop(made)
        check_data(row, settings.data)
        check_recipe(row, settings.training, settings.model.name)
        assert (settings.model.weights == "pretrained") == (row["PreTrained"] == "True")
        assert (settings.model.adapt, settings.training.backbone_lr_factor) == ("average", 0.01)
    assert not left


@pytest.mark.realdata
def test_cells_are_trained_as_released(rows: list[Row]) -> None:
    for row in rows:
        if is_teacher(row):
            continue
        name, key = place(row)
        cells = groups(name)[key]
        settings = cells[0].settings
        assert [planned.cell.seed for planned in cells] == list(range(int(row["NumRuns"]))), row["file"]
        assert row["PreTrained"] == "False" and settings.student.weights is None  # which is random for a student
        check_data(row, settings.data)
        check_recipe(row, settings.training, settings.student.name)


@pytest.mark.realdata
def test_methods_are_the_released_ones(rows: list[Row]) -> None:
    """What reaches the backbone, in which weights, and what of the two networks is compared."""
    for row in rows:
        if is_teacher(row):
            continue
        name, key = place(row)
        settings = groups(name)[key][0].settings
        method, form = settings.chosen_method, settings.alignment
        terms = {*method.reaches_backbone}
        terms |= ({LABELS} if form.cross_entropy else set()) | ({LOGITS} if form.kl else set())
        wanted = {
            *([LABELS] if row["SeperateLinear"] == "False" else []),
            *([LOGITS] if row["VanillaKD"] == "True" else []),
            *([FEATURES] if row["FeatureKD"] == "True" else []),
        }
        assert terms == wanted, row["file"]
        assert (settings.method == "kd-std") == (row["NormalizeLogits"] == "True")
        assert bool(method.changes_student) == (row["UseTeacherClassifier"] == "True")
        if row["FeatureKD"] == "True":
            of_features = form.feature_weight if method.takes_alignment else method.constants.get("weight", 1)
            assert of_features == float(row["LSLossWeight"]), row["file"]
            mapping = form.mapping.mapping if method.takes_alignment else method.mapping
            assert mapping == MAPPINGS[row["LayerMappingMethod"]], row["file"]
        assert settings.tokens is None and settings.teacher_features is None


@cache
def network(name: str) -> Network:
    """A network's layers, without the network. Their names are those of any number of classes and size of image."""
    preprocessing = Preprocessing((32, 32), (0.5,) * 3, (0.5,) * 3, "none")
    return Network(name, nn.Identity(), "random", "", preprocessing, find_model_layers(name, 10, 32), 10)


def released_layers(row: Row, side: str, found: Network) -> list[str]:
    """Index 0 of a transformer is its embedding in the released code, which is no layer of ours."""
    blocks_alone = [layer for layer in found.layers if layer.kind == "block"]
    transformer = found.name.startswith("cifar:vit")
    indices = [int(index) for index in row[side].split()]
    return [(blocks_alone[index - 1] if transformer else found.layers[index]).name for index in indices]


def names(layers: tuple[Layer, ...]) -> list[str]:
    return [layer.name for layer in layers]


def pairing_of(settings: DistillSettings) -> Pairing:
    teacher, student = (network(one.name) for one in (settings.teacher, settings.student))
    return pair_layers(settings.chosen_method, settings, teacher, student)


RULES = {
    "OursMulti": "quality", "OursMulti+CE": "quality", "OursMulti+CE+VKD": "quality", "Ours-S": "separation",
    "Ours-I": "information", "Ours-E": "efficiency", "Ours-SqrtIE": "sqrt-ie",
}  # fmt: skip


@pytest.mark.realdata
def test_layers_are_the_released_ones(rows: list[Row]) -> None:
    """Of a score, as many layers as it chose; the teacher at hand decides which."""
    for row in rows:
        if row["FeatureKD"] == "False":
            continue
        name, key = place(row)
        settings = groups(name)[key][0].settings
        student = network(settings.student.name)
        learning = released_layers(row, "StudentLayers", student)
        rule = settings.layers.rule if settings.layers else None
        if rule is not None:
            assert rule.name == RULES[Path(row["file"]).stem], row["file"]
            assert rule.count == len(row["TeacherLayers"].split())
            assert names(choose_student_layers(student, settings.student_layers, rule.count)) == learning
            small = settings.data.name == "tiny-imagenet/" and not settings.teacher.name.startswith("cifar:vit")
            assert settings.spectrum_samples == (50 if small else 500)
            continue
        assert Path(row["file"]).stem not in RULES
        teacher = network(settings.teacher.name)
        pairing = pairing_of(settings)
        assert names(distinct(pairing.student)) == learning, row["file"]
        assert names(distinct(pairing.teacher)) == released_layers(row, "TeacherLayers", teacher), row["file"]


def objective_of(settings: DistillSettings) -> tuple[Any, Pairing]:
    """The objective of a cell, of the layers at hand."""
    plan = settings if not settings.layers else settings.replaced(layers="1-4")
    pairing = pairing_of(plan) if settings.chosen_method.uses_features else NO_PAIRS
    context = ObjectiveContext(pairing, 6, 10, settings.alignment)
    return settings.chosen_method.build(context), pairing


def softened_kl(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> float:
    """The mean over images of the sum of p ln(p / q), in float64."""
    p, q = (softmax(logits.double() / temperature, dim=1) for logits in (teacher, student))
    return float((p * (p / q).log()).sum(1).mean())


def standardized(logits: torch.Tensor) -> torch.Tensor:
    return (logits - logits.mean(1, keepdim=True)) / logits.std(1, keepdim=True, correction=0)


@pytest.mark.realdata
def test_losses_have_the_released_weights(rows: list[Row]) -> None:
    """The objectives themselves: the terms of the logits in numbers, and the projectors by their kind."""
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (3 * torch.randn(6, 10, generator=generator) for _ in range(2))
    labels = torch.arange(6)
    for row in rows:
        if row["Dataset"] != "CIFAR10" or row["Model"] != "ResNet9":
            continue
        name, key = place(row)
        objective, pairing = objective_of(groups(name)[key][0].settings)
        kinds = {type(module) for module in objective.modules() if isinstance(module, (Projector, ThreeLayerProjector))}
        projects = row["FeatureKD"] == "True" and row["ProjectionMethod"] == "LearnedProjector"
        three = row["ProjectorArchitecture"] == "ThreeLayerConv"
        assert kinds == ({ThreeLayerProjector if three else Projector} if projects else set()), row["file"]
        given = [
            {layer.name: torch.randn(6, *layer.shape, generator=generator) for layer in side}
            for side in (pairing.student, pairing.teacher)
        ]
        terms = loss_terms(objective, pairing, Captured(ours, given[0]), Captured(theirs, given[1]), labels)
        assert ("cross_entropy" in terms) == (row["SeperateLinear"] == "False"), row["file"]
        assert ("kl" in terms) == (row["VanillaKD"] == "True")
        if "cross_entropy" in terms:
            expected = float(row["CELossWeight"]) * float(cross_entropy(ours, labels))
            assert float(terms["cross_entropy"]) == pytest.approx(expected, rel=1e-5)
        if "kl" in terms:
            logits = [standardized(one) if row["NormalizeLogits"] == "True" else one for one in (ours, theirs)]
            expected = float(row["LGLossWeight"]) * softened_kl(*logits, temperature=float(row["Temperature"]))
            assert float(terms["kl"]) == pytest.approx(expected, rel=1e-4), row["file"]
