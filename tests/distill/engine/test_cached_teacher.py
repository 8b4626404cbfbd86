"""A teacher that sees every training image once."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from layerprobe.distill.engine.cached_teacher import CachedTeacherFeatures
from layerprobe.distill.run import distill_student
from layerprobe.errors import LayerprobeError
from layerprobe.layers.capture import Capture, Captured
from layerprobe.settings.run import DistillSettings


def cached(config: DistillSettings, **changes: object) -> DistillSettings:
    training = config.training.replaced(cache_teacher=True, **changes)
    return config.replaced(output=config.output.with_name("cached"), training=training)


@pytest.mark.parametrize("method", ["feature-only", "kd", "simkd", "crd"])
def test_it_trains_as_on_the_fly(small: DistillSettings, method: str) -> None:
    config = small.replaced(method=method, layers=small.layers if method == "feature-only" else None)
    live, kept = distill_student(config), distill_student(cached(config))
    for one, other in zip(live.epochs, kept.epochs, strict=True):
        assert other.losses == pytest.approx(one.losses, rel=1e-4)
    ours, theirs = load_file(live.weights), load_file(kept.weights)
    assert all(torch.allclose(ours[name].float(), theirs[name].float(), atol=2e-3) for name in ours)


def test_the_teacher_sees_every_image_once(small: DistillSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    call = Capture.__call__

    def counted(self: Capture, images: torch.Tensor) -> Captured:
        if self._gate is None:
            seen.append(len(images))
        return call(self, images)

    monkeypatch.setattr(Capture, "__call__", counted)
    run = distill_student(cached(small, epochs=3))
    images, rehearsed = run.config["training"]["train_samples"], run.config["training"]["batch_size"]
    assert sum(seen) == images + rehearsed


def test_images_are_found_by_their_position() -> None:
    passes = [
        Captured(
            torch.arange(first, last)[:, None].float(), {"a": torch.arange(first, last).half()[:, None, None] + 0.5}
        )
        for first, last in ((0, 3), (3, 5))
    ]
    recalled = CachedTeacherFeatures(passes, 5).outputs(torch.tensor([4, 0, 3]))
    assert recalled.logits.tolist() == [[4], [0], [3]] and recalled.features["a"].flatten().tolist() == [4.5, 0.5, 3.5]
    assert recalled.features["a"].dtype == torch.float16
    with pytest.raises(ValueError, match="no image"):
        CachedTeacherFeatures([], 0).outputs(torch.tensor([0]))


def test_what_does_not_go_together_is_refused(small: DistillSettings, tmp_path: Path) -> None:
    with pytest.raises(LayerprobeError, match="augment crop-flip changes the images in every epoch"):
        distill_student(cached(small, augment="crop-flip"))
    with pytest.raises(LayerprobeError, match="for the teacher.s passes already; leave training.cache_teacher out"):
        distill_student(cached(small).replaced(teacher_features=tmp_path / "t.h5"))
