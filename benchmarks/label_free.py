"""How often the intervals of statistics that need no labels hold the value that they are for, and how near the scores
of clusters come to those of classes.

    python benchmarks/label_free.py

draws 100 samples of each of three distributions, of 120 and of 400 images. The value that an interval is for is the
mean over the samples. LiDAR and InfoNCE have two views of every image: each is its features with noise of 0.3 of
their spread. Mutual neighbours and information imbalance compare the features with their first half. Of a network,

    layerprobe extract --model cifar:resnet56 --weights resnet56.th --data cifar10/ --samples 1000 --output r56.h5
    python benchmarks/label_free.py r56.h5

prints the number of clusters by the last block, and Kendall's tau over all layers between each score of clusters and
that of classes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from scipy.stats import kendalltau
from torch import Tensor

from layerprobe import FeatureFile, gram_matrix, rank
from layerprobe.geometry.catalogue import CLUSTERS, DEVIATIONS, FAMILIES, members, resampled
from layerprobe.geometry.half_draws import halves_of
from layerprobe.geometry.measure import Quantities
from layerprobe.geometry.neighbour_ranks import among, information_imbalance, mutual_neighbours, neighbour_ranks
from layerprobe.geometry.pair_deviations import matrices_of_halves, matrix_range
from layerprobe.geometry.resampling import interval
from layerprobe.records import Interval

SAMPLES, RESAMPLES, SIZES = 100, 40, (120, 400)
Found = Mapping[str, tuple[float, Interval]]


def white(images: int, generator: torch.Generator) -> Tensor:
    return torch.randn(images, 24, generator=generator)


def decaying(images: int, generator: torch.Generator) -> Tensor:
    return torch.randn(images, 150, generator=generator) * torch.arange(1.0, 151) ** -0.7


def rectified(images: int, generator: torch.Generator) -> Tensor:
    weights = torch.randn(12, 60, generator=torch.Generator().manual_seed(1))
    return (torch.randn(images, 12, generator=generator) @ weights).relu()


DISTRIBUTIONS: tuple[Callable[[int, torch.Generator], Tensor], ...] = (white, decaying, rectified)


def of_one_sample(features: Tensor, generator: torch.Generator) -> Found:
    """Every statistic with its interval."""
    spread = 0.3 * features.std(dim=0)
    views = torch.cat([features + spread * torch.randn(features.shape, generator=generator) for _ in range(2)])
    both = gram_matrix([views], None, len(views))
    quantities = Quantities.of_gram(gram_matrix([features], None, len(features)), both_views=both)
    found: dict[str, tuple[float, Interval]] = {}
    for family in (name for name in FAMILIES if name in DEVIATIONS and name != CLUSTERS):
        entry = DEVIATIONS[family]
        deviations = entry.load()(*(quantities[taken] for taken in entry.takes), resamples=RESAMPLES, seed=0)
        for one in resampled(family):
            value = float(quantities[one.name])
            found[one.symbol] = value, interval(value, deviations[one.name])
    return found | of_pairs(features)


def of_pairs(features: Tensor) -> Found:
    """The measures of two layers: the features, and their first half."""
    parts = features, features[:, : features.shape[1] // 2]
    ranks = [neighbour_ranks(gram_matrix([one], None, len(one))) for one in parts]
    halves = halves_of(len(features), None, RESAMPLES, 0)
    found = {}
    for name, compare in (("mutual neighbours", mutual_neighbours), ("imbalance", information_imbalance)):
        value = compare(ranks[1:], ranks[:1])
        drawn = torch.stack([*matrices_of_halves(ranks[1:], ranks[:1], compare, among, halves)])
        ends = matrix_range(value, drawn, 0.9)
        found[name] = float(value), Interval(float(ends.low), float(ends.high), 0.9)
    return found


def coverage(sizes: tuple[int, ...]) -> None:
    """Print how many of a hundred intervals of nominal 90 % hold the mean over the samples."""
    for draw in DISTRIBUTIONS:
        for images in sizes:
            generator = torch.Generator().manual_seed(0)
            samples = [of_one_sample(draw(images, generator), generator) for _ in range(SAMPLES)]
            parts = []
            for name in samples[0]:
                mean = sum(one[name][0] for one in samples) / SAMPLES
                parts.append(f"{name} {sum(one[name][1].low <= mean <= one[name][1].high for one in samples)}")
            print(f"{draw.__name__}, {images}: {', '.join(parts)}", flush=True)


def clusters(path: Path) -> None:
    """Print how near the scores of clusters come to those of classes."""
    with FeatureFile(path) as file:
        ranking = rank(file, resamples=0, statistics=(CLUSTERS,))
    print(ranking.provenance[CLUSTERS])
    for one in members(CLUSTERS):
        name = one.name.removeprefix("cluster-")
        pairs = [(layer.statistics[one.name], layer.statistics[name]) for layer in ranking.geometries]
        print(f"{name}: tau {kendalltau(*zip(*pairs, strict=True)).statistic:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", nargs="?", type=Path)
    parser.add_argument("--images", type=int, nargs="+", default=SIZES)
    given = parser.parse_args()
    if given.features:
        clusters(given.features)
    else:
        coverage(tuple(given.images))
