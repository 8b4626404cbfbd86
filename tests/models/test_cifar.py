"""The 32-pixel zoo: sizes against published counts, shapes, and what the layers' definition relies on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from layerprobe.errors import LayerprobeError
from layerprobe.models.cifar import CIFAR_MODELS, HE_RESNETS
from layerprobe.models.cifar.he_resnet import ShortcutA, build_he_resnet
from layerprobe.models.weights import load_weights
from layerprobe.models.weights_file import read_weights

# He et al., table 6, gives 0.27, 0.46, 0.66, 0.85 and 1.7 million; the exact ones are akamaster's.
HE_PARAMETERS = {"resnet20": 269_722, "resnet32": 464_154, "resnet44": 658_586, "resnet56": 853_018}
HE_PARAMETERS["resnet110"] = 1_727_962

# ImageNet networks as torchvision publishes them, less what differs for small images.
STEM = 64 * 3 * (7 * 7 - 3 * 3)
VGG_CLASSIFIER = 25088 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 1000 + 1000
SMALL_VGG_CLASSIFIER = 2 * (512 * 512 + 512) + 512 * 10 + 10
# ViT-B/16: 4x4 patches, not 16x16, and 64 of them, not 196.
VIT_BASE = 86_567_656 - 769 * 990 - 768 * 3 * (16 * 16 - 4 * 4) - 768 * (196 - 64)
OTHER_PARAMETERS = {
    "resnet18": 11_689_512 - STEM - 513 * 990,
    "resnet34": 21_797_672 - STEM - 513 * 990,
    "vgg11": 132_868_840 - VGG_CLASSIFIER + SMALL_VGG_CLASSIFIER,
    "vgg19": 143_678_248 - VGG_CLASSIFIER + SMALL_VGG_CLASSIFIER,
    "mobilenetv2": 3_504_872 - 1281 * 990,
    **dict.fromkeys(("vit-base", "vit-base-mean"), VIT_BASE),
    "resnet34-paper": 21_797_672 - STEM - 513 * 990,
    "vgg11-paper": 132_868_840 - (25088 - 512) * 4096 - 4097 * 990,
    "vgg19-paper": 143_678_248 - (25088 - 512) * 4096 - 4097 * 990,
    "mobilenetv2-paper": 3_504_872 - 1281 * 990,
}


def parameters_of(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def basic_block(channels_in: int, channels: int) -> int:
    shortcut = channels_in * channels + 2 * channels if channels_in != channels else 0
    return 9 * channels_in * channels + 9 * channels * channels + 4 * channels + shortcut


@pytest.mark.parametrize(("name", "count"), [*HE_PARAMETERS.items(), *OTHER_PARAMETERS.items()])
def test_parameter_counts_are_the_published_ones(name: str, count: int) -> None:
    with torch.device("meta"):
        assert parameters_of(CIFAR_MODELS[name](10, 32)) == count


def test_resnet9_is_one_basic_block_per_stage() -> None:
    model = CIFAR_MODELS["resnet9"](10, 32)
    stages = basic_block(64, 64) + basic_block(64, 128) + basic_block(128, 256) + basic_block(256, 512)
    assert parameters_of(model) == 64 * 3 * 9 + 128 + stages + 513 * 10


def test_vit_small_has_the_sizes_of_the_paper() -> None:
    width, mlp = 192, 576
    block = 4 * width * width + 4 * width + 2 * width * mlp + width + mlp + 4 * width
    embedding = 3 * 4 * 4 * width + width + width + 65 * width
    model = CIFAR_MODELS["vit-small"](10, 32)
    assert parameters_of(model) == 8 * block + embedding + 2 * width + 193 * 10
    heads = {module.num_heads for module in model.modules() if isinstance(module, nn.MultiheadAttention)}
    assert heads == {6}


@pytest.mark.parametrize("image_size", [32, 64])
@pytest.mark.parametrize(
    "name", [name for name in CIFAR_MODELS if name not in ("resnet110", "vit-base", "vit-base-mean", "vgg19-paper")]
)
def test_images_of_both_sizes_become_logits(name: str, image_size: int) -> None:
    model = CIFAR_MODELS[name](7, image_size).eval()
    with torch.no_grad():
        logits = model(torch.randn(2, 3, image_size, image_size))
    assert logits.shape == (2, 7)
    assert logits.isfinite().all()


@pytest.mark.parametrize(("image_size", "patch"), [(32, 4), (64, 8)])
def test_vit_patches_are_an_eighth_of_the_image(image_size: int, patch: int) -> None:
    assert CIFAR_MODELS["vit-small"](10, image_size).get_submodule("conv_proj").kernel_size == (patch, patch)


def test_vit_refuses_sizes_that_patches_do_not_tile() -> None:
    with pytest.raises(LayerprobeError, match=r"multiple of 8, not 30; try data.image_size 32"):
        CIFAR_MODELS["vit-small"](10, 30)


@pytest.mark.parametrize(
    ("name", "size", "module", "shape"),
    [
        ("resnet20", 32, "layer3", (64, 8, 8)),
        ("resnet9", 32, "layer1", (64, 32, 32)),
        ("resnet9", 64, "layer1", (64, 64, 64)),
        ("resnet34", 32, "layer4", (512, 4, 4)),
        ("mobilenetv2", 32, "features.18", (1280, 4, 4)),
        ("vgg11", 32, "avgpool", (512, 1, 1)),
        ("resnet9-paper", 32, "layer1", (64, 32, 32)),
        ("resnet9-paper", 64, "layer1", (64, 32, 32)),
        ("mobilenetv2-paper", 32, "features.0", (32, 32, 32)),
        ("mobilenetv2-paper", 32, "features.2", (24, 16, 16)),
        ("mobilenetv2-paper", 32, "features.18", (1280, 2, 2)),
        ("mobilenetv2-paper", 64, "features.18", (1280, 2, 2)),
        ("vgg11-paper", 64, "avgpool", (512, 1, 1)),
    ],
)
def test_maps_keep_the_resolution_that_the_paper_gives(
    name: str, size: int, module: str, shape: tuple[int, ...]
) -> None:
    model = CIFAR_MODELS[name](10, size).eval()
    seen: list[torch.Size] = []
    model.get_submodule(module).register_forward_hook(lambda module, inputs, output: seen.append(output.shape[1:]))
    with torch.no_grad():
        model(torch.randn(1, 3, size, size))
    assert seen == [torch.Size(shape)]


@pytest.mark.parametrize(("name", "convolutions"), [("vgg11", 8), ("vgg19", 16)])
def test_vgg_has_an_activation_per_convolution_and_two_in_the_classifier(name: str, convolutions: int) -> None:
    with torch.device("meta"):
        model = CIFAR_MODELS[name](10, 32)
    counts = [
        sum(isinstance(layer, nn.ReLU) for layer in model.get_submodule(part)) for part in ("features", "classifier")
    ]
    assert counts == [convolutions, 2]


def test_vgg_logits_do_not_vanish_at_initialization() -> None:
    torch.manual_seed(0)
    model = CIFAR_MODELS["vgg11"](10, 32)
    model.train()
    assert 0.1 < model(torch.randn(16, 3, 32, 32)).std() < 10


def test_the_networks_of_the_paper_start_as_its_code_has_them() -> None:
    resnet, vgg = CIFAR_MODELS["resnet9-paper"](10, 32), CIFAR_MODELS["vgg11-paper"](10, 32)
    assert not any(resnet.get_submodule(f"layer{stage}.0.bn2").weight.any() for stage in range(1, 5))
    assert vgg.get_submodule("classifier.0").weight.detach().std().item() == pytest.approx(0.01, rel=0.01)
    dropout = [module.p for module in CIFAR_MODELS["mobilenetv2-paper"](10, 32).modules() if hasattr(module, "p")]
    assert dropout == [0.0]


def test_shortcut_a_takes_every_second_pixel_and_pads_channels_on_both_sides() -> None:
    images = torch.arange(2 * 4 * 4.0).reshape(1, 2, 4, 4) + 1
    output = ShortcutA(4)(images)
    assert torch.equal(output[:, 2:4], images[:, :, [0, 2]][:, :, :, [0, 2]])
    assert output.shape == (1, 6, 2, 2)
    assert not output[:, [0, 1, 4, 5]].any()


def test_he_resnet_computes_what_its_paper_says() -> None:
    """The forward pass of ResNet-20 written out with functions, as in akamaster's code."""
    torch.manual_seed(0)
    model = CIFAR_MODELS["resnet20"](10, 32).eval()
    state = model.state_dict()

    def convolve(name: str, number: int, images: torch.Tensor, stride: int = 1) -> torch.Tensor:
        images = functional.conv2d(images, state[f"{name}conv{number}.weight"], stride=stride, padding=1)
        norm = [state[f"{name}bn{number}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(images, *norm)

    images = torch.randn(3, 3, 32, 32)
    hidden = convolve("", 1, images).relu()
    for stage, channels in ((1, 16), (2, 32), (3, 64)):
        for block in range(3):
            name, stride = f"layer{stage}.{block}.", 2 if stage > 1 and block == 0 else 1
            shortcut = hidden
            if stride == 2:
                pad = channels // 4
                shortcut = functional.pad(hidden[:, :, ::2, ::2], (0, 0, 0, 0, pad, pad))
            inner = convolve(name, 1, hidden, stride).relu()
            hidden = (convolve(name, 2, inner) + shortcut).relu()
    pooled = functional.avg_pool2d(hidden, 8).flatten(1)
    expected = functional.linear(pooled, state["linear.weight"], state["linear.bias"])
    with torch.no_grad():
        torch.testing.assert_close(model(images), expected)


def test_he_resnet_stem_has_its_own_activation_module() -> None:
    model = CIFAR_MODELS["resnet20"](10, 32)
    assert isinstance(model.get_submodule("relu"), nn.ReLU)
    assert sum(isinstance(module, nn.ReLU) for module in model.modules()) == 1 + 2 * 9


def test_he_resnet_depth_is_6n_plus_2() -> None:
    with pytest.raises(ValueError, match="6n \\+ 2, not 21"):
        build_he_resnet(10, 32, depth=21)


def test_he_resnets_are_all_in_the_dictionary() -> None:
    assert set(HE_RESNETS) == set(HE_PARAMETERS) <= set(CIFAR_MODELS)


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "file"), [("resnet20", "resnet20-12fca82f.th"), ("resnet56", "resnet56-4bfd9763.th")])
def test_published_weights_load(name: str, file: str, shared: Path) -> None:
    weights = read_weights(shared / "weights" / file)
    model = CIFAR_MODELS[name](10, 32)
    load_weights(model, weights, file)
    trained = {f"module.{key}": value for key, value in model.named_parameters()}
    assert sum(value.numel() for key, value in weights.state.items() if key in trained) == HE_PARAMETERS[name]
    assert all(torch.equal(value, weights.state[key]) for key, value in trained.items())


def test_a_vit_that_averages_all_tokens_is_the_same_network_with_another_end() -> None:
    torch.manual_seed(0)
    model, other = (CIFAR_MODELS[name](7, 32).eval() for name in ("vit-small-mean", "vit-small"))
    other.load_state_dict(model.state_dict())
    nn.init.normal_(model.heads.head.weight)  # torchvision's starts with zeros
    images, seen = torch.randn(2, 3, 32, 32), []
    handle = other.encoder.register_forward_hook(lambda _, inputs, output: seen.append(output))
    with torch.no_grad():
        found, _ = model(images), other(images)
    handle.remove()
    assert seen[0].shape == (2, 65, 192)
    expected = seen[0].mean(dim=1) @ model.heads.head.weight.T + model.heads.head.bias
    torch.testing.assert_close(found, expected)
