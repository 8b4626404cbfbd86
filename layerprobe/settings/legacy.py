"""What version 0.1.0 wrote: its keys and what they are called now, and what it did not say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layerprobe.distill.methods.catalogue import FINE_TUNED
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

    Examples:
        >>> with_new_keys({"teacher_layers": ["a"], "training": {"learning_rate": 0.1, "epochs": 3}})
        {'layers': ['a'], 'training': {'lr': 0.1, 'epochs': 3}}
    """
    return _renamed(values, "")


def with_old_setting(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values of a run, with the setting of its method where the run was made before there were two.

    The weights of the baselines were then those of their publications, which is the default now. The classifier that
    ``simkd`` reuses was fine-tuned.

    Args:
        values: by the keys of this version, as a run wrote them.
    """
    fine_tuned = values.get("method") == "simkd" and "setting" not in values
    return {**values, "setting": FINE_TUNED} if fine_tuned else dict(values)


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
