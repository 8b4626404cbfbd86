"""Rules that choose layers, by hand-made rankings."""

import math
from dataclasses import replace

import pytest
import torch

from layerprobe.errors import LayerprobeError
from layerprobe.geometry.catalogue import SCORES, STATISTICS
from layerprobe.layers.selection import even_layers
from layerprobe.ranking.catalogue import RULES
from layerprobe.ranking.problem import SelectionProblem, apply_rule
from layerprobe.records import Layer, LayerGeometry, Ranking, Similarity
from layerprobe.settings.layer_choice import LayerChoice, RuleChoice


def network(blocks: int) -> list[Layer]:
    """A stem, blocks, and the feature that enters the classifier."""
    body = [Layer(i + 1, f"b{i}", "block", (8, 4, 4), 0) for i in range(blocks)]
    return [Layer(0, "stem", "activation", (8, 4, 4), 0), *body, Layer(blocks + 1, "fc.input", "feature", (8,), 0)]


def task(
    scores: dict[str, float], taught: list[int] | int, teacher: int = 12, student: int = 6, seed: int = 0
) -> SelectionProblem:
    """``scores`` by layer name, 0 where not given; ``taught``: the student's blocks, or how many, evenly spread."""
    values = [{score: scores.get(layer.name, 0.0) for score in SCORES} for layer in network(teacher)]
    geometries = tuple(LayerGeometry(layer, found) for layer, found in zip(network(teacher), values, strict=True))
    own = network(student)
    chosen = even_layers(own, taught, "s") if isinstance(taught, int) else [own[1 + block] for block in taught]
    return SelectionProblem(Ranking(geometries, "quality", ()), own, chosen, torch.Generator().manual_seed(seed))


def choose(rule: str, given: SelectionProblem) -> tuple[str, ...]:
    return apply_rule(RULES[rule], given)


def test_the_best_come_in_order_of_depth_wherever_they_lie() -> None:
    assert choose("quality", task({"fc.input": 9, "b7": 8, "stem": 7, "b8": 1}, 3)) == ("stem", "b7", "fc.input")


def test_even_and_last_take_blocks() -> None:
    assert choose("even", task({}, 4)) == ("b2", "b5", "b8", "b11")
    assert choose("last", task({"b0": 5}, 4)) == ("b8", "b9", "b10", "b11")


def test_even_quality_stops_before_blocks_that_are_worse_than_the_mean() -> None:
    """Blocks of quality 2, and from b8 on of 1, 0 and so on: the mean is 1.42, and eight blocks are no worse."""
    good = {f"b{i}": 2.0 for i in range(8)}
    assert choose("even-quality", task({**good, "b8": 1.0}, 4)) == ("b1", "b3", "b5", "b7")
    assert choose("even-quality", task({**good, "b8": 1.0, "b10": 1.6, "fc.input": 9.0}, 4)) == (
        "b2",
        "b5",
        "b8",
        "b10",
    )


def test_even_quality_is_even_where_the_last_block_is_no_worse_than_the_mean() -> None:
    for last in (0.1, 0.3):  # of equal values, and of the highest
        scores = {**{f"b{i}": 0.1 for i in range(12)}, "b11": last}
        assert choose("even-quality", task(scores, 4)) == choose("even", task({}, 4))


def test_even_quality_passes_over_blocks_without_a_value() -> None:
    """The mean is that of the others; a block without a value may be chosen, but ends them only for want of others."""
    rising = {f"b{i}": float(i) for i in range(11)}
    assert choose("even-quality", task({**rising, "b11": math.nan}, 3)) == ("b3", "b7", "b10")
    with pytest.raises(LayerprobeError, match="no layer from b0 to b11 has a value of 'quality'"):
        choose("even-quality", task({f"b{i}": math.nan for i in range(12)}, 3))


def test_even_quality_goes_deeper_than_good_blocks_that_are_too_few() -> None:
    assert choose("even-quality", task({"b0": 1.0}, 4)) == ("b0", "b1", "b2", "b3")
    assert choose("even-quality", task({"b0": 1.0, "b3": math.nan}, 4)) == ("b0", "b1", "b2", "b3")
    assert RULES["even-quality"].score == "quality"  # so that it is ranked on the spot


def test_even_information_stops_before_blocks_with_less_than_half_of_the_highest() -> None:
    """3.0 is the highest of the blocks, so that 1.5 is still good, and 1.4 is not; quality has no say."""
    falling = {f"b{i}": 3.0 for i in range(7)}
    falling |= {"b7": 1.5, "b8": 1.4, "b9": 0.9, "b10": 0.3, "b11": 0.1, "fc.input": 9.0}
    given = task(falling, 4)
    geometries = (replace(one, statistics={**one.statistics, "quality": 1.0}) for one in given.ranking.geometries)
    given = replace(given, ranking=replace(given.ranking, geometries=tuple(geometries)))
    assert choose("even-information", given) == ("b1", "b3", "b5", "b7")
    assert choose("even-quality", given) == choose("even", given)
    assert choose("even-information", task(falling | {"b11": 1.6}, 4)) == choose("even", given)
    assert choose("even-information", task({"b0": 1.0}, 4)) == ("b0", "b1", "b2", "b3")
    assert RULES["even-information"].score == "information"


