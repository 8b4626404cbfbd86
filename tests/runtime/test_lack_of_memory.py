"""Memory that runs out is one line with the options that help, whatever the command; nothing that was done is lost."""

import re
from pathlib import Path

import pytest
import torch

from layerprobe import FeatureFile
from layerprobe.distill.engine.step import TrainingStep
from layerprobe.errors import LayerprobeError
from layerprobe.runtime.lack_of_memory import explaining_lack_of_memory
from layerprobe.settings.base import SettingsError
from layerprobe.settings.recipe import TrainingSettings
from tests.helpers.commands import invoke, run

GPU = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which 1 GiB is free."
NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.act, self.fc = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(4, 3)
        self.left = LEFT

    def forward(self, x):
        # Discovery and warming up have few images; only whole batches count.
        if len(x) == 8:
            self.left -= 1
            if self.left < 0:
                raise torch.OutOfMemoryError(MESSAGE)
        return self.fc(self.act(self.conv(x)).mean((2, 3)))

def net():
    return Net()
"""


def net(folder: Path, left: int, message: str = GPU) -> str:
    """The name of a network that runs out of memory after so many batches of eight images."""
    (folder / "net.py").write_text(NET.replace("LEFT", str(left)).replace("MESSAGE", repr(message)))
    return f"{folder / 'net.py'}:net"


class Asked:
    takes_less_memory = ("<a> 1", "no <b.c>", "<d>")
    kept_so_far = "it stays"


@pytest.mark.parametrize(
    ("error", "where"),
    [
        (torch.OutOfMemoryError(GPU), "out of memory on the GPU (tried to allocate 2.00 GiB)"),
        (MemoryError("Unable to allocate 7.45 GiB for an array"), "out of memory (unable to allocate 7.45 GiB)"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 800 bytes."),
         "out of memory (tried to allocate 800 bytes)"),
        (MemoryError(), "out of memory"),
    ],
)  # fmt: skip
def test_the_line(error: Exception, where: str) -> None:
    @explaining_lack_of_memory
    def work(settings: Asked) -> None:
        raise error

    with pytest.raises(SettingsError) as raised:
        work(settings=Asked())
    assert str(raised.value) == f"{where}; take a 1, no b.c or d; it stays" and raised.value.__cause__ is error


def test_real_allocations_and_other_errors() -> None:
    @explaining_lack_of_memory
    def work(settings: Asked, much: bool) -> None:
        if not much:
            raise RuntimeError("shapes differ")
        torch.empty(2**52, dtype=torch.uint8)

    with pytest.raises(LayerprobeError, match=r"out of memory \(tried to allocate \d+ bytes\); take "):
        work(Asked(), True)
    with pytest.raises(RuntimeError, match="shapes differ"):
        work(Asked(), False)


def test_what_is_chosen_already_is_not_proposed() -> None:
    frugal = TrainingSettings(precision="bf16", batch_size=2)
    assert len(frugal.takes_less_memory) == 1 and "<batch_size> below 2" in frugal.takes_less_memory[0]
    assert TrainingSettings(cache_teacher=True).takes_less_memory[0] == "no <cache_teacher>"


def test_a_training_keeps_its_epochs(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on to the end that it would have come to."""
    command = ["train", "--model", net(tmp_path, 10**9), "--data", photos, "--epochs", 2, "--batch-size", 8]
    command += ["--train-samples", 24, "--device", "cpu"]
    invoke(*command, "--output", tmp_path / "whole")
    terms, calls = TrainingStep.terms, [0]

    def lack(self: TrainingStep, *args: object) -> dict[str, torch.Tensor]:
        calls[0] += 1
        if calls[0] == 5:  # three steps an epoch
            raise torch.OutOfMemoryError(GPU)
        return terms(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingStep, "terms", lack)
        failed = run(*command, "--output", tmp_path / "run", code=2)
    assert failed.strip().splitlines()[-1] == (
        "error: out of memory on the GPU (tried to allocate 2.00 GiB); take a --batch-size below 8 (with --accumulate "
        f"for as many images in a step) or --precision bf16; what was saved in {tmp_path / 'run'} stays, and --resume "
        "goes on from there with the same recipe"
    )
    assert (tmp_path / "run" / "checkpoints" / "latest").is_dir()
    invoke("train", "--resume", "--output", tmp_path / "run")
    one, other = ((tmp_path / name / "metrics.csv").read_text() for name in ("whole", "run"))
    assert re.sub(r"[\d.]+$", "", one, flags=re.M) == re.sub(r"[\d.]+$", "", other, flags=re.M)  # seconds stand last


def test_a_forward_pass_that_finds_no_memory_in_distill(photos: Path, tmp_path: Path) -> None:
    failed = run(
        "distill", "--teacher", "cifar:resnet20", "--teacher-weights", "random", "--teacher-num-classes", 3,
        "--student", net(tmp_path, 0), "--data", photos, "--layers", "even:1", "--cache-teacher", "--batch-size", 8,
        "--output", tmp_path / "run", code=2,
    )  # fmt: skip
    line = failed.strip().splitlines()[-1]
    assert "take no --cache-teacher, a --batch-size below 8" in line
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_an_extraction_goes_on_with_smaller_batches(photos: Path, tmp_path: Path) -> None:
    words = ["extract", "--data", photos, "--samples", 24, "--device", "cpu", "--output", tmp_path / "f.h5"]
    name = net(tmp_path, 2)
    failed = run(*words, "--model", name, "--weights", "random", "--batch-size", 8, code=2)
    *_, kept, line = failed.strip().splitlines()
    assert line == (
        "error: out of memory on the GPU (tried to allocate 2.00 GiB); take a smaller --batch-size than 8 or --amp"
    )
    assert "the same command goes on" in kept
    invoke(*words, "--model", name, "--weights", "random", "--batch-size", 4)
    with FeatureFile(tmp_path / "f.h5") as file:
        assert file.features("act").shape[0] == 24 and bool(file.features("act").isfinite().all())


def test_an_evaluation(photos: Path, tmp_path: Path) -> None:
    words = ["--model", net(tmp_path, 0), "--weights", "random", "--data", photos, "--batch-size", 8]
    failed = run("evaluate", *words, "--device", "cpu", "--num-classes", 3, code=2)
    assert "; take a --batch-size below 8" in failed.strip().splitlines()[-1]
