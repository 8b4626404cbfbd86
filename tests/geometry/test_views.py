"""What figures show of a layer."""

import numpy as np
import pytest
import torch

from layerprobe.geometry.gram import gram_matrix
from layerprobe.geometry.views import BINS, LONGEST, distance_histograms, principal_plane
from tests.geometry.test_statistics import clouds


def test_histograms_count_every_pair_once() -> None:
    features, labels = clouds(300, 6, 3)
    found = distance_histograms(gram_matrix([torch.from_numpy(features)], torch.from_numpy(labels), 300))
    exact = features.astype("f8")
    upper = np.triu_indices(300, 1)
    distances = np.linalg.norm(exact[upper[0]] - exact[upper[1]], axis=1)
    scaled = (distances / np.sqrt((distances**2).mean())).clip(max=LONGEST)
    same = labels[upper[0]] == labels[upper[1]]
    for name, pairs in (("within_classes", scaled[same]), ("between_classes", scaled[~same])):
        expected = np.histogram(pairs, BINS, (0, LONGEST))[0] / len(pairs)
        assert np.abs(found[name].numpy() - expected).sum() < 4 / len(pairs), name  # float32 may move a pair by a bin


def test_the_plane_is_that_of_a_singular_value_decomposition() -> None:
    features, labels = clouds(50, 30, 3, offset=4.0)
    found = principal_plane(gram_matrix([torch.from_numpy(features)], torch.from_numpy(labels), 50))
    exact = features.astype("f8")
    u, values, _ = np.linalg.svd(exact - exact.mean(axis=0), full_matrices=False)
    expected = u[:, :2] * values[:2]
    expected *= np.sign(expected[np.abs(expected).argmax(axis=0), [0, 1]])
    assert np.allclose(found["plane"], expected, atol=1e-4)
    assert np.allclose(found["plane_shares"], (values**2 / (values**2).sum())[:2], rtol=1e-5)


@pytest.mark.parametrize("n", [2, 5])
def test_without_variance_all_lie_in_one_point(n: int) -> None:
    gram = gram_matrix([torch.ones(n, 3)], torch.zeros(n, dtype=torch.int64), n)
    assert (principal_plane(gram)["plane"] == 0).all()
    assert torch.isnan(distance_histograms(gram)["between_classes"]).all()
