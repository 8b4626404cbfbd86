"""What layerprobe costs on one GPU, in nine minutes, the most valuable part first; one table.

    python benchmarks/gpu.py --data cifar10/ --weights resnet56.th     # images of CIFAR-10, a trained ResNet-56
    python benchmarks/gpu.py                                           # made images and random weights
    python benchmarks/gpu.py --rehearse                                # all parts at tiny size on the CPU

Every part runs in a process of its own under a time limit of its own, so that none stops the others, and prints its
rows as soon as it has them; the table in Markdown comes at the end. A ratio is to the stated baseline, taken in the
same part; medians of several repeats. Memory is what was allocated on a GPU, or was resident on a CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import distill as step_benchmark
import extraction as extraction_benchmark
import numpy as np
import torch
import yaml
from PIL import Image

import layerprobe
from layerprobe import DataSettings, ExtractSettings, FeatureFile, ModelSettings
from layerprobe.runtime.devices import resolve_device
from layerprobe.runtime.environment import peak_memory

ROOT = Path(__file__).parents[1]
MODEL = "cifar:resnet56"
ROW = "row: "
"""What a line of a part's output begins with that holds a row of the table."""


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        device: where.
        images: of the extraction, the ranking and made data.
        repeats: of every timing.
        steps: of an epoch of the training step.
        train: training images of the real run.
        epochs: of the real run.
        students: teacher and student of the training step.
        methods: of the training step.
        precisions: of the training step, each with whether its networks are compiled.
        workers: processes that decode.
        cells: methods of the cells that run side by side.
        beside: how many of them at a time.
        cell_epochs: of each.
    """

    device: str
    images: int
    repeats: int
    steps: int
    train: int
    epochs: int
    students: tuple[str, str]
    methods: tuple[str, ...]
    precisions: tuple[tuple[str, bool], ...]
    workers: int
    cells: tuple[str, ...]
    beside: int
    cell_epochs: int


FULL = Scale(
    device="cuda", images=5000, repeats=3, steps=60, train=40_000, epochs=15, workers=8,
    students=("cifar:resnet34", "cifar:resnet9"), methods=("feature-only", "kd"),
    precisions=(("bf16", True), ("no", False)), cells=("feature-only", "kd", "scratch"), beside=3, cell_epochs=3,
)  # fmt: skip
TINY = Scale(
    device="cpu", images=40, repeats=1, steps=2, train=40, epochs=1, workers=0,
    students=("cifar:resnet20", "cifar:resnet20"), methods=("feature-only",), precisions=(("no", False),),
    cells=("scratch",), beside=1, cell_epochs=1,
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """What every part is given: how much, with which images and weights, and a folder for its files."""

    scale: Scale
    data: Path
    weights: str
    folder: Path

    @property
    def device(self) -> torch.device:
        return resolve_device(self.scale.device)

    @property
    def features(self) -> Path:
        """The feature file that the part ``extraction`` leaves."""
        return self.folder / "features.h5"

    def extraction(self) -> ExtractSettings:
        return ExtractSettings(
            model=ModelSettings(name=MODEL, weights=self.weights),
            data=DataSettings(name=str(self.data)),
            output=self.features,
            samples=self.scale.images,
            dtype=extraction_benchmark.dtype_of(self.weights),
            amp=self.device.type == "cuda",
            device=self.scale.device,
            batch_size=128,
            workers=self.scale.workers,
            overwrite=True,
        )


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        what: was measured.
        value: with its unit.
        baseline: with its unit, and what it is.
        ratio: to the baseline; None: there is none.
        goal: for the ratio.
    """

    what: str
    value: str
    baseline: str = ""
    ratio: float | None = None
    goal: str = ""


def gpu_tests(job: Job) -> Iterator[Row]:
    """The tests that need a GPU."""
    marked = [path for path in (ROOT / "tests").rglob("test_*.py") if "mark.gpu" in path.read_text(encoding="utf-8")]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-n", "0", "-p", "no:cacheprovider", *marked]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(done.stdout[-2000:])
    yield Row("tests marked gpu", done.stdout.strip().splitlines()[-1] if done.stdout.strip() else "no output")


