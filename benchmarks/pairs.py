"""Every method on pairs of architectures: 20 steps each, and whether its loss falls.

    python benchmarks/pairs.py
    python benchmarks/pairs.py --methods feature-only kd --pairs 0 3

Networks have random weights; the images are scikit-learn's digits at the size the networks take. A method is left out
where its objective isn't defined for the pair, with the reason. The loss is the sum of the terms that train the
backbone, mean over the first five and the last five steps.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from layerprobe import DataSpec, DistillConfig, LayerprobeError, ModelSpec, Training, distill_student
from layerprobe.distill.methods import METHODS
from layerprobe.distill.trainer import HEAD_TERM

PAIRS = (
    ("cifar:vgg19", "cifar:vgg11", 32),
    ("cifar:resnet34", "cifar:resnet9", 32),
    ("cifar:resnet34", "cifar:mobilenetv2", 32),
    ("cifar:vit-base", "cifar:vit-small", 32),
    ("cifar:vit-small", "cifar:resnet20", 32),
    ("cifar:resnet56", "cifar:vit-small", 32),
    ("timm:resnet18", "torchvision:mobilenet_v2", 64),
)
LAYERS = "even:3"


@dataclass(frozen=True)
class Outcome:
    """What 20 steps gave; ``reason`` where there were none."""

    first: float = 0.0
    last: float = 0.0
    seconds: float = 0.0
    reason: str = ""

    def __str__(self) -> str:
        if self.reason:
            return f"left out: {self.reason}"
        verdict = "falls" if self.last < self.first else "DOES NOT FALL"
        return f"{self.first:.4f} to {self.last:.4f}, {verdict}, {self.seconds:.0f} s"


def attempt(method: str, teacher: str, student: str, size: int, batch: int) -> Outcome:
    """Four epochs of five steps."""
    started, needs = time.perf_counter(), METHODS[method]
    with tempfile.TemporaryDirectory() as folder:
        config = DistillConfig(
            method=method,
            teacher=ModelSpec(teacher, "random", num_classes=10),
            student=ModelSpec(student, "random", num_classes=10),
            data=DataSpec("digits", image_size=size),
            output=Path(folder) / "run",
            layers=LAYERS if needs.uses_features and not needs.penultimate else None,
            training=Training(epochs=4, batch_size=batch, train_samples=5 * batch, test_samples=10),
        )
        try:
            run = distill_student(config)
        except LayerprobeError as error:
            return Outcome(reason=str(error))
    sums = [sum(value for name, value in one.losses.items() if name != HEAD_TERM) for one in run.epochs]
    return Outcome(sums[0], sums[-1], time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--pairs", nargs="+", type=int, default=range(len(PAIRS)))
    parser.add_argument("--batch-size", type=int, default=20)
    arguments = parser.parse_args()
    for number in arguments.pairs:
        teacher, student, size = PAIRS[number]
        print(f"{teacher} to {student}", flush=True)
        for method in arguments.methods:
            print(f"    {method}: {attempt(method, teacher, student, size, arguments.batch_size)}", flush=True)


if __name__ == "__main__":
    main()
