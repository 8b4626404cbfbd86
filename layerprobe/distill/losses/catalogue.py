"""The feature losses, by name, without importing PyTorch."""

from __future__ import annotations

from layerprobe.catalogue import Catalogue, Entry, plugin_entry

_HERE = "layerprobe.distill.losses"

FEATURE_LOSSES = Catalogue(
    "feature loss",
    (
        Entry("mse", "mse", "the mean of squared differences", f"{_HERE}.mse:mse"),
        Entry("huber", "huber", "squared where differences are below 1, absolute above", f"{_HERE}.huber:huber"),
        Entry("cosine", "cosine", "1 - cosine of the two channel vectors at a position", f"{_HERE}.cosine:cosine"),
    ),
    plugin=plugin_entry,
)
"""Every feature loss: a function ``loss(student, teacher) -> scalar``, which can't receive labels or logits."""
