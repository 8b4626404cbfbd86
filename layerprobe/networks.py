"""From the names that a user types to a network and the images it reads, ready to run."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from layerprobe.data.image_dataset import ImageDataset
from layerprobe.data.preprocessing import choose_preprocessing
from layerprobe.errors import LayerprobeError
from layerprobe.layers.discovery import discover, discover_layers
from layerprobe.models.adapt import POSITIONS
from layerprobe.models.classifier import head_classes
from layerprobe.models.fit import Fitting, fit_weights
from layerprobe.models.lazy import initialize_lazy_modules
from layerprobe.models.model_input import ModelInput
from layerprobe.models.variants import split_variant
from layerprobe.models.weights import hash_weights, load_weights
from layerprobe.models.weights_file import Weights, read_weights
from layerprobe.models.zoo import (
    build_for_any_size,
    build_model,
    has_no_classes,
    has_published_weights,
    model_input,
    published_as_file,
    published_weights,
    replaced_classifier,
    resampled_positions,
)
from layerprobe.records import Layer, Preprocessing
from layerprobe.records.adaptation import Adaptation
from layerprobe.records.weights_header import parse_weights_header
from layerprobe.settings.base import SettingsError
from layerprobe.settings.data import DataSettings
from layerprobe.settings.model import AS_BUILT, DRAWN, PRETRAINED, ModelSettings

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Network:
    """A network ready to run.

    Attributes:
        name: as the user typed it.
        module: the network, on the CPU, in evaluation mode.
        weights: where its weights came from.
        weights_sha256: hash of its weights.
        preprocessing: how images become its input.
        layers: its generalized layers, in execution order.
        num_classes: number of logits; 0: it has no classifier (``layerprobe.models.classifier``).
        adapted: what of its weights isn't in their file, or not so.
        adapted_before: of weights that layerprobe trained, what was so of those that the training began with.
    """

    name: str
    module: nn.Module
    weights: str
    weights_sha256: str
    preprocessing: Preprocessing
    layers: tuple[Layer, ...]
    num_classes: int
    adapted: tuple[Adaptation, ...] = ()
    adapted_before: tuple[Adaptation, ...] = ()


def load_network(
    spec: ModelSettings, data: DataSettings, dataset: ImageDataset, seed: int = 0, trained: bool = False
) -> Network:
    """Build a network, load its weights, choose its preprocessing and find its layers.

    Args:
        spec: the network's name and weights.
        data: overrides of the preprocessing.
        dataset: the images it will read, for their classes, size and statistics.
        seed: seed of the initial weights, where they are random.
        trained: whether it will be trained: then its classifier may be a new one, where the weights have none for so
            many classes.

    Raises:
        LayerprobeError: if the name is unknown, the weights don't fit or aren't those expected, or it can't take such
            images.
    """
    source = _weights_source(spec)
    weights = _read_weights(spec, source, trained)
    header = parse_weights_header(weights.metadata if weights else {}, Path(source))
    stored = replace(header.preprocessing, source="stored with the weights") if header.preprocessing else None
    size = data.image_size or _own_size(spec.name, stored, dataset)
    pretrained = source == PRETRAINED and weights is None
    classes = spec.num_classes
    if classes is None and not pretrained:
        classes = _classes(spec.name, weights, dataset, trained)
    module = build_model(spec.name, num_classes=classes, image_size=size, pretrained=pretrained, seed=seed)
    wish = stored or _wish(spec.name, module, pretrained, size)
    preprocessing = _choose_preprocessing(wish, stored, size, data, dataset)
    initialize_lazy_modules(module, preprocessing.image_size, seed)
    adapted: tuple[Adaptation, ...] = ()
    if pretrained and (own := resampled_positions(spec.name, module, size)):
        said = "%s for %s: its position embeddings, of %d pixels, are resampled to %d"
        _log.info(said, source, spec.name, own, size, extra={"once": True})
    if pretrained and classes and (new := replaced_classifier(spec.name, module, classes)):
        _log.info("%s for %s: %s", source, spec.name, new)
        adapted = (new,)
    if weights:
        what = f"{source} for {spec.name}"
        fitting = fit_weights(module, weights, what, spec.weights_key)
        if spec.num_classes is None and classes and fitting.chosen.classes not in (None, classes):
            module = build_model(spec.name, num_classes=fitting.chosen.classes, image_size=size, seed=seed)
            initialize_lazy_modules(module, preprocessing.image_size, seed)
            fitting = fit_weights(module, weights, what, spec.weights_key)
        if not trained and (flexible := _fit_any_size(spec, fitting, weights, what, size, seed)):
            module, fitting = flexible
        adapted = load_weights(module, weights, what, fitting=fitting, trained=trained, adapt=spec.adapt)
    module.eval()
    digest = hash_weights(module)
    _check_hash(digest, spec, source, seed, drawn=source in DRAWN or bool(adapted))
    built = Network(spec.name, module, source, digest, preprocessing, (), 0, adapted, header.adapted)
    return _look_at(spec, built)


def _look_at(spec: ModelSettings, network: Network) -> Network:
    """A network with its layers and the number of its classes, as a forward pass shows them."""
    found = discover(network.module, network.preprocessing.image_size, prefix_tokens=spec.prefix_tokens)
    if not found.returned:
        raise LayerprobeError(f"a network returns a tensor, its logits or its features, but {spec.name} returns none")
    outputs = found.returned[1] if found.has_classifier else 0
    if spec.num_classes not in (None, outputs):
        _log.warning("%s has %d outputs, not the %d that were asked for", spec.name, outputs, spec.num_classes)
    return replace(network, layers=found.layers, num_classes=outputs)


def _classes(name: str, weights: Weights | None, dataset: ImageDataset, trained: bool) -> int | None:
    """How many classes a network is built for: as many as its weights have, or none where it usually has none.

    None is the architecture's own number, for images without labels.
    """
    bare = not trained and has_no_classes(name)
    known = head_classes(weights.state, named=bare) if weights else None
    return known or (0 if bare else len(dataset.classes) or None)


def _fit_any_size(
    spec: ModelSettings, fitting: Fitting, weights: Weights, what: str, size: int | None, seed: int
) -> tuple[nn.Module, Fitting] | None:
    """A network whose weights are of another size of image in their position embeddings alone, and can be used as such.

    Returns:
        None where nothing needs to be done, or nothing can.
    """
    fit = fitting.chosen
    if size is None or not fit.shapes or any(name.rpartition(".")[2] not in POSITIONS for name in fit.shapes):
        return None
    module = build_for_any_size(spec.name, fit.classes or 0, seed)
    found = module and fit_weights(module, weights, what, spec.weights_key)
    if not module or not found or not found.chosen.is_whole:
        return None
    said = "%s: its position embeddings are of another size, and are interpolated in every pass to %d pixels"
    _log.info(said, what, size, extra={"once": True})
    return module, found


def _read_weights(spec: ModelSettings, source: str, trained: bool) -> Weights | None:
    """The weights to load into a network as it is built; None: it is built with its weights."""
    weights = None
    if spec.adapt and (source in DRAWN or not trained):
        where = "weights from a file or the hub" if trained else "a network that is trained"
        raise SettingsError(f"<adapt> is for {where}; leave it out")
    if source == PRETRAINED and (spec.adapt or published_as_file(spec.name)):
        weights = published_weights(spec.name)
    elif source not in (PRETRAINED, *DRAWN):
        weights = read_weights(Path(source))
    if spec.weights_key and weights is None:
        raise SettingsError(f"<weights_key> is of a weights file, and the weights are {source}; leave it out")
    return weights


def _wish(name: str, module: nn.Module, pretrained: bool, size: int | None) -> ModelInput:
    """The input that a network asks for; a form for small images takes them in the size that it is built for."""
    wish = model_input(name, module, pretrained)
    if size is None or not split_variant(name)[1]:
        return wish
    return replace(wish, image_size=(size, size), resize=None, interpolation=None)


def _choose_preprocessing(
    wish: Preprocessing | ModelInput,
    stored: Preprocessing | None,
    size: int | None,
    data: DataSettings,
    dataset: ImageDataset,
) -> Preprocessing:
    """How images are prepared: as the user asks, else as the network wishes, else by the images."""
    return choose_preprocessing(
        dataset,
        image_size=wish.image_size or ((size, size) if size else None),
        mean=wish.mean,
        std=wish.std,
        resize=wish.resize,
        interpolation=wish.interpolation,
        upright=stored.upright if stored else None,
        source=wish.source,
        asked=data,
    )


def _check_hash(digest: str, spec: ModelSettings, source: str, seed: int, drawn: bool) -> None:
    """Refuse weights that aren't those that are expected; ``drawn``: all or some of them depend on the seed."""
    if spec.weights_sha256 in (None, digest):
        return
    part = "" if source in DRAWN else "in part "
    what = f", {part}drawn with seed {seed}," if drawn else ""
    remedy = "" if source in DRAWN else "name the right file with <weights>, or "
    remedy += "take the seed of the configuration, or " if drawn else ""
    raise SettingsError(
        f"the weights of {spec.name} are not those of the configuration: {source}{what} has SHA-256 {digest[:12]}, "
        f"not {str(spec.weights_sha256)[:12]}; {remedy}remove weights_sha256"
    )


