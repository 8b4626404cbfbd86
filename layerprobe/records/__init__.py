"""The frozen records that pass between rooms, and the shape of a progress callback."""

from layerprobe.records.evaluations import Agreement, Estimate, FeatureEvaluation, Score
from layerprobe.records.geometry import AnyGram, Comparison, Gram, Interval, LayerGeometry, Similarity
from layerprobe.records.grid import Cell, CellResult, GridResults
from layerprobe.records.layers import Layer, StoredLayer, body_layers
from layerprobe.records.layout import Layout, Shape, layout_of
from layerprobe.records.preprocessing import Preprocessing
from layerprobe.records.progress import Progress, silent
from layerprobe.records.ranking import RANKING_FORMAT, RANKING_VERSION, Ranking
from layerprobe.records.runs import EpochMetrics, Evaluation, Run
from layerprobe.records.validation import Candidate, Correlation, Difference, Validation

__all__ = [
    "RANKING_FORMAT",
    "RANKING_VERSION",
    "Agreement",
    "AnyGram",
    "Candidate",
    "Cell",
    "CellResult",
    "Comparison",
    "Correlation",
    "Difference",
    "EpochMetrics",
    "Estimate",
    "Evaluation",
    "FeatureEvaluation",
    "Gram",
    "GridResults",
    "Interval",
    "Layer",
    "LayerGeometry",
    "Layout",
    "Preprocessing",
    "Progress",
    "Ranking",
    "Run",
    "Score",
    "Shape",
    "Similarity",
    "StoredLayer",
    "Validation",
    "body_layers",
    "layout_of",
    "silent",
]
