"""What a validation says of students and scores that are given by hand."""

import math

import pytest

from layerprobe.experiments.validation.results import correlations
from layerprobe.experiments.validation.seeds import comparable
from layerprobe.geometry.catalogue import SCORES
from layerprobe.records import Candidate, Correlation


def candidate(number: int, scores: dict[str, float], accuracies: dict[int, float]) -> Candidate:
    return Candidate(
        "A to B", (f"layer{number}",), number / 10, {"quality": 0.0, "depth": number, **scores}, accuracies
    )


def told(members: list[Candidate]) -> dict[str, Correlation]:
    return {one.score: one for one in correlations(members)}


def test_a_score_that_is_better_when_low_predicts_best_where_it_falls() -> None:
    """NC1 falls as students get better, and knn errs once: NC1 is the one that tells."""
    members = [
        candidate(n, {"nc1": 9.0 - n, "knn": knn, "twonn": 1.0 + n}, {0: 50.0 + n})
        for n, knn in enumerate([1.0, 2.0, 4.0, 3.0, 5.0, 6.0])
    ]
    found = told(members)
    assert (found["nc1"].spearman, found["nc1"].kendall, found["twonn"].spearman) == pytest.approx((1, 1, -1))
    assert 0 < found["knn"].spearman < 1 and found["nc1"].spearman_interval.high == 1.0
    assert {name for name, score in SCORES.items() if score.direction == "low"} == {"nc1", "twonn"}
    assert {"quality", "depth", "effective-rank"} <= SCORES.keys()


def test_every_score_is_compared_with_quality_and_depth() -> None:
    """Of the six candidates that have both scores; quality is high where students are bad."""
    accuracies = [50.0, 51.0, 53.0, 52.0, 54.0, 56.0]
    members = [candidate(n, {"quality": -n * n, "knn": a}, {0: a}) for n, a in enumerate(accuracies)]
    members.append(candidate(9, {"quality": 3.0, "knn": math.nan}, {0: 10.0}))
    members.append(candidate(8, {"quality": 3.0, "knn": 10.0}, {}))
    found = told(members)
    knn, depth = found["knn"].differences, found["depth"].differences
    assert list(knn) == ["quality", "depth"] and list(depth) == ["quality"] and found["knn"].candidates == 6
    exchanged = 1 - 6 * 2 / (6**3 - 6)  # rho of depth: two neighbours are exchanged
    assert knn["depth"].value == pytest.approx(1 - exchanged) and knn["quality"].value == pytest.approx(1 + exchanged)
    assert knn["quality"].interval.low > 0 and knn["depth"].interval.low <= 0.02


def test_candidates_are_compared_by_the_seeds_that_they_share() -> None:
    """Seed 1 is ten points better, and only the worst candidate has it."""
    members = [
        candidate(0, {}, {0: 50.0, 1: 60.0}),
        candidate(1, {}, {0: 51.0}),
        candidate(2, {}, {}),
        candidate(3, {}, {0: 52.0, 1: 62.0}),
    ]
    group = comparable(members)
    assert [one.accuracies for one in group.candidates] == [{0: 50.0}, {0: 51.0}, {}, {0: 52.0}]
    assert group.note.startswith("A to B, single layers: compared by seed 0 alone, which all candidates")
    assert told(list(group.candidates))["depth"].spearman == 1.0
    whole = [members[0], members[3], members[2]]
    assert comparable(whole).candidates == tuple(whole) and not comparable(whole).note
    assert comparable(members[2:3]).candidates == tuple(members[2:3])


def test_without_a_shared_seed_the_luck_of_seeds_is_taken_away() -> None:
    """Candidate i reaches 50 + i, and ten points more with seed 1."""
    members = [
        candidate(0, {}, {0: 50.0, 1: 60.0}),
        candidate(1, {}, {1: 61.0}),
        candidate(2, {}, {0: 52.0}),
    ]
    group = comparable(members)
    assert [one.accuracies for one in group.candidates] == [
        {0: pytest.approx(54.75), 1: pytest.approx(55.25)},  # the seeds' means are 51 and 60.5, that of all 55.75
        {1: pytest.approx(56.25)},
        {0: pytest.approx(56.75)},
    ]
    assert "no seed is shared by all candidates" in group.note
    assert told(list(group.candidates))["depth"].spearman == 1.0
    assert told(members)["depth"].spearman < 1.0
