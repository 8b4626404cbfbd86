"""A teacher that sees every training image once."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from layerprobe.distill.engine import cached_teacher
from layerprobe.distill.engine.cached_teacher import CachedTeacherFeatures, HalvedFeatures
from layerprobe.distill.run import distill_student
from layerprobe.errors import LayerprobeError
from layerprobe.layers.capture import Capture, Captured
from layerprobe.settings.run import DistillSettings

CPU = torch.device("cpu")


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
    recalled = CachedTeacherFeatures(passes, 5, CPU).outputs(torch.tensor([4, 0, 3]))
    assert recalled.logits.tolist() == [[4], [0], [3]] and recalled.features["a"].flatten().tolist() == [4.5, 0.5, 3.5]
    assert recalled.features["a"].dtype == torch.float16
    with pytest.raises(ValueError, match="no image"):
        CachedTeacherFeatures([], 0, CPU).outputs(torch.tensor([0]))


def test_what_does_not_go_together_is_refused(small: DistillSettings, tmp_path: Path) -> None:
    with pytest.raises(LayerprobeError, match="augment crop-flip changes the images in every epoch"):
        distill_student(cached(small, augment="crop-flip"))
    with pytest.raises(LayerprobeError, match="for the teacher.s passes already; leave training.cache_teacher out"):
        distill_student(cached(small).replaced(teacher_features=tmp_path / "t.h5"))


def passes_of(values: torch.Tensor, batch: int = 3) -> list[Captured]:
    """A teacher's passes whose one layer gives these features, (images, ...); its logits are the first of them."""
    return [Captured(part.flatten(1)[:, :1], {"a": part}) for part in values.split(batch)]


def test_16_bits_keep_what_is_promised() -> None:
    """Of numbers of every size that float16 has, down to those that it counts as 0."""
    generator = torch.Generator().manual_seed(0)
    exponents = torch.randint(-40, 16, (8, 500), generator=generator).float()
    values = (torch.rand(8, 500, generator=generator) * 2 - 1) * 2**exponents
    kept = CachedTeacherFeatures(passes_of(values), 8, CPU, halved=True)
    order = torch.tensor([7, 0, 3, 3])
    given = kept.outputs(order)
    assert given.features["a"].dtype == torch.float32 and torch.equal(given.logits, values[order, :1])
    error = (given.features["a"].double() - values[order].double()).abs()
    assert bool((error <= 2**-11 * values[order].double().abs() + 2**-25).all()) and bool((error > 0).any())


def test_what_float16_cannot_hold_makes_a_layer_bfloat16() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(9, 50, generator=generator)
    values[5] *= 1e6  # in the second batch: the first is there in float16 already
    halved = HalvedFeatures(9, (50,), CPU)
    for start in range(0, 9, 3):
        halved.put(start, values[start : start + 3])
    given = halved.rows(torch.arange(9), CPU)
    error, bound = (given.double() - values.double()).abs(), values.double().abs()
    assert halved.values.dtype == torch.bfloat16 and bool(given.isfinite().all())
    assert bool((error[:3] <= (2**-8 + 2**-10) * bound[:3] + 2**-24).all())
    assert bool((error[3:] <= 2**-8 * bound[3:]).all())
    halved.put(0, torch.full((1, 50), torch.inf))  # what is infinite before is no reason
    assert halved.rows(torch.tensor([0]), CPU).isinf().all()


def test_16_bits_train_nearly_the_same(small: DistillSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    live = distill_student(cached(small, epochs=1))
    init = CachedTeacherFeatures.__init__
    monkeypatch.setattr(
        CachedTeacherFeatures, "__init__", lambda self, *given: init(self, *given, halved=True)
    )  # as on a GPU
    run = distill_student(cached(small, epochs=1).replaced(output=small.output.with_name("halved")))
    (one,), (other,) = live.epochs, run.epochs
    assert other.losses != one.losses and other.losses == pytest.approx(one.losses, rel=2e-3)


def test_a_gpu_that_is_too_small_leaves_them_to_the_machine(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cuda = torch.device("cuda", 0)
    free = {"cuda": 10_000_000_000, "cpu": 6_000_000_000}
    monkeypatch.setattr(cached_teacher, "free_memory", lambda device: free[device.type])
    with caplog.at_level("INFO"):
        assert cached_teacher._place(5_000_000_000, cuda) == cuda
        assert cached_teacher._place(5_100_000_000, cuda) == CPU
        assert cached_teacher._place(5_100_000_000, CPU) == CPU
    assert [line.split(",")[0] for line in caplog.messages] == [
        "the teacher's outputs of all training images take 5.0 GB of cuda:0",
        "the teacher's outputs of all training images take 5.1 GB",
    ]
    assert "more than half of what is free on cuda:0 (10.0 GB): they stay in the memory of the machine" in caplog.text
    for device in (cuda, CPU):
        with pytest.raises(LayerprobeError, match=r"take 6.1 GB, and 6.0 GB are free; leave --cache-teacher out"):
            cached_teacher._place(6_100_000_000, device)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("room", [True, False])
def test_a_gpu_gets_what_the_cpu_would(room: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not room:
        free = {"cuda": 1, "cpu": 10**12}
        monkeypatch.setattr(cached_teacher, "free_memory", lambda device: free[device.type])
    values, positions, cuda = torch.randn(8, 4, 3, 3), torch.tensor([7, 0, 3]), torch.device("cuda", 0)
    expected = CachedTeacherFeatures(passes_of(values), 8, CPU, halved=True).outputs(positions)
    given = CachedTeacherFeatures(passes_of(values.to(cuda)), 8, cuda).outputs(positions)
    assert given.features["a"].device == cuda and torch.equal(given.features["a"].cpu(), expected.features["a"])
    assert torch.equal(given.logits.cpu(), expected.logits)
