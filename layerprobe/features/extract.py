"""The one forward pass: a class-balanced sample of images through a model, every layer into one file."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from layerprobe.data.image_dataset import ImageDataset
from layerprobe.data.loading import Pixels, batches, make_loader
from layerprobe.data.preprocessing import normalize
from layerprobe.data.sampling import Sample, all_rows, balanced_sample
from layerprobe.devices import resolve_device
from layerprobe.errors import LayerprobeError
from layerprobe.features.file import FeatureFile, FeatureFileWriter, FilePlan, StoredLayer
from layerprobe.models.capture import Capture
from layerprobe.models.layers import find_layers, is_channels_last
from layerprobe.resolve import DataSpec, ModelSpec, Network, load_network
from layerprobe.types import Layer, Progress, silent

_log = logging.getLogger(__name__)

LARGEST_DIMENSION = 262_144
"""Spatial maps with more features than this are pooled first (section 3 of the paper's method)."""


@dataclass(frozen=True)
class ExtractConfig:
    """What to extract.

    Attributes:
        model: the network.
        data: the images.
        output: the HDF5 file to write.
        split: ``train``, ``test`` or ``all``.
        samples: images in the class-balanced sample; ``all``: every image; None: 5,000, or fewer where the
            smallest class has fewer.
        layers: names or indices of the layers to keep; None: every layer.
        dtype: ``float32`` or ``float16`` on disk.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        batch_size: images per forward pass.
        workers: processes that decode images.
        seed: seed of the sample.
        overwrite: whether an existing output may be replaced.
    """

    model: ModelSpec
    data: DataSpec
    output: Path
    split: str = "train"
    samples: int | str | None = None
    layers: tuple[str, ...] | None = None
    dtype: str = "float32"
    device: str = "auto"
    batch_size: int = 128
    workers: int = 0
    seed: int = 0
    overwrite: bool = False


def extract(config: ExtractConfig, progress: Progress = silent) -> FeatureFile:
    """Run a class-balanced sample of images through a model and write the features of its layers.

    Returns:
        The finished file, open for reading.

    Raises:
        LayerprobeError: if the input is wrong, the output exists, the disk is too small, or a value doesn't fit
            float16. No file is left behind then.
    """
    device = resolve_device(config.device)
    _check_output(config)
    dataset = config.data.open(config.split)
    sample = _draw(config, dataset)
    network = load_network(config.model, config.data, dataset)
    layers = network.layers if config.layers is None else find_layers(network.layers, config.layers, network.name)
    plan = _plan(config, dataset, sample, network, layers)
    _announce(config.output, plan, network, sample)
    with FeatureFileWriter(config.output, plan) as writer:
        _forward(config, dataset, sample, network, plan, device, writer, progress)
        writer.finish()
    return FeatureFile(config.output)


def _check_output(config: ExtractConfig) -> None:
    if config.dtype not in ("float16", "float32"):
        raise LayerprobeError(f"--dtype is float16 or float32, not {config.dtype!r}")
    if config.output.is_dir():
        raise LayerprobeError(f"{config.output} is a folder; --output names the HDF5 file to write")
    if config.output.exists() and not config.overwrite:
        raise LayerprobeError(f"{config.output} exists; --overwrite replaces it")


def _draw(config: ExtractConfig, dataset: ImageDataset) -> Sample:
    if config.samples == "all":
        return all_rows(dataset.labels)
    if isinstance(config.samples, str):
        raise LayerprobeError(f"--samples is a number of images or 'all', not {config.samples!r}")
    return balanced_sample(dataset.labels, config.samples, seed=config.seed, num_classes=len(dataset.classes))


def _plan(
    config: ExtractConfig, dataset: ImageDataset, sample: Sample, network: Network, layers: Sequence[Layer]
) -> FilePlan:
    rows = sample.rows
    return FilePlan(
        layers=tuple(_stored(layer) for layer in layers),
        dtype=config.dtype,
        labels=dataset.labels[rows],
        rows=rows,
        paths=[dataset.paths[row] for row in rows] if dataset.paths else None,
        classes=dataset.classes,
        provenance={
            "model": network.name,
            "weights": network.weights,
            "weights_sha256": network.weights_sha256,
            "dataset": dataset.name,
            "split": dataset.split,
            "population": len(dataset),
            "preprocessing": network.preprocessing.to_dict(),
            "sample": sample.description,
        },
    )


def _stored(layer: Layer) -> StoredLayer:
    """Pool a map of more than LARGEST_DIMENSION features to the largest square map that fits."""
    if math.prod(layer.shape) <= LARGEST_DIMENSION or len(layer.shape) != 3:
        return StoredLayer(layer, layer.shape)
    last = is_channels_last(layer.shape)
    height, width, channels = layer.shape if last else (*layer.shape[1:], layer.shape[0])
    side = max(1, math.isqrt(LARGEST_DIMENSION // channels))
    pooled = (min(side, height), min(side, width))
    return StoredLayer(layer, (*pooled, channels) if last else (channels, *pooled), f"avg:{pooled[0]}x{pooled[1]}")


def _announce(output: Path, plan: FilePlan, network: Network, sample: Sample) -> None:
    _log.info("model: %s, weights: %s", network.name, network.weights)
    _log.info("preprocessing: %s", network.preprocessing.describe())
    _log.info(
        "%d layers of %d images (%s) take %s",
        len(plan.layers),
        len(plan.labels),
        f"{sample.per_class} per class" if sample.per_class else "every image",
        _size(plan.size),
    )
    for stored in plan.layers:
        if stored.reduction:
            _log.warning(
                "%s has %d features: pooled (%s)", stored.layer.name, math.prod(stored.layer.shape), stored.reduction
            )
    folder = next(parent for parent in output.absolute().parents if parent.exists())
    free = shutil.disk_usage(folder).free
    if plan.size > free:
        raise LayerprobeError(
            f"the features take {_size(plan.size)}, but {folder} has {_size(free)} free; "
            "take fewer --samples or --layers, or --dtype float16"
        )


def _size(count: float) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _forward(
    config: ExtractConfig,
    dataset: ImageDataset,
    sample: Sample,
    network: Network,
    plan: FilePlan,
    device: torch.device,
    writer: FeatureFileWriter,
    progress: Progress,
) -> None:
    images = Pixels(dataset, sample.rows, network.preprocessing)
    loader = make_loader(images, config.batch_size, workers=config.workers, pin_memory=device.type == "cuda")
    module = network.module.to(device)
    done = 0
    progress("extract", 0, len(sample.rows))
    with torch.no_grad(), Capture(module, [stored.layer.name for stored in plan.layers]) as capture:
        for batch in batches(loader):
            pixels = batch.pixels.to(device, non_blocking=True)
            features = capture(normalize(pixels, network.preprocessing)).features
            writer.write([_to_storage(features[stored.layer.name], stored, config.dtype) for stored in plan.layers])
            done += len(batch.pixels)
            progress("extract", done, len(sample.rows))


def _to_storage(features: Tensor, stored: StoredLayer, dtype: str) -> npt.NDArray[Any]:
    """Reduce and convert one layer's batch. A value beyond float16 stops the run: it must not become infinite."""
    if stored.reduction and is_channels_last(stored.layer.shape):
        features = adaptive_avg_pool2d(features.permute(0, 3, 1, 2), (stored.shape[0], stored.shape[1])).permute(
            0, 2, 3, 1
        )
    elif stored.reduction:
        features = adaptive_avg_pool2d(features, (stored.shape[1], stored.shape[2]))
    values = features.to(getattr(torch, dtype)).cpu().numpy()
    if dtype == "float16" and np.isinf(values).any() and not torch.isinf(features).any():
        raise LayerprobeError(
            f"layer {stored.layer.name!r} has values up to {float(features.abs().max()):.3g}, beyond float16 (65504); "
            "use --dtype float32"
        )
    return values
