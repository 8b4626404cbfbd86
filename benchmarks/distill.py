"""Distillation / a minimal hand-written loop that does the same arithmetic, in one run: time per step, and peak memory.

    python benchmarks/distill.py                  # feature-only and kd, ResNet-56 teaches ResNet-20 at 32 pixels
    python benchmarks/distill.py --device cuda --batch-size 128 --steps 200 --compile --precision bf16

The loop: both networks, hooks on the paired layers, 1x1 convolutions, the loss terms, AdamW and OneCycle, on the same
decoded images in batches of the same size; written out here, with nothing of the engine. Both alternate, each time in a
process of its own; medians are reported. A ratio of 1.05 or less is the target, for memory 1.10. Memory is resident on
a CPU, allocated on a GPU.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy, kl_div, log_softmax, mse_loss

from layerprobe.data.builtin import ArrayReader
from layerprobe.data.image_dataset import ImageDataset
from layerprobe.distill.engine.images import Images, load_images
from layerprobe.distill.engine.loop import train
from layerprobe.distill.engine.setup import TrainingSetup
from layerprobe.distill.methods.catalogue import METHODS
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.pairing import Pairing
from layerprobe.layers.discovery import discover_layers
from layerprobe.layers.selection import even_layers
from layerprobe.models.zoo import build_model
from layerprobe.records import Preprocessing
from layerprobe.runtime.devices import resolve_device
from layerprobe.runtime.environment import peak_memory
from layerprobe.runtime.process_group import make_accelerator
from layerprobe.settings.recipe import TrainingSettings

SIZE, CLASSES, PAIRS = 32, 10, 4
PREPROCESSING = Preprocessing((SIZE, SIZE), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Case:
    method: str
    teacher: str
    student: str
    batch_size: int
    steps: int
    device: str
    precision: Literal["no", "bf16"] = "no"
    compile: bool = False


def random_images(setting: Case) -> Images:
    """Noise: what is in the images doesn't change how long they take."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(256, size=(setting.batch_size * setting.steps, SIZE, SIZE, 3), dtype=np.uint8)
    labels = generator.integers(CLASSES, size=len(pixels))
    classes = tuple(map(str, range(CLASSES)))

    def dataset(split: str, count: int) -> ImageDataset:
        return ImageDataset("noise", split, classes, labels[:count], ArrayReader(pixels[:count]))

    training = TrainingSettings(batch_size=setting.batch_size)
    return load_images(dataset("train", len(pixels)), dataset("test", 2), PREPROCESSING, training)


def networks(setting: Case) -> tuple[nn.Module, nn.Module, Pairing]:
    teacher = build_model(setting.teacher, num_classes=CLASSES, image_size=SIZE, seed=1).eval()
    student = build_model(setting.student, num_classes=CLASSES, image_size=SIZE, seed=0)
    sides = (even_layers(discover_layers(network, (SIZE, SIZE)), PAIRS, "network") for network in (student, teacher))
    return teacher, student, Pairing(*sides)


def engine_epochs(setting: Case, epochs: int) -> Iterator[float]:
    """Seconds of every epoch's steps."""
    teacher, student, pairing = networks(setting)
    method = METHODS[setting.method]
    torch.manual_seed(0)
    setup = TrainingSetup(
        student,
        method.build(ObjectiveContext(pairing, setting.batch_size)),
        pairing if method.uses_features else Pairing((), ()),
        teacher,
    )
    accelerator = make_accelerator(resolve_device(setting.device), setting.precision)
    recipe = TrainingSettings(epochs=epochs, lr=1e-3, compile=setting.compile)
    begun = [0.0]
    took: list[float] = []

    def progress(what: str, done: int, total: int) -> None:
        if done % setting.steps == 1:
            synchronize(accelerator.device)
            begun[0] = time.perf_counter()
        elif done % setting.steps == 0:
            synchronize(accelerator.device)
            took.append(time.perf_counter() - begun[0])

    train(setup, random_images(setting), recipe, accelerator, progress=progress)
    yield from took


