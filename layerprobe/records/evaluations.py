"""What the features of a trained network are worth, without its classifier or beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from layerprobe.errors import FileError, shown
from layerprobe.records.fields import Count, Defined, From0, Name, Number, Share, Text
from layerprobe.records.parsing import parse


@dataclass(frozen=True)
class Estimate:
    """A mean over images, and where it would lie with other images.

    Attributes:
        value: the mean; NaN where it isn't defined.
        low: lower end of the interval; NaN without one.
        high: upper end.
        images: how many images it is the mean of.
    """

    value: Defined
    low: Defined
    high: Defined
    images: Count


@dataclass(frozen=True)
class Score:
    """What one way of evaluation gives of one layer.

    Attributes:
        by: the way, a key of ``layerprobe.evaluation.catalogue.EVALUATORS``.
        layer: whose features; empty: the network's own classifier.
        dimension: how many features of an image there are; 0 of the classifier.
        facts: how it was done, such as the number of neighbours, by name.
        overall: of all images, in percent.
        classes: of the images of every class, in percent.
        seconds: wall time, without that of the passes through the network.
    """

    by: Name
    layer: Text
    dimension: Count
    facts: Mapping[Text, Number | Text]
    overall: Estimate
    classes: tuple[Estimate, ...]
    seconds: From0


@dataclass(frozen=True)
class Agreement:
    """How alike a student and its teacher see the same images, at one pair of layers.

    Attributes:
        student: the student's layer.
        teacher: the teacher's.
        cka: linear CKA of their pooled features, from 0 to 1.
        cosine: mean over images and positions of the cosine of the student's features, behind the run's own projector,
            with the teacher's; None where the run has no projector.
    """

    student: Text
    teacher: Text
    cka: Estimate
    cosine: Estimate | None


@dataclass(frozen=True)
class FeatureEvaluation:
    """What the features of a network are worth on some images.

    Attributes:
        name: of what was evaluated.
        dataset: name of the data set.
        split: of it.
        classes: class names.
        train_images: how many images k-NN and probe learned from; 0: none did.
        scores: by way and layer.
        agreement: with the teacher, pair by pair.
        level: of the intervals.
        resamples: that they come from; 0: there are none.
        seed: of the resamples, and of the probe's held-out images.
    """

    name: Text
    dataset: Text
    split: Text
    classes: tuple[Text, ...]
    train_images: Count
    scores: tuple[Score, ...]
    agreement: tuple[Agreement, ...] = ()
    level: Share = 0.9
    resamples: Count = 1000
    seed: Count = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


EVALUATION_FORMAT, EVALUATION_VERSION = "layerprobe-evaluation", 1
"""What a file of a kept evaluation is known by."""
REMEDY = "`layerprobe evaluate RUN --overwrite` writes it anew"


@dataclass(frozen=True)
class EvaluationFile:
    """The content of a kept evaluation.

    Attributes:
        format: ``EVALUATION_FORMAT``.
        version: of it.
        of: which weights were evaluated on which images, as text that is compared.
        found: the evaluation.
    """

    format: Text
    version: Count
    of: Text
    found: FeatureEvaluation


def parse_evaluation(values: Any, path: Path) -> EvaluationFile:
    """A kept evaluation.

    Args:
        values: of the file.
        path: of the file, for messages.

    Raises:
        FileError: if it is none, of a later version, or something is missing or wrong.
    """
    named = values if isinstance(values, Mapping) else {}
    if named.get("format") != EVALUATION_FORMAT or named.get("version") != EVALUATION_VERSION:
        raise FileError(
            f"{path} must have the format {EVALUATION_FORMAT!r} and the version {EVALUATION_VERSION}, not "
            f"{shown(named.get('format'))} and {shown(named.get('version'))}; {REMEDY}"
        )
    file = parse(EvaluationFile, values, path, REMEDY)
    if any(len(score.classes) != len(file.found.classes) for score in file.found.scores):
        raise FileError(f"{path} has scores of other classes than it names; {REMEDY}")
    return file
