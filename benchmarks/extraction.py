"""Extraction / bare forward pass of the same model over the same batches, in one run; and peak memory.

    python benchmarks/extraction.py --data photos/ --output /dev/shm

Baselines: the network alone, under no_grad, on batches that lie decoded and normalized in memory; and the plain loop,
which decodes them too. Extraction: the whole pass, from the first image that is decoded to the last byte that is on
the disk (loading the model and discovery are left out of all three). They alternate; medians are reported. Every
layer is written, in float16; of a network with random weights in float32, since its features outgrow float16.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import torch

from layerprobe import DataSettings, ExtractSettings, ModelSettings, extract
from layerprobe.data.datasets import open_split
from layerprobe.data.loading import Pixels, batches, make_loader
from layerprobe.data.preprocessing import normalize
from layerprobe.data.sampling import balanced_sample
from layerprobe.features.extraction.forward import EXTRACTED
from layerprobe.networks import load_network
from layerprobe.runtime.devices import resolve_device


def dtype_of(weights: str) -> Literal["float16", "float32"]:
    """The numbers of the file that is written."""
    return "float32" if weights == "random" else "float16"


def bare_forward(config: ExtractSettings, device: torch.device) -> tuple[float, float]:
    """Seconds of the network alone over the batches of an extraction, and of the loop that decodes them as well."""
    dataset = open_split(config.data, config.split)
    sample = balanced_sample(dataset.labels, int(config.samples or 0), config.seed, len(dataset.classes))
    network = load_network(config.model, config.data, dataset)
    model = network.module.to(device)
    autocast = torch.autocast(device.type, enabled=config.amp)
    pixels = Pixels(dataset, sample.rows, network.preprocessing)
    ready = [
        normalize(batch.pixels, network.preprocessing).to(device)
        for batch in batches(make_loader(pixels, config.batch_size, workers=config.workers))
    ]
    with torch.no_grad(), autocast:
        model(ready[0])
        synchronize(device)
        start = time.perf_counter()
        for batch in ready:
            model(batch)
        synchronize(device)
        alone = time.perf_counter() - start
        for batch in batches(make_loader(pixels, config.batch_size, workers=config.workers)):
            model(normalize(batch.pixels.to(device), network.preprocessing))
        synchronize(device)
    return alone, time.perf_counter() - start - alone


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def whole_extraction(config: ExtractSettings) -> float:
    """Seconds from the first image to the finished file."""
    begun: list[float] = []

    def progress(what: str, done: int, total: int) -> None:
        if what == EXTRACTED and not begun:
            begun.append(time.perf_counter())

    extract(config, progress).close()
    return time.perf_counter() - begun[0]


def disk_bandwidth(folder: Path, count: int = 2**30) -> float:
    """Bytes per second of one sequential write that ends on the disk."""
    path, block = folder / "bandwidth.bin", os.urandom(2**24)
    start = time.perf_counter()
    with path.open("wb") as file:
        for _ in range(count // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    seconds = time.perf_counter() - start
    path.unlink()
    return count / seconds


def peak_memory(arguments: argparse.Namespace, samples: int) -> float:
    """Peak resident gigabytes of a process that extracts so many images."""
    code = (
        "import resource, sys; from layerprobe.cli.main import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit as error: assert not error.code\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    options = {
        "model": arguments.model, "weights": arguments.weights, "data": arguments.data, "samples": samples,
        "dtype": dtype_of(arguments.weights), "batch-size": arguments.batch_size, "device": arguments.device,
        "output": arguments.output / "memory.h5",
    }  # fmt: skip
    command = ["extract", "--overwrite", "--quiet", *(f"--{key}={value}" for key, value in options.items())]
    shell = [sys.executable, "-c", code, *command]
    result = subprocess.run(shell, capture_output=True, text=True, check=True)
    (arguments.output / "memory.h5").unlink()
    return int(result.stdout.split()[-1]) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="cifar:resnet56")
    parser.add_argument("--weights", default="random")
    parser.add_argument("--data", required=True, help="a folder of class folders, or a data set's name")
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--batch-size", type=int, default=128, help="images per forward pass, of the baselines too")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--amp", action="store_true")
    parser.add_argument("--output", type=Path, default=Path(), help="the folder to write to")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", type=int, nargs="*", help="measure peak memory for these numbers of images instead")
    arguments = parser.parse_args()
    if arguments.memory:
        for samples in arguments.memory:
            print(f"{samples} images: peak resident memory {peak_memory(arguments, samples):.3f} GB", flush=True)
        return
    device = resolve_device(arguments.device)
    config = ExtractSettings(
        model=ModelSettings(name=arguments.model, weights=arguments.weights),
        data=DataSettings(name=arguments.data),
        output=arguments.output / "benchmark.h5",
        samples=arguments.samples,
        dtype=dtype_of(arguments.weights),
        amp=arguments.amp,
        device=arguments.device,
        batch_size=arguments.batch_size,
        workers=arguments.workers,
        overwrite=True,
    )
    print(f"{arguments.model}, {arguments.samples} images, {device}, {torch.get_num_threads()} threads")
    bare, loop, whole = [], [], []
    for _ in range(arguments.repeats):
        alone, decoding = bare_forward(config, device)
        whole.append(whole_extraction(config))
        bare.append(alone)
        loop.append(decoding)
        print(f"network alone {alone:.2f} s, with decoding {decoding:.2f} s, extraction {whole[-1]:.2f} s", flush=True)
    size = config.output.stat().st_size
    config.output.unlink()
    ratios = [statistics.median(whole) / statistics.median(baseline) for baseline in (bare, loop)]
    forward, disk = arguments.samples / statistics.median(bare), disk_bandwidth(arguments.output)
    limit = min(forward, arguments.samples * disk / size)
    reached = arguments.samples / statistics.median(whole)
    print(f"ratio of medians: {ratios[0]:.3f} to the network alone, {ratios[1]:.3f} to the loop that decodes")
    print(f"file {size / 1e9:.2f} GB, disk {disk / 1e6:.0f} MB/s")
    print(
        f"{reached:.0f} images/s: {100 * reached / limit:.0f} % of the smaller of bare forward and disk ({limit:.0f})"
    )


if __name__ == "__main__":
    main()
