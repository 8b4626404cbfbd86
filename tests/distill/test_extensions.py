"""A dummy of each kind that distillation knows: a function and a catalogue entry, from the command line to the table.

And the same from outside: ``FILE.py:name`` stands wherever the name of a loss, a projector or an alignment may.
"""

import json
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from layerprobe.catalogue import Catalogue, Entry
from layerprobe.data.catalogue import AUGMENTATIONS, Augmentation
from layerprobe.distill.alignments.catalogue import ALIGNMENTS, PROJECTORS, Alignment, ProjectorForm
from layerprobe.distill.batches import FeatureBatch, LogitBatch
from layerprobe.distill.engine.catalogue import OPTIMIZERS, SCHEDULES, Optimizer, Schedule
from layerprobe.distill.losses.catalogue import FEATURE_LOSSES
from layerprobe.distill.methods.catalogue import FEATURES, LABELS, LAYERS, METHODS, Method
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.objectives import FeatureObjective, LogitObjective
from layerprobe.distill.spatial import AlignedPair, SpatialAligner, channels
from tests.helpers.commands import run

HERE = "tests.distill.test_extensions"
ROOT = Path(__file__).parents[2]


def distillation(folder: Path, *options: object) -> tuple[object, ...]:
    return (
        "distill", "--teacher", "cifar:resnet20", "--teacher-weights", "random", "--student", "cifar:resnet20",
        "--data", "digits", "--output", folder, "--epochs", 1, "--batch-size", 20, "--train-samples", 40,
        "--test-samples", 20, "--device", "cpu", "--quiet", *options,
    )  # fmt: skip


OF_PHOTOS = ("--image-size", 8, "--train-samples", "all", "--test-samples", "all", "--data")
LAYERS_OF_BOTH = ("--layers", "layer2.0,layer3.1")


def table(folder: Path, *options: object) -> str:
    """What a run prints: accuracies, beside the label of its method."""
    return run(*distillation(folder, *options))


def record(folder: Path) -> dict[str, Any]:
    """A run's configuration and result."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    return {**config, "result": json.loads((folder / "result.json").read_text())}


class Fits(LogitObjective):
    """Cross entropy, and the distance of the last paired features' means."""

    def __init__(self, context: ObjectiveContext, weight: float) -> None:
        super().__init__()
        (*_, self.layers), self.weight = context.pairing.names, weight

    def forward(self, batch: LogitBatch) -> dict[str, Tensor]:
        assert batch.teacher is not None
        ours, theirs = batch.student.features[self.layers[0]], batch.teacher.features[self.layers[1]]
        return {
            "cross_entropy": nn.functional.cross_entropy(batch.student.logits, batch.labels),
            "means": self.weight * (ours.mean() - theirs.mean()).square(),
        }


def absolute(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - teacher).abs().mean()


