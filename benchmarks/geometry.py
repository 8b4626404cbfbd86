"""Time to measure one layer / time of the bare float32 matrix products that it needs, in one run; and peak memory.

python benchmarks/geometry.py
python benchmarks/geometry.py --memory 4096 262144 --output /tmp
python benchmarks/geometry.py --features r56.h5     # 200 resamples against the Gram matrices of a file's layers
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from layerprobe import FeatureFile, gram_matrix, gram_of, measure
from layerprobe.geometry.resampling import score_deviations

WIDTH = 4096
"""Columns of a block, as a feature file gives them."""


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare_times(labels: torch.Tensor, dimension: int, repeats: int) -> None:
    """The three alternate: a machine that slows down slows all of them."""
    blocks = torch.randn(len(labels), dimension).split(WIDTH, dim=1)
    works: dict[str, Callable[[], object]] = {
        "products": lambda: [block @ block.T for block in blocks],
        "Gram": lambda: gram_matrix(blocks, labels, 50_000),
        "all scores": lambda: measure(gram_matrix(blocks, labels, 50_000)),
    }
    times = {name: [seconds(work)] for name, work in works.items()}  # the first is not counted
    for _ in range(repeats):
        for name, work in works.items():
            times[name].append(seconds(work))
    medians = {name: statistics.median(taken[1:]) for name, taken in times.items()}
    shown = ", ".join(f"{name} {value:.2f} s ({value / medians['products']:.2f}x)" for name, value in medians.items())
    print(f"n = {len(labels)}, D = {dimension}: {shown}", flush=True)


def write_features(path: Path, images: int, dimension: int) -> None:
    """A feature file of random features."""
    from layerprobe.features.hdf5.layout import FilePlan, create_file
    from layerprobe.features.hdf5.writer import FeatureFileWriter
    from layerprobe.records import Layer, StoredLayer

    layer = StoredLayer(Layer(0, "layer", "block", (dimension,), 0), (dimension,))
    labels = np.arange(images, dtype=np.int64) % 10
    provenance = {
        "model": "random", "weights": "random", "weights_sha256": "0" * 64, "dataset": "none", "split": "train",
        "population": 50_000, "preprocessing": {"image_size": [8, 8], "mean": [0], "std": [1]},
        "sample": {"how": "at random"}, "pixels_sha256": "0" * 64, "precision": "float32", "device": "cpu",
    }  # fmt: skip
    create_file(path, FilePlan((layer,), "float16", labels, np.arange(images), None, tuple("0123456789"), provenance))
    generator = np.random.default_rng(0)
    with FeatureFileWriter(path) as writer:
        for row in range(images):
            writer.write(row, [generator.normal(size=(1, dimension)).astype(np.float16)])
        writer.finish()


def peak_memory(path: Path) -> float:
    """Peak resident gigabytes of a process that measures the file."""
    code = (
        "import resource, sys; from pathlib import Path; from layerprobe import FeatureFile, gram_matrix, measure\n"
        "with FeatureFile(Path(sys.argv[1])) as file: measure(gram_matrix(file.columns(0), file.labels, 50_000))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    result = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    return int(result.stdout.split()[-1]) / 1e6


def compare_resampling(path: Path) -> None:
    """Over all layers of a file: reading and multiplying, and resampling."""
    gram_seconds = resampling_seconds = 0.0
    with FeatureFile(path) as file:
        for stored in file.layers:
            started = time.perf_counter()
            gram = gram_of(file, stored)
            gram_seconds += time.perf_counter() - started
            resampling_seconds += seconds(partial(score_deviations, gram, 200))
        print(
            f"{len(file.layers)} layers: Gram matrices {gram_seconds:.1f} s, 200 resamples {resampling_seconds:.1f} s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[4096, 16384])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory", type=int, nargs="*", help="measure peak memory for these dimensions instead")
    parser.add_argument("--output", type=Path, default=Path(), help="folder for the files of --memory")
    parser.add_argument("--features", type=Path, help="compare resampling with the Gram matrices of this file instead")
    arguments = parser.parse_args()
    if arguments.features:
        compare_resampling(arguments.features)
        return
    for dimension in arguments.memory or ():
        path = arguments.output / "geometry.h5"
        write_features(path, arguments.images, dimension)
        print(f"n = {arguments.images}, D = {dimension}: peak resident memory {peak_memory(path):.2f} GB", flush=True)
        path.unlink()
    if arguments.memory:
        return
    labels = torch.arange(10).repeat_interleave(arguments.images // 10)
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    for dimension in arguments.dimensions:
        compare_times(labels, dimension, arguments.repeats)


if __name__ == "__main__":
    main()