def extraction(job: Job) -> Iterator[Row]:
    """Extraction against the network alone and against the disk."""
    settings, count = job.extraction(), job.scale.images
    bare, whole = [], []
    for _ in range(job.scale.repeats):
        bare.append(extraction_benchmark.bare_forward(settings, job.device)[0])
        whole.append(extraction_benchmark.whole_extraction(settings))
    size, disk = job.features.stat().st_size, extraction_benchmark.disk_bandwidth(job.folder, 2**27)
    forward, reached = count / statistics.median(bare), count / statistics.median(whole)
    limit = min(forward, count * disk / size)
    yield Row(
        f"extract, {MODEL}, {count} images, {size / 1e9:.2f} GB",
        f"{reached:.0f} images/s",
        f"{forward:.0f} images/s bare forward; {count * disk / size:.0f} by the disk ({disk / 1e6:.0f} MB/s)",
        reached / limit,
        "0.9 or more",
    )
    yield memory_row("extract", job.device)


def ranking(job: Job) -> Iterator[Row]:
    """Rank without and with intervals, against reading the file, bare products and bare class spectra."""
    if not job.features.exists():
        layerprobe.extract(job.extraction()).close()
    reading, products, spectra = [], [], []
    plain, intervals = [], []
    with FeatureFile(job.features) as file:
        for _ in range(job.scale.repeats):
            took = bare_statistics(file, job.device)
            for times, seconds in zip((reading, products, spectra), took, strict=True):
                times.append(seconds)
            plain.append(seconds_of(lambda: layerprobe.rank(file, resamples=0, device=job.device), job.device))
            intervals.append(seconds_of(lambda: layerprobe.rank(file, resamples=200, device=job.device), job.device))
        layers = len(file.layers)
    read, arithmetic = statistics.median(reading), statistics.median(products) + statistics.median(spectra)
    baseline = (
        f"{read:.2f} s reading; {statistics.median(products):.2f} s products and "
        f"{statistics.median(spectra):.2f} s class spectra"
    )
    for what, times in (("no intervals", plain), ("200 resamples", intervals)):
        value = statistics.median(times)
        yield Row(f"rank, {layers} layers, {what}", f"{value:.2f} s", baseline, value / max(read, arithmetic), "1.5")
    yield memory_row("rank", job.device)


def bare_statistics(file: FeatureFile, device: torch.device) -> tuple[float, float, float]:
    """Seconds of reading every layer, of its float32 products, and of the eigenvalues of its classes."""
    labels = torch.from_numpy(np.asarray(file.labels)).to(device)
    classes = [torch.nonzero(labels == label).flatten() for label in labels.unique()]
    reading = products = spectra = 0.0
    for layer in file.layers:
        gram = torch.zeros(len(labels), len(labels), device=device)
        started = time.perf_counter()
        for block in file.columns(layer.layer.name):
            reading += time.perf_counter() - started
            on_device = block.to(device)
            products += seconds_of(partial(gram.addmm_, on_device, on_device.T), device)
            started = time.perf_counter()
        spectra += sum(
            seconds_of(partial(torch.linalg.eigvalsh, gram[rows][:, rows].double()), device) for rows in classes
        )
    return reading, products, spectra


def training_step(job: Job) -> Iterator[Row]:
    """A step of the engine against the same arithmetic written out."""
    teacher, student = job.scale.students
    for precision, compiled in job.scale.precisions:
        for method in job.scale.methods:
            case = step_benchmark.Case(
                method, teacher, student, 128 if job.device.type == "cuda" else 4, job.scale.steps, job.scale.device,
                precision, compiled,
            )  # fmt: skip
            found = {
                way: [step_benchmark.measured(case, way) for _ in range(job.scale.repeats)]
                for way in step_benchmark.WAYS
            }
            times = {way: statistics.median(seconds for seconds, _ in runs) for way, runs in found.items()}
            memory = {way: statistics.median(size for _, size in runs) for way, runs in found.items()}
            yield Row(
                f"step of {method}, {teacher} to {student}, {precision}{', compiled' if compiled else ''}",
                f"{times['engine']:.2f} ms, {memory['engine'] / 1e9:.2f} GB",
                f"{times['loop']:.2f} ms, {memory['loop'] / 1e9:.2f} GB of the written-out loop",
                times["engine"] / times["loop"],
                "1.1",
            )


