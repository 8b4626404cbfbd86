"""A configuration turned into objects: everything about an extraction that is known before the first forward pass."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from layerprobe.data.damaged import leave_out_damaged
from layerprobe.data.datasets import open_split
from layerprobe.data.fingerprint import pixel_fingerprint
from layerprobe.data.image_dataset import ImageDataset
from layerprobe.data.loading import Pixels
from layerprobe.data.sampling import Sample, all_rows, balanced_sample, reduced, spectrum_sample, uniform_sample
from layerprobe.data.views import ViewedPixels
from layerprobe.features.extraction.reduce import Reduction, Step, plan_reduction
from layerprobe.features.extraction.remaining import remaining_samples
from layerprobe.features.hdf5.layout import FilePlan, SecondSample
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.layers.selection import find_layers
from layerprobe.networks import Network, load_network
from layerprobe.records import Progress, StoredLayer, silent
from layerprobe.records.adaptation import ADAPTED
from layerprobe.records.cautions import FEW_IMAGES, LEAST_FOR_INTERVALS
from layerprobe.settings.base import SettingsError, errors_of_part
from layerprobe.settings.extract import ExtractSettings

_log = logging.getLogger(__name__)

_OPTIONS = ("prefix_tokens", "weights_key", "num_classes")
"""Of the model; each is kept where it is given."""

_SMALL = 64
"""Images up to this height and width make a batch of 128 on a CPU too."""


@dataclass(frozen=True)
class Job:
    """What is extracted, and how.

    Attributes:
        images: of the sample.
        network: the model, on the CPU still.
        sample: which images.
        layers: what is stored of each layer, and the steps that make it of what the layer puts out.
        plan: of the file.
        device: where the network computes.
        precision: what it computes in.
        batch_size: images per forward pass.
    """

    images: Pixels
    network: Network
    sample: Sample
    layers: Mapping[StoredLayer, tuple[Step, ...]]
    plan: FilePlan
    device: torch.device
    precision: torch.dtype
    batch_size: int


def prepare(
    config: ExtractSettings, device: torch.device, begun: FeatureFile | None = None, progress: Progress = silent
) -> Job:
    """Open the images, load the network, choose layers and lay out what will be written.

    Args:
        config: what to extract.
        device: where the network computes.
        begun: the file that an earlier run left at the output: where images were removed since, the sample is what
            is left of the file's.
        progress: told while images are looked for that can't be read.

    Raises:
        LayerprobeError: if anything that the configuration names is wrong or not there.
    """
    dataset = open_split(config.data, config.split)
    sample, second = _samples(config, dataset, begun, progress)
    with errors_of_part("model"):
        network = load_network(config.model, config.data, dataset)
    layers = find_layers(network.layers, config.layers.names if config.layers else None, network.name)
    stored = plan_reduction(layers, _reduction(config))
    images = Pixels(dataset, sample.rows, network.preprocessing)
    if config.view:
        images = ViewedPixels(images, config.view, config.seed)
    precision = _precision(config.amp, device)
    plan = FilePlan(
        layers=tuple(stored),
        dtype=config.dtype,
        labels=None if dataset.labels is None else dataset.labels[sample.rows],
        rows=sample.rows,
        paths=[dataset.paths[row] for row in sample.rows] if dataset.paths else None,
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
            "pixels_sha256": pixel_fingerprint(images),
            "precision": str(precision).removeprefix("torch."),
            "device": device.type,
            **({"spectrum_sample": second.description} if second else {}),
            **{key: value for key in _OPTIONS if (value := getattr(config.model, key)) is not None},
            **({ADAPTED: adapted} if (adapted := _adapted(network)) else {}),
            **({"view": asdict(images.view)} if isinstance(images, ViewedPixels) else {}),
            **({"data_options": options} if (options := config.data.options()) else {}),
        },
        spectra=_second_sample(dataset, second) if second else None,
    )
    batch_size = config.batch_size or _batch_size(network, device)
    return Job(images, network, sample, stored, plan, device, precision, batch_size)


def _adapted(network: Network) -> list[dict[str, Any]]:
    """What of the network's first weights was not in their file, or not so."""
    return [asdict(one) for one in (*network.adapted_before, *network.adapted)]


def _second_sample(dataset: ImageDataset, sample: Sample) -> SecondSample:
    paths = [dataset.paths[row] for row in sample.rows] if dataset.paths else None
    return SecondSample(dataset.known_labels[sample.rows], sample.rows, paths)


def _reduction(config: ExtractSettings) -> Reduction:
    """What is done to large features."""
    return Reduction(config.pool, config.tokens, config.project, config.seed)


def _samples(
    config: ExtractSettings, dataset: ImageDataset, begun: FeatureFile | None, progress: Progress
) -> tuple[Sample, Sample | None]:
    """The images whose features are extracted, and those of the spectra, if they have some of their own."""
    count = config.spectrum_samples
    if count and dataset.labels is None:
        raise SettingsError(
            f"<spectrum_samples> are of classes, and the images of {dataset.name} have no labels; leave it out"
        )
    samples = [_draw(config, dataset), *([spectrum_sample(dataset.known_labels, count, config.seed)] if count else [])]
    if begun is not None:
        samples = remaining_samples(begun, dataset, samples)
    if config.data.skip_damaged:
        readable = [leave_out_damaged(dataset, one.rows, config.workers, progress) for one in samples]
        samples = [reduced(one, rows, dataset.labels) for one, rows in zip(samples, readable, strict=True)]
    return samples[0], samples[1] if count else None


def _draw(config: ExtractSettings, dataset: ImageDataset) -> Sample:
    if config.samples == "all":
        return all_rows(dataset)
    if dataset.labels is None:
        return uniform_sample(dataset, config.samples, seed=config.seed)
    return balanced_sample(dataset.labels, config.samples, seed=config.seed, num_classes=len(dataset.classes))


def _precision(amp: bool, device: torch.device) -> torch.dtype:
    """What the network computes in: a CPU has no fast float16."""
    return torch.float32 if not amp else torch.bfloat16 if device.type == "cpu" else torch.float16


def warn_of_few_images(job: Job) -> None:
    """Say what a class-balanced sample is too small for: most data sets of over 1,250 classes have too few by default.

    Of every image there is nothing to be said: no more can be asked for.
    """
    per_class, classes, labels = job.sample.per_class, len(job.plan.classes), job.images.dataset.labels
    if labels is None or not 0 < per_class < LEAST_FOR_INTERVALS:
        return
    lacking = "intervals" if per_class > 1 else "separation, information, knowledge quality and intervals"
    enough = min(FEW_IMAGES, int(np.bincount(labels, minlength=classes).min()))
    if enough > per_class:
        remedy = f"--samples {enough * classes} takes {enough} of each"
    else:
        remedy = "the smallest class has no more; --samples all takes every image of the others"
    images = f"{per_class} image{'s' if per_class > 1 else ''}"
    _log.warning("the sample has %s of each of %d classes, too few for %s: %s", images, classes, lacking, remedy)


def _batch_size(network: Network, device: torch.device) -> int:
    """On a CPU large images are no slower in small batches, and a batch of 128 would take gigabytes."""
    return 32 if device.type == "cpu" and max(network.preprocessing.image_size) > _SMALL else 128
