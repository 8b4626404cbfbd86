"""Models by name: ``SOURCE:NAME``, of timm, torchvision, our own zoo and others, and ``FILE.py:callable``.

Behind timm's and torchvision's names may stand a form for small images: ``+small-stem`` or ``+patch4``.
A library is imported only when a name asks for it, so that a command line starts quickly.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from layerprobe.errors import LayerprobeError, closest
from layerprobe.models.adapt import POSITIONS, new_classifier
from layerprobe.models.classifier import classifier_names
from layerprobe.models.inputs import model_input
from layerprobe.models.published import fetching_weights
from layerprobe.models.sources import SOURCES, ModelSource, source_of
from layerprobe.models.user_file import build_from_file
from layerprobe.models.variants import build_variant, split_variant
from layerprobe.models.weights_file import Weights
from layerprobe.plugins import split_file_name
from layerprobe.records.adaptation import Adaptation
from layerprobe.settings.base import SettingsError

__all__ = ["build_model", "list_models", "model_input"]


def list_models(source: str) -> list[str]:
    """The names that may follow ``SOURCE:``, sorted, without that prefix.

    Examples:
        >>> list_models("cifar")[:3]
        ['mobilenetv2', 'mobilenetv2-paper', 'resnet110']

    Raises:
        LayerprobeError: if there is no such source.
    """
    if source not in SOURCES:
        raise LayerprobeError(f"there are no models in {source!r}; {closest(source, SOURCES)}")
    found: list[str] | None = SOURCES[source].call("listing")
    if found is None:
        raise LayerprobeError(f"models of {source} are folders, or names on a hub, which aren't listed")
    return found


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
    if file := split_file_name(name):
        if pretrained:
            raise _unpublished(name)
        with _seeded(seed):
            return build_from_file(*file, num_classes, image_size)
    base, variant = split_variant(name)
    source, short = _split(base)
    if pretrained and variant:
        raise SettingsError(
            f"no published weights for {name!r}; give <weights> FILE, or, where it is trained, <adapt> brings those of "
            f"{base} to it"
        )
    if pretrained and not source.loads:
        raise _unpublished(name)
    if pretrained and not source.call("loads", short):
        raise SettingsError(f"{source.name} publishes no weights for {name!r}; give <weights> FILE")
    build = source.load()
    with _seeded(seed):
        if variant:
            own = partial(build, short, image_size=image_size, pretrained=False)
            return build_variant(own, name, num_classes, image_size)
        with fetching_weights(name) if pretrained and not source.is_tower else nullcontext():
            model: nn.Module = build(short, num_classes, image_size, pretrained)
            return model


def _unpublished(name: str) -> SettingsError:
    return SettingsError(f"no published weights for {name!r}; give <weights> FILE")


def build_for_any_size(name: str, num_classes: int | None, seed: int) -> nn.Module | None:
    """A transformer in its own size, which interpolates its position embeddings to that of every image.

    Args:
        name: of the network.
        num_classes: as ``build_model`` has it.
        seed: of the initial weights.

    Returns:
        None where the network can't do so.
    """
    source = source_of(name)
    if source is None or split_variant(name)[1]:
        return None
    with _seeded(seed):
        model: nn.Module | None = source.call("any_size", name.partition(":")[2], num_classes)
    return model


def resampled_positions(name: str, model: nn.Module, image_size: int | None) -> int | None:
    """The size of images that published position embeddings are of, where a library brings them to another one as it
    loads.

    Args:
        name: of the network.
        model: as ``build_model`` built it with published weights.
        image_size: side of the images that it was built for; None: its own.

    Returns:
        None where nothing is resampled.
    """
    source = source_of(name)
    if source is None or image_size is None:
        return None
    own: int | None = source.call("own_size", name.partition(":")[2])
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
        found: Weights = SOURCES[source].call("published", short)
        return found
    whole = PUBLISHED.get(short, name) if source == "cifar" else split_variant(name)[0]
    return Weights({"": build_model(whole, pretrained=True).state_dict()})


def replaced_classifier(name: str, model: nn.Module, num_classes: int) -> Adaptation | None:
    """The classifier of a network with published weights, where it is a new one; None: it is that of the weights.

    Args:
        name: ``timm:NAME`` or ``torchvision:NAME``.
        model: as ``build_model`` built it with published weights.
        num_classes: rows of its classifier.
    """
    source = source_of(name)
    published = source.call("classes", name.partition(":")[2], model) if source else None
    if published is None:
        return None
    if num_classes == published:
        return None
    own: dict[str, Tensor] = model.state_dict()
    names = classifier_names(model)
    before = {one: torch.empty(published, *own[one].shape[1:], device="meta") for one in names if published}
    return new_classifier(names, before, own) if names else None


def has_no_classes(name: str) -> bool:
    """Whether a network has no classifier unless it is asked for one: towers, timm's of self-supervised pretraining."""
    base = split_variant(name)[0]
    source = None if split_file_name(name) else source_of(base)
    return source is not None and (source.is_tower or bool(source.call("headless", base.partition(":")[2])))


def has_published_weights(name: str) -> bool:
    """Whether a network has published weights, which are its own where nothing else is said."""
    source = source_of(name)
    return source is not None and source.publishes


def published_as_file(name: str) -> bool:
    """Whether published weights of a network are a file of a larger model, of which it takes its part."""
    source = source_of(name)
    return source is not None and bool(source.published)


def _split(name: str) -> tuple[ModelSource, str]:
    """A name's source and what follows, both known to exist."""
    source, colon, short = name.partition(":")
    if not colon:
        listed = [kind for kind, of in SOURCES.items() if not of.is_tower]
        found = [f"{kind}:{name}" for kind in listed if name in list_models(kind)]
        hint = closest(name, found) if found else "for example cifar:resnet56"
        raise LayerprobeError(f"a model is SOURCE:NAME (SOURCE: {', '.join(SOURCES)}) or FILE.py:callable; {hint}")
    if source not in SOURCES:
        hint = closest(source, SOURCES)
        raise LayerprobeError(f"no models come from {source!r} (in {name!r}), and it is not a .py file; {hint}")
    of = SOURCES[source]
    if of.is_tower:  # they look by themselves
        return of, short
    listed = list_models(source)
    known = (None if short in listed else of.call("knows", short, listed)) or listed
    if short not in known:
        raise LayerprobeError(f"{source} has no model {short!r}; {closest(short, known)}")
    return of, short


@contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    if seed is None:
        yield
        return
    # torch.manual_seed would reseed the CUDA generators too; models are initialized on the CPU.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
