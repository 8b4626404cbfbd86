"""Both settings of every baseline against formulas in float64 that are written out here, with nothing of our modules.

The features' term of each: its value, and the norm of its gradient in the student's features, before any training.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from layerprobe.distill.batches import FeatureBatch
from layerprobe.distill.methods.catalogue import FINE_TUNED, METHODS, PAPER, PUBLICATION, SETTINGS
from layerprobe.distill.methods.sp import cosine_difference
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.pairing import Pairing, full_pairing
from layerprobe.layers.capture import Captured
from layerprobe.records import Layer
from tests.helpers.objectives import loss_terms

IMAGES, CLASSES = 6, 5
OURS = ((4, 8, 8), (6, 4, 4), (8, 4, 4), (10, 2, 2))
THEIRS = ((8, 8, 8), (12, 8, 8), (16, 4, 4), (20, 2, 2))
LABELS = torch.arange(IMAGES) % CLASSES

STAGED = ("fitnets", PUBLICATION)
BASELINES = ("fitnets", "fitnets-full", "fitnets-ce", "sp", "semckd")
CASES = [
    (method, setting) for method in BASELINES for setting in METHODS[method].settings if (method, setting) != STAGED
]
"""FitNets as published has stages: see ``test_fitnets.py``."""


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def layers(shapes: tuple[tuple[int, ...], ...], letter: str) -> tuple[Layer, ...]:
    return tuple(Layer(index, f"{letter}{index}", "block", shape, 0) for index, shape in enumerate(shapes))


def shrunk(x: Tensor, side: int) -> Tensor:
    """Means over squares: every size here divides."""
    step = x.shape[2] // side
    parts = [[x[:, :, i * step : (i + 1) * step, j * step : (j + 1) * step] for j in range(side)] for i in range(side)]
    return torch.stack([torch.stack([part.mean(dim=(2, 3)) for part in row], dim=-1) for row in parts], dim=-2)


def met(ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    side = min(ours.shape[2], theirs.shape[2])
    return shrunk(ours, side), shrunk(theirs, side)


def one_layer(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    return torch.einsum("oc,bchw->bohw", weights["project.weight"][:, :, 0, 0], x)


def convolution(x: Tensor, weight: Tensor) -> Tensor:
    """A sum over the window's places of products, with zeros around the map."""
    reach, (height, width) = weight.shape[2] // 2, x.shape[2:]
    padded = x.new_zeros(*x.shape[:2], height + 2 * reach, width + 2 * reach)
    padded[:, :, reach : reach + height, reach : reach + width] = x
    places = [(i, j) for i in range(weight.shape[2]) for j in range(weight.shape[3])]
    shifted = (padded[:, :, i : i + height, j : j + width] for i, j in places)
    return sum(  # type: ignore[return-value]
        torch.einsum("oc,bchw->bohw", weight[:, :, i, j], part) for (i, j), part in zip(places, shifted, strict=True)
    )


def normalized(x: Tensor) -> Tensor:
    centred = x - x.mean(dim=(0, 2, 3), keepdim=True)
    return centred / (centred.square().mean(dim=(0, 2, 3), keepdim=True) + 1e-5).sqrt()


