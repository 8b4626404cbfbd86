"""Rules that choose layers, by hand-made rankings."""

import math

import pytest
import torch

from layerprobe.errors import LayerprobeError
from layerprobe.models.selection import even_layers
from layerprobe.ranking.choose import SCORES
from layerprobe.ranking.rules import RULES, Task, read_wish
from layerprobe.types import Layer, LayerGeometry, Ranking


def network(blocks: int) -> list[Layer]:
    """A stem, blocks, and the feature that enters the classifier."""
    body = [Layer(i + 1, f"b{i}", "block", (8, 4, 4), 0) for i in range(blocks)]
    return [Layer(0, "stem", "activation", (8, 4, 4), 0), *body, Layer(blocks + 1, "fc.input", "feature", (8,), 0)]


def task(scores: dict[str, float], taught: list[int] | int, teacher: int = 12, student: int = 6, seed: int = 0) -> Task:
    """``scores`` by layer name, 0 where not given; ``taught``: the student's blocks, or how many, evenly spread."""
    values = [{score.statistic: scores.get(layer.name, 0.0) for score in SCORES.values()} for layer in network(teacher)]
    geometries = tuple(LayerGeometry(layer, found) for layer, found in zip(network(teacher), values, strict=True))
    own = network(student)
    chosen = even_layers(own, taught, "s") if isinstance(taught, int) else [own[1 + block] for block in taught]
    return Task(Ranking(geometries, "quality", ()), own, chosen, torch.Generator().manual_seed(seed))


def choose(rule: str, given: Task) -> tuple[str, ...]:
    return RULES[rule].choose(given)


def test_the_best_come_in_order_of_depth_wherever_they_lie() -> None:
    assert choose("quality", task({"fc.input": 9, "b7": 8, "stem": 7, "b8": 1}, 3)) == ("stem", "b7", "fc.input")


def test_even_and_last_take_blocks() -> None:
    assert choose("even", task({}, 4)) == ("b2", "b5", "b8", "b11")
    assert choose("last", task({"b0": 5}, 4)) == ("b8", "b9", "b10", "b11")


def test_stagewise_takes_the_best_of_every_window() -> None:
    """Six student blocks, of which 1, 3 and 5 learn, stand for thirds of the teacher's twelve."""
    scores = {"b0": 2.0, "b3": 3.0, "b4": 1.0, "b7": 0.5, "b10": 5.0, "fc.input": 9.0, "stem": 9.0}
    assert choose("stagewise", task(scores, 3)) == ("b3", "b4", "b10")
    rising = {f"b{i}": float(i) for i in range(12)}
    assert choose("stagewise", task(rising, 3)) == choose("even", task(rising, 3))


def test_stagewise_follows_the_students_layers() -> None:
    rising = {f"b{i}": float(i) for i in range(12)}
    assert choose("stagewise", task(rising, [4, 5])) == ("b9", "b11")
    assert choose("stagewise", task(rising, [0, 5])) == ("b1", "b11")


@pytest.mark.parametrize("student", [3, 5, 40])
def test_every_window_has_a_block(student: int) -> None:
    """Also of a teacher with as many blocks as there are pairs, and of students with more or fewer blocks."""
    for taught in ([0, 1, 2], [student - 3, student - 2, student - 1]):
        for teacher in (3, 4, 12):
            chosen = choose("stagewise", task({}, taught, teacher, student))
            assert len(set(chosen)) == 3 and list(chosen) == sorted(chosen, key=lambda name: int(name[1:]))


def test_random_sets_differ_by_seed_and_are_all_alike() -> None:
    drawn = [choose("random", task({}, 2, teacher=4, seed=seed)) for seed in range(300)]
    assert all(list(one) == sorted(set(one)) for one in drawn)
    counts = {one: drawn.count(one) for one in set(drawn)}
    assert len(counts) == 6 and sum((n - 50) ** 2 / 50 for n in counts.values()) < 20.5  # chi2(5), p = 0.001
    assert drawn[3] == choose("random", task({}, 2, teacher=4, seed=3))


def test_layers_without_a_score_are_passed_over() -> None:
    assert choose("stagewise-logme", task({"b0": math.nan, "b1": -3.0, "b2": math.nan}, 3, 12, 6))[0] == "b3"
    nothing = {f"b{i}": math.nan for i in range(4)}
    with pytest.raises(LayerprobeError, match="no layer from b0 to b3 has a value of 'logme'"):
        choose("stagewise-logme", task(nothing, 3))


@pytest.mark.parametrize("rule", ["even", "last", "random", "stagewise"])
def test_too_many_layers_are_refused(rule: str) -> None:
    with pytest.raises(LayerprobeError, match="3 blocks, fewer than the 4 layers to pair"):
        choose(rule, task({}, 4, teacher=3))


def test_rules_are_read_by_name() -> None:
    for name in RULES:
        wish = read_wish(f"{name}:4")
        assert wish and (wish.name, wish.count) == (name, 4)
    for text in ("quality", "quality:0", "quality:x", "beauty:4", "every:4", "layer3.6", "3-7", "3:8", "r.json"):
        assert read_wish(text) is None
