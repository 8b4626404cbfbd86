"""Compiled networks learn what the others learn."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

from layerprobe.distill.engine.compiling import CompiledCapture
from layerprobe.distill.engine.loop import train
from layerprobe.distill.run import distill_student
from layerprobe.errors import LayerprobeError
from layerprobe.layers.capture import Capture
from layerprobe.records import Run
from layerprobe.runtime.process_group import make_accelerator
from layerprobe.settings.recipe import RecipeSettings
from layerprobe.settings.run import DistillSettings
from tests.distill.engine.test_loop import images, network, setup

NET = """
from torch import nn

def make_net():
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(inplace=True), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(128, 10))
"""


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Iterator[CompileCounterWithBackend]:
    """Counts what is compiled; the same graphs run as they are, since to write C++ takes a minute."""
    compile, counter = torch.compile, CompileCounterWithBackend("aot_eager")
    monkeypatch.setattr(torch, "compile", lambda work, dynamic, mode: compile(work, backend=counter, dynamic=dynamic))
    torch._dynamo.reset()
    yield counter
    torch._dynamo.reset()


def both(config: DistillSettings) -> tuple[Run, Run]:
    plain = distill_student(config)
    training = config.training.replaced(compile=True)
    return plain, distill_student(config.replaced(output=config.output.with_name("compiled"), training=training))


@pytest.mark.parametrize(("method", "layers"), [("feature-only", "2,5"), ("kd", None)])
def test_compiled_networks_learn_the_same(
    small: DistillSettings, tmp_path: Path, method: str, layers: str | None, counter: CompileCounterWithBackend
) -> None:
    """Each network is one graph, which serves every epoch: the last, smaller batch is not compiled."""
    (tmp_path / "net.py").write_text(NET)
    student = small.student.replaced(name=f"{tmp_path / 'net.py'}:make_net")
    plain, compiled = both(small.replaced(method=method, layers=layers, student=student))
    for one, other in zip(plain.epochs, compiled.epochs, strict=True):
        assert other.losses == pytest.approx(one.losses, rel=1e-3)
    assert counter.frame_count == 2


NESTED = """
from torch import nn

class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)

    def forward(self, x):
        a = self.first(x).relu()
        return {"deep": self.second(a), "shallow": a}

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.pair, self.act, self.fc = Pair(), nn.ReLU(inplace=True), nn.Linear(8, 10)

    def forward(self, x):
        x = self.act(self.act(self.pair(x)["deep"]) + 1)
        return {"logits": self.fc(x.mean((2, 3))), "more": x}

def make_net():
    return Net()
"""


@pytest.mark.filterwarnings("ignore")  # dynamo's own, where a graph is in pieces
@pytest.mark.parametrize("layers", [("pair", "act@2"), ("act", "fc.input")])
def test_any_layer_can_be_captured(layers: tuple[str, str], tmp_path: Path, counter: CompileCounterWithBackend) -> None:
    """Outputs of several tensors, modules that run twice and in place, inputs of modules: all as without compiling."""
    names: dict[str, object] = {}
    exec(NESTED, names)
    torch.manual_seed(0)
    net: nn.Module = names["make_net"]()
    batch = torch.randn(4, 3, 8, 8)
    with Capture(net, layers, gate=layers[0]) as plain:
        expected = [plain(batch) for _ in range(2)][1]
        gradients = torch.autograd.grad(expected.logits.sum(), list(net.fc.parameters()))
    with CompiledCapture(net, layers, gate=layers[0]) as capture:
        capture(batch)
        capture.compile_passes(4)
        found = [capture(batch) for _ in range(3)][2]
        assert all(torch.allclose(found.features[name], expected.features[name]) for name in layers)
        assert torch.allclose(found.logits, expected.logits)
        ours = torch.autograd.grad(found.logits.sum(), list(net.fc.parameters()))
        assert all(torch.allclose(one, other) for one, other in zip(ours, gradients, strict=True))
        frames = counter.frame_count
        assert (frames == 1) == (layers[0] != "pair")
        assert len(capture(batch[:3]).logits) == 3  # of another size: as it is
        net.eval()
        net(batch[:3])  # by itself
        capture(batch)
        assert counter.frame_count == frames


def test_the_gate_stays_shut(counter: CompileCounterWithBackend) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(144, 10))
    batch = torch.randn(2, 3, 8, 8)
    with CompiledCapture(net, ["0", "1"], gate="1") as capture:
        capture(batch)
        capture.compile_passes(2)
        given = capture(batch)
        assert bool((given.features["0"] < 0).any()) and not bool((given.features["1"] < 0).any())
        of_logits = torch.autograd.grad(given.logits.sum(), list(net.parameters()), allow_unused=True)
    assert [one is None or not one.any() for one in of_logits] == [True, True, False, False]
    assert counter.frame_count == 1


def test_what_no_term_reaches_does_not_decay(counter: CompileCounterWithBackend) -> None:
    """Compiled code gives zeros for its gradients, by which weights would still decay."""
    student = network(0)
    before = {name: value.clone() for name, value in student.named_parameters()}
    recipe = RecipeSettings(epochs=2, lr=0.1, weight_decay=0.5, compile=True)
    train(replace(setup(student), has_classifier=False), images(), recipe, make_accelerator(torch.device("cpu")))
    same = {name for name, value in student.named_parameters() if torch.equal(value, before[name])}
    assert same == {"7.weight", "7.bias"} and counter.frame_count == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("accumulate", [1, 2])
def test_replayed_steps_learn_the_same(small: DistillSettings, tmp_path: Path, accumulate: int) -> None:
    (tmp_path / "net.py").write_text(NET)
    student = small.student.replaced(name=f"{tmp_path / 'net.py'}:make_net")
    training = small.training.replaced(device="cuda", accumulate=accumulate)
    plain, compiled = both(small.replaced(layers="2,5", student=student, training=training))
    for one, other in zip(plain.epochs, compiled.epochs, strict=True):
        assert other.losses == pytest.approx(one.losses, rel=1e-2)


def test_functions_that_compiling_hides_are_refused(small: DistillSettings, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\nfrom torch.nn.functional import relu\nimport torch.nn.functional as F\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(144, 10)\n"
        "    def forward(self, x):\n"
        "        return self.fc(F.relu(self.conv(x)).flatten(1))\n"
        "def make_net():\n"
        "    return Net()\n"
    )
    student = small.student.replaced(name=f"{tmp_path / 'net.py'}:make_net")
    training = small.training.replaced(compile=True)
    config = small.replaced(student=student, layers="3", student_layers=("F.relu",), training=training)
    with pytest.raises(LayerprobeError, match=r"layer 'F.relu' is the result of a function, which --compile hides"):
        distill_student(config)
