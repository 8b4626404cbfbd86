"""How many workers there are, and which device and how much of it each of them has."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from layerprobe.errors import LayerprobeError
from layerprobe.experiments.grid import launchers
from layerprobe.experiments.grid.compare import compare
from layerprobe.experiments.grid.launchers import Launch, Launched, count_workers, start_local
from layerprobe.runtime import memory
from layerprobe.runtime.memory import free_memory, share_gpu
from layerprobe.settings.compare import CompareSettings


class Started:
    """A process that has ended; what it was started with is kept."""

    every: list[tuple[str, str | None]] = []  # noqa: RUF012
    returncode = 0

    def __init__(self, command: list[str], env: dict[str, str], **_: Any) -> None:
        self.every.append((command[-1], env.get("CUDA_VISIBLE_DEVICES")))

    def poll(self) -> int:
        return 0

    def wait(self, timeout: float = 0) -> int:
        return 0


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    monkeypatch.setattr(subprocess, "Popen", Started)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    Started.every = []
    return Started.every


def settings(**options: Any) -> CompareSettings:
    return CompareSettings(grid=Path("g.yaml"), output=Path("out"), **options)


@pytest.mark.parametrize(("gpus", "workers"), [(0, 3), (1, 3), (2, 6)])
def test_workers_of_every_device(gpus: int, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert count_workers(settings(per_device=3)) == workers
    assert count_workers(settings(jobs=5)) == 5 and count_workers(settings()) == 1


def test_what_says_it_twice_is_refused() -> None:
    with pytest.raises(LayerprobeError, match="jobs and per_device both say how many workers"):
        settings(jobs=2, per_device=2)
    with pytest.raises(LayerprobeError, match="per_device is for workers of this machine, and those of slurm"):
        settings(launcher="slurm", per_device=2)


@pytest.mark.parametrize(
    ("gpus", "visible", "expected"),
    [
        (0, None, [("5", None)] * 5),
        (1, None, [("5", None)] * 5),
        (2, None, [("3", "0"), ("2", "1"), ("3", "0"), ("2", "1"), ("3", "0")]),
        (2, "4,GPU-a", [("3", "4"), ("2", "GPU-a"), ("3", "4"), ("2", "GPU-a"), ("3", "4")]),
    ],
)
def test_workers_are_spread_over_devices(
    gpus: int,
    visible: str | None,
    expected: list[tuple[str, str | None]],
    started: list[tuple[str, str | None]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each learns how many are on its device."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    if visible:
        monkeypatch.setitem(os.environ, "CUDA_VISIBLE_DEVICES", visible)
    assert start_local(Launch(tmp_path, jobs=5)) == Launched()
    assert started == expected


@pytest.mark.parametrize(("options", "expected"), [({"per_device": 1}, 0), ({"per_device": 2}, 4)])
def test_compare_starts_them(
    options: dict[str, int], expected: int, grid_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One worker alone is this process."""
    jobs: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: expected // 2)
    monkeypatch.setitem(
        launchers.LAUNCHERS, "local", lambda launch, watch: jobs.append(launch.jobs) or Launched(left="started")
    )
    monkeypatch.setattr("layerprobe.experiments.grid.compare.work", lambda *_: jobs.append(0))
    compare(CompareSettings(grid=grid_file, output=tmp_path / "grid", **options), lambda *_: None)
    assert jobs == [expected]


def test_a_share_of_a_gpu_is_what_is_free_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of a card of 80 GB: in the share of a third are 3 GB, 2 of them in use."""
    figures = {
        "mem_get_info": (60 * 10**9, 80 * 10**9),
        "memory_reserved": 3 * 10**9,
        "memory_allocated": 2 * 10**9,
        "get_per_process_memory_fraction": 0.3,
    }
    for name, value in figures.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value, raising=False)
    assert free_memory(torch.device("cuda", 0)) == 22 * 10**9
    figures["mem_get_info"] = (5 * 10**9, 80 * 10**9)  # others have taken the rest
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: figures["mem_get_info"])
    assert free_memory(torch.device("cuda", 0)) == 6 * 10**9


def test_a_process_takes_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", limits.append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    share_gpu(2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    share_gpu(1)
    share_gpu(4)
    assert limits == [pytest.approx((1 - memory._CONTEXTS) / 4)]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_more_than_the_share_is_out_of_memory() -> None:
    total = torch.cuda.get_device_properties(0).total_memory
    try:
        share_gpu(50)
        assert free_memory(torch.device("cuda", 0)) <= total // 50
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(total // 25, dtype=torch.uint8, device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
