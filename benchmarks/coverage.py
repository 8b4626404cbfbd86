"""How often the intervals of `rank` hold the value that they are for: disjoint samples of one data set, one network.

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
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from layerprobe import FeatureFile, gram_matrix, measure
from layerprobe.geometry.catalogue import resampled
from layerprobe.geometry.resampling import interval, score_deviations
from layerprobe.report.figures.style import COLOURS, COLUMN_WIDTH, MARKERS, Drawing, new_figure, save_figure
from layerprobe.report.tables.table import data_table

DIVISIONS = 3
SCORES = tuple(score.name for score in resampled())


@dataclass(frozen=True)
class Coverage:
    """Of one layer, by score."""

    layer: str
    samples: int
    covered: dict[str, float]


def disjoint_samples(labels: Tensor, per_class: int, generator: torch.Generator) -> list[Tensor]:
    members = [torch.nonzero(labels == label).flatten() for label in torch.unique(labels)]
    orders = [rows[torch.randperm(len(rows), generator=generator)] for rows in members]
    count = min(map(len, members)) // per_class
    return [
        torch.cat([order[number * per_class : (number + 1) * per_class] for order in orders]).sort().values
        for number in range(count)
    ]


def study(path: Path, index: int, per_class: int, resamples: int) -> Coverage:
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
                deviations = score_deviations(gram, resamples, seed=number)
                intervals.append({score: interval(measured[score], deviations[score]) for score in SCORES})
    expected = {score: sum(found) / len(found) for score, found in values.items()}
    covered = {
        score: sum(one[score].low <= expected[score] <= one[score].high for one in intervals) / len(intervals)
        for score in SCORES
    }
    return Coverage(name, len(intervals), covered)


def draw(found: list[Coverage], per_class: int) -> Drawing:
    figure = new_figure(COLUMN_WIDTH, 2.6)
    axis = figure.add_subplot()
    axis.axhspan(85, 95, color="#DDDDDD", linewidth=0)
    axis.axhline(90, color="black", linewidth=0.6)
    for number, score in enumerate(("quality", "separation", "information", "efficiency")):
        places = [place + 0.16 * (number - 1.5) for place in range(len(found))]
        shown = [100 * one.covered[score] for one in found]
        axis.plot(places, shown, MARKERS[number], color=COLOURS[number], label=score)
    axis.set_xticks(range(len(found)), [one.layer for one in found], rotation=45, ha="right")
    axis.set_ylim(75, 101)
    axis.set_ylabel("intervals that hold\nthe expected score (%)")
    axis.set_title(f"nominal 90 %, {found[0].samples} samples of {per_class} per class", loc="left", fontsize=7.5)
    axis.legend(ncols=4, loc="lower center", columnspacing=0.8, handletextpad=0.1)
    rows = ((one.layer, one.samples, *one.covered.values()) for one in found)
    return Drawing(figure, data_table("coverage", ("layer", "samples", *found[0].covered), rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=Path, help="of every image of a split")
    parser.add_argument("--per-class", type=int, default=25)
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, help="folder for the figure")
    arguments = parser.parse_args()
    with FeatureFile(arguments.features) as file:
        indices = [stored.layer.index for stored in file.layers]
    with ProcessPoolExecutor(arguments.workers) as pool:
        waiting = [
            pool.submit(study, arguments.features, index, arguments.per_class, arguments.resamples) for index in indices
        ]
        found = [one.result() for one in waiting]
    print(f"{found[0].samples} disjoint samples of {arguments.per_class} images per class: intervals that cover, in %")
    for one in found:
        print(one.layer, *(f"{score} {100 * share:.1f}" for score, share in one.covered.items()), sep="  ", flush=True)
    if arguments.output:
        save_figure(partial(draw, found, arguments.per_class), arguments.output, "coverage", overwrite=True)


if __name__ == "__main__":
    main()
