"""A teacher's features from a file in place of its forward passes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from layerprobe.distill.run import distill_student
from layerprobe.errors import LayerprobeError
from layerprobe.features.extraction.extract import extract
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.settings.extract import ExtractSettings
from layerprobe.settings.model import ModelSettings
from layerprobe.settings.run import DistillSettings


@pytest.fixture
def file(small: DistillSettings, tmp_path: Path) -> Path:
    path = tmp_path / "teacher.h5"
    extract(
        ExtractSettings(
            model=small.teacher, data=small.data, output=path, samples="all", layers=("layer2.0", "layer3.1")
        )
    ).close()
    return path


def test_a_mapped_layer_is_the_layer(file: Path) -> None:
    with FeatureFile(file) as opened:
        for stored in opened.layers:
            mapped = opened.mapped(stored.layer.name)
            assert np.array_equal(mapped[[5, 2, 900]], opened.rows(stored.layer.name, np.array([5, 2, 900])).numpy())
            assert mapped.shape[0] == 1160 or mapped.shape[0] == len(opened.labels)


def test_it_trains_as_on_the_fly(small: DistillSettings, file: Path, tmp_path: Path) -> None:
    training = small.training.replaced(holdout=0.1)
    small = small.replaced(training=training)
    live = distill_student(small)
    stored = distill_student(small.replaced(output=tmp_path / "stored", teacher_features=file))
    for one, other in zip(live.epochs, stored.epochs, strict=True):
        assert other.losses == pytest.approx(one.losses, rel=1e-4)
    ours, theirs = load_file(live.weights), load_file(stored.weights)
    assert all(torch.allclose(ours[name].float(), theirs[name].float(), atol=2e-3) for name in ours)
    assert stored.config["teacher_features"] == str(file) and stored.teacher_accuracy == live.teacher_accuracy


def test_the_teacher_does_not_run(small: DistillSettings, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from layerprobe.distill.engine.step import TrainingStep

    begin = TrainingStep.__init__

    def checked(self: TrainingStep, *arguments: object, **more: object) -> None:
        begin(self, *arguments, **more)
        assert self._teacher is None and self._teacher_capture is None

    monkeypatch.setattr(TrainingStep, "__init__", checked)
    distill_student(small.replaced(teacher_features=file))


def test_what_does_not_belong_together_is_refused(small: DistillSettings, file: Path, tmp_path: Path) -> None:
    config = small.replaced(teacher_features=file)

    def refuse(message: str, **changes: object) -> None:
        with pytest.raises(LayerprobeError, match=message):
            distill_student(config.replaced(**changes))

    def extracted(name: str, **changes: object) -> Path:
        settings = {"samples": "all", "layers": ("layer2.0", "layer3.1"), **changes}
        extract(ExtractSettings(model=small.teacher, data=small.data, output=tmp_path / name, **settings)).close()
        return tmp_path / name

    refuse("kd needs more of a teacher than the features that teacher_features holds", method="kd", layers=None)
    refuse("scratch uses no features of a teacher", method="scratch", layers=None)
    refuse("augment trivial changes the images in every epoch", training=small.training.replaced(augment="trivial"))
    refuse("another weights hash", teacher=ModelSettings(name="cifar:resnet20", weights="random"))
    refuse("another model", teacher=ModelSettings(name="cifar:resnet32", weights="random"), layers="3,5")
    refuse("another preprocessing", data=small.data.replaced(mean=(0.5,), std=(0.5,)))
    refuse("no layer 'layer1.0' in", layers="layer1.0")
    refuse("no feature file at", teacher_features=tmp_path / "none.h5")
    few = extracted("few.h5", samples=100)
    refuse(r"few.h5 lacks \d+ of the 300 training images", teacher_features=few)
    pooled = extracted("pooled.h5", pool="avg:2")
    refuse(r"pooled.h5 holds layer2.0 reduced to \(32, 2, 2\) .*extract it without --pool", teacher_features=pooled)
    other = extracted("test.h5", split="test")
    refuse("another split", teacher_features=other)
    assert not small.output.exists()


def test_other_images_under_the_same_name_are_refused(
    small: DistillSettings, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("layerprobe.distill.engine.stored_teacher.pixel_fingerprint", lambda images: "other")
    with pytest.raises(LayerprobeError, match="the images of digits are not those that .*teacher.h5 was made from"):
        distill_student(small.replaced(teacher_features=file))
