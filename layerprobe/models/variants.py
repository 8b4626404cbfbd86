"""Forms of timm's and torchvision's networks for small images, named behind a plus sign.

``torchvision:resnet34+small-stem`` has a 3x3 stem of stride 1 and no max-pooling behind it;
``timm:vit_base_patch16_224+patch4`` has patches of 4x4 pixels.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import nn

from layerprobe.models.adapt import first_convolution, is_patch_embedding
from layerprobe.models.classifier import remove_classifier, replace_module
from layerprobe.settings.base import SettingsError

SMALL_STEM = "small-stem"
_PATCH = re.compile(r"patch([1-9]\d?)")
_POOLS = ("maxpool", "features.pool0", "stem.pool")
"""What torchvision and timm call the pooling behind a stem."""
_IMAGENET_CLASSES = 1000


def split_variant(name: str) -> tuple[str, str]:
    """The name of a network of timm or torchvision, and which form of it is meant; empty: its own.

    Examples:
        >>> split_variant("torchvision:resnet34+small-stem"), split_variant("cifar:resnet20")
        (('torchvision:resnet34', 'small-stem'), ('cifar:resnet20', ''))

    Raises:
        SettingsError: if there is no such form.
    """
    base, plus, variant = name.partition("+")
    if not plus or not name.startswith(("timm:", "torchvision:")):
        return name, ""
    if variant != SMALL_STEM and not _PATCH.fullmatch(variant):
        raise SettingsError(
            f"a form of {base} is +{SMALL_STEM} or +patchN, patches of N x N pixels, N below 100; not +{variant}"
        )
    return base, variant


def build_variant(
    build: Callable[[int | None], nn.Module], name: str, num_classes: int | None, image_size: int | None
) -> nn.Module:
    """Build a form of a network of timm or torchvision, with random weights.

    Args:
        build: builds the network in its own form, for so many classes.
        name: ``SOURCE:NAME+FORM``.
        num_classes: rows of the classifier; None keeps the architecture's own; 0: none.
        image_size: side of the square images; None keeps the architecture's own.

    Raises:
        SettingsError: if the network has no such form.
    """
    base, variant = split_variant(name)
    if variant == SMALL_STEM:
        model = build(num_classes)
        _make_stem_small(model, base)
        return model
    patch = int(variant.removeprefix("patch"))
    if image_size is not None and image_size % patch:
        raise SettingsError(
            f"{name}: {image_size} pixels are no whole number of patches of {patch}; give another <data.image_size>"
        )
    source, _, short = base.partition(":")
    build_patches = _build_timm if source == "timm" else _build_torchvision
    return build_patches(short, patch, num_classes, image_size)


def _make_stem_small(model: nn.Module, name: str) -> None:
    path = first_convolution(model)
    stem = model.get_submodule(path) if path else None
    if not isinstance(stem, nn.Conv2d) or is_patch_embedding(stem):
        raise SettingsError(f"{name} has no convolution as its stem; +patchN gives a transformer smaller patches")
    if max(stem.stride) == 1:
        raise SettingsError(f"the stem of {name} has stride 1 already; leave +{SMALL_STEM} out")
    if max(stem.kernel_size) <= 3:
        stem.stride = (1, 1)
    elif type(stem) is nn.Conv2d:
        small = nn.Conv2d(stem.in_channels, stem.out_channels, kernel_size=3, padding=1, bias=stem.bias is not None)
        nn.init.kaiming_normal_(small.weight, mode="fan_out", nonlinearity="relu")
        replace_module(model, path, small)
    else:
        raise SettingsError(f"the stem of {name} is a {type(stem).__name__}, which is not made small")
    modules = dict(model.named_modules())
    for pool in _POOLS:
        if pool in modules:
            replace_module(model, pool, nn.Identity())


def _build_timm(name: str, patch_size: int, num_classes: int | None, image_size: int | None) -> nn.Module:
    import timm

    create: Callable[..., nn.Module] = timm.create_model
    overlay = {"input_size": (3, image_size, image_size)} if image_size else None
    size = {"img_size": image_size} if image_size else {}
    try:
        return create(name, num_classes=num_classes, patch_size=patch_size, pretrained_cfg_overlay=overlay, **size)
    except TypeError as error:
        if "patch_size" not in str(error) and "img_size" not in str(error):
            raise
        raise SettingsError(
            f"timm:{name} has no patches whose size can be chosen; leave +patch{patch_size} out"
        ) from None


def _build_torchvision(name: str, patch_size: int, num_classes: int | None, image_size: int | None) -> nn.Module:
    from torchvision import models
    from torchvision.models.vision_transformer import VisionTransformer

    with torch.device("meta"):
        whole = models.get_model(name)
    if not isinstance(whole, VisionTransformer):
        raise _without_patches(f"torchvision:{name}", patch_size)
    model: nn.Module = VisionTransformer(
        image_size=image_size or whole.image_size,
        patch_size=patch_size,
        num_layers=len(whole.encoder.layers),
        num_heads=whole.encoder.layers[0].num_heads,
        hidden_dim=whole.hidden_dim,
        mlp_dim=whole.mlp_dim,
        num_classes=num_classes or _IMAGENET_CLASSES,
    )
    if num_classes == 0:
        remove_classifier(model, _IMAGENET_CLASSES)
    return model


def _without_patches(name: str, patch_size: int) -> SettingsError:
    return SettingsError(f"{name} has no patches whose size can be chosen; leave +patch{patch_size} out")