def real_run(job: Job) -> Iterator[Row]:
    """One run of ``distill`` from the command line, with everything that it takes."""
    scale, output = job.scale, job.folder / "run"
    command = [
        sys.executable, "-m", "layerprobe", "distill", "--teacher", MODEL, "--teacher-weights", job.weights,
        "--student", "cifar:resnet20", "--data", job.data, "--layers", "even:4", "--epochs", scale.epochs,
        "--device", scale.device, "--workers", scale.workers, "--cache-teacher", "--channels-last", "--output", output,
        "--train-samples", scale.train, "--overwrite",
    ]  # fmt: skip
    command += ["--precision", "bf16"] if job.device.type == "cuda" else []
    started = time.perf_counter()
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode:
        print(done.stderr[-2000:])
        yield Row("distill", f"exit code {done.returncode}: {done.stderr.strip().splitlines()[-1]}")
        return
    result = json.loads((output / "result.json").read_text(encoding="utf-8"))
    per_epoch = statistics.median(result["epoch_seconds"])
    yield Row(
        f"distill, {MODEL} to cifar:resnet20, {scale.train} images, {scale.epochs} epochs",
        f"{seconds:.0f} s with everything, {per_epoch:.2f} s an epoch, top-1 {result['test_accuracy_last_epoch']:.1f}",
    )
    yield Row("distill, peak memory", f"{result['peak_memory_bytes'] / 1e9:.2f} GB")


def cells_grid(job: Job, paper: dict[str, Any]) -> dict[str, Any]:
    """A grid of a few epochs of the paper's cell, on the images at hand and with a teacher of random weights."""
    scale = job.scale
    teacher, student = scale.students
    training = {"epochs": scale.cell_epochs, "train_samples": scale.train, "device": scale.device}
    training |= paper["common"]["training"] if job.device.type == "cuda" else {}
    return {
        **paper,
        "common": {**paper["common"], "data": {"name": str(job.data)}, "training": training},
        "pairs": {"cell": {"teacher": {"name": teacher, "weights": "random"}, "student": {"name": student}}},
        "methods": list(scale.cells),
        "reference": scale.cells[0],
        "choices": ["even:4"],
        "seeds": 1,
    }


def side_by_side(job: Job) -> Iterator[Row]:
    """Cells of ``paper_cell.yaml`` at the same time, and what the whole grid would take."""
    scale, output, file = job.scale, job.folder / "cells", job.folder / "cells.yaml"
    paper = yaml.safe_load((ROOT / "benchmarks" / "paper_cell.yaml").read_text(encoding="utf-8"))
    file.write_text(yaml.safe_dump(cells_grid(job, paper)), encoding="utf-8")
    command = [sys.executable, "-m", "layerprobe", "compare", file, "--output", output, "--per-device", scale.beside]
    started = time.perf_counter()
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    seconds = time.perf_counter() - started
    results = [json.loads(path.read_text(encoding="utf-8")) for path in output.rglob("seed-0/result.json")]
    if done.returncode or len(results) != len(scale.cells):
        print(done.stderr[-2000:])
        yield Row("cells", f"exit code {done.returncode}: {(done.stderr.strip().splitlines() or [''])[-1]}")
        return
    # The first epoch compiles.
    epoch = statistics.mean(statistics.median(one["epoch_seconds"][1:] or one["epoch_seconds"]) for one in results)
    cells = len(paper["methods"]) * paper["seeds"]
    whole = cells * 50 * epoch / scale.beside * 50_000 / scale.train
    yield Row(
        f"{len(results)} cells, {teacher_to_student(scale)}, {scale.beside} side by side, {scale.cell_epochs} epochs",
        f"{seconds:.0f} s with everything, {epoch:.2f} s an epoch; {cells} cells of 50 epochs: {whole / 60:.1f} min",
        "15 min",
        whole / 900,
        "1",
    )
    yield Row("cells, peak memory of the largest", f"{max(one['peak_memory_bytes'] for one in results) / 1e9:.2f} GB")


