"""Several processes train what one trains with the sum of their batches."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import nn

from layerprobe.distill.run import distill_student
from layerprobe.errors import LayerprobeError
from layerprobe.runtime.process_group import ProcessGroup, describe_processes
from layerprobe.settings.run import DistillSettings

NET = """
from torch import nn

def make_net():
    layers = [nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(128, 10))
"""


TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def launch(config: DistillSettings, folder: Path, *options: object) -> str:
    """Two processes that talk over gloo; what they say."""
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump(config.configuration()))
    command = [
        sys.executable, "-m", *TORCHRUN, "-m", "layerprobe", "distill", "--config", path, "--output", config.output,
        *options,
    ]  # fmt: skip
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stderr


@pytest.mark.parametrize(
    ("student", "samples"), [("net", 200), pytest.param("cifar:vit-small", 80, marks=pytest.mark.slow)]
)
def test_two_processes_train_what_one_does_with_the_doubled_batch(
    small: DistillSettings, tmp_path: Path, student: str, samples: int
) -> None:
    (tmp_path / "net.py").write_text(NET)
    name = f"{tmp_path / 'net.py'}:make_net" if student == "net" else student
    training = small.training.replaced(
        batch_size=30,
        train_samples=samples,
        holdout=0.1,
        augment="crop-flip",
        lr=1e-3,
        clip=1.0,
    )
    config = small.replaced(student=small.student.replaced(name=name), training=training)
    together = config.replaced(output=tmp_path / "two")
    log = launch(together, tmp_path)
    one = distill_student(config.replaced(training=training.replaced(batch_size=60)))
    ours, theirs = load_file(one.weights), load_file(tmp_path / "two" / "student.safetensors")
    worst = max(float((ours[key].float() - theirs[key].float()).abs().max()) for key in ours)
    assert worst < 1e-4, worst
    result = json.loads((tmp_path / "two" / "result.json").read_text())
    assert result["environment"]["processes"] == 2
    assert result["test_accuracy_last_epoch"] == pytest.approx(one.last_accuracy, abs=1.1)
    rows = (tmp_path / "two" / "metrics.csv").read_text().splitlines()
    assert len(rows) == 3 and log.count("epoch 2/2") == 1 and "batch_statistics" not in one.config


def test_batch_statistics_are_each_processs_own_and_that_is_said(small: DistillSettings, tmp_path: Path) -> None:
    # Each process keeps what the teacher gives for all images.
    options = ("--train-samples", 100, "--epochs", 1, "--cache-teacher")
    log = launch(small, tmp_path, *options)
    assert "processes: 2" in log
    assert "batch statistics: batch normalization: statistics of each process's own part" in log
    config = yaml.safe_load((small.output / "config.yaml").read_text())
    assert config["processes"] == 2 and "averaged over processes" in config["batch_statistics"]
    with pytest.raises(LayerprobeError, match="as it was, but .* has processes 2, not 1"):
        (small.output / "result.json").unlink()
        training = small.training.replaced(train_samples=100, epochs=1)
        distill_student(small.replaced(training=training, resume=True))


def test_one_process_says_nothing_of_others() -> None:
    team = ProcessGroup(Accelerator(cpu=True))
    values = torch.ones(2)
    assert team.total(values) is values and (team.index, team.count, team.is_main) == (0, 1, True)
    assert describe_processes(team, [nn.BatchNorm2d(2)]) == {"processes": 1}


def test_a_step_of_several_batches_is_that_of_one_large_batch(small: DistillSettings, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    config = small.replaced(student=small.student.replaced(name=f"{tmp_path / 'net.py'}:make_net"))
    large = distill_student(config.replaced(training=small.training.replaced(batch_size=80)))
    training = small.training.replaced(batch_size=20, accumulate=4)
    parts = distill_student(config.replaced(output=tmp_path / "parts", training=training))
    ours, theirs = load_file(large.weights), load_file(parts.weights)
    assert max(float((ours[key] - theirs[key]).abs().max()) for key in ours) < 1e-4
    assert parts.epochs[-1].learning_rate == large.epochs[-1].learning_rate
