"""Everything that is known of a teacher's layers before a student is trained."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from layerprobe.devices import resolve_device
from layerprobe.distill.config import DistillConfig
from layerprobe.errors import LayerprobeError
from layerprobe.experiments.on_the_spot import teacher_sample
from layerprobe.features.config import ExtractConfig
from layerprobe.features.gram_file import GramFile
from layerprobe.grams import extract_grams
from layerprobe.models.user_file import load_function
from layerprobe.ranking.choose import SCORES
from layerprobe.ranking.measure import layer_similarity
from layerprobe.ranking.rank import rank
from layerprobe.resolve import RANDOM, ModelSpec
from layerprobe.types import Gram, Preprocessing, Progress, silent

LayerScore = Callable[[Gram], float]
"""A score of a layer: a pure function of its Gram matrix."""

SCORE_FILE = "scores.json"
CKA = "cka-to-student"
"""Linear CKA between a teacher layer and the layer of the untrained student that would learn from it."""

_FAMILIES = ("neighbours", "collapse", "dimensions", "probe", "logme")
_FURTHER = {
    "knn": "knn_accuracy",
    "nc1": "nc1",
    "effective-rank": "effective_rank",
    "twonn": "twonn",
}
"""Statistics, beside ``SCORES``, that may tell something; nobody claims that more of them is better."""


@dataclass(frozen=True)
class Learner:
    """A student, and which of its layers learn.

    Attributes:
        student: the network; its weights don't matter.
        taught: names of its layers that learn, by the number of teacher layers.
    """

    student: ModelSpec
    taught: Mapping[int, Sequence[str]]


def load_scores(names: Sequence[str]) -> dict[str, LayerScore]:
    """Scores of the user's own, named ``FILE.py:function``.

    Raises:
        LayerprobeError: if one can't be loaded, or has the name of another score.
    """
    found: dict[str, LayerScore] = {}
    for name in names:
        label = name.rpartition(":")[2]
        if label in {*SCORES, *_FURTHER, CKA, *found}:
            raise LayerprobeError(f"--score {name}: there is a score {label!r} already; call the function otherwise")
        found[label] = load_function(name)
    return found


def measure_scores(
    plan: DistillConfig,
    layers: Sequence[str],
    students: Mapping[str, Learner],
    own: Mapping[str, LayerScore],
    samples: int | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Score a teacher's layers, without a student that was trained.

    Args:
        plan: any distillation from the teacher: its network and images.
        layers: names of the layers.
        students: by pair.
        own: scores of the user's own, by name.
        samples: images, class-balanced; None: 5,000, or as many as there are.
        progress: told while images pass through, and before every layer.

    Returns:
        ``scores``: by layer and name; ``cka``: by pair, teacher layer and student layer; ``taught``: by pair and number
        of teacher layers, the student's layers that learn from them; ``provenance`` of the sample.

    Raises:
        LayerprobeError: if a network can't be run, or one of the user's scores fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        sample = replace(teacher_sample(plan), samples=samples, output=Path(folder) / "teacher.h5")
        with extract_grams(replace(sample, layers=tuple(layers)), progress=progress) as grams:
            scores = _scores(grams, plan, own, progress)
            wish = Preprocessing.from_dict(grams.provenance["preprocessing"])
            cka = {}
            for number, (pair, learner) in enumerate(students.items()):
                config = _student_sample(sample, learner, wish, Path(folder) / f"student-{number}.h5")
                with extract_grams(config, progress=progress) as theirs:
                    cka[pair] = _cka(grams, theirs, plan, progress)
            source = {key: grams.provenance.get(key) for key in ("model", "weights_sha256", "dataset", "split", "rows")}
    taught = {
        pair: {str(count): list(names) for count, names in learner.taught.items()} for pair, learner in students.items()
    }
    return {"scores": scores, "cka": cka, "taught": taught, "provenance": source}


def _scores(
    grams: GramFile, plan: DistillConfig, own: Mapping[str, LayerScore], progress: Progress
) -> dict[str, dict[str, float]]:
    device = resolve_device(plan.training.device)
    ranking = rank(grams, 1, resamples=0, families=_FAMILIES, device=device, progress=progress)
    named = {name: score.statistic for name, score in SCORES.items() if name != "depth"} | _FURTHER
    scores = {
        one.layer.name: {name: one.statistics[statistic] for name, statistic in named.items()}
        for one in ranking.geometries
    }
    for stored in grams.layers if own else ():
        gram = grams.gram(stored)
        for name, function in own.items():
            scores[stored.layer.name][name] = _called(name, function, gram)
    return scores


def _called(name: str, function: LayerScore, gram: Gram) -> float:
    try:
        return float(function(gram))
    except Exception as error:
        raise LayerprobeError(f"the score {name!r} failed ({type(error).__name__}: {error}); correct it") from error


def _student_sample(sample: ExtractConfig, learner: Learner, like: Preprocessing, output: Path) -> ExtractConfig:
    """The untrained student on the same images, which it sees as in a distillation: as its teacher does."""
    data = replace(sample.data, image_size=like.image_size[0], mean=like.mean, std=like.std)
    layers = tuple(dict.fromkeys(name for names in learner.taught.values() for name in names))
    return replace(sample, model=replace(learner.student, weights=RANDOM), data=data, output=output, layers=layers)


def _cka(teacher: GramFile, student: GramFile, plan: DistillConfig, progress: Progress) -> dict[str, dict[str, float]]:
    similarity = layer_similarity(teacher, student, device=resolve_device(plan.training.device), progress=progress)
    return {
        ours.name: {theirs.name: float(similarity.cka[row, column]) for column, theirs in enumerate(similarity.second)}
        for row, ours in enumerate(similarity.first)
    }


def save_scores(found: Mapping[str, Any], folder: Path) -> None:
    """Write the scores into a grid's folder, whole or not at all; NaN becomes null."""
    partial = folder / f".{SCORE_FILE}.partial"
    partial.write_text(json.dumps(_nulls(found), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(folder / SCORE_FILE)


def read_scores(folder: Path) -> dict[str, Any] | None:
    """The scores of a grid's folder; None where there are none.

    Raises:
        LayerprobeError: if the file is damaged.
    """
    path = folder / SCORE_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {key: found[key] for key in ("scores", "cka", "taught", "provenance")}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise LayerprobeError(f"{path} is damaged ({type(error).__name__}: {error}); remove it") from None


def _nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _nulls(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
