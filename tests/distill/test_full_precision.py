"""Under autocast every objective is what it is in float32, up to the rounding of its projectors."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from layerprobe.distill.alignments.catalogue import ALIGNMENTS
from layerprobe.distill.alignments.moments import moment_loss
from layerprobe.distill.alignments.relation import relation
from layerprobe.distill.layer_pairs import pair_by_mapping
from layerprobe.distill.methods.attention_transfer import attention_map
from layerprobe.distill.methods.catalogue import METHODS, MIDDLE
from layerprobe.distill.methods.rkd import angle_potentials, distance_potentials
from layerprobe.distill.methods.sp import similarity_preserving
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.objectives import Objective
from layerprobe.distill.pairing import Pairing
from layerprobe.layers.capture import Captured
from layerprobe.records import Layer
from layerprobe.settings.alignment import AlignmentSettings
from tests.helpers.objectives import loss_terms, prepare

IMAGES, CLASSES = 24, 4
LABELS = torch.arange(IMAGES) % CLASSES
STUDENT = (Layer(0, "a", "block", (6, 4, 4), 0), Layer(1, "b", "block", (8, 3, 3), 0))
TEACHER = (Layer(0, "x", "block", (7, 4, 4), 0), Layer(1, "y", "block", (8, 3, 3), 0))
FORMS = [
    *(AlignmentSettings(name=name) for name in ALIGNMENTS),
    *(AlignmentSettings(name=name, by_class=True) for name in ("geometry", "geometry-flattened", "moments")),
    AlignmentSettings(mapping="attention"),
    AlignmentSettings(kl=True),
]
CASES = [(name, AlignmentSettings()) for name in METHODS if name != "feature-only"] + [
    ("feature-only", form) for form in FORMS
]


def alike(*shape: int, seed: int) -> Tensor:
    """Features as behind a ReLU: of one sign, with much in common, so that similarities differ in their last digits."""
    return 3 + torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def captured(layers: tuple[Layer, ...], seed: int) -> Captured:
    logits = torch.randn(IMAGES, CLASSES, generator=torch.Generator().manual_seed(seed))
    return Captured(logits, {one.name: alike(IMAGES, *one.shape, seed=seed + 1 + one.index) for one in layers})


def terms(objective: Objective[Any], pairing: Pairing, student: Captured, teacher: Captured) -> dict[str, float]:
    torch.manual_seed(0)
    found = loss_terms(objective, pairing, student, teacher, LABELS)
    return {name: float(value.detach()) for name, value in found.items()}


@pytest.mark.parametrize(("method", "form"), CASES, ids=lambda value: getattr(value, "label", value) or "default")
def test_every_objective_under_autocast(method: str, form: AlignmentSettings) -> None:
    torch.manual_seed(0)
    needs = METHODS[method]
    mapping = form.mapping.mapping if needs.takes_alignment else needs.mapping
    pairing = pair_by_mapping(mapping, STUDENT, TEACHER)
    if needs.pairs_ends or needs.pairs == MIDDLE:
        pairing = Pairing(STUDENT[-1:], TEACHER[-1:])
    student, teacher = captured(STUDENT, 1), captured(TEACHER, 11)
    objective = needs.build(ObjectiveContext(pairing, IMAGES, CLASSES, form))
    prepare(objective, pairing, teacher, LABELS)
    expected = terms(deepcopy(objective), pairing, student, teacher)
    with torch.autocast("cpu", torch.bfloat16):
        found = terms(deepcopy(objective), pairing, student, teacher)
    rounds = any(isinstance(module, (nn.Conv1d, nn.Conv2d)) for module in objective.modules())
    assert found == pytest.approx(expected, rel=0.01 if rounds else 1e-6)


COMPARED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sp": similarity_preserving,
    "relation": relation,
    "moments": lambda ours, theirs: moment_loss(ours, theirs, LABELS),
    "attention": lambda ours, theirs: (attention_map(ours) - attention_map(theirs)).square().mean(),
    "distances": lambda ours, theirs: distance_potentials(ours.flatten(1)) - distance_potentials(theirs.flatten(1)),
    "angles": lambda ours, theirs: angle_potentials(ours.flatten(1)) - angle_potentials(theirs.flatten(1)),
}


@pytest.mark.parametrize("name", COMPARED)
def test_float16_features_do_not_overflow(name: str) -> None:
    ours, theirs = (100 * alike(IMAGES, 8, 3, 3, seed=seed).half() for seed in (0, 1))
    found = COMPARED[name](ours, theirs)
    assert found.dtype == torch.float32 and bool(found.isfinite().all())
    assert torch.equal(found, COMPARED[name](ours.float(), theirs.float()))
