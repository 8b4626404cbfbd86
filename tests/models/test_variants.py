"""Forms of timm's and torchvision's networks for small images: shapes, and weights of ImageNet brought to them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from layerprobe import load_student
from layerprobe.errors import LayerprobeError
from layerprobe.models.inputs import model_input
from layerprobe.models.weights import load_weights
from layerprobe.models.weights_file import Weights
from layerprobe.models.zoo import build_model
from layerprobe.networks import find_model_layers
from tests.helpers.commands import invoke

FEW = ("--data", "digits", "--epochs", 1, "--train-samples", 20, "--test-samples", 20, "--device", "cpu")


def map_after(model: nn.Module, path: str) -> tuple[int, ...]:
    seen: list[Tensor] = []
    model.get_submodule(path).register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        model.eval()(torch.randn(1, 3, 32, 32))
    return tuple(seen[0].shape[1:])


@pytest.mark.parametrize(
    ("name", "path", "shape", "changed"),
    [
        ("torchvision:resnet18", "layer1", (64, 32, 32), ["conv1.weight"]),
        ("timm:resnet18", "layer1", (64, 32, 32), ["conv1.weight"]),
        ("timm:resnet18d", "layer1", (64, 32, 32), []),  # three 3x3 convolutions, the first of stride 2
        ("torchvision:densenet121", "features.denseblock1", (256, 32, 32), ["features.conv0.weight"]),
        ("torchvision:mobilenet_v3_small", "features.0", (16, 32, 32), []),
    ],
)
def test_a_small_stem_keeps_every_pixel_and_all_other_weights(
    name: str, path: str, shape: tuple[int, ...], changed: list[str]
) -> None:
    whole = build_model(name, num_classes=10, seed=0)
    model = build_model(f"{name}+small-stem", num_classes=10, seed=1)
    assert map_after(model, path) == shape
    said = load_weights(model, Weights({"": whole.state_dict()}), "w.pth", trained=True, adapt="resample")
    assert [tensor for one in said for tensor in one.tensors] == changed
    assert {one.part for one in said} <= {"stem"}
    new, old = model.state_dict(), whole.state_dict()
    assert all(torch.equal(value, old[key]) for key, value in new.items() if key not in changed)


@pytest.mark.parametrize("name", ["timm:vit_tiny_patch16_224", "torchvision:vit_b_16"])
def test_patches_of_another_size(name: str) -> None:
    with torch.device("meta"):
        model = build_model(f"{name}+patch4", num_classes=10, image_size=32)
        whole = build_model(name, num_classes=10)
    own, other = whole.state_dict(), model.state_dict()
    assert own.keys() == other.keys()
    differing = {key: tuple(value.shape[1:]) for key, value in other.items() if value.shape != own[key].shape}
    width = 192 if name.startswith("timm:") else 768
    assert sorted(differing.values()) == [(3, 4, 4), (65, width)]


def test_forms_see_images_as_they_are_with_the_statistics_of_imagenet() -> None:
    name = "torchvision:resnet18+small-stem"
    assert len(find_model_layers(name)) == 10
    assert find_model_layers(name)[1].shape == (64, 32, 32)
    assert model_input(name, nn.Identity()).mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("torchvision:resnet18+tiny", r"a form of torchvision:resnet18 is \+small-stem or \+patchN"),
        ("timm:resnet18+patch0", r"not \+patch0"),
        ("torchvision:resnet18+patch4", "has no patches whose size can be chosen"),
        ("timm:resnet18+patch4", r"timm:resnet18 has no patches .*; leave \+patch4 out"),
        ("torchvision:vgg11+small-stem", "the stem of torchvision:vgg11 has stride 1 already"),
        ("timm:vit_tiny_patch16_224+small-stem", r"has no convolution as its stem; \+patchN"),
        ("torchvision:vit_b_16+patch5", "32 pixels are no whole number of patches of 5"),
        ("torchvision:resnet1+small-stem", "torchvision has no model 'resnet1'"),
        ("cifar:resnet20+small-stem", r"cifar has no model 'resnet20\+small-stem'"),
    ],
)
def test_forms_that_are_not_there(name: str, said: str) -> None:
    with torch.device("meta"), pytest.raises(LayerprobeError, match=said):
        build_model(name, image_size=32)


def test_published_weights_are_brought_to_a_form_of_timm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the hub, which a random network stands for, to a run that loads without it."""
    asked: list[str] = []

    def publish(name: str, *, pretrained: bool) -> nn.Module:
        assert pretrained
        asked.append(name)
        return build_model(name, seed=3)

    out = ("--output", tmp_path / "run")
    train = ("train", "--model", "timm:test_vit+patch4", "--weights", "pretrained", *FEW, *out)
    said = invoke(*train, code=2).stderr
    assert "or, where it is trained, --adapt brings those of timm:test_vit to it" in said
    with monkeypatch.context() as patch:
        patch.setattr("layerprobe.models.zoo.build_model", publish)
        said = invoke(*train, "--adapt", "average").stderr
    assert asked == ["timm:test_vit"]
    assert "pretrained for timm:test_vit+patch4: patch embedding, 1 tensor: averaged" in said
    assert "interpolated from a 10x10 to a 2x2 grid (bicubic); 1 other token kept" in said
    assert "preprocessing: 8x8 pixels" in said
    model = load_student(tmp_path / "run")
    assert model.get_submodule("patch_embed.proj").weight.shape[2:] == (4, 4)
    assert model(torch.zeros(1, 3, 8, 8)).shape == (1, 10)
