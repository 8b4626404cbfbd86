"""Keys that version 0.1.0 wrote, and what they are called now: the one table of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layerprobe.errors import LayerprobeError

RENAMED: Mapping[str, str] = {
    "teacher_layers": "layers",
    "training.learning_rate": "training.lr",
    "data.root": "data.data_root",
    "alignment.loss": "alignment.feature_loss",
}
"""Old keys and new ones, of run configurations and of what grid files say of their runs."""


def with_new_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values by the keys of this version.

    Raises:
        LayerprobeError: if there is a value for the old and for the new key.

    Example:
        >>> with_new_keys({"teacher_layers": ["a"], "training": {"learning_rate": 0.1, "epochs": 3}})
        {'layers': ['a'], 'training': {'lr': 0.1, 'epochs': 3}}
    """
    return _renamed(values, "")


def _renamed(values: Mapping[Any, Any], prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if not isinstance(key, str):
            below = f" below {prefix[:-1]}" if prefix else ""
            raise LayerprobeError(f"the key {key!r}{below} is not text; put it in quotation marks, or remove it")
        new = RENAMED.get(f"{prefix}{key}", key).removeprefix(prefix)
        if new != key and new in values:
            raise LayerprobeError(
                f"{prefix}{key} is called {prefix}{new} now, and both are given; remove {prefix}{key}"
            )
        found[new] = _renamed(value, f"{key}.") if isinstance(value, Mapping) and not prefix else value
    return found
