"""How often the intervals of `rank` hold the value that they are for.

    python benchmarks/coverage.py --synthetic

draws 400 samples of 10 classes with 20 images each from each of four distributions. The value that an interval is for
is the expected score of such samples: the mean over 4,000 others. Of a network the samples are disjoint ones of a data
set:

    layerprobe extract --model cifar:resnet56 --weights resnet56.th --data cifar10/ --samples all --dtype float16 \\
        --layers 'relu,layer1.4,layer2.4,layer3.1,layer3.6,layer3.8,-1' --output all.h5
    python benchmarks/coverage.py all.h5 --per-class 25 --output docs/images

The images of the file are divided at random into disjoint samples of so many images per class, as many as there are. Of
each the scores and their 90 % intervals are computed. The value that an interval is for is the expected score at that
sample size: the mean over all disjoint samples of three such divisions.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from layerprobe import FeatureFile, Gram, gram_matrix, measure
from layerprobe.geometry.catalogue import resampled
from layerprobe.geometry.resampling import interval, score_deviations
from layerprobe.records import Interval
from layerprobe.report.figures.looks import statistic_look
from layerprobe.report.figures.panels import add_legend
from layerprobe.report.figures.style import COLUMN_WIDTH, Drawing, new_figure, save_figure
from layerprobe.report.tables.table import data_table

DIVISIONS = 3
REPEATS, OTHERS = 400, 4000
SCORES = tuple(score.name for score in resampled())
CLASSES, IMAGES = 10, 20
LABELS = torch.arange(CLASSES).repeat_interleave(IMAGES)

Draw = Callable[[torch.Generator], Tensor]


@dataclass(frozen=True)
class Coverage:
    """Of one layer or distribution, by score.

    Attributes:
        source: the layer, or the distribution.
        samples: how many intervals there were.
        below: how many lie above the expected score, so that it is below them.
        above: the other way round.
    """

    source: str
    samples: int
    below: dict[str, int]
    above: dict[str, int]

    @property
    def covered(self) -> dict[str, float]:
        """The share of intervals that hold the expected score."""
        return {score: 1 - (self.below[score] + self.above[score]) / self.samples for score in SCORES}


def compare(source: str, expected: Mapping[str, float], intervals: Sequence[Mapping[str, Interval]]) -> Coverage:
    below = {score: sum(expected[score] < one[score].low for one in intervals) for score in SCORES}
    above = {score: sum(expected[score] > one[score].high for one in intervals) for score in SCORES}
    return Coverage(source, len(intervals), below, above)


def intervals_of(gram: Gram, measured: Mapping[str, float], resamples: int, seed: int) -> dict[str, Interval]:
    deviations = score_deviations(gram, resamples, seed)
    return {score: interval(measured[score], deviations[score]) for score in SCORES}


def isotropic(generator: torch.Generator) -> Draw:
    """Gaussian classes in 64 dimensions, centres and images with variance 1 in each."""
    centres = torch.randn(CLASSES, 64, generator=generator)
    return lambda draw: centres[LABELS] + torch.randn(len(LABELS), 64, generator=draw)


def decaying(generator: torch.Generator) -> Draw:
    """The same in 256 dimensions whose variance falls as 1 / k^2."""
    centres, scales = torch.randn(CLASSES, 256, generator=generator), 1 / torch.arange(1.0, 257.0)
    return lambda draw: (centres[LABELS] + torch.randn(len(LABELS), 256, generator=draw)) * scales


def heavy_tailed(generator: torch.Generator) -> Draw:
    """Student's t with 5 degrees of freedom in 128 dimensions: some images are far from all others."""
    centres = torch.randn(CLASSES, 128, generator=generator)

    def sample(draw: torch.Generator) -> Tensor:
        images = torch.randn(len(LABELS), 128, generator=draw)
        lengths = torch.randn(len(LABELS), 5, generator=draw).square().mean(dim=1, keepdim=True).sqrt()
        return centres[LABELS] + images / lengths

    return sample


def rectified(generator: torch.Generator) -> Draw:
    """A layer of 256 ReLUs on Gaussian classes in 32 dimensions."""
    weights = torch.randn(32, 256, generator=generator) / 32**0.5
    centres = torch.randn(CLASSES, 32, generator=generator)
    return lambda draw: ((centres[LABELS] + torch.randn(len(LABELS), 32, generator=draw)) @ weights - 0.5).relu()


DISTRIBUTIONS = {"isotropic": isotropic, "decaying": decaying, "heavy-tailed": heavy_tailed, "rectified": rectified}


