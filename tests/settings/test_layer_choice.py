"""Choices of layers and tables of pairs: read once, and back to the same text."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerprobe.errors import LayerprobeError
from layerprobe.settings.layer_choice import MAPPINGS, RULES, LayerChoice, Pairs, RuleChoice

names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}(\.[a-z0-9_]{1,5}){0,3}(@[1-9])?", fullmatch=True)
patterns = st.one_of(
    names,
    st.integers(-99, 99).map(str),
    st.sampled_from(["all", "every:4", "layer3.*", "3-7", "3:8", "-4:", "::2", "layer[12].0", "fc.input", "F.relu@2"]),
)


@given(st.lists(patterns, min_size=1, max_size=5, unique=True))
def test_names_and_back(parts: list[str]) -> None:
    choice = LayerChoice.parse(",".join(parts))
    assert choice.names == tuple(parts) and choice.rule is None and choice.ranking is None
    assert LayerChoice.parse(parts) == choice == LayerChoice.parse(str(choice)) == LayerChoice.of(parts)


@given(st.sampled_from(sorted(RULES)), st.integers(1, 99))
def test_rules_and_back(name: str, count: int) -> None:
    choice = LayerChoice.parse(f" {name}:{count} ")
    assert choice.rule == RuleChoice(name, count) and not choice.names
    assert LayerChoice.parse(str(choice)) == choice == LayerChoice.parse([str(choice)])


@pytest.mark.parametrize("path", ["r56.ranking.json", "a, b/r.json", "../r.json"])
def test_ranking_files_and_back(path: str) -> None:
    choice = LayerChoice.parse(path)
    assert choice.ranking == Path(path) and str(choice) == path and LayerChoice.parse([path]) == choice


@given(st.lists(st.tuples(patterns, patterns).filter(lambda pair: "," not in "".join(pair)), min_size=1, max_size=5))
def test_tables_and_back(pairs: list[tuple[str, str]]) -> None:
    table = Pairs.parse(", ".join(f"{ours} = {theirs}" for ours, theirs in pairs))
    assert table.table == tuple(pairs) and not table.mapping and Pairs.parse(str(table)) == table
    assert table.label == f"table of {len(pairs)} pairs"


@pytest.mark.parametrize("name", MAPPINGS)
def test_mappings_and_back(name: str) -> None:
    assert Pairs.parse(name).mapping == str(Pairs.parse(name)) == name and not Pairs.parse(name).table


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "no layer is named"),
        ([], "no layer is named"),
        (" , ", "no layer is named"),
        ("a,,b", "'a,,b' has an empty name beside a comma; name a layer there, or remove the comma"),
        ("a,b,", "has an empty name beside a comma"),
        ("a, b, a", "a is named twice; name a layer once"),
        ([-1, "-1"], "-1 is named twice"),
        (5, "layers are a list of names and indices"),
        ([["a"]], "layers are a list of names and indices"),
        ([True], "layers are a list of names and indices"),
        ("qualty:4", "no rule 'qualty' that chooses layers; closest: 'quality'"),
        ("quality:", "K a number from 1; not ''"),
        ("even:0", "even:K chooses K layers, K a number from 1; not '0'"),
        ("even:x", "K a number from 1; not 'x'"),
        ("even:4,layer1", "even:4 is a rule, which chooses all layers"),
        ("mine.py:rule", "a rule of your own is FILE.py:name:K"),
    ],
)
def test_choices_that_are_none(value: object, message: str) -> None:
    with pytest.raises(LayerprobeError, match=message):
        LayerChoice.parse(value)


def test_what_was_recorded_counts_as_it_did() -> None:
    assert LayerChoice.parse(["a", "", "b", "a"], recorded=True).names == ("a", "b", "a")


def test_a_recorded_rule_needs_no_file() -> None:
    choice = LayerChoice.parse("gone/mine.py:best_of_mine:4", recorded=True)
    assert choice.rule == RuleChoice("gone/mine.py:best_of_mine", 4)
    with pytest.raises(LayerprobeError):
        LayerChoice.parse("gone/mine.py:best_of_mine:4")


@pytest.mark.parametrize(
    ("text", "exact"),
    [("layer1.2,layer3", True), ("relu@2", True), ("fc.input", True), ("-1", False), ("layer3.*", False),
     ("every:2", False), ("all", False), ("layer[12].0", False), ("even:4", False), ("r.json", False)],
)  # fmt: skip
def test_exact_names(text: str, exact: bool) -> None:
    assert LayerChoice.parse(text).is_exact == exact


def test_only_one_way_to_choose() -> None:
    with pytest.raises(ValueError, match="by one of them"):
        LayerChoice(("a",), Path("r.json"))
    with pytest.raises(ValueError, match="by one of them"):
        LayerChoice()
    with pytest.raises(ValueError, match="a mapping by its name, or a table"):
        Pairs("full", (("a", "b"),))
