"""No step waits for a GPU: what has a GPU's numbers read, or counts what a mask chooses, is in no step."""

from collections import Counter
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from layerprobe.data.datasets import open_dataset
from layerprobe.data.loading import batches
from layerprobe.distill.alignments.catalogue import ALIGNMENTS
from layerprobe.distill.engine.images import load_images
from layerprobe.distill.engine.loss_means import LossMeans
from layerprobe.distill.engine.setup import TrainingSetup
from layerprobe.distill.engine.step import TrainingStep
from layerprobe.distill.layer_pairs import pair_by_mapping
from layerprobe.distill.methods.catalogue import METHODS, MIDDLE, PENULTIMATE
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.pairing import Pairing
from layerprobe.distill.run import distill_student
from layerprobe.layers.discovery import discover_layers
from layerprobe.networks import Network
from layerprobe.records import Preprocessing
from layerprobe.runtime.process_group import make_accelerator
from layerprobe.settings.alignment import AlignmentSettings
from layerprobe.settings.recipe import TrainingSettings
from layerprobe.settings.run import DistillSettings

WAITING = {
    "_local_scalar_dense", "nonzero", "_unique2", "unique_dim", "unique_consecutive", "masked_select", "is_nonzero",
    "equal", "bincount",
}  # fmt: skip
"""PyTorch's operations whose result, or its size, the processor must know before it goes on."""
COPIES = "lift_fresh"
"""What ``torch.tensor`` calls: numbers of Python's, which are copied to a GPU."""


class Waits(TorchDispatchMode):
    """Counts what would have the processor wait."""

    def __init__(self) -> None:
        super().__init__()
        self.found = Counter[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masks = name in ("index", "index_put", "index_put_") and any(
            isinstance(one, Tensor) and one.dtype == torch.bool for one in args[1]
        )
        if masks or name in WAITING or name == COPIES:
            self.found["mask" if masks else name] += 1
        return func(*args, **(kwargs or {}))


PREPROCESSING = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3)


def network(seed: int) -> Network:
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 10),
    )  # fmt: skip
    return Network("", module, "", "", PREPROCESSING, discover_layers(module, (8, 8)), 10)


def setup_of(name: str, form: AlignmentSettings) -> TrainingSetup:
    """One tiny network teaches another by a method, in its default setting."""
    method, teacher, student = METHODS[name], network(7), network(0)
    method = method.in_setting(method.default_setting)
    ours, theirs = student.layers[:2], teacher.layers[:2]
    if method.pairs == PENULTIMATE:
        ours, theirs = student.layers[-1:], teacher.layers[-1:]
    if method.pairs == MIDDLE:
        ours, theirs = ours[1:], theirs[1:]
    module, pairing = student.module, Pairing(ours, theirs)
    if method.changes_student:
        changed = method.load_change()(student, teacher, pairing, 0)
        module, pairing = changed.module, changed.pairing
    elif method.mapping != "one-to-one":
        pairing = pair_by_mapping(method.mapping, ours, theirs)
    objective = method.build(ObjectiveContext(pairing, 4, 10, form))
    pairing = pairing if method.uses_features else Pairing((), ())
    return TrainingSetup(module, objective, pairing, teacher.module.eval())


def waits(method: str, form: AlignmentSettings | None = None, cached: bool = False) -> Counter[str]:
    """What the second step of a training has to wait for, from the images to the sum of the losses."""
    splits = [open_dataset("digits", split=split) for split in ("train", "test")]
    images = load_images(*splits, PREPROCESSING, TrainingSettings(batch_size=4, train_samples=20, test_samples=10))
    setup = setup_of(method, form or AlignmentSettings())
    if setup.objective.batch_kind.indexed:
        setup.objective.prepare(images.labels)
    step, means, mode = TrainingStep(setup, PREPROCESSING, make_accelerator(torch.device("cpu"))), LossMeans(), Waits()
    if cached:
        step.cache_teacher(images.in_order(), images.count)
    step.fit(images.in_order())
    setup.objective.start_epoch(1, 2)
    step.student.train()
    for batch, watched in zip(batches(images.train), (nullcontext(), mode), strict=False):
        with watched:
            terms = step.terms(batch)
            torch.stack(list(terms.values())).sum().backward()
            means.add(terms, len(batch.positions))
    step.close()
    return mode.found


def test_the_count_knows_what_waits() -> None:
    values = torch.arange(3.0)
    with Waits() as mode:
        values.sum().item()
        values[values > 1]
        torch.unique(values)
        torch.tensor([1.0])
    assert mode.found == {"_local_scalar_dense": 1, "mask": 1, "_unique2": 1, COPIES: 1}


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("kd-t2", "fitnets-ce", "fitnets-full")])
def test_no_method_waits(method: str) -> None:
    assert not waits(method)


def test_a_cached_teacher_does_not_wait() -> None:
    assert not waits("feature-only", cached=True)


BY_GROUP = {"moments": {"_unique2", "mask"}, "geometry-flattened": {"_unique2", "nonzero", "_local_scalar_dense"}}
"""Alignments whose images are divided into groups: how many a group has must be known."""


@pytest.mark.parametrize(
    ("name", "by_class"),
    [(name, by_class) for name, one in ALIGNMENTS.items() for by_class in {False, bool(one.by_class)}],
)
def test_alignments_wait_for_the_size_of_groups_alone(name: str, by_class: bool) -> None:
    found = waits("feature-only", AlignmentSettings(name=name, by_class=by_class))
    grouped = name == "moments" or (name in BY_GROUP and by_class)
    assert set(found) <= BY_GROUP[name] if grouped else not found


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("augment", ["none", "crop-flip"])
def test_a_gpu_is_not_waited_for(small: DistillSettings, augment: str) -> None:
    """PyTorch itself tells: the mode raises an error wherever a step waits, loading and caching included."""
    training: TrainingSettings = small.training.replaced(
        device="cuda", augment=augment, cache_teacher=augment == "none"
    )
    steps: list[int] = []

    def watch(what: str, done: int, total: int) -> None:
        if what == "training steps":
            steps.append(done)
            # From the second step of an epoch to its last; between epochs losses are read and images tested.
            torch.cuda.set_sync_debug_mode("error" if 1 < done % 5 < 4 else "default")

    try:
        distill_student(small.replaced(training=training), progress=watch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(steps) == 10  # 300 images in batches of 64, twice
