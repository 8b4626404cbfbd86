"""Linear CKA from features, its share of every image, and intervals of means."""

import math

import numpy as np
import pytest
import torch

from layerprobe.evaluation.cka import cka_of_images
from layerprobe.evaluation.resampling import estimate_mean


def cka(x: np.ndarray, y: np.ndarray) -> float:
    """Kornblith et al. (ICML 2019), with Gram matrices: HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))."""
    centring = np.eye(len(x)) - 1 / len(x)
    k, ell = centring @ x @ x.T @ centring, centring @ y @ y.T @ centring
    return float((k * ell).sum() / math.sqrt((k * k).sum() * (ell * ell).sum()))


def layers(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(count, 6, generator=generator) * torch.tensor([3.0, 2.0, 1.0, 1.0, 0.5, 0.5]) + 4
    return first, first[:, :4] @ torch.randn(4, 8, generator=generator) + torch.randn(count, 8, generator=generator)


def test_the_mean_is_cka() -> None:
    first, second = layers(200)
    expected = cka(first.double().numpy(), second.double().numpy())
    assert float(cka_of_images(first, second).mean()) == pytest.approx(expected, abs=1e-9) and 0.3 < expected < 0.99
    assert float(cka_of_images(first, -7 * first + 3).mean()) == pytest.approx(1, abs=1e-9)
    assert cka_of_images(first, torch.full((200, 3), 0.1)).isnan().all()
    assert cka_of_images(torch.full((200, 3), 0.1), first).isnan().all()


def test_the_interval_is_that_of_the_bootstrap_of_cka_itself() -> None:
    first, second = layers(400)
    found = estimate_mean(cka_of_images(first, second), 1000, 0.9, seed=1)
    generator = np.random.default_rng(0)
    drawn = [generator.integers(400, size=400) for _ in range(400)]
    exact = [cka_of_images(first[rows], second[rows]).mean().item() for rows in drawn]
    low, high = np.quantile(exact, [0.05, 0.95])
    assert found.high - found.low == pytest.approx(high - low, rel=0.15)
    assert abs(found.low - low) < 0.3 * (high - low) and abs(found.high - high) < 0.3 * (high - low)


def test_intervals_of_means() -> None:
    values = (torch.arange(1000) % 4 == 0).double()
    found = estimate_mean(values, 2000, 0.9, seed=0)
    spread = math.sqrt(0.25 * 0.75 / 1000)
    assert found.value == 0.25 and found.images == 1000
    assert (found.low, found.high) == pytest.approx((0.25 - 1.645 * spread, 0.25 + 1.645 * spread), abs=0.1 * spread)
    assert found == estimate_mean(values, 2000, 0.9, seed=0) != estimate_mean(values, 2000, 0.9, seed=1)
    wider = estimate_mean(values, 2000, 0.99, seed=0)
    assert wider.low < found.low and wider.high > found.high
    with_gaps = torch.cat([values, torch.full((5,), torch.nan, dtype=torch.float64)])
    assert estimate_mean(with_gaps, 2000, 0.9, seed=0) == found
    nothing, without = estimate_mean(values[:0]), estimate_mean(values, 0)
    assert math.isnan(nothing.value) and nothing.images == 0 and without.value == 0.25 and math.isnan(without.low)
