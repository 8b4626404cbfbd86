"""Models by name: ``SOURCE:NAME``, of timm, torchvision, our own zoo and others, and ``FILE.py:callable``.

Behind timm's and torchvision's names may stand a form for small images: ``+small-stem`` or ``+patch4``.
A library is imported only when a name asks for it, so that a command line starts quickly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from layerprobe.errors import LayerprobeError, closest
from layerprobe.models.adapt import POSITIONS, new_classifier
from layerprobe.models.classifier import classifier_names, find_classifier, remove_classifier, replace_module
from layerprobe.models.extras import import_extra
from layerprobe.models.inputs import model_input
from layerprobe.models.published import fetching_weights
from layerprobe.models.user_file import build_from_file
from layerprobe.models.variants import build_variant, split_variant
from layerprobe.models.weights_file import Weights
from layerprobe.plugins import split_file_name
from layerprobe.records.adaptation import Adaptation
from layerprobe.settings.base import SettingsError

__all__ = ["SOURCES", "build_model", "list_models", "model_input"]

TOWERS = ("open_clip", "transformers")
"""Sources of vision towers, which have no classifier; each needs a library of an optional extra."""
SOURCES = ("timm", "torchvision", "cifar", *TOWERS)
"""What stands before the colon of a model's name; a user's own file is one way more."""

# These two return a tuple while they train unless told otherwise, and warn about an initialization that they keep.
_WITH_AUXILIARY_HEADS = ("googlenet", "inception_v3")
_CIFAR_CLASSES, _IMAGENET_CLASSES = 10, 1000


def list_models(source: str) -> list[str]:
    """The names that may follow ``SOURCE:``, sorted, without that prefix.

    Examples:
        >>> list_models("cifar")[:3]
        ['mobilenetv2', 'mobilenetv2-paper', 'resnet110']

    Raises:
        LayerprobeError: if there is no such source.
    """
    if source == "timm":
        import timm

        return sorted(timm.list_models())
    if source == "torchvision":
        from torchvision import models

        return sorted(models.list_models(module=models))
    if source == "cifar":
        from layerprobe.models.cifar import CIFAR_MODELS

        return sorted(CIFAR_MODELS)
    if source == "open_clip":
        return sorted(import_extra("open_clip", "clip", "a model of open_clip").list_models())
    if source == "transformers":
        raise LayerprobeError("models of transformers are folders, or names on a hub, which aren't listed")
    raise LayerprobeError(f"there are no models in {source!r}; {closest(source, SOURCES)}")


def build_model(
    name: str,
    num_classes: int | None = None,
    image_size: int | None = None,
    pretrained: bool = False,
    seed: int | None = None,
) -> nn.Module:
    """Build a model by name.

    Args:
        name: ``SOURCE:NAME`` or ``FILE.py:callable``; behind timm's and torchvision's ``+FORM`` may stand.
        num_classes: rows of the classifier; None keeps the architecture's own (10 for ``cifar:``); 0: none, and
            nothing (``nn.Identity``) stands in the place of its last layer.
        image_size: side of the square images, for the models that are built for one size; others ignore it.
            None keeps the architecture's own (32 for ``cifar:``).
        pretrained: load the weights that are published, fetched where they aren't cached; ``open_clip:`` has them as
            files (``published_weights``).
        seed: of the initial weights; the global random state is left as it was. None draws from the global state.

    Raises:
        LayerprobeError: if there is no such model, it can't be built as asked, or its weights can't be had.
    """
    file = split_file_name(name)
    base, variant = (name, "") if file else split_variant(name)
    source, short = ("", "") if file else _split(base)
    if pretrained and variant:
        raise SettingsError(
            f"no published weights for {name!r}; give <weights> FILE, or, where it is trained, <adapt> brings those of "
            f"{base} to it"
        )
    if pretrained and source not in ("timm", "torchvision", "transformers"):
        raise SettingsError(f"no published weights for {name!r}; give <weights> FILE")
    if pretrained and source == "timm" and not _has_timm_weights(short):
        raise SettingsError(f"timm publishes no weights for {name!r}; give <weights> FILE")
    with _seeded(seed):
        if file:
            return build_from_file(*file, num_classes, image_size)
        if source == "cifar":
            return _build_cifar(short, num_classes, image_size)
        if source in TOWERS:
            return _build_tower(source, short, num_classes, image_size, pretrained)
        build = _build_timm if source == "timm" else _build_torchvision
        if variant:
            own = partial(build, short, image_size=image_size, pretrained=False)
            return build_variant(own, name, num_classes, image_size)
        with fetching_weights(name) if pretrained else nullcontext():
            return build(short, num_classes, image_size, pretrained)


def build_for_any_size(name: str, num_classes: int | None, seed: int) -> nn.Module | None:
    """A transformer of timm in its own size, which interpolates its position embeddings to that of every image.

    Args:
        name: of the network.
        num_classes: as ``build_model`` has it.
        seed: of the initial weights.

    Returns:
        None where the network can't do so.
    """
    source, _, short = name.partition(":")
    if source != "timm" or split_variant(name)[1]:
        return None
    import timm

    try:
        with _seeded(seed):
            model: nn.Module = timm.create_model(short, num_classes=num_classes, dynamic_img_size=True)
    except TypeError as error:
        if "dynamic_img_size" not in str(error):
            raise
        return None
    return model


def resampled_positions(name: str, model: nn.Module, image_size: int | None) -> int | None:
    """The size of images that published position embeddings are of, where timm brings them to another one as it loads.

    Args:
        name: of the network.
        model: as ``build_model`` built it with published weights.
        image_size: side of the images that it was built for; None: its own.

    Returns:
        None where nothing is resampled.
    """
    source, _, short = name.partition(":")
    if source != "timm" or image_size is None:
        return None
    import timm

    config: Any = timm.get_pretrained_cfg(short)
    own = int(config.input_size[-1])
    has = any(one.rpartition(".")[2] in POSITIONS for one, _ in model.named_parameters())
    return own if has and own != image_size else None


def published_weights(name: str) -> Weights:
    """The published weights of a network, or of the one that it is a form of for small images.

    Args:
        name: ``timm:NAME``, ``torchvision:NAME``, ``cifar:NAME`` or ``open_clip:NAME.TAG``.

    Raises:
        LayerprobeError: if there are none, or they can't be had.
    """
    from layerprobe.models.cifar import PUBLISHED

    source, _, short = name.partition(":")
    if published_as_file(name):
        from layerprobe.models import open_clip_towers

        return open_clip_towers.published_tower(short)
    whole = PUBLISHED.get(short, name) if source == "cifar" else split_variant(name)[0]
    return Weights({"": build_model(whole, pretrained=True).state_dict()})


def replaced_classifier(name: str, model: nn.Module, num_classes: int) -> Adaptation | None:
    """The classifier of a network with published weights, where it is a new one; None: it is that of the weights.

    Args:
        name: ``timm:NAME`` or ``torchvision:NAME``.
        model: as ``build_model`` built it with published weights.
        num_classes: rows of its classifier.
    """
    source, _, short = name.partition(":")
    about: Any = getattr(model, "pretrained_cfg", None)  # which timm gives its networks
    published = int(about["num_classes"]) if source == "timm" else _torchvision_classes(short)
    if num_classes == published:
        return None
    own: dict[str, Tensor] = model.state_dict()
    names = classifier_names(model)
    before = {one: torch.empty(published, *own[one].shape[1:], device="meta") for one in names if published}
    return new_classifier(names, before, own) if names else None


def has_no_classes(name: str) -> bool:
    """Whether a network has no classifier unless it is asked for one: towers, timm's of self-supervised pretraining."""
    source, _, short = split_variant(name)[0].partition(":")
    if split_file_name(name) or source != "timm":
        return source in TOWERS
    import timm

    config = timm.get_pretrained_cfg(short)
    return config is not None and config.num_classes == 0


