"""Whether a run that is to go on has the settings that it was begun with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from layerprobe.settings.configuration import Values, differences, flat, plugin_hashes
from layerprobe.settings.layer_choice import LayerChoice
from layerprobe.settings.model import AS_BUILT, PRETRAINED, RANDOM
from layerprobe.settings.run import DistillSettings, TrainSettings

MAY_DIFFER = (
    "versions", "recipe", "layers_from", "plugins", "preprocessing.source", "data.download", "training.device",
    "allow_other_ranking", "training.workers", "training.tensorboard", "training.check", "training.cache_teacher",
    "adapted", "teacher_adapted",
)  # fmt: skip
"""What a run that goes on may do otherwise; plug-ins are compared by ``changed_plugin``."""


def differing_settings(given: DistillSettings | TrainSettings, recorded: DistillSettings | TrainSettings) -> list[str]:
    """The settings of a run that differ from those that are given now, e.g. ``training.epochs 3, not 4``.

    Args:
        given: by the user. What a run finds out by itself, like the hash of weights, is compared only where the user
            gives it, and layers only where they are given by name.
        recorded: in the run's ``config.yaml``.
    """
    resolved = given.replaced(training=given.training.resolved(given.network.name))
    ours, theirs = resolved.configuration(), recorded.configuration()
    return differences(ours, theirs, (*MAY_DIFFER, *_left_open(given, flat(ours), flat(theirs))))


def _left_open(given: DistillSettings | TrainSettings, ours: Values, theirs: Values) -> Iterator[str]:
    """Keys that the user left open, so that the run found their values."""
    for network in ("teacher", "student", "model"):
        weights, sha256 = f"{network}.weights", f"{network}.weights_sha256"
        if ours.get(weights) is None and theirs.get(weights) in (AS_BUILT, PRETRAINED, RANDOM):
            yield weights
        if ours.get(sha256) is None:
            yield sha256
    if None in (ours.get("data.upright"), theirs.get("data.upright")):
        yield "data.upright"  # the preprocessing that the run has found is compared
    for key in ("layers", "student_layers"):
        choice: LayerChoice | None = getattr(given, key, None)
        if choice is None or not choice.is_exact:
            yield key


def changed_plugin(given: DistillSettings | TrainSettings, stored: Mapping[str, str]) -> str | None:
    """The first plug-in whose file is another one than when a run was begun; None: there is none.

    Args:
        given: by the user.
        stored: SHA-256 of the files by the plug-ins' names, as ``config.yaml`` holds them. Version 0.1.0 stored none.

    Raises:
        LayerprobeError: if a file is not there.
    """
    return next((name for name, digest in plugin_hashes(given).items() if stored.get(name, digest) != digest), None)
