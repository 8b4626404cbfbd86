"""Every alignment of feature-only against its formula in float64 NumPy, with loops, and gradient checks."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from layerprobe.distill.alignments.by_class import ClassAxes, ClassMoments
from layerprobe.distill.alignments.catalogue import ALIGNMENTS
from layerprobe.distill.alignments.channel_vectors import channel_vectors
from layerprobe.distill.alignments.covariance import Covariance
from layerprobe.distill.alignments.geometry import PrincipalAxes
from layerprobe.distill.alignments.moments import Moments, moment_loss
from layerprobe.distill.alignments.projected import FeatureOnly
from layerprobe.distill.alignments.relation import relation
from layerprobe.distill.batches import FeatureBatch, LabelledFeatureBatch
from layerprobe.distill.losses.catalogue import FEATURE_LOSSES
from layerprobe.distill.pairing import Pairing
from layerprobe.distill.projectors import ThreeLayerProjector
from layerprobe.distill.spatial import SpatialAligner
from layerprobe.records import Layer
from layerprobe.settings.alignment import AlignmentSettings
from tests.helpers.objectives import feature_only

SHAPES = (((2, 4, 6), (5, 3, 3)), ((6, 2, 3), (9, 4)), ((4,), (9,)))
PAIRING = Pairing(
    tuple(Layer(number, f"s{number}", "block", ours, 0) for number, (ours, _) in enumerate(SHAPES)),
    tuple(Layer(number, f"t{number}", "block", theirs, 0) for number, (_, theirs) in enumerate(SHAPES)),
)
LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 0])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def features(images: int = 8) -> tuple[list[Tensor], list[Tensor]]:
    student = [normal(images, *ours, seed=number) for number, (ours, _) in enumerate(SHAPES)]
    teacher = [normal(images, *theirs, seed=10 + number) + number for number, (_, theirs) in enumerate(SHAPES)]
    return student, teacher


def vectors(f: Tensor) -> np.ndarray:
    """(images, positions, channels) of a map, tokens or vectors."""
    a = f.numpy()
    if a.ndim == 4:
        return a.reshape(*a.shape[:2], -1).transpose(0, 2, 1)
    return a if a.ndim == 3 else a[:, None]


def axes_of(samples: np.ndarray, count: int) -> np.ndarray:
    """Principal axes by a singular value decomposition, columns padded with zeros, the largest entry positive."""
    _, _, v = np.linalg.svd(samples - samples.mean(axis=0), full_matrices=True)
    found = v[:count].T
    found = found * np.sign(found[np.abs(found).argmax(axis=0), np.arange(found.shape[1])])
    return np.pad(found, ((0, 0), (0, count - found.shape[1])))


def test_covariance_in_batches_is_that_of_all_vectors() -> None:
    samples = normal(50, 6) + 3
    seen = Covariance(6)
    for part in samples.split(16):
        seen.add(part)
    assert np.allclose(seen.mean(), samples.numpy().mean(axis=0))
    assert np.allclose(seen.axes(4), axes_of(samples.numpy(), 4), atol=1e-9)
    assert seen.axes(8).shape == (6, 8) and (seen.axes(8)[:, 6:] == 0).all()
    for shape in ((5, 3, 4), (7, 4), (9,), (4, 4, 3)):
        f = normal(2, *shape)
        expected = vectors(f) if shape != (4, 4, 3) else f.numpy().reshape(2, 16, 3)
        places = SpatialAligner(shape, shape).teacher(f)
        assert np.array_equal(channel_vectors(places), expected.reshape(-1, expected.shape[2]))


def test_principal_axes() -> None:
    student, teacher = features()
    objective = PrincipalAxes(PAIRING).double()
    objective.fit([FeatureBatch((), [f[part] for f in teacher]) for part in (slice(3), slice(3, None))])
    assert not list(objective.parameters()) and objective.needs_fit
    losses = []
    for number, (ours, theirs) in enumerate(zip(student, teacher, strict=True)):
        pair = objective.aligners[number](ours, theirs)
        samples = vectors(theirs).reshape(-1, vectors(theirs).shape[2])
        axes = axes_of(samples, pair.student.shape[1])
        target = (np.moveaxis(pair.teacher.numpy(), 1, -1) - samples.mean(axis=0)) @ axes
        losses.append(((np.moveaxis(pair.student.numpy(), 1, -1) - target) ** 2).mean())
    assert float(objective(FeatureBatch(student, teacher))["features"]) == pytest.approx(np.mean(losses), rel=1e-6)


def test_principal_axes_of_the_student_itself_are_reached() -> None:
    """A student with the teacher's principal components has no loss."""
    same = Pairing((Layer(0, "s", "block", (6,), 0),), (Layer(0, "t", "block", (6,), 0),))
    teacher = normal(40, 6)
    objective = PrincipalAxes(same).double()
    objective.fit([FeatureBatch((), [teacher])])
    components = torch.from_numpy((teacher.numpy() - teacher.numpy().mean(axis=0)) @ axes_of(teacher.numpy(), 6))
    assert float(objective(FeatureBatch([components], [teacher]))["features"]) == pytest.approx(0, abs=1e-12)


