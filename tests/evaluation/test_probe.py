"""The linear probe against scikit-learn; what chooses its penalty."""

import inspect
import logging

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from layerprobe.errors import LayerprobeError
from layerprobe.evaluation.probe import HOLDOUT, PENALTIES, TOLERANCE, _draw_holdout, fit_probe
from layerprobe.evaluation.ways import Evidence, knn, probe, retrieval
from layerprobe.settings.evaluate import LayerEvaluationSettings


def clusters(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Overlapping clusters of 4 classes; features of very different means and deviations, one of them constant."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    centres = torch.randn(4, 6, generator=torch.Generator().manual_seed(99))
    features = centres[labels] + 1.3 * torch.randn(count, 6, generator=generator)
    scaled = features * torch.tensor([1.0, 100.0, 1e-3, 1.0, 5.0, 1.0]) + torch.tensor([0.0, 1e3, 0.0, -7.0, 0.0, 2.0])
    return torch.cat([scaled, torch.full((count, 1), 3.3)], dim=1), labels


TRAIN, LABELS = clusters(240, 0)
TEST, TRUTH = clusters(160, 1)


def test_the_fit_is_that_of_scikit_learn() -> None:
    fit = fit_probe(TRAIN, LABELS, 4)
    scaler = StandardScaler().fit(TRAIN.double().numpy())
    peer = LogisticRegression(C=1 / (fit.penalty * len(TRAIN)), tol=1e-10, max_iter=10_000)
    peer.fit(scaler.transform(TRAIN.double().numpy()), LABELS.numpy())
    logits = TEST.double() @ fit.weight.T + fit.bias
    expected = peer.predict_proba(scaler.transform(TEST.double().numpy()))
    assert np.abs(logits.softmax(dim=1).numpy() - expected).max() < 1e-3
    assert np.array_equal(fit.classify(TEST).numpy(), expected.argmax(axis=1))
    assert fit.gradient <= TOLERANCE and fit.weight[:, 6].abs().max() == 0
    assert 0.5 < float((fit.classify(TEST) == TRUTH).double().mean()) < 0.95


def test_the_penalty_is_best_on_held_out_training_images() -> None:
    held_out = _draw_holdout(LABELS, seed=3)
    assert torch.equal(torch.bincount(LABELS[held_out]), torch.full((4,), round(HOLDOUT * 60)))
    x, y = TRAIN.double().numpy(), LABELS.numpy()
    part, rest = ~held_out.numpy(), held_out.numpy()
    scaler = StandardScaler().fit(x[part])
    accuracies = []
    for penalty in PENALTIES:
        peer = LogisticRegression(C=1 / (penalty * part.sum()), tol=1e-8, max_iter=10_000)
        peer.fit(scaler.transform(x[part]), y[part])
        accuracies.append(peer.score(scaler.transform(x[rest]), y[rest]))
    fit = fit_probe(TRAIN, LABELS, 4, seed=3)
    assert fit.penalty == PENALTIES[int(np.argmax(accuracies))]  # the strongest of several
    assert fit.holdout_accuracy == pytest.approx(max(accuracies)) and len(set(accuracies)) > 2


def test_test_images_choose_nothing() -> None:
    """A fit can't see them, and with other test labels all predictions, and what was chosen, stay as they are."""
    assert not {"test", "test_labels"} & set(inspect.signature(fit_probe).parameters)
    permuted = TRUTH[torch.randperm(len(TRUTH), generator=torch.Generator().manual_seed(0))]
    settings = LayerEvaluationSettings(neighbours=10)
    for way in (knn, probe, retrieval):
        once, again = (way(Evidence(TRAIN, LABELS, TEST, labels, 4, settings)) for labels in (TRUTH, permuted))
        assert once.facts == again.facts and not torch.equal(once.values, again.values)
        if once.fit and again.fit:
            assert torch.equal(once.fit.weight, again.fit.weight) and torch.equal(once.fit.bias, again.fit.bias)


def test_few_images_and_failures(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = torch.tensor([0, 0, 1, 2, 2, 2])
    assert _draw_holdout(labels, seed=0)[labels == 1].sum() == 0  # a class of one image stays in the fit
    assert fit_probe(torch.eye(6), labels, 4).weight.shape == (4, 6)
    with pytest.raises(LayerprobeError, match="two classes and two images of one at least, not from 6 of 1; take more"):
        fit_probe(TRAIN[:6], torch.zeros(6, dtype=torch.int64), 4)
    with pytest.raises(LayerprobeError, match="not from 4 of 4"):
        fit_probe(TRAIN[:4], LABELS[:4], 4)
    monkeypatch.setattr("layerprobe.evaluation.probe.ITERATIONS", 2)
    with caplog.at_level(logging.WARNING):
        fit_probe(TRAIN, LABELS, 4)
    assert "the probe stopped after 2 iterations with a gradient of" in caplog.text
