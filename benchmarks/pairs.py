"""Every method on pairs of architectures: 20 steps each, and whether they lower the method's own loss.

    python benchmarks/pairs.py --kept pairs.json
    python benchmarks/pairs.py --cases feature-only kd --pairs 0 3

The training images are one batch, so that a step is an epoch, and the loss of the same images is known before the first
step and after the last. Only the terms that train the backbone count, as the method weighs them. The learning rate is
constant, a tenth of the peak rate of the student's architecture: with OneCycle 20 steps would lie in its warm-up. The
images are scikit-learn's digits at the size that the networks take. Layers are the methods' own; ``feature-only`` has
evenly spread ones. Networks have random weights. So that the teacher has something to say its batch normalization has
the statistics of the digits, and a classifier of zeros, as torchvision's transformers begin with, becomes a random one.

CRD contrasts images with a memory that starts random and takes half of every new embedding: its steps are counted from
the sixth on, where the memory holds the images, and there are 100 of them, since it stays at chance for the first ones.
FitNets as published has two stages, of 18 and 43 steps, and its loss is looked at in both. The weight of the teacher's
logits falls in the second one: the loss before and after is taken at the weight of the last step.

A method is left out where its objective isn't defined for the pair, with the reason. Progress goes to stderr, and at
the end a table to stdout; the exit code is 1 where a loss didn't fall. With ``--kept`` what is measured is kept in a
file, and what is kept there is not measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path

import torch
from torch import nn

from layerprobe import (
    AlignmentSettings,
    DataSettings,
    DistillSettings,
    LayerprobeError,
    ModelSettings,
    TrainingSettings,
    distill_student,
)
from layerprobe.data.datasets import open_split
from layerprobe.data.preprocessing import normalize, to_pixels
from layerprobe.distill.engine.step import HEAD_TERM
from layerprobe.distill.methods.catalogue import METHODS, PUBLICATION
from layerprobe.models.weights import save_weights
from layerprobe.networks import load_network
from layerprobe.settings.recipe import DEFAULT_RATES


@dataclass(frozen=True)
class Pair:
    """A teacher and a student, and the size of images that both take."""

    teacher: str
    student: str
    size: int = 32

    def __str__(self) -> str:
        return f"{self.teacher} to {self.student}"


PAIRS = (
    Pair("cifar:vgg19", "cifar:vgg11"),
    Pair("cifar:resnet34", "cifar:resnet9"),
    Pair("cifar:resnet34", "cifar:mobilenetv2"),
    Pair("cifar:vit-base", "cifar:vit-small"),
    Pair("cifar:vit-small", "cifar:resnet20"),
    Pair("cifar:resnet56", "cifar:vit-small"),
    Pair("timm:swin_tiny_patch4_window7_224", "cifar:resnet20"),
    Pair("timm:resnet18", "torchvision:mobilenet_v2", 64),
)


@dataclass(frozen=True)
class Case:
    """A method in one of its settings, in one of its forms."""

    method: str
    setting: str
    alignment: AlignmentSettings = field(default_factory=AlignmentSettings)


FORMS = {
    "geometry": AlignmentSettings(name="geometry"),
    "geometry-flattened": AlignmentSettings(name="geometry-flattened"),
    "moments": AlignmentSettings(name="moments"),
    "relation": AlignmentSettings(name="relation"),
    "attention": AlignmentSettings(mapping="attention"),
}
CASES = {
    **{
        ", ".join(filter(None, (name, method.shown_setting(setting)))): Case(name, setting)
        for name, method in METHODS.items()
        for setting, changes in method.settings.items()
        if changes or setting == next(iter(method.settings))
    },
    **{f"feature-only, {name}": Case("feature-only", PUBLICATION, form) for name, form in FORMS.items()},
}
STEPS = 20
STAGED = "fitnets, publication"
LONGER = {"crd": 100, STAGED: 60}
"""Steps where it takes more."""
FILLED = {"crd": 5}
"""Steps before those that count."""


@dataclass(frozen=True)
class Fall:
    """A loss before the first step that counts and after the last one."""

    before: float
    after: float

    @property
    def falls(self) -> bool:
        return self.after < self.before

    def __str__(self) -> str:
        change = f"{self.before:.3g}, {100 * (self.after / self.before - 1):+.3g} %"
        return change if self.falls else f"**{change}**"


@dataclass(frozen=True)
class Outcome:
    """How a method's own loss changed in every stage; ``reason`` where it isn't defined for the pair."""

    stages: list[Fall] = field(default_factory=list)
    seconds: float = 0.0
    reason: str = ""

    @property
    def falls(self) -> bool:
        return all(stage.falls for stage in self.stages)

    def __str__(self) -> str:
        if self.reason:
            return f"left out: {self.reason}"
        return f"{self.cell}, {'falls' if self.falls else 'DOES NOT FALL'}, {self.seconds:.0f} s"

    @property
    def cell(self) -> str:
        return "-" if self.reason else "; ".join(map(str, self.stages))


def write_teacher(pair: Pair, path: Path) -> None:
    """A teacher with random weights and the digits' batch statistics."""
    data = DataSettings(name="digits", image_size=pair.size)
    dataset = open_split(data, "train")
    network = load_network(ModelSettings(name=pair.teacher, weights="random", num_classes=10), data, dataset)
    teacher, preprocessing = network.module, network.preprocessing
    torch.manual_seed(0)
    for module in teacher.modules():
        if isinstance(module, nn.Linear) and not module.weight.any():
            module.reset_parameters()
        if isinstance(module, nn.BatchNorm2d):
            module.train().momentum = None
    pixels = torch.stack([to_pixels(dataset.image(row), preprocessing) for row in range(100)])
    with torch.no_grad():
        teacher(normalize(pixels, preprocessing))
    save_weights(teacher, path, {})