def test_of_a_network_without_blocks_they_take_activations_before_its_feature() -> None:
    """As of VGG, whose hidden layers behind the flattened maps have no say. The mean of the eight is 2.375."""
    values = [3.0, 3.0, 3.0, 3.0, 2.5, 2.0, 1.5, 1.0, 9.0, 9.0]
    kinds = ["activation"] * 8 + ["feature", "activation"]
    layers = (Layer(i, f"a{i}", kind, (8, 4, 4), 0) for i, kind in enumerate(kinds))
    geometries = tuple(
        LayerGeometry(layer, {"quality": value, "information": value})
        for layer, value in zip(layers, values, strict=True)
    )
    given = task({}, 4)
    given = replace(given, ranking=replace(given.ranking, geometries=geometries))
    assert choose("even-quality", given) == ("a1", "a2", "a3", "a4")
    assert choose("even-information", given) == ("a1", "a3", "a5", "a6")


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


def of_shapes(shapes: list[tuple[int, ...]]) -> list[Layer]:
    return [Layer(i, f"b{i}", "block", shape, 0) for i, shape in enumerate(shapes)]


def pair(
    teacher: list[tuple[int, ...]], student: list[tuple[int, ...]], taught: list[int], scores: dict[str, float]
) -> SelectionProblem:
    """Networks of blocks by their shapes."""
    geometries = tuple(LayerGeometry(one, {"quality": scores.get(one.name, 0.0)}) for one in of_shapes(teacher))
    own = of_shapes(student)
    return SelectionProblem(
        Ranking(geometries, "quality", ()), own, [own[block] for block in taught], torch.Generator()
    )


RESNET = [(16, 32, 32)] * 2 + [(32, 16, 16)] * 3 + [(64, 8, 8)] * 5
"""Stages of two, three and five blocks: windows of depth cut across them."""


def test_windows_of_resolution_are_the_teachers_stages() -> None:
    """One student block per stage: the best of the same stage, though depth alone would look elsewhere."""
    scores = {"b0": 1.0, "b3": 2.0, "b4": 1.5, "b5": 3.0, "b9": 1.0}
    given = pair(RESNET, [(8, 32, 32), (8, 16, 16), (8, 8, 8)], [0, 1, 2], scores)
    assert choose("stagewise-resolution", given) == ("b0", "b3", "b5")
    assert choose("stagewise", given) == ("b3", "b5", "b9")


def test_student_layers_of_one_resolution_share_its_best_blocks() -> None:
    given = pair(RESNET, [(8, 16, 16), (8, 8, 8), (8, 8, 8)], [0, 1, 2], {"b9": 2.0, "b6": 1.0, "b3": 5.0, "b2": 4.0})
    assert choose("stagewise-resolution", given) == ("b3", "b6", "b9")


def test_a_map_may_have_its_channels_last() -> None:
    """As in Swin: 16 x 16 pixels of 32 channels, and 8 x 8 of 64."""
    swin = [*[(16, 16, 32)] * 3, *[(8, 8, 64)] * 3]
    given = pair(swin, [(8, 16, 16), (8, 8, 8)], [0, 1], {"b1": 2.0, "b3": 5.0, "b5": 4.0})
    assert choose("stagewise-resolution", given) == ("b1", "b3")
    with pytest.raises(LayerprobeError, match="nearest to the resolution 16x16, where 2 of the"):
        choose("stagewise-resolution", pair(swin[1:], [(8, 16, 16)] * 3, [0, 1, 2], {}))


def test_the_nearest_resolution_is_by_the_smallest_factor() -> None:
    """A map of 4x4 is nearest to 8x8, one of 28x28 to 32x32; 11x11 has 8x8 at 1.9 and 16x16 at 2.1 times its area."""
    best = {"b1": 1.0, "b4": 1.0, "b7": 2.0, "b8": 1.0}
    assert choose("stagewise-resolution", pair(RESNET, [(8, 28, 28), (8, 4, 4)], [0, 1], best)) == ("b1", "b7")
    assert choose("stagewise-resolution", pair(RESNET, [(8, 11, 11), (8, 4, 4)], [0, 1], best)) == ("b7", "b8")
    between = [(8, 16, 16), (8, 4, 4)]  # 8x8 is a factor of four from either: the larger
    assert choose("stagewise-resolution", pair(between, [(8, 8, 8)], [0], {"b1": 9.0})) == ("b0",)


