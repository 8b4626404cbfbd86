"""Every loss against its formula in float64 NumPy, with gradient checks."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from layerprobe.distill.alignments.projected import FeatureOnly
from layerprobe.distill.batches import FeatureBatch, LogitBatch
from layerprobe.distill.losses.feature_loss import load_feature_loss
from layerprobe.distill.methods.catalogue import PAPER
from layerprobe.distill.methods.kd import softened_kl
from layerprobe.distill.methods.scratch import Scratch
from layerprobe.distill.pairing import Pairing
from layerprobe.layers.capture import Captured
from layerprobe.records import Layer
from tests.helpers.objectives import objective_of


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    return float(-np.log(softmax(logits)[np.arange(len(labels)), labels]).mean())


def test_mse() -> None:
    a, b = torch.randn(3, 5, 2, 7, dtype=torch.float64), torch.randn(3, 5, 2, 7, dtype=torch.float64)
    loss = load_feature_loss("mse")
    assert float(loss(a, b)) == pytest.approx(float(((a.numpy() - b.numpy()) ** 2).mean()), rel=1e-12)
    assert float(loss(a, a)) == 0
    assert gradcheck(loss, (a[:1, :2].requires_grad_(), b[:1, :2]))
    with pytest.raises(ValueError, match=r"\(3, 5, 2, 7\), teacher features \(3, 1, 2, 7\)"):
        loss(a, b[:, :1])


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_softened_kl(temperature: float) -> None:
    ours, theirs = torch.randn(6, 11, dtype=torch.float64), torch.randn(6, 11, dtype=torch.float64)
    p, q = softmax(theirs.numpy() / temperature), softmax(ours.numpy() / temperature)
    expected = (p * np.log(p / q)).sum(axis=1).mean()
    assert float(softened_kl(ours, theirs, temperature)) == pytest.approx(expected, rel=1e-10)
    assert float(softened_kl(theirs, theirs, temperature)) == pytest.approx(0, abs=1e-12)
    assert gradcheck(lambda x: softened_kl(x, theirs, temperature), ours.requires_grad_())


def test_kd_is_cross_entropy_plus_sixteen_kl_at_temperature_four() -> None:
    ours, theirs, labels = torch.randn(6, 5), torch.randn(6, 5), torch.randint(0, 5, (6,))
    terms = objective_of("kd")(LogitBatch(Captured(ours, {}), Captured(theirs, {}), labels))
    p, q = softmax(theirs.double().numpy() / 4), softmax(ours.double().numpy() / 4)
    assert float(terms["kl"]) == pytest.approx(16 * (p * np.log(p / q)).sum(axis=1).mean(), rel=1e-4)
    assert float(terms["cross_entropy"]) == pytest.approx(
        cross_entropy(ours.double().numpy(), labels.numpy()), rel=1e-5
    )
    assert set(terms) == {"kl", "cross_entropy"}


def test_scratch_is_cross_entropy() -> None:
    logits, labels = torch.randn(6, 5, dtype=torch.float64), torch.randint(0, 5, (6,))
    terms = Scratch()(LogitBatch(Captured(logits, {}), None, labels))
    assert {name: float(value) for name, value in terms.items()} == pytest.approx(
        {"cross_entropy": cross_entropy(logits.numpy(), labels.numpy())}
    )


def layer(name: str, shape: tuple[int, ...]) -> Layer:
    return Layer(0, name, "block", shape, 0)


PAIRING = Pairing((layer("a", (2, 4, 4)), layer("b", (3, 2, 2))), (layer("x", (5, 2, 2)), layer("y", (4, 2, 2))))


def expected_features(objective: FeatureOnly, student: list[torch.Tensor], teacher: list[torch.Tensor]) -> float:
    losses = []
    for projector, ours, theirs in zip(objective.projectors, student, teacher, strict=True):
        weight = projector.project.weight.detach().double().numpy()[:, :, 0, 0]
        s, t = ours.double().numpy(), theirs.double().numpy()
        if s.shape[2] != t.shape[2]:
            s = s.reshape(*s.shape[:2], 2, 2, 2, 2).mean(axis=(3, 5))
        losses.append(((np.einsum("oc,bchw->bohw", weight, s) - t) ** 2).mean())
    return float(np.mean(losses))


def test_feature_only_is_the_mean_over_pairs_of_projected_mse() -> None:
    objective = FeatureOnly(PAIRING)
    student = [torch.randn(6, 2, 4, 4), torch.randn(6, 3, 2, 2)]
    teacher = [torch.randn(6, 5, 2, 2), torch.randn(6, 4, 2, 2)]
    terms = objective(FeatureBatch(student, teacher))
    assert set(terms) == {"features"}
    assert float(terms["features"].detach()) == pytest.approx(expected_features(objective, student, teacher), rel=1e-5)


def test_fitnets_is_kd_plus_the_features() -> None:
    objective = objective_of("fitnets", PAIRING, setting=PAPER)
    features = {"a": torch.randn(6, 2, 4, 4), "b": torch.randn(6, 3, 2, 2)}
    targets = {"x": torch.randn(6, 5, 2, 2), "y": torch.randn(6, 4, 2, 2)}
    ours, theirs = Captured(torch.randn(6, 5), features), Captured(torch.randn(6, 5), targets)
    labels = torch.randint(0, 5, (6,))
    terms = objective(LogitBatch(ours, theirs, labels))
    expected = expected_features(objective.hints, list(features.values()), list(targets.values()))
    assert float(terms["features"].detach()) == pytest.approx(expected, rel=1e-5)
    assert {name: terms[name] for name in ("kl", "cross_entropy")} == objective_of("kd")(
        LogitBatch(ours, theirs, labels)
    )


@pytest.mark.parametrize("objective", [objective_of("kd"), objective_of("fitnets", PAIRING, setting=PAPER)])
def test_a_missing_teacher_is_a_programming_error(objective: torch.nn.Module) -> None:
    with pytest.raises(ValueError, match="needs a teacher"):
        objective(LogitBatch(Captured(torch.randn(2, 5), {}), None, torch.tensor([0, 1])))
