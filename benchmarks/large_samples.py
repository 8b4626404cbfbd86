"""Time of `layerprobe rank` of one layer of many images / time of the bare float32 products of all pairs, in one run;
and its peak resident memory. On a machine that has other work, compare processor seconds, with OMP_NUM_THREADS=1.

python benchmarks/large_samples.py --output /tmp 20000x10 20000x100 20000x1000
python benchmarks/large_samples.py --output /tmp --intervals 5000x1000 20000x2500   # also without intervals
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

ROWS = 2048
"""Rows of products that are computed together: all of 50,000 images would take 10 GB."""


def write_features(path: Path, images: int, classes: int, dimension: int) -> None:
    """A feature file of one layer, in 16 bits: noise about a centre for every class, after a ReLU."""
    from layerprobe.features.hdf5.layout import FilePlan, create_file
    from layerprobe.features.hdf5.writer import FeatureFileWriter
    from layerprobe.records import Layer, StoredLayer

    layer = StoredLayer(Layer(0, "layer", "block", (dimension,), 0), (dimension,))
    labels = np.arange(images, dtype=np.int64) % classes
    provenance = {
        "model": "random", "weights": "random", "weights_sha256": "0" * 64, "dataset": "none", "split": "train",
        "population": 1_300_000, "preprocessing": {"image_size": [8, 8], "mean": [0], "std": [1]},
        "sample": {"how": "at random"}, "pixels_sha256": "0" * 64, "precision": "float32", "device": "cpu",
    }  # fmt: skip
    plan = FilePlan((layer,), "float16", labels, np.arange(images), None, tuple(map(str, range(classes))), provenance)
    create_file(path, plan)
    generator = np.random.default_rng(0)
    centres = 0.3 * generator.normal(size=(classes, dimension))
    with FeatureFileWriter(path) as writer:
        for start in range(0, images, 500):
            own = centres[labels[start : start + 500]]
            writer.write(start, [np.maximum(own + generator.normal(size=own.shape), 0).astype(np.float16)])
        writer.finish()


def seconds_of_products(images: int, dimension: int) -> tuple[float, float]:
    """X @ X.T, some rows at a time: seconds by the clock, and of the processors."""
    features = torch.randn(images, dimension)
    found = torch.empty(ROWS, images)
    torch.mm(features[:ROWS], features.T, out=found[: min(ROWS, images)])  # not counted
    started, worked = time.perf_counter(), time.process_time()
    for start in range(0, images, ROWS):
        rows = features[start : start + ROWS]
        torch.mm(rows, features.T, out=found[: len(rows)])
    return time.perf_counter() - started, time.process_time() - worked


def rank(path: Path, options: Sequence[str]) -> tuple[float, float, float]:
    """Of the whole command seconds by the clock, seconds of the processors, and gigabytes of peak resident memory."""
    command = [sys.executable, "-c", "from layerprobe.cli.main import main; main()", "rank", str(path)]
    command += ["--top", "1", "--no-cache", "--overwrite", *options]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"rank of {path} failed")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", nargs="+", help="IMAGESxCLASSES")
    parser.add_argument("--dimension", type=int, default=4096)
    parser.add_argument("--output", type=Path, default=Path(), help="folder for the feature files")
    parser.add_argument("--intervals", action="store_true", help="compare with --resamples 0 instead of bare products")
    parser.add_argument("--rank", nargs="*", default=[], help="further options of rank, without their dashes: memory 2")
    arguments = parser.parse_args()
    options = [f"--{word}" if place % 2 == 0 else word for place, word in enumerate(arguments.rank)]
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, D = {arguments.dimension}")
    for sample in arguments.samples:
        images, classes = map(int, sample.split("x"))
        path = arguments.output / f"large-{sample}.h5"
        if not path.exists():
            write_features(path, images, classes, arguments.dimension)
        if arguments.intervals:
            baseline, name = rank(path, [*options, "--resamples", "0"])[:2], "without intervals"
        else:
            baseline, name = seconds_of_products(images, arguments.dimension), "bare products"
        *taken, memory = rank(path, options)
        kinds = ("clock", "processors")
        times = (f"{kind} {before:.1f} s, {after:.1f} s ({after / before:.2f}x)"
                 for kind, before, after in zip(kinds, baseline, taken, strict=True))  # fmt: skip
        print(f"{images} images, {classes} classes: {name} and rank: {'; '.join(times)}; {memory:.2f} GB", flush=True)


if __name__ == "__main__":
    main()
