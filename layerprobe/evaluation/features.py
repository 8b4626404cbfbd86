"""The pooled features of images: one float32 vector of each image and layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from layerprobe.data.damaged import leave_out_damaged
from layerprobe.data.image_dataset import ImageDataset
from layerprobe.data.loading import Pixels, batches, make_loader
from layerprobe.data.preprocessing import normalize
from layerprobe.data.sampling import balanced_sample, uniform_sample
from layerprobe.distill.pooling import MEAN, Pooling
from layerprobe.errors import LayerprobeError
from layerprobe.evaluation.subject import Subject
from layerprobe.layers.capture import Capture, Captured
from layerprobe.layers.selection import find_layers, penultimate_layer
from layerprobe.records import Layer, Progress
from layerprobe.records.layers import OUTPUT
from layerprobe.settings.base import SettingsError
from layerprobe.settings.evaluate import EvaluateSettings


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """Features of some images.

    Attributes:
        layers: (n, D) float32 by layer.
        labels: (n,) class labels.
    """

    layers: Mapping[str, Tensor]
    labels: Tensor


def choose_images(
    subject: Subject, dataset: ImageDataset, samples: int | None, config: EvaluateSettings, progress: Progress
) -> Pixels:
    """The images to take: all, or a sample that is class-balanced if they have labels.

    Damaged images are left out where that is asked for.

    Raises:
        LayerprobeError: if the sample is larger than the classes permit.
    """
    rows = np.arange(len(dataset), dtype=np.int64)
    if samples is not None and dataset.labels is None:
        rows = uniform_sample(dataset, samples, seed=0).rows
    elif samples is not None:
        rows = balanced_sample(dataset.known_labels, samples, seed=0, num_classes=len(dataset.classes)).rows
    if subject.data.skip_damaged:
        rows = leave_out_damaged(dataset, rows, config.workers, progress)
    return Pixels(dataset, rows, subject.preprocessing)


def choose_poolings(subject: Subject, config: EvaluateSettings) -> Mapping[str, Pooling]:
    """How the features of every layer that is evaluated become vectors, by the layer's name.

    Raises:
        LayerprobeError: if there is no such layer, or none has the tokens that are asked for.
    """
    chosen = _chosen(subject, config)
    if config.tokens and not any(layer.layout.is_tokens for layer in chosen):
        raise SettingsError(f"<tokens> {config.tokens}: none of the layers has tokens; leave it out")
    tokens = config.tokens or (MEAN if subject.only_patches else None)
    return {layer.name: Pooling(layer.shape, tokens, layer.name) for layer in chosen}


def _chosen(subject: Subject, config: EvaluateSettings) -> Sequence[Layer]:
    if config.layers is None and subject.last_trained:
        return find_layers(subject.layers, [subject.last_trained], subject.told)
    if config.layers is None:
        return [penultimate_layer(subject.layers)]
    names = [layer.name for layer in subject.layers]
    wanted = [name for name in config.layers.names if name != OUTPUT or OUTPUT in names]
    chosen = find_layers(subject.layers, wanted, subject.told) if wanted else ()
    return [*chosen, subject.output] if len(wanted) < len(config.layers.names) else chosen


def collect_features(
    subject: Subject,
    pixels: Pixels,
    poolings: Mapping[str, Pooling],
    config: EvaluateSettings,
    device: torch.device,
    progress: Progress,
    what: str,
) -> ImageFeatures:
    """Pass images through the network, and keep the pooled features of layers.

    Args:
        subject: the network, on the device.
        pixels: the images.
        poolings: by the layers' names.
        config: batch size and workers.
        device: where the network computes.
        progress: told after every batch.
        what: is counted, for progress.

    Raises:
        LayerprobeError: if an image can't be read or has no label, or a feature is not finite.
    """
    kept = {name: torch.empty(len(pixels), pooling.dimension) for name, pooling in poolings.items()}

    def keep(positions: Tensor, captured: Captured) -> None:
        for name, vectors in kept.items():
            of_layer = captured.features.get(name)
            vectors[positions] = (poolings[OUTPUT](captured.logits) if of_layer is None else of_layer).cpu()

    layers = [layer for layer in subject.layers if layer.name in kept]
    done = 0
    with torch.no_grad(), Capture(subject.module, layers, keep=lambda name, tensor: poolings[name](tensor)) as capture:
        for batch in batches(make_loader(pixels, config.batch_size, config.workers)):
            images = normalize(batch.pixels.to(device, non_blocking=True), subject.preprocessing)
            keep(batch.positions, capture(images))
            done += len(batch.positions)
            progress(what, done, len(pixels))
    for name, vectors in kept.items():
        if not bool(vectors.isfinite().all()):
            raise LayerprobeError(f"features of layer {name!r} of {subject.told} are not finite; look at another layer")
    return ImageFeatures(kept, torch.from_numpy(pixels.dataset.known_labels[pixels.rows]))
