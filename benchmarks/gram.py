"""Time to measure one layer / time of the bare float32 matrix products that its Gram matrix needs, in one run."""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from layerprobe import gram_matrix, measure


def seconds(work: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[4096, 16384])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    labels = torch.arange(10).repeat_interleave(arguments.images // 10)
    for dimension in arguments.dimensions:
        features = torch.randn(len(labels), dimension)
        blocks = features.split(4096, dim=1)
        bare = seconds(lambda: [block @ block.T for block in blocks], arguments.repeats)  # noqa: B023
        gram = seconds(lambda: gram_matrix(blocks, labels, 50_000), arguments.repeats)  # noqa: B023
        whole = seconds(lambda: measure(gram_matrix(blocks, labels, 50_000)), arguments.repeats)  # noqa: B023
        print(
            f"n = {len(labels)}, D = {dimension}: products {bare:.2f} s, "
            f"Gram {gram:.2f} s ({gram / bare:.2f}x), all scores {whole:.2f} s ({whole / bare:.2f}x)"
        )


if __name__ == "__main__":
    main()
