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
    yield from NAMED_RULES
    for score in SCORES.values():
        if score.family != UNMEASURED and score.name != _DEFAULT:
            yield Rule(
                f"stagewise-{score.name}", f"stagewise by {score.label}",
                f"in each window of depth the best by {score.label}", f"{_HERE}:stagewise", score.name,
            )  # fmt: skip


RECOMMENDED_RULE = "even-information"
"""The rule that docs/methods.md recommends, with the evidence of docs/results.md."""
RULE_WITHOUT_LABELS = "even"
"""What is named for images without labels, where the recommended rule is undefined: it looks at no score."""
NAMED_RULES = (
    Rule("even", "evenly spread", "K blocks spread evenly, ending at the last", f"{_HERE}:evenly_spread"),
    Rule(
        "even-quality", "evenly spread to the last of mean quality",
        "K blocks spread evenly, ending at the deepest whose quality is no less than the mean of all blocks: before "
        "the end of a network whose last blocks have collapsed, deeper where there would be fewer than K",
        f"{_HERE}:evenly_to_the_mean", score="quality",
    ),
    Rule(
        "even-information", "evenly spread to the last of half the information",
        "K blocks spread evenly, ending at the deepest that has at least half of the highest information of all blocks",
        f"{_HERE}:evenly_to_the_half", score="information",
    ),
    *(
        Rule(
            f"even-{name}", f"evenly spread to the last of half {words}",
            f"as even-information, by {words} in place of the information, which needs no labels",
            f"{_HERE}:evenly_to_the_half", score=name,
        )
        for name, words in (
            ("cluster-information", "the information of clusters"),
            ("effective-rank", "the effective rank"),
            ("rankme", "RankMe"),
        )
    ),
    Rule("last", "last blocks", "the last K blocks", f"{_HERE}:last"),
    Rule(
        "random", "drawn at random", "K blocks drawn at random, anew for every seed and pair of networks",
        f"{_HERE}:drawn",
    ),
    Rule(
        "stagewise", "stagewise",
        "for each student layer the block of highest quality within its window of depth: deeper than the student layer "
        "before it, no deeper than itself, both relative to their network",
        f"{_HERE}:stagewise", score=_DEFAULT,
    ),
    Rule(
        "stagewise-resolution", "stagewise by resolution",
        "for each student layer the block of highest quality among those whose maps have the resolution nearest to its "
        "own; student layers that share such a window get as many blocks of it; with tokens, which all have one "
        "resolution, it is stagewise",
        f"{_HERE}:stagewise_resolution", score=_DEFAULT,
    ),
    Rule(
        "stagewise-reach", "stagewise within reach",
        "for each student layer the block within its window of depth that has the highest z(quality) + z(CKA): linear "
        "CKA to that layer of the untrained student, for how near the student is to it, each standardised over the "
        "teacher's blocks",
        f"{_HERE}:stagewise_reach", score=_DEFAULT, similarity=True,
    ),
)  # fmt: skip
"""The rules that no score brings along."""


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