def teacher_to_student(scale: Scale) -> str:
    return " to ".join(scale.students)


PARTS: dict[str, tuple[Callable[[Job], Iterator[Row]], int]] = {
    "extraction": (extraction, 90),
    "rank": (ranking, 70),
    "step": (training_step, 130),
    "cells": (side_by_side, 100),
    "run": (real_run, 70),
    "tests": (gpu_tests, 80),
}
"""What is measured, in order, and how many seconds each part may take: nine minutes in all."""


def memory_row(what: str, device: torch.device) -> Row:
    return Row(f"{what}, peak memory", f"{(peak_memory(device) or 0) / 1e9:.2f} GB")


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    extraction_benchmark.synchronize(device)
    started = time.perf_counter()
    work()
    extraction_benchmark.synchronize(device)
    return time.perf_counter() - started


def make_images(folder: Path, count: int) -> Path:
    """A folder of noise: what is in the images doesn't change how long they take."""
    generator = np.random.default_rng(0)
    for split, images in (("train", count), ("test", max(count // 5, 20))):
        for number in range(images):
            path = folder / split / f"class {number % 10}" / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(256, size=(32, 32, 3), dtype=np.uint8)).save(path)
    return folder


def measure_part(name: str, job: Job, limit: int) -> list[Row]:
    """The rows of a part that runs in a process of its own; those that it had, if it took too long or failed."""
    words = ["--part", name, "--data", job.data, "--weights", job.weights, "--folder", job.folder]
    words += ["--rehearse"] if job.scale is TINY else []
    command = [sys.executable, __file__, *map(str, words)]
    print(f"== {name}, at most {limit} s", flush=True)
    started = time.perf_counter()
    log = job.folder / f"{name}.log"
    with log.open("w+", encoding="utf-8") as output:
        try:
            code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, timeout=limit).returncode
            failed = f"exit code {code}" if code else ""
        except subprocess.TimeoutExpired:
            failed = f"stopped after {limit} s"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    rows = [Row(**json.loads(line.removeprefix(ROW))) for line in lines if line.startswith(ROW)]
    if failed:
        print("\n".join(lines[-20:]))
        rows.append(Row(name, failed))
    print("\n".join(format_row(row) for row in rows))
    print(f"== {name}: {time.perf_counter() - started:.0f} s", flush=True)
    return rows


def format_row(row: Row) -> str:
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    return f"| {row.what} | {row.value} | {row.baseline} | {ratio} | {row.goal} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of images with train/ and test/; made if left out")
    parser.add_argument("--weights", default="random", help=f"weights of {MODEL}")
    parser.add_argument("--folder", type=Path, help="for files; a temporary one, in memory where there is /dev/shm")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rehearse", action="store_true", help="all parts at tiny size on the CPU")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    scale = TINY if given.rehearse else FULL
    if given.part:
        for row in PARTS[given.part][0](Job(scale, given.data, given.weights, given.folder)):
            print(ROW + json.dumps(asdict(row)), flush=True)
        return
    shared = Path("/dev/shm")
    folder = given.folder or Path(
        tempfile.mkdtemp(dir=shared if shared.is_dir() and os.access(shared, os.W_OK) else None)
    )
    folder.mkdir(parents=True, exist_ok=True)
    try:
        data = given.data or make_images(folder / "images", max(scale.images, scale.train))
        job = Job(scale, data, given.weights, folder)
        device = torch.cuda.get_device_name() if job.device.type == "cuda" else "CPU"
        print(f"{device}, torch {torch.__version__}, layerprobe {layerprobe.__version__}")
        rows = [
            row
            for name in given.parts
            for row in measure_part(name, job, PARTS[name][1] * (3 if given.rehearse else 1))
        ]
    finally:
        if not given.folder:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{device}, torch {torch.__version__}:\n")
    print("| what | measured | baseline | ratio | goal |\n|---|---|---|---|---|")
    print("\n".join(format_row(row) for row in rows))


if __name__ == "__main__":
    main()