def loop_epochs(setting: Case, epochs: int) -> Iterator[float]:
    """The same arithmetic, written out."""
    device = resolve_device(setting.device)
    images = random_images(setting)
    pixels, labels = images.train.dataset.decoded, images.train.dataset.labels
    teacher, student, pairing = networks(setting)
    teacher, student = teacher.to(device), student.to(device).train()
    features = setting.method == "feature-only"
    torch.manual_seed(0)
    pairs = zip(pairing.student, pairing.teacher, strict=True)
    projectors = nn.ModuleList(nn.Conv2d(s.shape[0], t.shape[0], 1, bias=False) for s, t in pairs if features).to(
        device
    )
    kept: dict[str, Tensor] = {}
    if features:
        hook_layers(teacher, [layer.name for layer in pairing.teacher], kept, "teacher ", gate=None)
        names = [layer.name for layer in pairing.student]
        hook_layers(student, names, kept, "student ", gate=names[-1])
    if setting.compile:
        teacher.compile()
        student.compile()
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=setting.precision == "bf16")
    parameters = [*student.parameters(), *projectors.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=epochs * setting.steps)
    mean, std = (torch.tensor(v, device=device)[:, None, None] for v in (PREPROCESSING.mean, PREPROCESSING.std))
    for _ in range(epochs):
        order = torch.randperm(len(pixels))
        total = torch.zeros((), device=device)
        for step in range(setting.steps):
            index = order[step * setting.batch_size : (step + 1) * setting.batch_size]
            inputs = pixels[index].to(device, non_blocking=True).float().div_(255).sub_(mean).div_(std)
            target = labels[index].to(device, non_blocking=True)
            with autocast:
                with torch.no_grad():
                    theirs = teacher(inputs)
                loss = cross_entropy(logits := student(inputs), target)
                loss = loss + (feature_loss(kept, pairing, projectors) if features else 16 * softened(logits, theirs))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach() * len(index)
            if step == 0:  # as for the engine, the first step of an epoch is left out
                synchronize(device)
                begun = time.perf_counter()
        synchronize(device)
        yield time.perf_counter() - begun
        float(total)


def hook_layers(network: nn.Module, names: list[str], kept: dict[str, Tensor], prefix: str, gate: str | None) -> None:
    for name in names:

        def hook(module: nn.Module, inputs: object, output: Tensor, name: str = name) -> Tensor | None:
            kept[prefix + name] = output
            return output.detach() if name == gate else None

        network.get_submodule(name).register_forward_hook(hook)


def feature_loss(kept: dict[str, Tensor], pairing: Pairing, projectors: nn.ModuleList) -> Tensor:
    losses = []
    for layer, taught, projector in zip(pairing.student, pairing.teacher, projectors, strict=True):
        ours, theirs = kept["student " + layer.name], kept["teacher " + taught.name]
        side = min(ours.shape[-1], theirs.shape[-1])
        if ours.shape[-1] > side:
            ours = adaptive_avg_pool2d(ours, side)
        if theirs.shape[-1] > side:
            theirs = adaptive_avg_pool2d(theirs, side)
        losses.append(mse_loss(projector(ours), theirs))
    return torch.stack(losses).mean()


def softened(ours: Tensor, theirs: Tensor) -> Tensor:
    return kl_div(log_softmax(ours / 4, 1), log_softmax(theirs / 4, 1), reduction="batchmean", log_target=True)


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


WAYS: dict[str, Callable[[Case, int], Iterator[float]]] = {"engine": engine_epochs, "loop": loop_epochs}


def measured(setting: Case, way: str) -> tuple[float, int]:
    """Milliseconds a step, and peak memory in bytes, of a process that does nothing else."""
    given = {name: value for name, value in vars(setting).items() if name not in ("method", "compile")}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    options += ["--compile"] if setting.compile else []
    command = [sys.executable, __file__, "--methods", setting.method, "--only", way, *options]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(printed[-2]), int(printed[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["feature-only", "kd"], choices=["feature-only", "kd"])
    parser.add_argument("--teacher", default="cifar:resnet56")
    parser.add_argument("--student", default="cifar:resnet20")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20, help="per epoch")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=["no", "bf16"], default="no")
    parser.add_argument("--compile", action="store_true", help="compile the networks of both")
    parser.add_argument("--only", choices=WAYS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    for method in given.methods:
        setting = Case(
            method, given.teacher, given.student, given.batch_size, given.steps, given.device, given.precision,
            given.compile,
        )  # fmt: skip
        if given.only:
            *_, last = WAYS[given.only](setting, 2)  # the first epoch warms up
            print(1000 * last / (setting.steps - 1), peak_memory(resolve_device(given.device)))
            continue
        runs: dict[str, list[tuple[float, int]]] = {way: [] for way in WAYS}
        for repeat in range(given.repeats):
            for way in list(WAYS)[:: 1 if repeat % 2 else -1]:
                runs[way].append(measured(setting, way))
        medians, memory = ({way: statistics.median(run[n] for run in runs[way]) for way in WAYS} for n in (0, 1))
        print(
            f"{method}: {medians['engine']:.1f} ms a step / {medians['loop']:.1f} ms = "
            f"{medians['engine'] / medians['loop']:.3f}; peak memory {memory['engine'] / 1e6:.0f} MB / "
            f"{memory['loop'] / 1e6:.0f} MB = {memory['engine'] / memory['loop']:.3f}"
        )


if __name__ == "__main__":
    main()
