"""Tensors inside what modules take and return: alone, in tuples, lists and dictionaries, or in records of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from copy import copy
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

Path = tuple[str | int, ...]
"""Where in a nested value something stands: keys of dictionaries, names of fields, and positions, from the outside."""

NAMED = "logits"
"""What the entry or field of a model's output is called that holds the logits."""


def named_tensors(value: object, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """The tensors in a value, each with its place.

    Args:
        value: a tensor, or a tuple, named tuple, list, dictionary or dataclass of values; of any other object its
            attribute ``logits`` counts, where that is a tensor.
        path: place of the value itself.

    Examples:
        >>> import torch
        >>> [path for path, _ in named_tensors({"a": torch.ones(1), "b": (3, torch.ones(2))})]
        [('a',), ('b', 1)]
    """
    if isinstance(value, Tensor):
        yield path, value
        return
    for key, item in _items(value):
        yield from named_tensors(item, (*path, key))


def first_tensor(value: object) -> Tensor | None:
    """The first tensor in a module's input or output."""
    return next((tensor for _, tensor in named_tensors(value)), None)


def made_tensors(output: object, inputs: object) -> list[Tensor]:
    """The tensors in a module's output that it made.

    A block of several streams may hand some through from its inputs (CoaT). A module that works in place has nothing
    but its input: then all tensors of its output count.
    """
    handed = {id(tensor) for _, tensor in named_tensors(inputs)}
    tensors = [tensor for _, tensor in named_tensors(output)]
    return [tensor for tensor in tensors if id(tensor) not in handed] or tensors


def replace_tensor(value: Any, old: Tensor, new: Tensor) -> Any:
    """The same value with one tensor exchanged; what holds it is copied, not changed."""
    if value is old:
        return new
    items = dict(_items(value))
    exchanged = {key: replace_tensor(item, old, new) for key, item in items.items()}
    if all(exchanged[key] is item for key, item in items.items()):
        return value
    if isinstance(value, (tuple, list)):
        return type(value)(*exchanged.values()) if _is_named(value) else type(value)(exchanged.values())
    if isinstance(value, Mapping) and not isinstance(value, MutableMapping):
        return exchanged
    changed = copy(value)
    for key, item in exchanged.items():
        if isinstance(changed, MutableMapping):
            changed[key] = item
        else:
            object.__setattr__(changed, str(key), item)
    return changed


def _items(value: Any) -> Iterable[tuple[str | int, object]]:
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, (tuple, list)):
        names: Iterable[str | int] = getattr(value, "_fields", range(len(value)))
        return zip(names, value, strict=True)
    if is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name)) for field in fields(value) if hasattr(value, field.name)]
    named = getattr(value, NAMED, None)
    return [(NAMED, named)] if isinstance(named, Tensor) else []


def _is_named(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")
