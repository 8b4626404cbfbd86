"""layerprobe: which layers of a trained network are worth learning from, and a student that learns from them.

The public interface. Names are loaded when they are first used, so that ``import layerprobe`` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from layerprobe.errors import LayerprobeError
from layerprobe.types import EpochMetrics, Gram, Layer, LayerGeometry, Preprocessing, Ranking, Run, StoredLayer

if TYPE_CHECKING:
    from layerprobe.distill.alignments.options import Alignment
    from layerprobe.distill.config import DistillConfig, TrainConfig, Training
    from layerprobe.distill.run import distill_student, train_model
    from layerprobe.distill.students import load_student
    from layerprobe.features.config import ExtractConfig
    from layerprobe.features.dataset import FeatureDataset
    from layerprobe.features.extract import extract
    from layerprobe.features.file import FeatureFile
    from layerprobe.features.gram_file import GramFile
    from layerprobe.geometry.gram import gram_matrix
    from layerprobe.geometry.quality import measure
    from layerprobe.grams import extract_grams, gram_of
    from layerprobe.models.capture import Capture
    from layerprobe.models.layers import discover_layers
    from layerprobe.ranking.rank import rank
    from layerprobe.resolve import DataSpec, ModelSpec

__version__ = "0.1.0"

_HOMES = {
    "Alignment": "distill.alignments.options",
    "Capture": "models.capture",
    "DataSpec": "resolve",
    "DistillConfig": "distill.config",
    "ExtractConfig": "features.config",
    "FeatureDataset": "features.dataset",
    "FeatureFile": "features.file",
    "GramFile": "features.gram_file",
    "ModelSpec": "resolve",
    "TrainConfig": "distill.config",
    "Training": "distill.config",
    "discover_layers": "models.layers",
    "distill_student": "distill.run",
    "extract": "features.extract",
    "extract_grams": "grams",
    "gram_matrix": "geometry.gram",
    "gram_of": "grams",
    "load_student": "distill.students",
    "measure": "geometry.quality",
    "rank": "ranking.rank",
    "train_model": "distill.run",
}

__all__ = [
    "Alignment",
    "Capture",
    "DataSpec",
    "DistillConfig",
    "EpochMetrics",
    "ExtractConfig",
    "FeatureDataset",
    "FeatureFile",
    "Gram",
    "GramFile",
    "Layer",
    "LayerGeometry",
    "LayerprobeError",
    "ModelSpec",
    "Preprocessing",
    "Ranking",
    "Run",
    "StoredLayer",
    "TrainConfig",
    "Training",
    "__version__",
    "discover_layers",
    "distill_student",
    "extract",
    "extract_grams",
    "gram_matrix",
    "gram_of",
    "load_student",
    "measure",
    "rank",
    "train_model",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'layerprobe' has no attribute {name!r}")
    return getattr(import_module(f"layerprobe.{_HOMES[name]}"), name)
