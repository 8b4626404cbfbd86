"""Every objective on features of any shape: maps that are not square and sizes that don't divide, tokens, vectors.

Alignment against a float64 formula with loops; gradients of every objective in float64 against differences.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck

from layerprobe.distill.alignments.projected import FeatureOnly
from layerprobe.distill.batches import FeatureBatch
from layerprobe.distill.layer_pairs import pair_by_mapping
from layerprobe.distill.losses.catalogue import FEATURE_LOSSES
from layerprobe.distill.losses.feature_loss import load_feature_loss
from layerprobe.distill.methods.catalogue import METHODS, MIDDLE, PAPER, PENULTIMATE
from layerprobe.distill.methods.feature_only import FeaturesAndLogits
from layerprobe.distill.methods.simkd import MatchedEnding
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.objectives import Objective
from layerprobe.distill.pairing import Pairing
from layerprobe.distill.projectors import ThreeLayerProjector
from layerprobe.layers.capture import Captured
from layerprobe.records import Layer, Layout, Shape
from layerprobe.records.layout import GRID, MAP, SEQUENCE
from layerprobe.settings.alignment import AlignmentSettings
from tests.helpers.objectives import feature_only, loss_terms, prepare

WIDE, TALL, LAST, VECTOR = (2, 3, 7), (4, 5, 2), (3, 3, 4), (5,)
TOKENS = Shape((7, 3), Layout(GRID, 2, 3, prefix=1, class_token=True, channels_last=True))
SHORT = Shape((5, 6), Layout(GRID, 4, 1, prefix=1, class_token=True, channels_last=True))
UNKNOWN = Shape((7, 3), Layout(SEQUENCE, 1, 7, channels_last=True))
SHAPES = {
    "map to map": ((WIDE, TALL), (TALL, WIDE)),
    "channels last": ((LAST, WIDE), (TALL, LAST)),
    "tokens to tokens": ((TOKENS, SHORT), (SHORT, TOKENS)),
    "one layout": ((TOKENS, TOKENS), (TOKENS, TOKENS)),
    "no grid": ((UNKNOWN, UNKNOWN), (UNKNOWN, UNKNOWN)),
    "all tokens": (
        (Shape(TOKENS, TOKENS.layout, "all"), Shape(SHORT, SHORT.layout, "all")),
        (Shape(SHORT, SHORT.layout, "all"), Shape(TALL, Layout(MAP, *TALL[1:]), "all")),
    ),
    "map to tokens": ((WIDE, LAST), (TOKENS, SHORT)),
    "tokens to map": ((TOKENS, SHORT), (WIDE, TALL)),
    "with vectors": ((TOKENS, VECTOR), (VECTOR, WIDE)),
}
FORMS = {
    **{loss: AlignmentSettings(feature_loss=loss) for loss in FEATURE_LOSSES},
    "three layers": AlignmentSettings(projector="three-layer"),
    "full": AlignmentSettings(mapping="full"),
    "attention": AlignmentSettings(mapping="attention"),
    "geometry": AlignmentSettings(name="geometry"),
    "flattened": AlignmentSettings(name="geometry-flattened"),
    "moments": AlignmentSettings(name="moments"),
    "relation": AlignmentSettings(name="relation"),
    "geometry by class": AlignmentSettings(name="geometry", by_class=True),
    "flattened by class": AlignmentSettings(name="geometry-flattened", by_class=True),
    "moments by class": AlignmentSettings(name="moments", by_class=True),
    "with logits": AlignmentSettings(cross_entropy=True, kl=True),
}
BASELINES = ("fitnets", "fitnets-full", "fitnets-ce", "sp", "semckd", "attention-transfer", "rkd", "crd")
IMAGES, CLASSES = 5, 3
LABELS = torch.arange(IMAGES) % CLASSES


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def layers(name: str, shapes: Sequence[tuple[int, ...]]) -> tuple[Layer, ...]:
    return tuple(Layer(i, f"{name}{i}", "block", shape, 0) for i, shape in enumerate(shapes))


def features(side: Sequence[Layer]) -> dict[str, Tensor]:
    return {
        one.name: normal(IMAGES, *one.shape, seed=ord(one.name[0]) + 7 * one.index + 3 * len(one.shape)) for one in side
    }


def as_function(objective: Objective[Any], pairing: Pairing) -> tuple[Callable[..., Tensor], list[Tensor]]:
    """The sum of an objective's terms as a function of the student's features alone, and such features."""
    ours, theirs = features(pairing.student), features(pairing.teacher)
    logits, teacher = normal(IMAGES, CLASSES, seed=1), Captured(normal(IMAGES, CLASSES, seed=2), theirs)
    prepare(objective, pairing, teacher, LABELS)
    if objective.batch_kind.indexed:
        objective.double()
        draw = objective.others.draw(LABELS, 4)
        objective.others.draw = lambda labels, count: draw  # type: ignore[method-assign, union-attr, operator]

    def loss(*given: Tensor) -> Tensor:
        student = Captured(logits, dict(zip(ours, given, strict=True)))
        terms = loss_terms(objective, pairing, student, teacher, LABELS)
        return torch.stack(list(terms.values())).sum()

    return loss, [value.requires_grad_() for value in ours.values()]


def check_gradients(objective: Objective[Any], pairing: Pairing, taught: slice = slice(None)) -> None:
    """Of the student layers in ``taught`` gradients aren't zero; of every one they are right."""
    loss, given = as_function(objective.double().eval(), pairing)
    assert math.isfinite(float(loss(*given).detach()))
    gradients = torch.autograd.grad(loss(*given), given)
    assert all(bool(gradient.isfinite().all()) and bool(gradient.any()) for gradient in gradients[taught])
    assert gradcheck(loss, given, atol=1e-4, rtol=1e-3, fast_mode=True)


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_feature_only(form: str, shapes: str) -> None:
    torch.manual_seed(0)
    ours, theirs = SHAPES[shapes]
    pairing = pair_by_mapping(FORMS[form].mapping.mapping, layers("s", ours), layers("t", theirs))
    check_gradients(feature_only(FORMS[form], pairing, CLASSES, batch_size=IMAGES + 1), pairing)


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize(("method", "setting"), [*((name, "") for name in BASELINES), ("fitnets", PAPER)])
def test_every_baseline(method: str, setting: str, shapes: str) -> None:
    torch.manual_seed(0)
    sides, taught = SHAPES[shapes], slice(None)
    if method == "attention-transfer" and shapes == "with vectors":
        # A vector is one position: its attention map is 1 whatever it holds.
        sides, taught = ((*sides[0], WIDE), (*sides[1], TOKENS)), slice(2, None)
    ours, theirs = (layers(name, side) for name, side in zip("st", sides, strict=True))
    needs = METHODS[method].in_setting(setting or METHODS[method].default_setting)
    pairings = [pair_by_mapping(needs.mapping, ours, theirs)]
    if needs.pairs == PENULTIMATE:
        pairings = [Pairing(ours[-1:], theirs[-1:])]
    if needs.pairs == MIDDLE:
        pairings = [Pairing((one,), (other,)) for one, other in zip(ours, theirs, strict=True)]
    for pairing in pairings:
        check_gradients(needs.build(ObjectiveContext(pairing, IMAGES + 1, CLASSES)), pairing, taught)