def has_published_weights(name: str) -> bool:
    """Whether a network has published weights, which are its own where nothing else is said."""
    return name.partition(":")[0] in ("timm", "torchvision", *TOWERS)


def published_as_file(name: str) -> bool:
    """Whether published weights of a network are a file of a larger model, of which it takes its part."""
    return name.partition(":")[0] == "open_clip"


def _split(name: str) -> tuple[str, str]:
    """A name's source and what follows, both known to exist."""
    source, colon, short = name.partition(":")
    if not colon:
        found = [f"{kind}:{name}" for kind in SOURCES if kind not in TOWERS and name in list_models(kind)]
        hint = closest(name, found) if found else "for example cifar:resnet56"
        raise LayerprobeError(f"a model is SOURCE:NAME (SOURCE: {', '.join(SOURCES)}) or FILE.py:callable; {hint}")
    if source not in SOURCES:
        hint = closest(source, SOURCES)
        raise LayerprobeError(f"no models come from {source!r} (in {name!r}), and it is not a .py file; {hint}")
    if source in TOWERS:  # they look by themselves
        return source, short
    known = list_models(source)
    base, dot, _ = short.partition(".")
    if source == "timm" and dot and base in known:
        import timm

        known = timm.list_pretrained(base)
    # timm's old names for its models aren't listed, but work.
    if short not in known and not (source == "timm" and not dot and _is_timm(short)):
        raise LayerprobeError(f"{source} has no model {short!r}; {closest(short, known)}")
    return source, short


