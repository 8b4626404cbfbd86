"""Principal axes of whole flattened features against the released code's formula, in float64 NumPy."""

import logging
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from layerprobe.distill.alignments import flattened_sample
from layerprobe.distill.alignments.by_class import ClassFlattenedAxes
from layerprobe.distill.alignments.flattened import FlattenedAxes
from layerprobe.distill.batches import FeatureBatch, LabelledFeatureBatch
from layerprobe.distill.pairing import Pairing
from layerprobe.errors import LayerprobeError
from layerprobe.records import Layer

Shape = tuple[int, ...]
Objective = FlattenedAxes | ClassFlattenedAxes
SHAPES: dict[str, tuple[Shape, Shape]] = {
    "map, narrower": ((3, 2, 2), (5, 3, 3)),
    "map, wider": ((6, 3, 4), (3, 2, 5)),
    "channels last": ((2, 2, 3), (3, 3, 4)),
    "tokens, narrower": ((3, 4), (5, 6)),
    "tokens to a map": ((3, 2, 2), (7, 3)),
    "vector, narrower": ((4,), (6,)),
    "vector, wider": ((9,), (6,)),
}
CLASSES = 3
COUNTS = {"fewer than axes": 7, "more than features of a class": 40, "many": 150}
"""Of images: axes from Gram matrices, from both, and from summed covariances."""


def flat(features: Tensor) -> np.ndarray:
    """(images, D) channel by channel."""
    a = features.numpy()
    if a.ndim == 4 and a.shape[1] == a.shape[2] != a.shape[3]:
        a = a.transpose(0, 3, 1, 2)
    return (a.transpose(0, 2, 1) if a.ndim == 3 else a).reshape(len(a), -1)


def axes_of(samples: np.ndarray, count: int) -> np.ndarray:
    """Principal axes as columns, by a singular value decomposition; those that the sample doesn't have are zero."""
    _, lengths, v = np.linalg.svd(samples - samples.mean(axis=0), full_matrices=False)
    v = v[lengths > 1e-10 * lengths[0]][:count]
    v = v * np.sign(v[np.arange(len(v)), np.abs(v).argmax(axis=1)])[:, None]
    return np.pad(v.T, ((0, 0), (0, count - len(v))))


def targets_of(f: np.ndarray, width: int, labels: np.ndarray | None) -> np.ndarray:
    """V_c^T (f - m_c) + V^T (m_c - m) of every image, or V^T (f - m)."""
    mean, axes = f.mean(axis=0), axes_of(f, width)
    if labels is None:
        return (f - mean) @ axes
    found = np.empty((len(f), width))
    for label in range(CLASSES):
        own = f[labels == label]
        found[labels == label] = (own - own.mean(axis=0)) @ axes_of(own, width) + (own.mean(axis=0) - mean) @ axes
    return found


