"""What earlier versions wrote: the keys of 0.1.0 and what they are called now, and what was not said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layerprobe.distill.methods.catalogue import FINE_TUNED, PAPER, PUBLICATION
from layerprobe.errors import LayerprobeError

RENAMED: Mapping[str, str] = {
    "teacher_layers": "layers",
    "training.learning_rate": "training.lr",
    "data.root": "data.data_root",
    "alignment.loss": "alignment.feature_loss",
}
"""Old keys and new ones, of run configurations and of what grid files say of their runs."""

FORMER_SETTINGS: Mapping[str, Mapping[str | None, str]] = {
    "simkd": {None: FINE_TUNED},
    "kd-std": {None: PAPER, PUBLICATION: PAPER},
    "fitnets": {None: PAPER, PUBLICATION: PAPER},
    "fitnets-full": {None: PAPER, PUBLICATION: PAPER},
    "fitnets-ce": {PUBLICATION: PAPER},
}
"""What a run that does not name its method's constants calls its setting, and which it was, by method.

Version 0.1.0 named no setting. Later ones called FitNets' and kd-std's form of the paper's comparison the publication's
too, until these were built. Other methods were in the publication's.
"""


def with_new_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values by the keys of this version.

    Raises:
        LayerprobeError: if there is a value for the old and for the new key.

    Examples:
        >>> with_new_keys({"teacher_layers": ["a"], "training": {"learning_rate": 0.1, "epochs": 3}})
        {'layers': ['a'], 'training': {'lr': 0.1, 'epochs': 3}}
    """
    return _renamed(values, "")


def with_former_setting(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values of a run, with the setting that it was made in; for runs that name no constants of their method.

    Args:
        values: by the keys of this version, as a run wrote them.
    """
    former = FORMER_SETTINGS.get(str(values.get("method")), {}).get(values.get("setting"))
    return {**values, "setting": former} if former else dict(values)


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
