"""The small files of a grid's folder: who works on a cell, why one failed, and the scores of a validation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, Strict

from layerprobe.errors import FileError
from layerprobe.records.fields import Defined, Name, Text
from layerprobe.records.parsing import parse

SCORES_REMEDY = "remove it, and run `layerprobe validate` again"


@dataclass(frozen=True)
class ClaimHolder:
    """Who holds a claim.

    Attributes:
        place: where process numbers mean the same.
        host: name of the machine.
        pid: number of the process.
        start: when it was started, in the machine's ticks; None: that isn't known.
    """

    place: Name
    host: Text
    pid: Annotated[int, Strict(), Field(ge=1, lt=2**31)]
    start: Annotated[int, Strict(), Field(ge=0, lt=2**63)] | None = None


@dataclass(frozen=True)
class Failure:
    """Why a cell failed.

    Attributes:
        reason: in one line.
        traceback: of an error that nobody foresaw; empty: there is none.
    """

    reason: Name
    traceback: Text = ""


@dataclass(frozen=True)
class ScoredSubject:
    """What scores were measured of, as far as it is not only compared as a whole.

    Attributes:
        own: hash of the file of every score of the user's own, by name.
    """

    own: Mapping[Text, Text] = field(default_factory=dict)


@dataclass(frozen=True)
class ScoreFile:
    """The keys of ``scores.json``.

    Attributes:
        scores: of every layer, by name.
        cka: by pair, teacher layer and student layer.
        taught: names of the student's layers that learn, by pair and number of the teacher's layers.
        provenance: of the images.
        measured: what was measured; files of older versions don't say it.
    """

    scores: Annotated[Mapping[Text, Mapping[Text, Defined]], Field(min_length=1)]
    cka: Mapping[Text, Mapping[Text, Mapping[Text, Defined]]]
    taught: Mapping[Text, Mapping[Text, tuple[Name, ...]]]
    provenance: Mapping[Text, Any]
    measured: ScoredSubject = field(default_factory=ScoredSubject)


def parse_scores(values: Any, path: Path, remedy: str = SCORES_REMEDY) -> dict[str, Any]:
    """The scores of a validation, checked, as plain values.

    Args:
        values: of ``scores.json``, or as a study's table keeps them.
        path: of the file, for messages.
        remedy: what to do where they are malformed.

    Raises:
        FileError: if a key is missing or wrong, or a layer lacks a score that another one has.
    """
    file = parse(ScoreFile, values, path, remedy)
    first, *others = file.scores
    for layer in others:
        if different := file.scores[first].keys() ^ file.scores[layer].keys():
            raise FileError(f"{path}: scores has {min(different)!r} of {first!r} or {layer!r} alone; {remedy}")
    for pair, taught in file.taught.items():
        if wrong := next((count for count, names in taught.items() if str(len(names)) != count), None):
            raise FileError(f"{path}: taught has {len(taught[wrong])} layers of {pair!r} under {wrong!r}; {remedy}")
        for layer in file.scores:
            similar = file.cka.get(pair, {}).get(layer, {})
            if missing := [name for names in taught.values() for name in names if name not in similar]:
                raise FileError(f"{path}: cka has no {pair!r}, {layer!r}, {missing[0]!r}; {remedy}")
    keys = ("scores", "cka", "taught", "provenance")
    return {key: values[key] for key in keys} | {"measured": values.get("measured", {})}