def test_axes_of_classes() -> None:
    student, teacher = features()
    objective = ClassAxes(PAIRING, classes=3).double()
    parts = slice(3), slice(3, None)
    objective.fit([LabelledFeatureBatch((), [f[part] for f in teacher], LABELS[part]) for part in parts])
    losses = []
    for number, (ours, theirs) in enumerate(zip(student, teacher, strict=True)):
        pair = objective.aligners[number](ours, theirs)
        everything, narrow = vectors(theirs), pair.student.shape[1]
        flat = everything.reshape(-1, everything.shape[2])
        aligned = pair.teacher.flatten(2).numpy().transpose(0, 2, 1)
        wanted = pair.student.flatten(2).numpy().transpose(0, 2, 1)
        for image, label in enumerate(LABELS.tolist()):
            own = everything[LABELS.numpy() == label].reshape(-1, everything.shape[2])
            place = (own.mean(axis=0) - flat.mean(axis=0)) @ axes_of(flat, narrow)
            # With fewer images than dimensions the last axes of a class are any; those have no variance.
            target = (aligned[image] - own.mean(axis=0)) @ _class_axes(objective, number, label) + place
            losses.append(((wanted[image] - target) ** 2).mean() / len(LABELS) / len(SHAPES))
            axes, found = axes_of(own, narrow), _class_axes(objective, number, label)
            known = np.linalg.matrix_rank(own - own.mean(axis=0), tol=1e-6)
            assert np.allclose(found[:, : min(known, narrow)], axes[:, : min(known, narrow)], atol=1e-5)
    assert float(objective(LabelledFeatureBatch(student, teacher, LABELS))["features"]) == pytest.approx(
        np.sum(losses), rel=1e-6
    )


def _class_axes(objective: ClassAxes, number: int, label: int) -> np.ndarray:
    return objective.get_buffer(f"axes_{number}")[label].numpy()


@pytest.mark.parametrize("shape", [(6, 3, 2, 4), (5, 4, 7), (4, 2, 1, 1)])
def test_moment_loss(shape: tuple[int, ...]) -> None:
    ours, theirs = normal(*shape), 2 * normal(*shape, seed=1)
    groups = torch.arange(shape[0]) % 2
    losses = []
    for group in range(2):
        moments = []
        for f in (ours, theirs):
            samples = vectors(f[groups == group].flatten(2)[..., None]).reshape(-1, shape[1])
            moments.append((samples.mean(axis=0), np.cov(samples.T, bias=True).reshape(shape[1], shape[1])))
        (m, c), (n, d) = moments
        losses.append(((m - n) ** 2).mean() + ((c - d) ** 2).mean())
    assert float(moment_loss(ours, theirs, groups)) == pytest.approx(np.mean(losses), rel=1e-9)
    assert float(moment_loss(ours, ours, groups)) == 0
    assert gradcheck(lambda x: moment_loss(x, theirs, groups), ours.requires_grad_())


