"""What feature files and Gram files say about themselves: the attributes of the file and of its layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Json

from layerprobe.records.fields import Count, Name, Number, Positive, Sha256, Text
from layerprobe.records.layers import Layer
from layerprobe.records.parsing import parse
from layerprobe.records.preprocessing import Preprocessing

REMEDY = "extract it again with --overwrite"


@dataclass(frozen=True)
class DrawnImages:
    """How the images of a file were drawn.

    Attributes:
        how: in words.
        images: how many.
        requested: how many were asked for; None: every image.
        per_class: of a sample with as many images of every class.
        seed: of the draw.
    """

    how: Text
    images: Count | None = None
    requested: Count | None = None
    per_class: Count | None = None
    seed: Count | None = None


@dataclass(frozen=True)
class FeatureHeader:
    """The attributes of a feature file or a Gram file, as docs/feature-file.md lists them."""

    format: Name
    format_version: Positive
    rows: Positive
    dtype: Literal["float32", "float16"]
    created: Text
    layerprobe_version: Text
    torch_version: Text
    model: Name
    weights: Text
    weights_sha256: Sha256
    dataset: Text
    split: Text
    population: Positive
    preprocessing: Json[Preprocessing]
    sample: Json[DrawnImages]
    pixels_sha256: Sha256
    precision: Text
    device: Text


@dataclass(frozen=True, kw_only=True)
class FeatureLayer(Layer):
    """The attributes of a layer of a feature file."""

    reduction: Text = ""


@dataclass(frozen=True, kw_only=True)
class GramLayer(FeatureLayer):
    """The attributes of a layer of a Gram file."""

    stored_shape: tuple[Positive, ...]
    mean_square: Number


def parse_feature_header(attributes: Mapping[str, Any], path: Path) -> FeatureHeader:
    """The attributes of a file.

    Args:
        attributes: as plain values.
        path: of the file, for messages.

    Raises:
        FileError: if one is missing or wrong.
    """
    return parse(FeatureHeader, attributes, path, REMEDY)