def study_distribution(name: str, repeats: int, resamples: int) -> Coverage:
    torch.set_num_threads(1)
    sample, draw = DISTRIBUTIONS[name](torch.Generator().manual_seed(7)), torch.Generator().manual_seed(11)
    others = [measure(gram_matrix([sample(draw)], LABELS, 50_000)) for _ in range(OTHERS)]
    expected = {score: sum(one[score] for one in others) / OTHERS for score in SCORES}
    intervals = []
    for seed in range(repeats):
        gram = gram_matrix([sample(draw)], LABELS, 50_000)
        intervals.append(intervals_of(gram, measure(gram), resamples, seed))
    return compare(name, expected, intervals)


def disjoint_samples(labels: Tensor, per_class: int, generator: torch.Generator) -> list[Tensor]:
    members = [torch.nonzero(labels == label).flatten() for label in torch.unique(labels)]
    orders = [rows[torch.randperm(len(rows), generator=generator)] for rows in members]
    count = min(map(len, members)) // per_class
    return [
        torch.cat([order[number * per_class : (number + 1) * per_class] for order in orders]).sort().values
        for number in range(count)
    ]


def study_layer(path: Path, index: int, per_class: int, resamples: int) -> Coverage:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    values: dict[str, list[float]] = {score: [] for score in SCORES}
    intervals = []
    with FeatureFile(path) as file:
        labels, population = file.labels, int(file.provenance["population"])
        name, features = file.layer(index).layer.name, file.features(index).flatten(1)
    for division in range(DIVISIONS):
        for number, rows in enumerate(disjoint_samples(labels, per_class, generator)):
            gram = gram_matrix(features[rows].float().split(4096, dim=1), labels[rows], population)
            measured = measure(gram)
            for score in SCORES:
                values[score].append(measured[score])
            if division == 0:
                intervals.append(intervals_of(gram, measured, resamples, seed=number))
    expected = {score: sum(found) / len(found) for score, found in values.items()}
    return compare(name, expected, intervals)


def draw(found: list[Coverage], per_class: int) -> Drawing:
    figure = new_figure(COLUMN_WIDTH, 2.4)
    axis = figure.add_subplot()
    axis.axhspan(85, 95, color="#DDDDDD", linewidth=0)
    axis.axhline(90, color="black", linewidth=0.6)
    entries = {}
    for number, score in enumerate(("quality", "separation", "information", "efficiency")):
        places = [place + 0.16 * (number - 1.5) for place in range(len(found))]
        shown = [100 * one.covered[score] for one in found]
        shape = statistic_look(score)
        (entries[score],) = axis.plot(places, shown, shape.marker, color=shape.colour)
    axis.set_xticks(range(len(found)), [one.source for one in found], rotation=45, ha="right")
    axis.set_ylim(75, 101)
    axis.set_ylabel("intervals that hold\nthe expected score (%)")
    add_legend(figure, entries)
    rows = ((one.source, one.samples, *one.covered.values()) for one in found)
    caption = f"Intervals of nominally 90 % from {found[0].samples} samples of {per_class} images per class."
    return Drawing(figure, data_table("coverage", ("layer", "samples", *found[0].covered), rows), caption)


def start(pool: ProcessPoolExecutor, arguments: argparse.Namespace) -> list[Future[Coverage]]:
    if arguments.synthetic:
        return [pool.submit(study_distribution, name, arguments.repeats, arguments.resamples) for name in DISTRIBUTIONS]
    with FeatureFile(arguments.features) as file:
        indices = [stored.layer.index for stored in file.layers]
    return [
        pool.submit(study_layer, arguments.features, index, arguments.per_class, arguments.resamples)
        for index in indices
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=Path, nargs="?", help="of every image of a split")
    parser.add_argument("--synthetic", action="store_true", help="samples of distributions in place of FEATURES")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="samples of each distribution")
    parser.add_argument("--per-class", type=int, default=25)
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, help="folder for the figure")
    arguments = parser.parse_args()
    if bool(arguments.features) == arguments.synthetic:
        parser.error("give a file of features, or --synthetic")
    with ProcessPoolExecutor(arguments.workers) as pool:
        found = [one.result() for one in start(pool, arguments)]
    print(f"{found[0].samples} samples each: intervals that hold the expected score, in %; where it lies otherwise")
    for one in found:
        shares = (
            f"{score} {100 * share:.1f} ({one.below[score]} below, {one.above[score]} above)"
            for score, share in one.covered.items()
        )
        print(one.source, *shares, sep="  ", flush=True)
    if arguments.output:
        per_class, name = (IMAGES, "coverage-synthetic") if arguments.synthetic else (arguments.per_class, "coverage")
        save_figure(partial(draw, found, per_class), arguments.output, name, overwrite=True)


if __name__ == "__main__":
    main()