def _is_timm(name: str) -> bool:
    import timm

    return bool(timm.is_model(name))


def _has_timm_weights(name: str) -> bool:
    from timm.models import is_model_pretrained

    return bool(is_model_pretrained(name))


@contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    if seed is None:
        yield
        return
    # torch.manual_seed would reseed the CUDA generators too; models are initialized on the CPU.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _build_cifar(name: str, num_classes: int | None, image_size: int | None) -> nn.Module:
    from layerprobe.models.cifar import CIFAR_MODELS

    model = CIFAR_MODELS[name](num_classes or _CIFAR_CLASSES, image_size or 32)
    if num_classes == 0:
        remove_classifier(model, _CIFAR_CLASSES)
    return model


def _build_tower(
    source: str, short: str, num_classes: int | None, image_size: int | None, pretrained: bool
) -> nn.Module:
    if source == "open_clip":
        from layerprobe.models import open_clip_towers

        return open_clip_towers.build_tower(short, num_classes, image_size)
    from layerprobe.models import transformers_towers

    return transformers_towers.build_tower(short, num_classes, image_size, pretrained)


def _build_timm(name: str, num_classes: int | None, image_size: int | None, pretrained: bool) -> nn.Module:
    import timm

    create: Callable[..., nn.Module] = timm.create_model
    if image_size is not None:
        # With the overlay, the model's data configuration says the size that it was built for.
        overlay = {"input_size": (3, image_size, image_size)}
        state = torch.get_rng_state()
        try:
            return create(
                name, pretrained, num_classes=num_classes, img_size=image_size, pretrained_cfg_overlay=overlay
            )
        except TypeError as error:
            # Convolutional networks are built for any size, and have no such argument.
            if "img_size" not in str(error):
                raise
            torch.set_rng_state(state)
    return create(name, pretrained, num_classes=num_classes)


def _build_torchvision(name: str, num_classes: int | None, image_size: int | None, pretrained: bool) -> nn.Module:
    from torchvision import models

    options: dict[str, Any] = {}
    if image_size is not None and name.startswith("vit_"):
        options["image_size"] = image_size
    if name in _WITH_AUXILIARY_HEADS:
        options |= {"aux_logits": False} | ({} if pretrained else {"init_weights": True})
    if not pretrained:
        options |= {"num_classes": num_classes} if num_classes else {}
        model: nn.Module = models.get_model(name, **options)
        if num_classes == 0:
            remove_classifier(model, _IMAGENET_CLASSES)
        return model
    model = models.get_model(name, weights=models.get_model_weights(name).DEFAULT, **options)
    classes = _torchvision_classes(name)
    if num_classes == 0:
        remove_classifier(model, classes)
    elif num_classes not in (None, classes):
        _replace_head(model, classes, num_classes or classes)
    return model


def _torchvision_classes(name: str) -> int:
    """How many classes torchvision's published weights of a network have."""
    from torchvision import models

    return len(models.get_model_weights(name).DEFAULT.meta["categories"])


def _replace_head(model: nn.Module, old_classes: int, num_classes: int) -> None:
    """Put a new layer in the place of the last one that has ``old_classes`` outputs."""
    path = find_classifier(model, old_classes)
    head: nn.Module = model.get_submodule(path)
    new: nn.Module
    if isinstance(head, nn.Linear):
        new = nn.Linear(head.in_features, num_classes, bias=head.bias is not None)
    elif isinstance(head, nn.Conv2d):  # SqueezeNet's classifier is a 1x1 convolution.
        new = nn.Conv2d(head.in_channels, num_classes, kernel_size=1, bias=head.bias is not None)
    replace_module(model, path, new)