def three_layers(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    for number in (0, 3):
        x = normalized(convolution(x, weights[f"project.{number}.weight"])).clamp(min=0)
    return convolution(x, weights["project.6.weight"]) + weights["project.6.bias"][:, None, None]


def weights_of(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in module.named_parameters()}


def projected_error(projectors: list[dict[str, Tensor]], pairs: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """Squared errors of every image, pair by pair: (images,)."""
    errors = []
    for weights, pair in zip(projectors, pairs, strict=True):
        ours, theirs = met(*pair)
        project = one_layer if "project.weight" in weights else three_layers
        errors.append((project(ours, weights) - theirs).square().mean(dim=(1, 2, 3)))
    return errors


def cosine_matrix(x: Tensor) -> Tensor:
    flat = x.reshape(len(x), -1)
    gram = flat @ flat.T
    lengths = gram.diagonal().sqrt()
    return gram / lengths[:, None] / lengths[None]


def gram_rows(x: Tensor) -> Tensor:
    flat = x.reshape(len(x), -1)
    gram = flat @ flat.T
    return gram / gram.square().sum(dim=1, keepdim=True).sqrt()


def similarity(of: Callable[[Tensor], Tensor], ours: list[Tensor], theirs: list[Tensor]) -> list[Tensor]:
    return [(of(t) - of(s)).square().sum() / IMAGES**2 for s, t in zip(ours, theirs, strict=True)]


def attention(objective: torch.nn.Module, ours: list[Tensor], theirs: list[Tensor]) -> Tensor:
    """(images, student layers, teacher layers), sum 1 over the last."""
    parts = []
    for modules, features in ((objective.queries, ours), (objective.keys, theirs)):
        made = []
        for module, x in zip(modules, features, strict=True):
            first, second = module[0], module[2]
            hidden = (cosine_matrix(x) @ first.weight.detach().T + first.bias.detach()).clamp(min=0)
            made.append(hidden @ second.weight.detach().T + second.bias.detach())
        parts.append(torch.stack(made, dim=1))
    energy = (parts[0] @ parts[1].transpose(1, 2)).exp()
    return energy / energy.sum(dim=2, keepdim=True)


def by_hand(method: str, setting: str, objective: torch.nn.Module, ours: list[Tensor], theirs: list[Tensor]) -> Tensor:
    """The features' term."""
    if method == "sp":
        losses = similarity(gram_rows if setting == PUBLICATION else cosine_matrix, ours, theirs)
        return 3000 * sum(losses) if setting == PUBLICATION else sum(losses) / 4  # type: ignore[return-value]
    hints = objective.features if method == "fitnets-ce" else objective.hints
    every = [(s, t) for s in ours for t in theirs]
    pairs = every if method in ("fitnets-full", "semckd") else list(zip(ours, theirs, strict=True))
    errors = projected_error([weights_of(projector) for projector in hints.projectors], pairs)
    if method != "semckd":
        return torch.stack(errors).mean()
    table = torch.stack(errors, dim=1).reshape(IMAGES, 4, 4)
    weighed = (attention(hints.attention, ours, theirs) * table).sum(dim=2).mean()
    return (400 if setting == PUBLICATION else 1) * weighed


def made(method: str, setting: str) -> tuple[torch.nn.Module, Pairing]:
    ours, theirs = layers(OURS, "s"), layers(THEIRS, "t")
    crossed = method in ("fitnets-full", "semckd")
    pairing = full_pairing(ours, theirs) if crossed else Pairing(ours, theirs)
    torch.manual_seed(0)
    context = ObjectiveContext(pairing, IMAGES, CLASSES)
    return METHODS[method].in_setting(setting).build(context).double().train(), pairing


def outputs() -> tuple[Captured, Captured, list[Tensor], list[Tensor]]:
    ours = [normal(IMAGES, *shape, seed=i).requires_grad_() for i, shape in enumerate(OURS)]
    theirs = [normal(IMAGES, *shape, seed=10 + i) for i, shape in enumerate(THEIRS)]
    student = Captured(
        normal(IMAGES, CLASSES, seed=20).requires_grad_(), {f"s{i}": value for i, value in enumerate(ours)}
    )
    teacher = Captured(normal(IMAGES, CLASSES, seed=21), {f"t{i}": value for i, value in enumerate(theirs)})
    return student, teacher, ours, theirs


def gradient_norm(term: Tensor, ours: list[Tensor]) -> float:
    gradients = torch.autograd.grad(term, ours, retain_graph=True)
    return math.sqrt(sum(float(one.square().sum()) for one in gradients))


@pytest.mark.parametrize(("method", "setting"), CASES)
def test_the_features_term_and_the_norm_of_its_gradient(method: str, setting: str) -> None:
    objective, pairing = made(method, setting)
    student, teacher, ours, theirs = outputs()
    terms = loss_terms(objective, pairing, student, teacher, LABELS)
    (name,) = terms.keys() - {"cross_entropy", "kl"}
    expected = by_hand(method, setting, objective, ours, theirs)
    assert float(terms[name].detach()) == pytest.approx(float(expected.detach()), rel=1e-9)
    assert gradient_norm(terms[name], ours) == pytest.approx(gradient_norm(expected, ours), rel=1e-9)


@pytest.mark.parametrize(("method", "setting"), [*CASES, ("kd", PAPER), ("kd", PUBLICATION), ("kd-t2", PAPER)])
def test_cross_entropy_weighs_one_and_kl_the_square_of_the_temperature(method: str, setting: str) -> None:
    objective, pairing = made(method, setting)
    student, teacher, _, _ = outputs()
    terms = loss_terms(objective, pairing, student, teacher, LABELS)
    temperature = 2 if method == "kd-t2" else 4
    shares = student.logits.exp() / student.logits.exp().sum(dim=1, keepdim=True)
    assert float(terms["cross_entropy"].detach()) == pytest.approx(
        -float(shares[torch.arange(IMAGES), LABELS].log().mean().detach()), rel=1e-9
    )
    p, q = (one / one.sum(dim=1, keepdim=True) for one in
            ((side.logits / temperature).exp() for side in (teacher, student)))  # fmt: skip
    expected = temperature**2 * float((p * (p / q).log()).sum(dim=1).mean().detach())
    if method == "fitnets-ce":
        assert "kl" not in terms
    else:
        assert float(terms["kl"].detach()) == pytest.approx(expected, rel=1e-9)


def test_every_entry_of_the_cosine_matrices_counts() -> None:
    """The released code compares the first rows alone."""
    features = normal(IMAGES, 7, seed=1).requires_grad_()
    (gradient,) = torch.autograd.grad(cosine_difference(features, normal(IMAGES, 9, seed=2)), features)
    assert bool((gradient.square().sum(dim=1) > 0).all())
    assert gradcheck(lambda x: cosine_difference(x, normal(IMAGES, 9, seed=2)), features)
    assert float(cosine_difference(features, 3 * features).detach()) == pytest.approx(0, abs=1e-15)


def test_the_settings_of_the_methods() -> None:
    """The paper compares kd, kd-std, FitNets three ways, SP, SemCKD and SimKD; the rest is not in it."""
    outside = {"dkd", "attention-transfer", "rkd", "crd", "reviewkd"}
    assert {name for name, method in METHODS.items() if PAPER not in method.settings} == outside
    alone = {"fitnets-full", "fitnets-ce"}
    assert {name for name, method in METHODS.items() if PUBLICATION not in method.settings} == alone
    assert {name for name, method in METHODS.items() if method.default_setting != PUBLICATION} == alone
    assert [name for name, method in METHODS.items() if FINE_TUNED in method.settings] == ["simkd"]
    differing = {
        name for name, method in METHODS.items() if method.shown_setting(PAPER if name not in outside else PUBLICATION)
    }
    assert differing == {"kd-std", "fitnets", *alone, "sp", "semckd", "simkd"}
    assert set(SETTINGS) == {PUBLICATION, PAPER, FINE_TUNED}
    for name in ("feature-only", "scratch", "kd", "kd-t2"):
        assert METHODS[name].in_setting(PAPER) == METHODS[name].in_setting(PUBLICATION) == METHODS[name]


def test_the_weights_of_the_features() -> None:
    weights = {
        (name, setting): METHODS[name].in_setting(setting).constants["weight"]
        for name in ("sp", "semckd")
        for setting in (PUBLICATION, PAPER)
    }
    assert weights == {("sp", PUBLICATION): 3000, ("sp", PAPER): 1, ("semckd", PUBLICATION): 400, ("semckd", PAPER): 1}


def test_a_batch_of_features_gives_the_ending_its_term() -> None:
    """simkd as published, and as version 0.1.0 had it: the same term."""
    pairing = Pairing(layers(((20, 4, 4),), "s"), layers(((20, 2, 2),), "t"))
    ours, theirs = normal(IMAGES, 20, 4, 4, seed=1).requires_grad_(), normal(IMAGES, 20, 2, 2, seed=2)
    expected = (shrunk(ours, 2) - theirs).square().mean()
    for setting in (PUBLICATION, FINE_TUNED):
        objective = METHODS["simkd"].in_setting(setting).build(ObjectiveContext(pairing, IMAGES, CLASSES))
        term = objective(FeatureBatch([ours], [theirs]))["features"]
        assert float(term.detach()) == pytest.approx(float(expected.detach()), rel=1e-12)
        assert gradient_norm(term, [ours]) == pytest.approx(gradient_norm(expected, [ours]), rel=1e-9)
        assert objective.classifier_learns == (setting == FINE_TUNED)
