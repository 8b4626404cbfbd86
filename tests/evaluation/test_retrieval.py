"""Mean average precision against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from layerprobe.evaluation.retrieval import average_precisions


def by_scikit_learn(features: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
    x = (features / features.norm(dim=1, keepdim=True)).numpy()
    cosines, y = x @ x.T, labels.numpy()
    found = np.full(len(y), np.nan)
    for row in range(len(y)):
        others = np.arange(len(y)) != row
        relevant = y[others] == y[row]
        if relevant.any():
            found[row] = average_precision_score(relevant, cosines[row, others])
    return found


def test_average_precision_of_every_query() -> None:
    generator = torch.Generator().manual_seed(0)
    features, labels = torch.randn(150, 5, generator=generator), torch.randint(6, (150,), generator=generator)
    features[:, 0] += labels
    assert average_precisions(features, labels).numpy() == pytest.approx(by_scikit_learn(features, labels), abs=1e-6)


def test_ties_come_at_once() -> None:
    generator = torch.Generator().manual_seed(1)
    corners = torch.eye(4)[torch.randint(4, (140,), generator=generator)]  # cosines are 0 or 1
    labels = torch.randint(3, (140,), generator=generator)
    found = average_precisions(corners, labels).numpy()
    assert found == pytest.approx(by_scikit_learn(corners, labels), abs=1e-12)
    order = torch.randperm(140, generator=generator)
    assert average_precisions(corners[order], labels[order]).numpy() == pytest.approx(found[order.numpy()], abs=1e-12)


def test_the_query_is_not_among_the_images_and_may_be_alone() -> None:
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.1, 1.0], [1.0, 0.1]])
    # The first one's nearest is of another class, and its own class comes last; the third class has one image.
    found = average_precisions(features, torch.tensor([0, 0, 1, 2]))
    assert found[:2].tolist() == pytest.approx([1 / 3, 1 / 3]) and found[2:].isnan().all()