@pytest.mark.parametrize("shapes", ["map to map", "channels last"])
def test_knowledge_review(shapes: str) -> None:
    torch.manual_seed(0)
    pairing = Pairing(*(layers(name, side) for name, side in zip("st", SHAPES[shapes], strict=True)))
    check_gradients(METHODS["reviewkd"].build(ObjectiveContext(pairing)), pairing)


@pytest.mark.parametrize("theirs", [(4, 2, 3), (4, 7, 1), (4,)])
def test_a_projected_ending(theirs: tuple[int, ...]) -> None:
    pairing = Pairing(layers("s", [TALL]), layers("t", [theirs]))
    check_gradients(MatchedEnding(pairing), pairing)


def test_every_method_with_features_stands_here() -> None:
    assert {name for name, method in METHODS.items() if method.uses_features} == {
        *BASELINES, "feature-only", "reviewkd", "simkd",
    }  # fmt: skip


def laid_out(f: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Extra tokens (images, channels, extra), and patches (images, channels, height, width)."""
    grids: dict[tuple[int, ...], tuple[int, int, int]] = {TOKENS: (1, 2, 3), SHORT: (1, 4, 1)}
    if shape == LAST:
        f = np.moveaxis(f, -1, 1)
    if f.ndim == 3:
        prefix, *sides = (0, 1, 7) if shape is UNKNOWN else grids[shape]
        f = np.moveaxis(f, -1, 1)
        return f[:, :, :prefix], f[:, :, prefix:].reshape(*f.shape[:2], *sides)
    patches = f[:, :, None, None] if f.ndim == 2 else f
    return patches.reshape(*patches.shape[:2], -1)[:, :, :0], patches


def pooled(f: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Means of ``size`` equal parts of an axis; a position that two parts share counts in both."""
    length = f.shape[axis]
    parts = [(i * length // size, -(-(i + 1) * length // size)) for i in range(size)]
    return np.stack([np.take(f, range(first, last), axis).mean(axis=axis) for first, last in parts], axis=axis)


def formula(loss: str, d: np.ndarray, student: np.ndarray, teacher: np.ndarray) -> float:
    if loss == "mse":
        return float((d**2).mean())
    if loss == "huber":
        return float(np.where(np.abs(d) < 1, d**2 / 2, np.abs(d) - 0.5).mean())
    lengths = np.linalg.norm(student, axis=1) * np.linalg.norm(teacher, axis=1)
    return float((1 - (student * teacher).sum(axis=1) / lengths).mean())


@pytest.mark.parametrize("loss", FEATURE_LOSSES)
@pytest.mark.parametrize("shapes", SHAPES)
def test_projected_features_against_the_formula(shapes: str, loss: str) -> None:
    torch.manual_seed(0)
    pairing = Pairing(*(layers(name, side) for name, side in zip("st", SHAPES[shapes], strict=True)))
    objective = FeatureOnly(pairing, load_feature_loss(loss)).double()
    ours, theirs = features(pairing.student), features(pairing.teacher)
    losses = []
    for projector, one, other in zip(objective.projectors, pairing.student, pairing.teacher, strict=True):
        (extra, student), (their_extra, teacher) = (
            laid_out(given[layer.name].numpy(), layer.shape) for given, layer in ((ours, one), (theirs, other))
        )
        weight = projector.project.weight.detach().numpy()
        weight = weight.reshape(weight.shape[:2])
        for axis in range(2, student.ndim):
            size = min(student.shape[axis], teacher.shape[axis])
            student, teacher = pooled(student, axis, size), pooled(teacher, axis, size)
        student, teacher = (part.reshape(*part.shape[:2], -1) for part in (student, teacher))
        if shapes == "one layout":
            student, teacher = np.dstack([extra, student]), np.dstack([their_extra, teacher])
        elif shapes == "all tokens":
            theirs_too = (
                their_extra
                if their_extra.shape[2]
                else laid_out(theirs[other.name].numpy(), other.shape)[1].mean(axis=(2, 3))[:, :, None]
            )
            student, teacher = np.dstack([extra, student]), np.dstack([theirs_too, teacher])
        student = np.einsum("oc,bcp->bop", weight, student)
        losses.append(formula(loss, student - teacher, student, teacher))
    found = objective(FeatureBatch(list(ours.values()), list(theirs.values())))
    assert float(found["features"].detach()) == pytest.approx(np.mean(losses), rel=1e-9)


def test_three_layers_against_the_formula() -> None:
    torch.manual_seed(0)
    projector = ThreeLayerProjector(UNKNOWN, UNKNOWN).double()
    modules = list(projector.project)
    kinds = [nn.Conv1d, nn.BatchNorm1d, nn.ReLU] * 2 + [nn.Conv1d]
    assert [type(module) for module in modules] == kinds
    assert [module.kernel_size for module in modules[::3]] == [(1,), (3,), (1,)]
    x = np.moveaxis(normal(IMAGES, *UNKNOWN, seed=3).numpy(), -1, 1)
    expected = x
    for number in (0, 3, 6):
        weight, bias = modules[number].weight.detach().numpy(), modules[number].bias
        reach = weight.shape[2] // 2
        padded = np.pad(expected, ((0, 0), (0, 0), (reach, reach)))
        windows = [padded[:, :, i : i + weight.shape[2]] for i in range(expected.shape[2])]
        expected = np.stack([np.einsum("ncj,ocj->no", window, weight) for window in windows], axis=2)
        if number < 6:
            centred = expected - expected.mean(axis=(0, 2), keepdims=True)
            expected = np.maximum(centred / np.sqrt(expected.var(axis=(0, 2), keepdims=True) + 1e-5), 0)
        else:
            expected = expected + bias.detach().numpy()[:, None]
    found = projector(torch.from_numpy(np.moveaxis(x, 1, -1)), normal(IMAGES, *UNKNOWN, seed=4)).student
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("weight", [1.0, 400.0])
def test_the_ablations_add_cross_entropy_and_sixteen_kl(weight: float) -> None:
    torch.manual_seed(0)
    pairing = Pairing(*(layers(name, side) for name, side in zip("st", SHAPES["map to tokens"], strict=True)))
    ablation = AlignmentSettings(cross_entropy=True, kl=True, feature_weight=weight)
    objective = feature_only(ablation, pairing, CLASSES).double()
    assert isinstance(objective, FeaturesAndLogits)
    ours, theirs = features(pairing.student), features(pairing.teacher)
    logits, taught = normal(IMAGES, CLASSES, seed=1), normal(IMAGES, CLASSES, seed=2)
    terms = loss_terms(objective, pairing, Captured(logits, ours), Captured(taught, theirs), LABELS)

    def softmax(x: np.ndarray) -> np.ndarray:
        e = np.exp(x - x.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    p, q = softmax(taught.numpy() / 4), softmax(logits.numpy() / 4)
    alone = objective.features(FeatureBatch(list(ours.values()), list(theirs.values())))
    assert {name: float(value.detach()) for name, value in terms.items()} == pytest.approx(
        {
            "features": weight * float(alone["features"].detach()),
            "cross_entropy": -np.log(softmax(logits.numpy())[np.arange(IMAGES), LABELS.numpy()]).mean(),
            "kl": 16 * (p * np.log(p / q)).sum(axis=1).mean(),
        },
        rel=1e-9,
    )
