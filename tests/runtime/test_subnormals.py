"""Numbers too small to matter count as 0 while a network is trained."""

from pathlib import Path

import pytest
import torch

from layerprobe.distill.run import distill_student
from layerprobe.runtime.subnormals import flushing_subnormals
from layerprobe.settings.run import DistillSettings


def flushed() -> bool:
    return float(torch.full((3,), 1e-40).mul(1).sum()) == 0


def test_subnormals_are_flushed_for_the_length_of_a_block() -> None:
    assert not flushed()
    with pytest.raises(RuntimeError), flushing_subnormals():
        assert flushed()
        with flushing_subnormals():
            pass
        assert flushed()
        raise RuntimeError
    assert not flushed()


def test_training_flushes_them(small: DistillSettings, tmp_path: Path) -> None:
    seen = []
    distill_student(small, on_epoch=lambda metrics: seen.append(flushed()))
    assert seen and all(seen) and not flushed()
