"""Candidates made comparable where not every seed of every one is finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean

from layerprobe.records import Candidate


@dataclass(frozen=True)
class Group:
    """Candidates that are compared with each other.

    Attributes:
        candidates: with the accuracies that they are compared by.
        note: which these are, where they are not all that there are; empty: they are.
    """

    candidates: tuple[Candidate, ...]
    note: str = ""


def comparable(members: Sequence[Candidate]) -> Group:
    """Candidates of one pair and group, so that the luck of a seed doesn't set them apart.

    Only the seeds count that all candidates with a finished student share. Where they share none, the mean over the
    candidates of its seed is taken from every accuracy, and the mean of all accuracies put back.
    """
    seeds = [set(one.accuracies) for one in members if one.accuracies]
    if not seeds or all(one == seeds[0] for one in seeds):
        return Group(tuple(members))
    whose = f"{members[0].pair}, {members[0].group}"
    shared = set.intersection(*seeds)
    if shared:
        kept = [{seed: value for seed, value in one.accuracies.items() if seed in shared} for one in members]
        named = f"seed{'s' if len(shared) > 1 else ''} {', '.join(map(str, sorted(shared)))}"
        return _group(
            members, kept, f"{whose}: compared by {named} alone, which all candidates with a finished student share"
        )
    return _group(
        members,
        _without_seed_means(members),
        f"{whose}: no seed is shared by all candidates with a finished student, so that the mean of its seed is taken "
        "from every accuracy and the mean of all put back",
    )


def _without_seed_means(members: Sequence[Candidate]) -> list[dict[int, float]]:
    by_seed: dict[int, list[float]] = {}
    for one in members:
        for seed, value in one.accuracies.items():
            by_seed.setdefault(seed, []).append(value)
    overall = mean(value for values in by_seed.values() for value in values)
    return [{seed: value - mean(by_seed[seed]) + overall for seed, value in one.accuracies.items()} for one in members]


def _group(members: Sequence[Candidate], accuracies: Sequence[Mapping[int, float]], note: str) -> Group:
    return Group(tuple(replace(one, accuracies=own) for one, own in zip(members, accuracies, strict=True)), note)
