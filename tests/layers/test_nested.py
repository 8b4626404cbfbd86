"""Tensors inside what modules take and return."""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from layerprobe.layers.nested import first_tensor, made_tensors, named_tensors, replace_tensor

ONE, TWO = torch.ones(2, 3), torch.zeros(2, 4)
Named = namedtuple("Named", ["one", "other"])


@dataclass(frozen=True)
class Record:
    one: Tensor
    other: Any = None


class ModelOutput(OrderedDict):  # type: ignore[type-arg]
    """A dictionary whose entries are attributes too, as in the transformers library."""

    def __setitem__(self, key: str, value: object) -> None:
        super().__setitem__(key, value)
        object.__setattr__(self, key, value)


VALUES = [
    (ONE, [()]),
    ((ONE, TWO), [(0,), (1,)]),
    ([3, ONE, "x", None], [(1,)]),
    ({"a": TWO, "b": [ONE]}, [("a",), ("b", 0)]),
    (Named(ONE, TWO), [("one",), ("other",)]),
    (Record(TWO, {"x": ONE}), [("one",), ("other", "x")]),
    (ModelOutput(one=ONE, other=TWO), [("one",), ("other",)]),
    (MappingProxyType({"one": ONE}), [("one",)]),
    (SimpleNamespace(hidden=TWO, logits=ONE), [("logits",)]),
    ((Record, 1.0, {}), []),
]


@pytest.mark.parametrize(("value", "paths"), VALUES)
def test_tensors_have_a_place(value: object, paths: list[tuple[str | int, ...]]) -> None:
    found = list(named_tensors(value))
    assert [path for path, _ in found] == paths
    assert first_tensor(value) is (found[0][1] if found else None)


@pytest.mark.parametrize(("value", "paths"), VALUES)
def test_one_tensor_is_exchanged(value: object, paths: list[tuple[str | int, ...]]) -> None:
    before = list(named_tensors(value))
    new = torch.full((2, 3), 7.0)
    exchanged = replace_tensor(value, ONE, new)
    assert list(named_tensors(value)) == before
    assert isinstance(exchanged, dict if isinstance(value, MappingProxyType) else type(value))
    assert [path for path, _ in named_tensors(exchanged)] == paths
    for (_, old), (_, now) in zip(before, named_tensors(exchanged), strict=True):
        assert now is (new if old is ONE else old)
    assert replace_tensor(value, torch.ones(2, 3), new) is value


def test_an_entry_is_exchanged_as_an_attribute_too() -> None:
    exchanged = replace_tensor(ModelOutput(one=ONE), ONE, TWO)
    assert exchanged.one is exchanged["one"] is TWO


def test_what_a_module_hands_through_it_has_not_made() -> None:
    assert made_tensors((ONE, TWO), (ONE,)) == [TWO]
    assert made_tensors(ONE, (ONE, TWO)) == [ONE]  # in place
    assert made_tensors(None, (ONE,)) == []
