"""layerprobe: which layers of a trained network are worth learning from, and a student that learns from them.

The public interface. Names are loaded when they are first used, so that ``import layerprobe`` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from layerprobe.errors import LayerprobeError
from layerprobe.version import __version__

if TYPE_CHECKING:
    from layerprobe.distill.run import distill_student, train_model
    from layerprobe.distill.students import load_student
    from layerprobe.experiments.reports import report_on
    from layerprobe.features.dataset import FeatureDataset
    from layerprobe.features.extraction.extract import extract
    from layerprobe.features.hdf5.gram_file import GramFile
    from layerprobe.features.hdf5.reader import FeatureFile
    from layerprobe.geometry.gram import gram_matrix
    from layerprobe.geometry.measure import measure
    from layerprobe.layers.capture import Capture
    from layerprobe.layers.discovery import discover_layers
    from layerprobe.ranking.grams import extract_grams, gram_of
    from layerprobe.ranking.rank import rank
    from layerprobe.records import EpochMetrics, Gram, Layer, LayerGeometry, Preprocessing, Ranking, Run, StoredLayer
    from layerprobe.runtime.progress import ProgressLines
    from layerprobe.settings.alignment import AlignmentSettings
    from layerprobe.settings.data import DataSettings
    from layerprobe.settings.extract import ExtractSettings
    from layerprobe.settings.model import ModelSettings
    from layerprobe.settings.recipe import TrainingSettings
    from layerprobe.settings.report import ReportSettings
    from layerprobe.settings.run import DistillSettings, TrainSettings


_RECORDS = ("EpochMetrics", "Gram", "Layer", "LayerGeometry", "Preprocessing", "Ranking", "Run", "StoredLayer")
_HOMES = {
    **dict.fromkeys(_RECORDS, "records"),
    "AlignmentSettings": "settings.alignment",
    "Capture": "layers.capture",
    "DataSettings": "settings.data",
    "DistillSettings": "settings.run",
    "ExtractSettings": "settings.extract",
    "FeatureDataset": "features.dataset",
    "FeatureFile": "features.hdf5.reader",
    "GramFile": "features.hdf5.gram_file",
    "ModelSettings": "settings.model",
    "ReportSettings": "settings.report",
    "TrainSettings": "settings.run",
    "TrainingSettings": "settings.recipe",
    "ProgressLines": "runtime.progress",
    "discover_layers": "layers.discovery",
    "distill_student": "distill.run",
    "extract": "features.extraction.extract",
    "extract_grams": "ranking.grams",
    "gram_matrix": "geometry.gram",
    "gram_of": "ranking.grams",
    "load_student": "distill.students",
    "measure": "geometry.measure",
    "rank": "ranking.rank",
    "report_on": "experiments.reports",
    "train_model": "distill.run",
}

__all__ = [
    "AlignmentSettings",
    "Capture",
    "DataSettings",
    "DistillSettings",
    "EpochMetrics",
    "ExtractSettings",
    "FeatureDataset",
    "FeatureFile",
    "Gram",
    "GramFile",
    "Layer",
    "LayerGeometry",
    "LayerprobeError",
    "ModelSettings",
    "Preprocessing",
    "ProgressLines",
    "Ranking",
    "ReportSettings",
    "Run",
    "StoredLayer",
    "TrainSettings",
    "TrainingSettings",
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
    "report_on",
    "train_model",
]


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'layerprobe' has no attribute {name!r}")
    return getattr(import_module(f"layerprobe.{_HOMES[name]}"), name)