def test_moments_of_clusters_and_of_classes() -> None:
    student, teacher = features(12)
    teacher[-1] = normal(12, 9) + 20 * (torch.arange(12) % 3)[:, None]
    objective = Moments(PAIRING, clusters=3).double()
    objective.fit([FeatureBatch((), [f[part] for f in teacher]) for part in (slice(5), slice(5, None))])
    by_class = ClassMoments(PAIRING).double()
    by_class.load_state_dict({n: v for n, v in objective.state_dict().items() if n.startswith("projectors")})
    terms = objective(FeatureBatch(student, teacher))
    # The clusters of the last layer are these three groups, so that both forms agree.
    expected = by_class(LabelledFeatureBatch(student, teacher, torch.arange(12) % 3))
    for name in ("features", "moments"):
        assert float(terms[name].detach()) == pytest.approx(float(expected[name].detach()), rel=1e-12)
    pairs = [p(s, t) for p, s, t in zip(objective.projectors, student, teacher, strict=True)]
    moments = [float(moment_loss(p.student, p.teacher, torch.arange(12) % 3).detach()) for p in pairs]
    assert float(terms["moments"].detach()) == pytest.approx(np.mean(moments), rel=1e-12)


def test_fewer_images_than_clusters() -> None:
    student, teacher = features(3)
    objective = Moments(PAIRING, clusters=10).double()
    objective.fit([FeatureBatch((), teacher)])
    assert objective.centres.shape == (10, 9)
    assert torch.equal(objective.centres[3:], objective.centres[:1].expand(7, 9))
    assert math.isfinite(float(objective(FeatureBatch(student, teacher))["moments"].detach()))


@pytest.mark.parametrize("images", [2, 5])
def test_relation(images: int) -> None:
    ours, theirs = normal(images, 2, 3, 2), normal(images, 7, seed=1)

    def cosine(f: np.ndarray, i: int, j: int) -> float:
        return float(f[i] @ f[j] / np.linalg.norm(f[i]) / np.linalg.norm(f[j]))

    x, y = ours.reshape(images, -1).numpy(), theirs.numpy()
    pairs = [(i, j) for i in range(images) for j in range(images) if i != j]
    expected = np.mean([(cosine(x, i, j) - cosine(y, i, j)) ** 2 for i, j in pairs])
    assert float(relation(ours, theirs)) == pytest.approx(expected, rel=1e-9)
    rotation = torch.linalg.qr(normal(12, 12, seed=2))[0]
    assert float(relation(ours, 3 * ours.flatten(1) @ rotation)) == pytest.approx(0, abs=1e-12)
    assert gradcheck(lambda f: relation(f, theirs), ours.requires_grad_())


@pytest.mark.parametrize(("ours", "theirs"), SHAPES)
def test_three_layers_end_in_the_teachers_channels(ours: tuple[int, ...], theirs: tuple[int, ...]) -> None:
    pair = ThreeLayerProjector(ours, theirs)(torch.randn(3, *ours), torch.randn(3, *theirs))
    assert pair.student.shape == pair.teacher.shape
    objective = FeatureOnly(PAIRING, projector=ThreeLayerProjector)
    assert len([module for module in objective.modules() if isinstance(module, ThreeLayerProjector)]) == 3


# ``relation`` has a loss of its own.
FORMS = [(name, loss) for name in ALIGNMENTS for loss in (["mse"] if name == "relation" else FEATURE_LOSSES)]


@pytest.mark.parametrize(("name", "loss"), FORMS)
def test_twenty_steps_lower_the_loss(name: str, loss: str) -> None:
    torch.manual_seed(0)
    objective = feature_only(AlignmentSettings(name=name, feature_loss=loss), PAIRING)
    student, teacher = ([f.float() for f in side] for side in features())
    student = [f.requires_grad_() for f in student]
    if objective.needs_fit:
        objective.fit([FeatureBatch((), teacher)])
    optimizer = torch.optim.Adam([*student, *objective.parameters()], lr=0.02)
    losses = []
    for _ in range(20):
        total = torch.stack(list(objective(FeatureBatch(student, teacher)).values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(float(total.detach()))
    assert losses[-1] < losses[0] and all(map(math.isfinite, losses))
