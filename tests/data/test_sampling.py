"""Class-balanced samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerprobe.data.loading import split_holdout
from layerprobe.data.sampling import all_rows, balanced_sample, reduced, spectrum_sample
from layerprobe.errors import LayerprobeError

LABELS = np.array([0] * 30 + [1] * 12 + [2] * 20)


@given(count=st.integers(3, 36), seed=st.integers(0, 99))
def test_a_sample_is_balanced_unique_and_ascending(count: int, seed: int) -> None:
    sample = balanced_sample(LABELS, count, seed, 3)
    assert np.bincount(LABELS[sample.rows]).tolist() == [count // 3] * 3
    assert (np.diff(sample.rows) > 0).all()
    assert sample.description["requested"] == count and sample.description["images"] == len(sample.rows)
    assert np.array_equal(sample.rows, balanced_sample(LABELS, count, seed, 3).rows)


def test_another_seed_draws_other_images() -> None:
    assert not np.array_equal(balanced_sample(LABELS, 15, 0, 3).rows, balanced_sample(LABELS, 15, 1, 3).rows)


def test_the_default_shrinks_to_the_smallest_class_and_says_so() -> None:
    sample = balanced_sample(LABELS, None, 0, 3)
    assert sample.per_class == 12
    assert (sample.description["requested"], sample.description["images"]) == (5000, 36)


def test_impossible_samples_are_refused() -> None:
    with pytest.raises(LayerprobeError, match=r"need 13 images per class.*has 12; ask for 36 at most"):
        balanced_sample(LABELS, 39, 0, 3)
    with pytest.raises(LayerprobeError, match="less than one per class"):
        balanced_sample(LABELS, 2, 0, 3)
    with pytest.raises(LayerprobeError, match="less than one per class"):
        balanced_sample(LABELS, -3, 0, 3)
    for count in (None, 4):
        with pytest.raises(LayerprobeError, match=r"class 3 .* has no images.*the smallest class has 0"):
            balanced_sample(LABELS, count, 0, 4)


def test_the_sample_of_spectra_is_drawn_apart_class_after_class() -> None:
    sample = spectrum_sample(LABELS, 15, seed=0)
    assert LABELS[sample.rows].tolist() == [0] * 15 + [1] * 12 + [2] * 15 and sample.per_class == 0
    assert all((np.diff(sample.rows[LABELS[sample.rows] == label]) > 0).all() for label in range(3))
    assert sample.description["fewest_per_class"] == 12 and sample.description["images"] == 42
    assert spectrum_sample(LABELS, 10**6, seed=0).description["most_per_class"] == np.bincount(LABELS).max()
    assert np.array_equal(sample.rows, spectrum_sample(LABELS, 15, seed=0).rows)
    assert not np.array_equal(sample.rows, spectrum_sample(LABELS, 15, seed=1).rows)
    same = spectrum_sample(LABELS, 12, seed=0)
    assert same.per_class == same.description["per_class"] == 12
    # Twelve of every class are one sample of 36, too: other images than those that its own draw gives.
    assert set(same.rows.tolist()) != set(balanced_sample(LABELS, 36, 0, 3).rows.tolist())


def test_all_rows() -> None:
    assert np.array_equal(all_rows(LABELS).rows, np.arange(62))


@given(count=st.integers(2, 500), fraction=st.floats(0.1, 0.5))
def test_holdout_is_a_partition(count: int, fraction: float) -> None:
    if not 0 < round(count * fraction) < count:
        return
    split = split_holdout(count, fraction, 0)
    assert len(split.holdout) == round(count * fraction)
    assert np.array_equal(np.sort(np.concatenate([split.train, split.holdout])), np.arange(count))


def test_no_holdout() -> None:
    assert len(split_holdout(9, 0.0, 0).holdout) == 0
    with pytest.raises(LayerprobeError, match="leaves none"):
        split_holdout(3, 0.1, 0)
    with pytest.raises(LayerprobeError, match="leaves none"):
        split_holdout(10, -0.2, 0)


def test_a_reduced_sample_counts_what_was_left_out() -> None:
    sample = balanced_sample(LABELS, 15, 0, 3)
    assert reduced(sample, sample.rows, LABELS) is sample
    fewer = reduced(sample, sample.rows[2:], LABELS)
    assert fewer.per_class == 0 and fewer.rows.tolist() == sample.rows[2:].tolist()
    told = {key: fewer.description[key] for key in ("requested", "images", "left_out", "seed")}
    assert told == {"requested": 15, "images": 13, "left_out": 2, "seed": 0}
    assert (fewer.description["fewest_per_class"], fewer.description["most_per_class"]) == (3, 5)
    assert "per_class" not in fewer.description
    again = reduced(fewer, fewer.rows[np.isin(np.arange(13), [0, 1, 2, 3, 4, 5, 8, 9, 10])], LABELS)
    assert again.description["left_out"] == 6 and again.per_class == again.description["per_class"] == 3
    every = all_rows(LABELS)
    assert reduced(every, every.rows[1:], LABELS).description == {"how": "every image", "images": 61, "left_out": 1}
