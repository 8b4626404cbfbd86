"""Names that settings check until the catalogues of their rooms are there."""

from __future__ import annotations

from layerprobe.catalogue import Catalogue, Entry


def _entry(name: str, target: str = "") -> Entry:
    return Entry(name, name, name, target)


_SCORES = (
    "quality", "quality-normalised", "separation", "information", "efficiency", "sqrt-ie", "probe", "logme", "depth",
)  # fmt: skip
RULES = Catalogue(
    "rule",
    [
        _entry(name)
        for name in (
            *_SCORES, "even", "even-quality", "even-information", "last", "random", "stagewise",
            "stagewise-resolution", "stagewise-reach",
            *(f"stagewise-{name}" for name in _SCORES if name not in ("quality", "depth")),
        )
    ],
)  # fmt: skip
