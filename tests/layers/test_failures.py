"""Why layers can't be read: what is known is said, and no more."""

import pytest
import torch
import torchvision
from torch import Tensor, nn

from layerprobe.errors import LayerprobeError
from layerprobe.layers.discovery import discover_layers


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean((2, 3)))


class Failing(Small):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def forward(self, x: Tensor) -> Tensor:
        raise self.error


def compiled() -> nn.Module:
    model: nn.Module = torch.compile(Small())
    return model


def compiled_in_place() -> nn.Module:
    model = Small()
    model.compile()
    return model


def compiled_in_part() -> nn.Module:
    model = Small()
    model.body = torch.compile(model.body)
    return model


def scripted() -> nn.Module:
    model: nn.Module = torch.jit.script(Small())
    return model


def traced() -> nn.Module:
    model: nn.Module = torch.jit.trace(Small().eval(), torch.zeros(2, 3, 8, 8))
    return model


def scripted_in_part() -> nn.Module:
    model = Small()
    model.body = torch.jit.script(model.body)
    return model


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize(
    ("build", "message"),
    [
        (compiled, r"^the model is compiled \(torch.compile\), .*: pass the model itself, before it is compiled"),
        (compiled_in_place, r"^the model is compiled \(torch.compile\)"),
        (compiled_in_part, r"^the model's part 'body' is compiled \(torch.compile\)"),
        (scripted, r"^the model is scripted or traced \(torch.jit\), .*: pass the module that it was made from$"),
        (traced, r"^the model is scripted or traced \(torch.jit\)"),
        (scripted_in_part, r"^the model's part 'body' is scripted or traced \(torch.jit\)"),
    ],
)
def test_code_that_hides_its_modules_is_refused_for_what_it_is(build: object, message: str) -> None:
    with pytest.raises(LayerprobeError, match=message) as refused:
        discover_layers(build(), (8, 8))
    assert "\n" not in str(refused.value) and "size" not in str(refused.value)


def test_a_size_is_blamed_where_another_one_works() -> None:
    message = (
        r"^the model can't take 8x8-pixel images: RuntimeError: .*; it takes 32x32-pixel ones, so choose another size "
        r"with data.image_size, for example 32$"
    )
    with pytest.raises(LayerprobeError, match=message):
        discover_layers(torchvision.models.vgg11(weights=None), (8, 8))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("mat1 and mat2\nhave no common shape"), "RuntimeError: mat1 and mat2; "),
        (KeyError("pixel_values"), "KeyError: 'pixel_values'; "),
        (AttributeError("no attribute"), "AttributeError: no attribute; "),
        (SystemExit(0), "SystemExit: 0; "),
    ],
)
def test_a_model_that_always_fails_is_no_matter_of_size(error: BaseException, reason: str) -> None:
    message = (
        f"^the model's forward pass fails on 2 images of 3x32x32: {reason}so it does on squares of 32 to 384 pixels"
    )
    with pytest.raises(LayerprobeError, match=message) as refused:
        discover_layers(Failing(error).train(), (32, 32))
    assert refused.value.__cause__ is error


def test_what_fails_under_watch_alone_is_no_error_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of layerprobe's own shows where it is, and blames nobody."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr("layerprobe.layers.tracing.Watcher.enter", fail)
    with pytest.raises(ZeroDivisionError, match="a fault"):
        discover_layers(Small(), (8, 8))