def attempt(name: str, pair: Pair, teacher: Path, batch: int) -> Outcome:
    """Train on one batch, and look at its loss before the first step that counts and after the last."""
    started = time.perf_counter()
    case = CASES[name]
    first = FILLED.get(name, 0)
    last = first + LONGER.get(name, STEPS)
    with tempfile.TemporaryDirectory() as folder:
        config = DistillSettings(
            method=case.method,
            setting=case.setting,
            teacher=ModelSettings(name=pair.teacher, weights=str(teacher), num_classes=10),
            student=ModelSettings(name=pair.student, weights="random", num_classes=10),
            data=DataSettings(name="digits", image_size=pair.size),
            output=Path(folder) / "run",
            layers="even:4" if METHODS[case.method].layers_required else None,
            alignment=case.alignment,
            training=TrainingSettings(
                # The losses of an epoch are those before its step: one more shows what the last step gave.
                epochs=last + 1,
                batch_size=batch,
                train_samples=batch,
                test_samples=10,
                lr=DEFAULT_RATES.of(pair.student) / 10,
                schedule="multi-step",
                decay=1.0,
                cache_teacher=True,
            ),
        )
        try:
            run = distill_student(config)
        except LayerprobeError as error:
            return Outcome(reason=str(error))
    losses = [
        {term: value for term, value in one.losses.items() if term != HEAD_TERM} for one in run.epochs[first : last + 1]
    ]
    stages = [list(stage) for _, stage in groupby(losses, key=lambda terms: terms.keys())]
    if name == STAGED:
        weights = METHODS["fitnets"].constants
        stages[1][0]["soft_cross_entropy"] *= weights["last_weight"] / weights["first_weight"]
    falls = [Fall(sum(stage[0].values()), sum(stage[-1].values())) for stage in stages]
    return Outcome(falls, time.perf_counter() - started)


def table(cases: list[str], pairs: list[Pair], outcomes: dict[tuple[str, Pair], Outcome]) -> str:
    """In Markdown: a row per method, a column per pair; the loss before, and how far it fell."""
    head = ["method", *(str(pair).replace("cifar:", "") for pair in pairs)]
    rows = [[case, *(outcomes[case, pair].cell for pair in pairs)] for case in cases]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


class Kept:
    """Outcomes that are kept in a file as soon as they are there, or nowhere."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.outcomes: dict[str, Outcome] = {}
        if path and path.exists():
            for name, one in json.loads(path.read_text()).items():
                self.outcomes[name] = Outcome(**one | {"stages": [Fall(**stage) for stage in one["stages"]]})

    def add(self, name: str, outcome: Outcome) -> None:
        self.outcomes[name] = outcome
        if self._path:
            self._path.write_text(json.dumps({name: asdict(one) for name, one in self.outcomes.items()}, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--pairs", nargs="+", type=int, default=list(range(len(PAIRS))))
    parser.add_argument("--batch-size", type=int, default=20)
    parser.add_argument("--kept", type=Path, help="a JSON file")
    arguments = parser.parse_args()
    pairs, kept = [PAIRS[number] for number in arguments.pairs], Kept(arguments.kept)
    for pair in pairs:
        print(pair, file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            teacher = Path(folder) / "teacher.safetensors"
            write_teacher(pair, teacher)
            for case in arguments.cases:
                name = f"{case}: {pair}"
                if name not in kept.outcomes:
                    kept.add(name, attempt(case, pair, teacher, arguments.batch_size))
                print(f"    {case}: {kept.outcomes[name]}", file=sys.stderr, flush=True)
    outcomes = {(case, pair): kept.outcomes[f"{case}: {pair}"] for case in arguments.cases for pair in pairs}
    print(table(arguments.cases, pairs, outcomes))
    defined = [outcome for outcome in outcomes.values() if not outcome.reason]
    falling = sum(outcome.falls for outcome in defined)
    print(f"\n{falling} of {len(defined)} losses fall; {len(outcomes) - len(defined)} are not defined for the pair")
    sys.exit(falling < len(defined))


if __name__ == "__main__":
    main()
