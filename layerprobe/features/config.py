"""What an extraction is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from layerprobe.features.extraction.reduce import Reduction
from layerprobe.settings.data import DataSettings
from layerprobe.settings.model import ModelSettings


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
        layers: which layers to keep, as ``find_layers`` reads them; None: every layer.
        dtype: ``float32`` or ``float16`` on disk.
        pool: ``avg:H`` or ``max:H``, the largest height and width of maps; None: those of more than 262,144 features
            are averaged down to that, unless ``project`` is given.
        tokens: ``cls``, ``mean`` or ``all`` of a transformer's tokens.
        project: the largest number of features of a layer; larger ones are randomly projected.
        amp: run the network in 16-bit precision: bfloat16 on a CPU, float16 elsewhere.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        batch_size: images per forward pass; None: 128, or 32 for images above 64 pixels on a CPU.
        workers: processes that decode images.
        seed: seed of the sample, and of the projection.
        overwrite: whether an existing output may be replaced.
    """

    model: ModelSettings
    data: DataSettings
    output: Path
    split: str = "train"
    samples: int | str | None = None
    layers: tuple[str, ...] | None = None
    dtype: str = "float32"
    pool: str | None = None
    tokens: str = "all"
    project: int | None = None
    amp: bool = False
    device: str = "auto"
    batch_size: int | None = None
    workers: int = 0
    seed: int = 0
    overwrite: bool = False

    @property
    def reduction(self) -> Reduction:
        """What is done to large features."""
        return Reduction(self.pool, self.tokens, self.project, self.seed)
