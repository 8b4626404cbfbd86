"""Every statistic against the float64 oracle, and its invariances."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layerprobe.geometry.gram import Lengths, NotFiniteError, cosines_from, gram_matrix, norms, squared_distances
from layerprobe.geometry.measure import measure
from layerprobe.geometry.spectrum import spectral_entropy
from tests.helpers.geometry_oracle import statistics


def measured(features: np.ndarray, labels: np.ndarray, population: int = 1000, width: int = 7) -> dict[str, float]:
    matrix = torch.from_numpy(features.reshape(len(features), -1).astype(np.float32))
    return measure(gram_matrix(matrix.split(width, dim=1), torch.from_numpy(labels), population))


def clouds(n: int, d: int, classes: int, offset: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = np.sort(generator.integers(0, classes, n))
    labels[: 2 * classes] = np.repeat(np.arange(classes), 2)
    centres = generator.normal(size=(classes, d))
    features = centres[labels] + 0.5 * generator.normal(size=(n, d)) + offset
    return features.astype(np.float32), labels


@pytest.mark.parametrize(("n", "d", "classes"), [(30, 200, 3), (40, 5, 4), (25, 25, 2), (60, 3, 5), (12, 1000, 6)])
def test_against_the_oracle(n: int, d: int, classes: int) -> None:
    features, labels = clouds(n, d, classes)
    values, expected = measured(features, labels), statistics(features, labels, 1000)
    assert values.keys() == expected.keys()
    for name, value in values.items():
        assert value == pytest.approx(expected[name], rel=1e-5, abs=1e-7, nan_ok=True), name


def _unequal(features: np.ndarray, labels: np.ndarray) -> None:
    labels[:] = [0] * 3 + [1] * 30 + [2] * 7


def _constant_columns(features: np.ndarray, labels: np.ndarray) -> None:
    features[:, ::2] = 3


def _constant_class(features: np.ndarray, labels: np.ndarray) -> None:
    features[labels == 1] = 0.25


def _constant_everywhere(features: np.ndarray, labels: np.ndarray) -> None:
    features[:] = 0.25


def _twins_in_a_class(features: np.ndarray, labels: np.ndarray) -> None:
    first, second = np.flatnonzero(labels == 0)[:2]
    features[second] = features[first]


def _twins_in_two_classes(features: np.ndarray, labels: np.ndarray) -> None:
    features[labels.argmax()] = features[0]


def _one_image(features: np.ndarray, labels: np.ndarray) -> None:
    labels[labels == 2] = 1
    labels[-1] = 2


def _offset(features: np.ndarray, labels: np.ndarray) -> None:
    features += 1000


def _half(features: np.ndarray, labels: np.ndarray) -> None:
    features[:] = features.astype(np.float16)


def _nothing(features: np.ndarray, labels: np.ndarray) -> None:
    pass


AWKWARD = (
    _nothing, _unequal, _constant_columns, _constant_class, _constant_everywhere, _twins_in_a_class,
    _twins_in_two_classes, _one_image, _offset, _half,
)  # fmt: skip


@pytest.mark.parametrize("change", AWKWARD)
@pytest.mark.parametrize("d", [5, 24, 3000])
def test_awkward_samples_against_the_oracle(change: Callable[[np.ndarray, np.ndarray], None], d: int) -> None:
    """Every value within 1e-5 of the formula, or NaN where the formula has no value."""
    features, labels = clouds(40, d, 3)
    change(features, labels)
    values, expected = measured(features, labels, width=64), statistics(features, labels, 1000)
    for name, value in values.items():
        assert value == pytest.approx(expected[name], rel=1e-5, abs=1e-12, nan_ok=True), name


def test_blocks_of_half_precision() -> None:
    features, labels = clouds(30, 40, 3, offset=2.0)
    blocks = torch.from_numpy(features).half().split(16, dim=1)
    values = measure(gram_matrix(blocks, torch.from_numpy(labels), 1000))
    expected = statistics(torch.cat(blocks, dim=1).double().numpy(), labels, 1000)
    assert values == pytest.approx(expected, rel=1e-5)


@given(seed=st.integers(0, 2**16), scale=st.sampled_from([1e-3, 7.0, 1e4]))
@settings(max_examples=10)
def test_scale_rotation_and_order_do_not_matter(seed: int, scale: float) -> None:
    features, labels = clouds(24, 6, 3, seed=seed)
    generator = np.random.default_rng(seed)
    rotation = np.linalg.qr(generator.normal(size=(6, 6)))[0]
    order = generator.permutation(len(labels))
    first = measured(features, labels)
    second = measured((scale * features @ rotation)[order], labels[order])
    for name in ("separation", "information", "efficiency", "quality"):
        assert second[name] == pytest.approx(first[name], rel=1e-3, abs=1e-5), name


def test_the_width_of_the_blocks_does_not_matter() -> None:
    features, labels = clouds(30, 50, 3)
    narrow, wide = measured(features, labels, width=1), measured(features, labels, width=50)
    assert narrow == pytest.approx(wide, rel=1e-5)


def test_gram_restores_norms_cosines_and_distances() -> None:
    features, labels = clouds(20, 8, 2, offset=3.0)
    gram = gram_matrix([torch.from_numpy(features)], torch.from_numpy(labels), 20)
    f = features.astype(np.float64)
    lengths = np.linalg.norm(f, axis=1)
    assert np.allclose(norms(gram), lengths, rtol=1e-5)
    assert np.allclose(
        cosines_from(squared_distances(gram), Lengths.of(gram), Lengths.of(gram)),
        np.abs(f @ f.T) / np.outer(lengths, lengths),
        atol=1e-5,
    )
    assert np.allclose(squared_distances(gram), ((f[:, None] - f[None, :]) ** 2).sum(axis=2), rtol=1e-3, atol=1e-4)


def test_entropy_of_known_spectra() -> None:
    assert spectral_entropy(torch.ones(7)) == pytest.approx(math.log(7))
    assert spectral_entropy(torch.tensor([3.0, 0.0, 0.0])) == 0
    assert spectral_entropy(torch.tensor([0.75, 0.25])) == pytest.approx(0.5623351, rel=1e-6)
    assert math.isnan(spectral_entropy(torch.zeros(3)))


def test_identical_images_have_no_entropy() -> None:
    values = measured(np.ones((6, 4), dtype=np.float32), np.array([0, 0, 0, 1, 1, 1]))
    assert math.isnan(values["information"]) and math.isnan(values["quality"])


def test_zero_features_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    features, labels = clouds(10, 4, 2)
    features[3] = 0
    values = measured(features, labels)
    assert "1 of 10 images have all-zero features" in caplog.text
    assert not any(math.isnan(value) for value in values.values())
    zero_class = (labels == labels[3]).sum()
    assert values["min-intra-cosine"] < 0.5 and zero_class > 1


def test_single_image_or_single_class_is_nan() -> None:
    features, _ = clouds(5, 4, 2)
    assert math.isnan(measured(features, np.array([0, 0, 0, 0, 1]))["separation"])
    assert math.isnan(measured(features, np.zeros(5, dtype=np.int64))["efficiency"])


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (np.nan, "NaN in 2 of 10 images"),
        (np.inf, "infinite values in 2 of 10 images"),
        (1e30, "values whose products exceed float32 in 2 of 10 images"),
    ],
)
def test_values_that_are_not_finite_are_refused(bad: float, said: str) -> None:
    features, labels = clouds(10, 4, 2)
    features[[0, 5], 0] = bad
    with pytest.raises(NotFiniteError, match=said):
        measured(features, labels)


def test_a_block_of_other_rows_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 2\), expected \(4, columns\)"):
        gram_matrix([torch.ones(3, 2)], torch.zeros(4, dtype=torch.int64), 4)


def test_twins_in_two_classes_leave_no_gap() -> None:
    features, labels = clouds(30, 500, 3, offset=2.0)
    first, second = np.flatnonzero(labels == 0)[0], np.flatnonzero(labels == 1)[0]
    features[second] = features[first]
    matrix = torch.from_numpy(features)
    gram = gram_matrix(matrix.split(64, dim=1), torch.from_numpy(labels), 100)
    assert squared_distances(gram)[first, second] == 0
    assert int((squared_distances(gram) == 0).sum()) == 30 + 2
    assert measure(gram)["class-gap"] == pytest.approx(statistics(features, labels, 100)["class-gap"], rel=1e-5)