def find_model_layers(
    name: str, num_classes: int | None = None, image_size: int | None = None, prefix_tokens: int | None = None
) -> tuple[Layer, ...]:
    """The generalized layers of a model, without weights or data.

    Args:
        name: the model's name.
        num_classes: size of the classifier; None: the architecture's own.
        image_size: input size in pixels; None: the model's own, 32 for ``cifar:`` models and forms for small
            images, else 224.
        prefix_tokens: extra tokens of a transformer; None: as many as it declares.

    Raises:
        LayerprobeError: if the name is unknown, or the model can't take such images.
    """
    small = name.startswith("cifar:") or split_variant(name)[1]
    size = image_size or (32 if small else None)
    module = build_model(name, num_classes=num_classes, image_size=size, seed=0)
    wish = model_input(name, module).image_size
    pixels = (size, size) if size else wish or (224, 224)
    initialize_lazy_modules(module, pixels, seed=0)
    return discover_layers(module, pixels, prefix_tokens=prefix_tokens)


def _weights_source(spec: ModelSettings) -> str:
    if spec.weights is not None:
        return spec.weights
    if has_published_weights(spec.name):
        return PRETRAINED
    if spec.name.startswith("cifar:"):
        raise SettingsError(
            f"{spec.name} comes without weights: give <weights> FILE (`layerprobe train` makes one), "
            "or <weights> random for an untrained network"
        )
    return AS_BUILT


def _own_size(name: str, stored: Preprocessing | None, dataset: ImageDataset) -> int | None:
    """The image size that the weights were trained at, or, for networks without a size of their own, the data's."""
    if stored:
        return stored.image_size[0]
    if name.startswith("cifar:"):
        return dataset.native_size or 32
    whole = has_published_weights(name) and not split_variant(name)[1]
    return None if whole else dataset.native_size
