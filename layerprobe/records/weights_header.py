"""What the header of a weights file says about the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import Json

from layerprobe.records.adaptation import Adaptation
from layerprobe.records.fields import Name, Sha256, Text
from layerprobe.records.parsing import parse
from layerprobe.records.preprocessing import Preprocessing

PREPROCESSING, CLASSES = "preprocessing", "classes"
"""Keys of what layerprobe writes into the header, each as JSON."""
_REMEDY = "write the weights anew, or save them without this entry of the header"


@dataclass(frozen=True)
class WeightsHeader:
    """What the header of a weights file says, where layerprobe wrote it; of other files it may say nothing.

    Attributes:
        preprocessing: how images became the network's input.
        classes: names of the classes that it was trained on.
        adapted: what of its first weights, before it was trained, wasn't in their file, or not so.
    """

    preprocessing: Json[Preprocessing] | None = None
    classes: Json[tuple[Text, ...]] | None = None
    adapted: Json[tuple[Adaptation, ...]] = ()


def parse_weights_header(metadata: Mapping[str, str], path: Path) -> WeightsHeader:
    """The header of a weights file.

    Args:
        metadata: text by key.
        path: of the file, for messages.

    Raises:
        FileError: if what stands under a key of ours is not what it must be.
    """
    return parse(WeightsHeader, metadata, path, _REMEDY)


@dataclass(frozen=True)
class HeadHeader:
    """What the header of a linear head says: which features of which network it reads.

    Attributes:
        backbone_sha256: hash of the weights of the network.
        layer: whose features.
        tokens: what stands for the tokens of an image; empty where the layer has none.
        classes: names of the classes.
    """

    backbone_sha256: Sha256
    layer: Name
    tokens: Text
    classes: Json[tuple[Text, ...]]


def parse_head_header(metadata: Mapping[str, str], path: Path) -> HeadHeader:
    """The header of a linear head.

    Args:
        metadata: text by key.
        path: of the file, for messages.

    Raises:
        FileError: if it says not all of that.
    """
    return parse(HeadHeader, metadata, path, "`layerprobe evaluate --by probe --save-head` writes one")
