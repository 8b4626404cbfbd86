"""The frozen records that pass between rooms, and the shape of a progress callback."""

from layerprobe.types.geometry import Gram, Interval, LayerGeometry, LayerMeasurement, Similarity
from layerprobe.types.grids import Cell, CellResult, GridResults
from layerprobe.types.layers import Layer, StoredLayer, body_layers
from layerprobe.types.preprocessing import Preprocessing
from layerprobe.types.progress import Progress, silent
from layerprobe.types.ranking import RANKING_FORMAT, RANKING_VERSION, NetworkGeometry, Ranking
from layerprobe.types.runs import EpochMetrics, Evaluation, Run
from layerprobe.types.validation import Candidate, Correlation, Difference, Validation

__all__ = [
    "RANKING_FORMAT",
    "RANKING_VERSION",
    "Candidate",
    "Cell",
    "CellResult",
    "Correlation",
    "Difference",
    "EpochMetrics",
    "Evaluation",
    "Gram",
    "GridResults",
    "Interval",
    "Layer",
    "LayerGeometry",
    "LayerMeasurement",
    "NetworkGeometry",
    "Preprocessing",
    "Progress",
    "Ranking",
    "Run",
    "Similarity",
    "StoredLayer",
    "Validation",
    "body_layers",
    "silent",
]
