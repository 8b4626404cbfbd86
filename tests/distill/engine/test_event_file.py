"""TensorBoard, where it is installed and where it isn't."""

import sys
import types

import pytest

from layerprobe.distill.engine import event_file
from layerprobe.distill.run import distill_student
from layerprobe.errors import LayerprobeError
from layerprobe.settings.run import DistillSettings


def test_without_tensorboard_it_is_refused_before_any_work(
    small: DistillSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_file, "find_spec", lambda name: None)
    with pytest.raises(LayerprobeError, match="--tensorboard needs TensorBoard, which isn't installed; `pip install"):
        distill_student(small.replaced(training=small.training.replaced(tensorboard=True)))
    assert not small.output.exists()


def test_every_number_of_every_epoch_is_written(small: DistillSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    written = {}

    class SummaryWriter:
        def __init__(self, folder: str) -> None:
            written["folder"] = folder

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written[name, step] = value

        def flush(self) -> None:
            pass

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(event_file, "find_spec", lambda name: object())
    run = distill_student(small.replaced(training=small.training.replaced(tensorboard=True, holdout=0.1)))
    assert written["folder"] == str(run.folder / "tensorboard")
    for epoch in run.epochs:
        assert written["loss/features", epoch.epoch] == epoch.losses["features"]
        assert written["accuracy/test", epoch.epoch] == epoch.test_accuracy
        assert written["accuracy/held-out", epoch.epoch] == epoch.holdout_accuracy
        assert written["learning rate", epoch.epoch] == epoch.learning_rate
