"""Linear CKA against textbook formulas."""

import numpy as np
import pytest
import torch

from layerprobe.geometry.alignment import CentredKernel, centred_kernel, cka_matrix
from layerprobe.geometry.gram import gram_matrix

SIZES = (3, 40, 200)
GENERATOR = np.random.default_rng(0)
SHARED = GENERATOR.normal(size=(30, 4))
FEATURES = [(SHARED @ GENERATOR.normal(size=(4, d)) + GENERATOR.normal(size=(30, d)) + 5).astype("f4") for d in SIZES]


def kernel_of(features: np.ndarray) -> CentredKernel:
    labels = torch.zeros(len(features), dtype=torch.int64)
    return centred_kernel(gram_matrix(torch.from_numpy(features).split(7, dim=1), labels, 30))


def textbook(x: np.ndarray, y: np.ndarray) -> float:
    """|Y^T X|^2 / (|X^T X| |Y^T Y|) of centred features."""
    x, y = (a.astype("f8") - a.mean(axis=0, dtype="f8") for a in (x, y))
    return float(np.linalg.norm(y.T @ x) ** 2 / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y))


def hsic_1(x: np.ndarray, y: np.ndarray) -> float:
    """Song et al. 2012, equation 5, with matrices."""
    k, other = (a.astype("f8") @ a.astype("f8").T for a in (x, y))
    for matrix in (k, other):
        np.fill_diagonal(matrix, 0)
    n, one = len(k), np.ones(len(k))
    cross = one @ k @ one * (one @ other @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ other @ one)
    return float((np.trace(k @ other) + cross) / (n * (n - 3)))


def test_against_the_textbook() -> None:
    kernels = [kernel_of(features) for features in FEATURES]
    plain, debiased = cka_matrix(kernels, kernels), cka_matrix(kernels[:2], kernels, debiased=True)
    for i, x in enumerate(FEATURES):
        for j, y in enumerate(FEATURES):
            assert float(plain[i, j]) == pytest.approx(textbook(x, y), rel=1e-5)
            if i < 2:
                expected = hsic_1(x, y) / np.sqrt(hsic_1(x, x) * hsic_1(y, y))
                assert float(debiased[i, j]) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_rotation_shift_and_scale_do_not_matter() -> None:
    x = FEATURES[1]
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(40, 40)))[0]
    moved = (3 * x @ rotation + 2).astype("f4")
    for debiased in (False, True):
        assert float(cka_matrix([kernel_of(x)], [kernel_of(moved)], debiased)) == pytest.approx(1, rel=1e-4)


def test_unrelated_features_of_many_dimensions() -> None:
    """The bias: features that have nothing in common look alike where they have more dimensions than images."""
    generator = np.random.default_rng(2)
    first, second = (kernel_of(generator.normal(size=(50, 1000)).astype("f4")) for _ in range(2))
    assert float(cka_matrix([first], [second])) > 0.9
    assert abs(float(cka_matrix([first], [second], debiased=True))) < 0.2


def test_a_layer_without_variance_has_none() -> None:
    flat, other = kernel_of(np.ones((30, 3), "f4")), kernel_of(FEATURES[0])
    assert torch.isnan(cka_matrix([flat], [other])).all()
    assert torch.isnan(cka_matrix([other], [flat], debiased=True)).all()


def test_three_images_have_no_debiased_alignment() -> None:
    kernel = kernel_of(FEATURES[0][:3])
    assert torch.isnan(cka_matrix([kernel], [kernel], debiased=True)).all()
    assert float(cka_matrix([kernel], [kernel])) == pytest.approx(1)
