"""What feature files and Gram files say about themselves: the attributes of the file and of its layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Json

from layerprobe.records.adaptation import Adaptation
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
        fewest_per_class: of a sample that is to have so many of every class: of the class with the fewest images.
        most_per_class: of the class with the most.
        seed: of the draw.
        left_out: images that were drawn and aren't there, since they can't be read or were removed.
        drawn_from: how many images the split had when they were drawn, where some of it were removed since.
    """

    how: Text
    images: Count | None = None
    requested: Count | None = None
    per_class: Count | None = None
    fewest_per_class: Count | None = None
    most_per_class: Count | None = None
    seed: Count | None = None
    left_out: Count | None = None
    drawn_from: Count | None = None


@dataclass(frozen=True)
class AugmentedView:
    """What was done to the images of a file.

    Attributes:
        number: of the view; with the seed and an image it decides what is done to the image.
        seed: of the draws.
        how: in words.
    """

    number: Positive
    seed: Count
    how: Text

    def __str__(self) -> str:
        return f"view {self.number} of the images, seed {self.seed}: {self.how}"


@dataclass(frozen=True)
class FeatureHeader:
    """The attributes of a feature file or a Gram file, as docs/feature-file.md lists them.

    ``spectrum_sample`` is there where the file has a second sample for the spectra of the classes, ``data_options``
    where the user said where the images lie or how they become the network's input, ``adapted`` where the network
    started from changed weights, ``view`` where the images were augmented.
    """

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
    spectrum_sample: Json[DrawnImages] | None = None
    data_options: Json[dict[str, Any]] | None = None
    adapted: Json[tuple[Adaptation, ...]] | None = None
    view: Json[AugmentedView] | None = None


@dataclass(frozen=True, kw_only=True)
class FeatureLayer(Layer):
    """The attributes of a layer of a feature file."""

    reduction: Text = ""


@dataclass(frozen=True, kw_only=True)
class GramLayer(FeatureLayer):
    """The attributes of a layer of a Gram file."""

    stored_shape: tuple[Positive, ...]
    mean_square: Number
    undefined: Text = ""


@dataclass(frozen=True)
class WrittenCounts:
    """How much of a file is there.

    Attributes:
        rows_done: rows that are written.
        rows: how many there shall be.
        blocks_done: class blocks of the second sample that are written.
        blocks: how many there shall be; 0 without a second sample.
    """

    rows_done: int
    rows: int
    blocks_done: int = 0
    blocks: int = 0

    def __str__(self) -> str:
        rows = f"{self.rows_done} of {self.rows} rows"
        return f"{rows} and {self.blocks_done} of {self.blocks} class blocks" if self.blocks else rows

    @property
    def is_all(self) -> bool:
        """Whether nothing is missing, but perhaps the mark that says so."""
        return (self.rows_done, self.blocks_done) == (self.rows, self.blocks)

    @property
    def what_follows(self) -> str:
        """What the same command does with the unfinished file, in a few words; only the last mark may be missing."""
        return "finishes the file" if self.is_all else "goes on from there"


def parse_feature_header(attributes: Mapping[str, Any], path: Path) -> FeatureHeader:
    """The attributes of a file.

    Args:
        attributes: as plain values.
        path: of the file, for messages.

    Raises:
        FileError: if one is missing or wrong.
    """
    return parse(FeatureHeader, attributes, path, REMEDY)