class Scaled(nn.Module):
    def __init__(self, student_shape: tuple[int, ...], teacher_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.align = SpatialAligner(student_shape, teacher_shape)
        self.scale = nn.Conv2d(channels(student_shape), channels(teacher_shape), 1)

    def forward(self, student: Tensor, teacher: Tensor) -> AlignedPair:
        pair = self.align(student, teacher)
        return AlignedPair(self.scale(pair.student), pair.teacher)


class Means(FeatureObjective):
    def __init__(self, context: ObjectiveContext) -> None:
        super().__init__()

    def forward(self, batch: FeatureBatch) -> dict[str, Tensor]:
        pairs = zip(batch.student, batch.teacher, strict=True)
        return {"means": torch.stack([(ours.mean() - theirs.mean()).square() for ours, theirs in pairs]).sum()}


def rmsprop(groups: list[Any], recipe: Any) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(groups, lr=1e-3)


def constant(optimizer: torch.optim.Optimizer, recipe: Any, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)


def darker(pixels: Tensor, draws: Tensor) -> Tensor:
    return (pixels * (draws[:, :1, None, None] % 2 + 1) // 2).to(torch.uint8)


FITS = Method(
    "fits", "means of features", "cross entropy and means", f"{HERE}:Fits", constants={"weight": 2.0},
    teacher=(FEATURES,), reaches_backbone=(LABELS, FEATURES), pairs=LAYERS,
)  # fmt: skip
DUMMIES: dict[str, tuple[Catalogue[Any], Entry, tuple[object, ...]]] = {
    "method": (METHODS, FITS, ("--method", "fits")),
    "feature loss": (
        FEATURE_LOSSES, Entry("absolute", "absolute", "absolute differences", f"{HERE}:absolute"),
        (*LAYERS_OF_BOTH, "--feature-loss", "absolute"),
    ),
    "projector": (
        PROJECTORS, ProjectorForm("scaled", "scaled", "one convolution with bias", f"{HERE}:Scaled"),
        (*LAYERS_OF_BOTH, "--projector", "scaled"),
    ),
    "alignment": (
        ALIGNMENTS, Alignment("means", "means", "means of features", f"{HERE}:Means", compares=False),
        (*LAYERS_OF_BOTH, "--alignment", "means"),
    ),
    "optimizer": (
        OPTIMIZERS, Optimizer("rmsprop", "RMSprop", "root mean squares", f"{HERE}:rmsprop"),
        ("--method", "scratch", "--optimizer", "rmsprop"),
    ),
    "schedule": (
        SCHEDULES, Schedule("constant", "constant rate", "the rate stays", f"{HERE}:constant"),
        ("--method", "scratch", "--schedule", "constant"),
    ),
    "augmentation": (
        AUGMENTATIONS, Augmentation("darker", "darker", "some images are darker", f"{HERE}:darker"),
        ("--method", "scratch", "--augment", "darker"),
    ),
}  # fmt: skip
SHOWN = {
    "method": "means of features",
    "feature loss": "feature-only, absolute",
    "projector": "feature-only, scaled projector",
    "alignment": "feature-only, means",
}
"""What the table calls a run of each dummy of these kinds."""


@pytest.mark.parametrize("kind", DUMMIES)
def test_a_dummy_of_each_kind_runs_from_the_command_line_to_the_table(kind: str, tmp_path: Path) -> None:
    catalogue, entry, options = DUMMIES[kind]
    registered: AbstractContextManager[Any] = catalogue.registered(entry)
    with registered:
        shown = table(tmp_path / "run", *options)
        assert "top-1 (%)" in shown and f"{SHOWN.get(kind, 'scratch')}, last epoch" in shown
        found = record(tmp_path / "run")
    assert found["result"]["labels_reach_backbone"] == (kind not in ("feature loss", "projector", "alignment"))
    if kind == "optimizer":
        assert found["recipe"].startswith("RMSprop, weight decay")
    if kind == "schedule":
        assert found["recipe"].endswith(", constant rate")
    refused = run(*distillation(tmp_path / "other", *options), code=2)
    assert re.search(rf"\b{entry.name}\b", refused) and len(refused.splitlines()) == 1
    assert not (tmp_path / "other").exists()


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example of docs/methods.md, as a file in the working folder."""
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    block, *_ = re.findall(r"```python\n(# mine\.py\n.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(block + FAULTS)
    return tmp_path / "mine.py"


FAULTS = """
import sys

def last_two(problem):
    return [layer.name for layer in problem.blocks[-2:]]

def fails(*given):
    return 1 / 0

def ends(*given):
    sys.exit("enough")

def number(student, teacher):
    return 3.0

def unreduced(student, teacher):
    return (student - teacher).square()

def detached(student, teacher):
    return (student - teacher).detach().mean()

class OneSided(nn.Module):
    def __init__(self, *shapes):
        super().__init__()

    def forward(self, student, teacher):
        return student

class Unlike(OneSided):
    def forward(self, student, teacher):
        return student[:, :1], teacher

class Nothing(nn.Module):
    def __init__(self, context):
        super().__init__()

    def forward(self, batch):
        return {}

class Text(Nothing):
    def forward(self, batch):
        return {"features": "none"}

class Curious(Nothing):
    def forward(self, batch):
        return batch.labels

from layerprobe.distill.objectives import LogitObjective

class Greedy(LogitObjective):
    def __init__(self, context):
        super().__init__()

    def forward(self, batch):
        return {}
"""


@pytest.mark.parametrize(
    ("option", "name", "label"),
    [
        ("--feature-loss", "absolute", "mine.py:absolute"),
        ("--projector", "Scaled", "mine.py:Scaled projector"),
        ("--alignment", "Means", "mine.py:Means"),
    ],
)
def test_one_of_ones_own_file(option: str, name: str, label: str, own: Path, tmp_path: Path) -> None:
    options = (*LAYERS_OF_BOTH, option, f"mine.py:{name}")
    assert f"feature-only, {label}, last epoch" in table(tmp_path / "run", *options)
    found = record(tmp_path / "run")
    ((plugin, digest),) = found["plugins"].items()
    assert plugin == f"mine.py:{name}" and len(digest) == 64 and not found["result"]["labels_reach_backbone"]
    own.write_text(own.read_text() + "\n# changed\n")
    refused = run(*distillation(tmp_path / "run", *options, "--resume"), code=2)
    assert f"mine.py:{name} is another file than" in refused and len(refused.splitlines()) == 1


def test_a_run_keeps_the_hash_of_the_rule_that_chose_its_layers(own: Path, photos: Path, tmp_path: Path) -> None:
    options = ("--layers", "mine.py:last_two:2", *OF_PHOTOS, photos)
    run(*distillation(tmp_path / "run", *options))
    found = record(tmp_path / "run")
    assert found["layers"] == "layer3.1,layer3.2" and found["layers_from"] == "mine.py:last_two:2"
    assert list(found["plugins"]) == ["mine.py:last_two"]
    run(*distillation(tmp_path / "run", *options, "--resume"))
    own.write_text(own.read_text() + "\n# changed\n")
    refused = run(*distillation(tmp_path / "run", *options, "--resume"), code=2)
    assert "mine.py:last_two is another file than" in refused and len(refused.splitlines()) == 1


@pytest.mark.parametrize(
    ("option", "name", "message"),
    [
        ("--feature-loss", "nowhere", "mine.py has no function 'nowhere'"),
        ("--feature-loss", "fails", r"the feature loss mine.py:fails fails for student features .*ZeroDivisionError"),
        ("--feature-loss", "ends", r"the feature loss mine.py:ends ends the program \(SystemExit: enough\)"),
        ("--feature-loss", "number", "mine.py:number returns a float for student features .*; return a scalar tensor"),
        ("--feature-loss", "unreduced", r"mine.py:unreduced returns a float32 tensor of shape \(20, 32, 4, 4\)"),
        ("--feature-loss", "detached", "mine.py:detached returns a value without a gradient; compute it"),
        ("--projector", "fails", r"the projector mine.py:fails fails for shapes \(32, 4, 4\) and \(32, 4, 4\)"),
        ("--projector", "absolute", "the projector mine.py:absolute fails for shapes"),
        ("--projector", "OneSided", r"mine.py:OneSided returns a float32 tensor .*; return the student's and the"),
        ("--projector", "Unlike", r"features of shapes \(20, 1, 4, 4\) and \(20, 32, 4, 4\) for student features"),
        ("--alignment", "ends", r"the alignment mine.py:ends ends the program \(SystemExit: enough\)"),
        ("--alignment", "Nothing", "the alignment mine.py:Nothing returns no loss term; return a scalar tensor"),
        ("--alignment", "Text", "the alignment mine.py:Text returns a str; return a scalar tensor"),
        ("--alignment", "Curious", "AttributeError: 'FeatureBatch' object has no attribute 'labels'"),
        ("--alignment", "Greedy", "the alignment mine.py:Greedy asks for more than features; derive it from"),
    ],
)
def test_what_one_of_ones_own_does_wrong_is_one_line(
    option: str, name: str, message: str, own: Path, tmp_path: Path
) -> None:
    refused = run(*distillation(tmp_path / "run", *LAYERS_OF_BOTH, option, f"mine.py:{name}"), code=2)
    assert re.search(message, refused) and len(refused.splitlines()) == 1, refused


def test_a_loss_of_ones_own_under_attention(own: Path, tmp_path: Path) -> None:
    options = (*LAYERS_OF_BOTH, "--mapping", "attention", "--feature-loss", "mine.py:absolute")
    assert "feature-only, mine.py:absolute, attention mapping, last epoch" in table(tmp_path / "run", *options)


GRID = """
common: {data: {name: digits}, training: {epochs: 1, batch_size: 20, train_samples: 40, test_samples: 20, device: cpu}}
pairs:
  small: {teacher: {name: cifar:resnet20, weights: random}, student: cifar:resnet20}
methods:
  absolute: {method: feature-only, layers: "layer2.0,layer3.1", alignment: {feature_loss: "mine.py:absolute"}}
"""


def test_a_grid_with_one_of_ones_own_is_not_gone_on_with_after_the_file_has_changed(own: Path, tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text(GRID + "seeds: 1\n")
    shown = run("compare", tmp_path / "grid.yaml", "--output", tmp_path / "grid", "--quiet")
    assert "absolute" in shown and "1 of 1 cells done" in shown
    assert json.loads(run("report", tmp_path / "grid", "--format", "json"))["rows"][0]["method"] == "absolute"
    own.write_text(own.read_text() + "\n# changed\n")
    (tmp_path / "grid.yaml").write_text(GRID + "seeds: 2\n")
    refused = run("compare", tmp_path / "grid.yaml", "--output", tmp_path / "grid", "--quiet", code=2)
    assert "mine.py:absolute is another file than when runs/small/absolute/seed-0" in refused
    assert len(refused.splitlines()) == 1
    assert "1 of 1 cells done" in run("report", tmp_path / "grid", "--quiet")
