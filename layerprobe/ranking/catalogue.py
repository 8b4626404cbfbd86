"""The rules that choose a teacher's layers for a student, by name, without importing PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from layerprobe.catalogue import DerivedCatalogue, Entry, plugin_entry
from layerprobe.geometry.catalogue import SCORES, UNMEASURED

_HERE = "layerprobe.ranking.rules"
_DEFAULT = "quality"
"""The score of ``stagewise`` and its kin, and what is measured for a user's own rule that names no other."""


@dataclass(frozen=True)
class Rule(Entry):
    """A way to choose a teacher's layers.

    ``target`` is a function of a ``SelectionProblem`` that gives names of the teacher's layers, one for each student
    layer that learns, in order of depth.

    Attributes:
        score: name of the statistic that it looks at, which must have been measured; empty: it looks at none.
        similarity: whether it looks at what the teacher has in common with the untrained student.
    """

    score: str = ""
    similarity: bool = False


def _rules() -> Iterator[Rule]:
    """Those that every score brings along, and those that have a name of their own."""
    for score in SCORES.values():
        yield Rule(score.name, f"best {score.label}", f"the layers of best {score.label}", f"{_HERE}:best", score.name)
    yield from _NAMED
    for score in SCORES.values():
        if score.family != UNMEASURED and score.name != _DEFAULT:
            yield Rule(
                f"stagewise-{score.name}", f"stagewise by {score.label}",
                f"in each window of depth the best by {score.label}", f"{_HERE}:stagewise", score.name,
            )  # fmt: skip


_NAMED = (
    Rule("even", "evenly spread", "spread evenly over the blocks", f"{_HERE}:evenly_spread"),
    Rule(
        "even-quality", "evenly spread to the last of mean quality",
        "spread evenly, ending at the deepest block of at least mean quality",
        f"{_HERE}:evenly_to_the_mean", score="quality",
    ),
    Rule(
        "even-information", "evenly spread to the last of half the information",
        "spread evenly, ending at the deepest block with half of the highest information",
        f"{_HERE}:evenly_to_the_half", score="information",
    ),
    Rule("last", "last blocks", "the last blocks", f"{_HERE}:last"),
    Rule("random", "drawn at random", "blocks drawn at random, anew for every seed", f"{_HERE}:drawn"),
    Rule(
        "stagewise", "stagewise", "in each window of depth the highest quality", f"{_HERE}:stagewise", score=_DEFAULT
    ),
    Rule(
        "stagewise-resolution", "stagewise by resolution",
        "at the resolution of each student layer the highest quality",
        f"{_HERE}:stagewise_resolution", score=_DEFAULT,
    ),
    Rule(
        "stagewise-reach", "stagewise within reach",
        "in each window of depth the highest quality that is near the untrained student, too",
        f"{_HERE}:stagewise_reach", score=_DEFAULT, similarity=True,
    ),
)  # fmt: skip


def _own_rule(name: str) -> Rule:
    """A user's function; its attributes ``score`` and ``similarity`` say what it looks at, if it has them."""
    entry = plugin_entry(name)
    function = entry.load()
    score, similarity = getattr(function, "score", _DEFAULT), getattr(function, "similarity", False)
    return Rule(
        entry.name,
        entry.label,
        entry.help,
        entry.target,
        SCORES.find(str(score)).name if score else "",
        bool(similarity),
    )


RULES = DerivedCatalogue("rule", _rules, plugin=_own_rule)
"""Every rule: ``NAME:K`` chooses K layers; a user's own is ``FILE.py:name:K``."""
