"""Maps with their channels last in memory: the same training, and the same files."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from layerprobe.distill.engine.checkpoints import Checkpoints
from layerprobe.distill.run import distill_student, train_model
from layerprobe.distill.students import load_student
from layerprobe.models.channels_last import prefer_channels_last
from layerprobe.models.zoo import build_model
from layerprobe.settings.run import DistillSettings, TrainSettings

VIEWING = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.act, self.deep, self.last = nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU()
        self.fc = nn.Linear(128, 10)

    def forward(self, x):
        return self.fc(self.last(self.deep(self.act(self.conv(x)))).view(len(x), -1))

def make_net():
    return Net()
"""


def laid_last(module: nn.Module) -> list[bool]:
    """Of every convolution wider than a pixel, whether its weights lie channels last."""
    convolutions = [one for one in module.modules() if isinstance(one, nn.Conv2d) and one.kernel_size != (1, 1)]
    return [one.weight.is_contiguous(memory_format=torch.channels_last) for one in convolutions]


def check_same(ours: Path, theirs: Path) -> None:
    one, other = load_file(ours), load_file(theirs)
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value.is_contiguous() and other[name].is_contiguous()
        torch.testing.assert_close(other[name], value, rtol=1e-2, atol=2e-3, msg=name)


def watch_layout(monkeypatch: pytest.MonkeyPatch) -> list[list[bool]]:
    """How every network of a run is laid out while it trains."""
    seen = []

    def watched(model: nn.Module, images: Tensor) -> None:
        prefer_channels_last(model, images)
        seen.append(laid_last(model))

    monkeypatch.setattr("layerprobe.distill.engine.step.prefer_channels_last", watched)
    return seen


@pytest.mark.parametrize(
    ("method", "student", "images"),
    [
        ("feature-only", "cifar:resnet20", 200),
        ("semckd", "cifar:resnet20", 200),
        pytest.param("feature-only", "cifar:vit-small", 80, marks=pytest.mark.slow),
    ],
)
def test_a_student_learns_the_same(
    small: DistillSettings, method: str, student: str, images: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = small.layers if method == "feature-only" else None
    training = small.training.replaced(epochs=1, lr=1e-3, train_samples=images, test_samples=50)
    config = small.replaced(
        method=method, student=small.student.replaced(name=student), layers=layers, training=training
    )
    plain = distill_student(config)
    seen = watch_layout(monkeypatch)
    last = distill_student(
        config.replaced(output=small.output.with_name("last"), training=training.replaced(channels_last=True))
    )
    assert len(seen) == 2 and all(map(all, seen)) and any(seen)  # student and teacher
    assert last.epochs[0].losses == pytest.approx(plain.epochs[0].losses, rel=1e-3)
    check_same(plain.weights, last.weights)
    saved = [Checkpoints(run.folder / "checkpoints", {}).load("latest") for run in (plain, last)]
    assert saved[0] and saved[1]
    for name, value in saved[0].weights.items():
        torch.testing.assert_close(saved[1].weights[name], value, rtol=1e-2, atol=2e-3, msg=name)
    assert last.config["training"]["channels_last"] and not any(laid_last(load_student(last)))


def test_a_teacher_is_trained_the_same(small: DistillSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    training = small.training.replaced(epochs=1, lr=1e-3, train_samples=200)
    config = TrainSettings(model=small.student, data=small.data, output=small.output, training=training)
    plain = train_model(config)
    seen = watch_layout(monkeypatch)
    last = train_model(
        config.replaced(output=small.output.with_name("last"), training=training.replaced(channels_last=True))
    )
    assert len(seen) == 1 and all(seen[0])
    assert last.epochs[0].losses == pytest.approx(plain.epochs[0].losses, rel=1e-3)
    check_same(plain.weights, last.weights)


def test_a_network_that_cannot_take_it_stays_as_it_is(
    small: DistillSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.py").write_text(VIEWING)
    student = small.student.replaced(name=f"{tmp_path / 'net.py'}:make_net")
    training = small.training.replaced(epochs=1)
    config = small.replaced(student=student, training=training)
    plain = distill_student(config)
    seen = watch_layout(monkeypatch)
    last = distill_student(config.replaced(output=tmp_path / "last", training=training.replaced(channels_last=True)))
    assert seen[0] == [False, False] and all(seen[1])
    assert last.epochs[0].losses == pytest.approx(plain.epochs[0].losses, rel=1e-3)
    check_same(plain.weights, last.weights)


def test_values_are_the_same_and_the_layout_is_another() -> None:
    model, images = build_model("cifar:resnet20", num_classes=10, seed=0).eval(), torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        before = model(images)
        state = {name: value.clone() for name, value in model.state_dict().items()}
        prefer_channels_last(model, images)
        assert all(laid_last(model))
        torch.testing.assert_close(model(images), before, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