def test_tokens_have_windows_of_depth() -> None:
    scores = {"b1": 1.0, "b2": 2.0, "b4": 1.0, "b9": 1.0}
    tokens = pair([(17, 64)] * 12, [(17, 32)] * 6, [1, 3, 5], scores)
    assert choose("stagewise-resolution", tokens) == choose("stagewise", tokens) == ("b2", "b4", "b9")
    for tokens_of_student in ((65, 32), (4, 7, 7, 32)):  # those of windows have four axes
        mixed = pair(RESNET, [tokens_of_student] * 3, [0, 1, 2], scores)
        assert choose("stagewise-resolution", mixed) == choose("stagewise", mixed)


def test_a_stage_too_short_is_refused() -> None:
    given = pair(RESNET, [(8, 32, 32)] * 3, [0, 1, 2], {})
    with pytest.raises(LayerprobeError, match="3 student layers are nearest to the resolution 32x32, where 2 of the"):
        choose("stagewise-resolution", given)


def similar(given: SelectionProblem, cka: dict[str, list[float]]) -> SelectionProblem:
    """``cka`` by the taught layer's name: of every teacher layer."""
    matrix = torch.tensor([cka[layer.name] for layer in given.student_layers], dtype=torch.float64).T
    found = Similarity(tuple(given.teacher), tuple(given.student_layers), ("t", "s"), matrix, matrix)
    return replace(given, similarity=found)


def test_reach_weighs_the_score_against_what_the_student_is_near_to() -> None:
    """In the first window b1 has the best score, and b2 is the nearest: the sums of z are 1.043 - 1.567 = -0.524 of b1
    and -0.834 + 1.567 = 0.733 of b2. In the second window all are as near, so that the score decides: b5."""
    maps = [(8, 8, 8)] * 6
    scores = {"b1": 3.0, "b4": 1.0, "b5": 4.0}
    given = pair(maps, [(8, 8, 8)] * 2, [0, 1], scores)
    near = [0.3, 0.1, 0.7, 0.3, 0.5, 0.5]  # mean 0.4, standard deviation 0.1915; of the scores 1.333 and 1.599
    assert choose("stagewise-reach", similar(given, {"b0": near, "b1": [0.2] * 6})) == ("b2", "b5")
    assert choose("stagewise-reach", similar(given, {"b0": [0.5] * 6, "b1": [0.2] * 6})) == choose("stagewise", given)
    unknown = [0.3, 0.1, math.nan, 0.3, 0.5, 0.5]
    assert choose("stagewise-reach", similar(given, {"b0": unknown, "b1": [0.2] * 6})) == ("b1", "b5")
    with pytest.raises(ValueError, match="needs the similarity"):
        choose("stagewise-reach", given)
    assert [name for name, rule in RULES.items() if rule.similarity] == ["stagewise-reach"]


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


@pytest.mark.parametrize("rule", ["even", "even-quality", "even-information", "last", "random", "stagewise"])
def test_too_many_layers_are_refused(rule: str) -> None:
    with pytest.raises(LayerprobeError, match="3 blocks, fewer than the 4 layers to pair"):
        choose(rule, task({}, 4, teacher=3))


def test_rules_are_read_by_name() -> None:
    for name in RULES:
        assert LayerChoice.parse(f"{name}:4").rule == RuleChoice(name, 4)
    for text in ("quality", "every:4", "layer3.6", "3-7", "3:8", "r.json"):
        assert LayerChoice.parse(text).rule is None
    for text in ("quality:0", "quality:x", "beauty:4"):
        with pytest.raises(LayerprobeError, match=r"no rule 'beauty'|quality:K chooses K layers"):
            LayerChoice.parse(text)


def test_of_a_score_that_is_better_when_low_the_lowest_are_chosen() -> None:
    values = {f"b{i}": 5.0 - 0.1 * i for i in range(12)} | {"stem": 9.0, "fc.input": 9.0, "b3": 0.5, "b6": 0.75}
    assert choose("nc1", task(values, 2)) == ("b3", "b6")
    assert choose("stagewise-nc1", task(values, 3)) == ("b3", "b6", "b11")
    assert choose("stagewise-knn", task(values, 3)) == ("b0", "b4", "b8")


def test_every_score_brings_its_rules_along() -> None:
    for score in SCORES.values():
        assert RULES[score.name].score == score.name
    assert {name for name in SCORES if f"stagewise-{name}" not in RULES} == {"quality", "depth"}
    with STATISTICS.registered(replace(SCORES["nc1"], name="collapse-index")):
        assert RULES["stagewise-collapse-index"].score == "collapse-index"
    assert "stagewise-collapse-index" not in RULES
