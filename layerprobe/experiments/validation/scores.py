"""Everything that is known of a teacher's layers before a student is trained."""

from __future__ import annotations

import inspect
import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerprobe.errors import LayerprobeError
from layerprobe.experiments.grid.study import read_study
from layerprobe.experiments.resolve_rules import student_similarity, teacher_sample
from layerprobe.features.hdf5.gram_file import GramFile
from layerprobe.files import read_json, sha256, write_json
from layerprobe.geometry.catalogue import FAMILIES, SCORES, TWO_VIEWS, UNMEASURED
from layerprobe.geometry.measure import own_value
from layerprobe.plugins import load_function
from layerprobe.ranking.grams import extract_grams
from layerprobe.ranking.rank import rank
from layerprobe.records import Gram, Progress, Similarity, silent
from layerprobe.records.grid_files import SCORES_REMEDY, parse_scores
from layerprobe.runtime.devices import resolve_device
from layerprobe.settings.layer_choice import LayerChoice
from layerprobe.settings.model import ModelSettings
from layerprobe.settings.run import DistillSettings

LayerScore = Callable[[Gram], float]
"""A score of a layer: a pure function of its Gram matrix."""

SCORE_FILE = "scores.json"
CKA = "cka-to-student"
"""Linear CKA between a teacher layer and the layer of the untrained student that would learn from it."""


@dataclass(frozen=True)
class Subject:
    """What scores are measured of.

    Attributes:
        plan: any distillation from the teacher: its network and images.
        layers: names of the teacher's layers.
        students: by pair.
        samples: images, class-balanced; None: 5,000, or as many as there are.
        weights_sha256: hash of the teacher's weights.
        own: scores of the user's own, by name.
    """

    plan: DistillSettings
    layers: Sequence[str]
    students: Mapping[str, LearningStudent]
    samples: int | None
    weights_sha256: str
    own: Mapping[str, LayerScore]

    def is_that_of(self, known: Mapping[str, Any]) -> bool:
        """Whether scores that were read are the ones that would be measured; they may be more of the user's own."""
        measured, ours = known["measured"], self.to_dict()
        own = {name: code for name, code in measured.get("own", {}).items() if name in self.own}
        return {**measured, "own": own} == ours

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; not where things lie on this machine."""
        data = {key: value for key, value in self.plan.data.identity().items() if key not in ("data_root", "download")}
        values = {
            "teacher": self.plan.teacher.name,
            "weights_sha256": self.weights_sha256,
            "data": data,
            "samples": self.samples,
            **({"spectrum_samples": second} if (second := self.plan.spectrum_samples) else {}),
            "layers": self.layers,
            "students": {pair: student.to_dict() for pair, student in self.students.items()},
            "own": {name: _code(function) for name, function in self.own.items()},
        }
        plain: dict[str, Any] = json.loads(json.dumps(values))
        return plain


def _code(function: LayerScore) -> str:
    """Hash of the file that a function stands in; empty where there is none."""
    try:
        return sha256(Path(inspect.getfile(function)))
    except (TypeError, OSError):
        return ""


@dataclass(frozen=True)
class LearningStudent:
    """A student, and which of its layers learn.

    Attributes:
        student: the network; its weights don't matter.
        layers_by_count: names of its layers that learn, by the number of teacher layers.
    """

    student: ModelSettings
    layers_by_count: Mapping[int, Sequence[str]]

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers that learn, each once."""
        return tuple(dict.fromkeys(name for names in self.layers_by_count.values() for name in names))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        taught = {str(count): list(names) for count, names in self.layers_by_count.items()}
        return {"student": self.student.name, "num_classes": self.student.num_classes, "taught": taught}


def load_scores(names: Sequence[str]) -> dict[str, LayerScore]:
    """Scores of the user's own, named ``FILE.py:function``.

    Raises:
        LayerprobeError: if one can't be loaded, or has the name of another score.
    """
    found: dict[str, LayerScore] = {}
    for name in names:
        label = name.rpartition(":")[2]
        if label in {*SCORES, CKA, *found}:
            raise LayerprobeError(f"--score {name}: there is a score {label!r} already; call the function otherwise")
        found[label] = load_function(name)
    return found


def measure_scores(subject: Subject, progress: Progress = silent) -> dict[str, Any]:
    """Score a teacher's layers, without a student that was trained.

    Args:
        subject: of what.
        progress: told while images pass through, and before every layer.

    Returns:
        ``scores``: by layer and name; ``cka``: by pair, teacher layer and student layer; ``taught``: by pair and number
        of teacher layers, the student's layers that learn from them; ``provenance`` of the sample; ``measured``: of
        what.

    Raises:
        LayerprobeError: if a network can't be run, or one of the user's scores fails.
    """
    plan = subject.plan
    with tempfile.TemporaryDirectory() as folder:
        sample = teacher_sample(plan).replaced(samples=subject.samples, output=Path(folder) / "teacher.h5")
        with extract_grams(sample.replaced(layers=LayerChoice.of(subject.layers)), progress=progress) as grams:
            scores = _scores(grams, plan, subject.own, progress)
            cka = {
                pair: _cka(student_similarity(grams, sample, student.student, student.layers, progress))
                for pair, student in subject.students.items()
            }
            source = {key: grams.provenance.get(key) for key in ("model", "weights_sha256", "dataset", "split", "rows")}
    measured = subject.to_dict()
    taught = {pair: student["taught"] for pair, student in measured["students"].items()}
    return {"scores": scores, "cka": cka, "taught": taught, "provenance": source, "measured": measured}


def _scores(
    grams: GramFile, plan: DistillSettings, own: Mapping[str, LayerScore], progress: Progress
) -> dict[str, dict[str, float]]:
    device = resolve_device(plan.training.device)
    families = tuple(name for name in FAMILIES if name != TWO_VIEWS)  # there is one view of the images
    ranking = rank(grams, 1, resamples=0, statistics=families, device=device, progress=progress)
    names = [name for name, score in SCORES.items() if score.family not in (UNMEASURED, TWO_VIEWS)]
    scores = {one.layer.name: {name: one.statistics[name] for name in names} for one in ranking.geometries}
    undefined = {one.layer.name for one in ranking.geometries if one.undefined}
    for stored in grams.layers if own else ():
        if stored.layer.name in undefined:
            scores[stored.layer.name] |= dict.fromkeys(own, math.nan)
            continue
        gram = grams.gram(stored)
        for name, function in own.items():
            scores[stored.layer.name][name] = own_value(f"the score {name!r}", function, gram)
    return scores


def _cka(similarity: Similarity) -> dict[str, dict[str, float]]:
    return {
        ours.name: {theirs.name: float(similarity.cka[row, column]) for column, theirs in enumerate(similarity.second)}
        for row, ours in enumerate(similarity.first)
    }


def save_scores(found: Mapping[str, Any], folder: Path) -> None:
    """Write the scores into a grid's folder, whole or not at all; NaN becomes null."""
    write_json(folder / SCORE_FILE, found)


def read_scores(folder: Path) -> dict[str, Any] | None:
    """The scores of a grid's folder, from their file, else from a study's table; None where there are none.

    Raises:
        LayerprobeError: if the file is damaged.
    """
    path = folder / SCORE_FILE
    if not path.is_file() and (published := read_study(folder).scores) is not None:
        return dict(published)
    return parse_scores(read_json(path, "scores", SCORES_REMEDY), path) if path.is_file() else None