def drawn(shape: Shape, images: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(images, math.prod(shape), dtype=torch.float64, generator=generator)
    # Variances apart, so that every axis is definite; far from zero, as features behind a ReLU are.
    return (values * torch.logspace(0, -1, math.prod(shape)) + 20).reshape(images, *shape)


def fitted(shapes: tuple[Shape, Shape], teacher: Tensor, labels: Tensor | None, batch: int = 5) -> Objective:
    pairing = Pairing((Layer(0, "s", "block", shapes[0], 0),), (Layer(0, "t", "block", shapes[1], 0),))
    edges = list(pairwise([*range(0, len(teacher), batch), len(teacher)]))
    if labels is None:
        free = FlattenedAxes(pairing).double()
        free.fit(FeatureBatch((), [teacher[a:b]]) for a, b in edges)
        return free
    by_class = ClassFlattenedAxes(pairing, CLASSES).double()
    by_class.fit(LabelledFeatureBatch((), [teacher[a:b]], labels[a:b]) for a, b in edges)
    return by_class


def loss_of(objective: Objective, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
    if isinstance(objective, FlattenedAxes):
        return objective(FeatureBatch([student], [teacher]))["features"]
    assert labels is not None
    return objective(LabelledFeatureBatch([student], [teacher], labels))["features"]


@pytest.mark.parametrize("by_class", [False, True], ids=["label-free", "by class"])
@pytest.mark.parametrize("images", COUNTS.values(), ids=COUNTS)
@pytest.mark.parametrize("name", SHAPES)
def test_targets_and_loss_are_those_of_the_formula(name: str, images: int, by_class: bool) -> None:
    shapes = SHAPES[name]
    teacher, student = drawn(shapes[1], images, 1), drawn(shapes[0], images, 2)
    labels = torch.arange(images).mul(7).remainder(CLASSES) if by_class else None
    objective = fitted(shapes, teacher, labels)
    expected = targets_of(flat(teacher), math.prod(shapes[0]), None if labels is None else labels.numpy())
    found = objective.targets[0](teacher, labels)
    assert np.allclose(found, expected, atol=1e-8)
    loss = ((flat(student) - expected) ** 2).mean()
    assert float(loss_of(objective, student, teacher, labels)) == pytest.approx(loss, rel=1e-9)
    few = slice(2)
    part = None if labels is None else labels[few]
    assert gradcheck(lambda s: loss_of(objective, s, teacher[few], part), student[few].requires_grad_())


@pytest.mark.parametrize("by_class", [False, True])
@pytest.mark.parametrize("images", COUNTS.values())
def test_how_images_come_in_batches_does_not_matter(images: int, by_class: bool) -> None:
    shapes = SHAPES["map, narrower"]
    teacher = drawn(shapes[1], images, 1)
    labels = torch.arange(images) % CLASSES if by_class else None
    first, again, whole = (fitted(shapes, teacher, labels, batch) for batch in (5, 5, images))
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
        assert torch.allclose(value, whole.state_dict()[name], atol=1e-9)


def test_float32_features_lose_nothing() -> None:
    """Axes of float32 features are those that float64 has of the same numbers, to the last bits of the buffers."""
    shapes = SHAPES["map, narrower"]
    teacher = drawn(shapes[1], 40, 1).float()
    pairing = Pairing((Layer(0, "s", "block", shapes[0], 0),), (Layer(0, "t", "block", shapes[1], 0),))
    objective = FlattenedAxes(pairing)
    objective.fit([FeatureBatch((), [teacher])])
    expected = axes_of(flat(teacher.double()), 12)
    assert np.allclose(objective.targets[0].axes[0], expected, atol=2e-7)


@pytest.mark.parametrize(("by_class", "known"), [(False, 6), (True, 2)])
def test_targets_past_the_images_are_zero_and_it_is_said(
    by_class: bool, known: int, caplog: pytest.LogCaptureFixture
) -> None:
    shapes = SHAPES["map, narrower"]
    teacher = drawn(shapes[1], 7, 1)
    labels = torch.tensor([0, 0, 0, 0, 0, 0, 0]) if not by_class else torch.tensor([0, 1, 2, 0, 1, 2, 0])
    with caplog.at_level(logging.WARNING):
        objective = fitted(shapes, teacher, labels if by_class else None)
    assert (
        "12 features of the student's s" in caplog.text
        and f"have at most {known if not by_class else 1} axes" in caplog.text
    )
    found = objective.targets[0](teacher, labels if by_class else None)
    own = found - (objective.targets[0].places[labels] if by_class else 0)
    assert bool((own[:, known:] == 0).all()) and bool(own[:, :known].any(dim=0).all())


@pytest.mark.parametrize("by_class", [False, True])
def test_a_saved_state_is_taken_whatever_the_number_of_axes(by_class: bool) -> None:
    shapes = SHAPES["map, narrower"]
    teacher, student = drawn(shapes[1], 7, 1), drawn(shapes[0], 7, 2)
    labels = torch.arange(7) % CLASSES if by_class else None
    objective = fitted(shapes, teacher, labels)
    fresh = fitted(shapes, drawn(shapes[1], 20, 3), torch.arange(20) % CLASSES if by_class else None)
    fresh.load_state_dict(objective.state_dict())
    assert torch.equal(*(loss_of(one, student, teacher, labels) for one in (objective, fresh)))
    other = fitted(SHAPES["vector, wider"], drawn((6,), 20, 3), torch.arange(20) % CLASSES if by_class else None)
    with pytest.raises(RuntimeError, match="size mismatch"):
        other.load_state_dict(objective.state_dict())


def test_what_does_not_fit_in_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of 900 images: 100 x D x 8 bytes more of features, 3 x 900^2 x 8 for the decomposition, 2 x D x 900 x 8 for the
    # axes in float64 and D x 900 x 4 for those that stay: 211 MB; of 800 images it is 187 MB.
    monkeypatch.setattr(flattened_sample, "free_memory", lambda device: 2e8)
    shapes = (200, 7, 7), (160, 8, 8)
    fitted(shapes, drawn(shapes[1], 200, 1), None, batch=100)
    message = r"fit in memory: for 900 images of 10240 features of 't' 0\.2 GB are needed and 0\.2 GB free; take deeper"
    with pytest.raises(LayerprobeError, match=message):
        fitted(shapes, drawn(shapes[1], 1500, 1), None, batch=100)
