"""Compiled networks learn what the others learn."""

from pathlib import Path

import pytest
import torch

from layerprobe.distill.run import distill_student
from layerprobe.errors import LayerprobeError
from layerprobe.settings.run import DistillSettings

NET = """
from torch import nn

def make_net():
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(inplace=True), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(128, 10))
"""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("method", "layers"), [("feature-only", "2,5"), ("kd", None)])
def test_compiled_networks_learn_the_same(
    small: DistillSettings, tmp_path: Path, method: str, layers: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile = torch.nn.Module.compile
    # The compiler that writes C++ takes a minute; this one traces the same graphs and runs them as they are.
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compile(module, backend="aot_eager"))
    grad = torch.autograd.grad

    def walked_once(*arguments: object, retain_graph: bool | None = None, **named: object) -> object:
        assert not retain_graph, "that compiler gives the memory of a graph away"
        return grad(*arguments, **named)

    monkeypatch.setattr(torch.autograd, "grad", walked_once)
    (tmp_path / "net.py").write_text(NET)
    student = small.student.replaced(name=f"{tmp_path / 'net.py'}:make_net")
    config = small.replaced(method=method, layers=layers, student=student)
    plain = distill_student(config)
    torch._dynamo.reset()
    config = config.replaced(output=tmp_path / "compiled", training=config.training.replaced(compile=True))
    compiled = distill_student(config)
    for one, other in zip(plain.epochs, compiled.epochs, strict=True):
        assert other.losses == pytest.approx(one.losses, rel=1e-3)
    torch._dynamo.reset()


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
