"""Whether a run that lies in a folder is the one that is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from layerprobe.networks import AS_BUILT, PRETRAINED, RANDOM
from layerprobe.settings.configuration import Values, differences, flat, plugin_hashes
from layerprobe.settings.layer_choice import LayerChoice
from layerprobe.settings.run import DistillSettings, TrainSettings

MAY_DIFFER = (
    "versions", "recipe", "layers_from", "plugins", "preprocessing.source", "data.download", "training.device",
    "training.workers", "training.tensorboard", "training.check", "training.cache_teacher",
)  # fmt: skip
"""What a run that goes on may do otherwise; plug-ins are compared by ``changed_plugin``."""


def told_otherwise(asked: DistillSettings | TrainSettings, run: DistillSettings | TrainSettings) -> list[str]:
    """What a run was told otherwise than is asked for, e.g. ``training.epochs 3, not 4``.

    Args:
        asked: as it was given. What a run finds out, like the hash of weights, is compared where it is given; layers
            where they are given by name.
        run: as ``config.yaml`` holds it.
    """
    resolved = asked.replaced(training=asked.training.resolved(asked.network.name))
    ours, theirs = resolved.configuration(), run.configuration()
    return differences(ours, theirs, (*MAY_DIFFER, *_left_open(asked, flat(ours), flat(theirs))))


def _left_open(asked: DistillSettings | TrainSettings, ours: Values, theirs: Values) -> Iterator[str]:
    """Keys that say nothing in what is asked for, and in a run what it found."""
    for network in ("teacher", "student", "model"):
        weights, sha256 = f"{network}.weights", f"{network}.weights_sha256"
        if ours.get(weights) is None and theirs.get(weights) in (AS_BUILT, PRETRAINED, RANDOM):
            yield weights
        if ours.get(sha256) is None:
            yield sha256
    for key in ("layers", "student_layers"):
        choice: LayerChoice | None = getattr(asked, key, None)
        if choice is None or not choice.is_exact:
            yield key


def changed_plugin(asked: DistillSettings | TrainSettings, stored: Mapping[str, str]) -> str | None:
    """The first plug-in whose file is another one than when a run was begun; None: there is none.

    Args:
        asked: as it was given.
        stored: SHA-256 of the files by the plug-ins' names, as ``config.yaml`` holds them. Version 0.1.0 stored none.

    Raises:
        LayerprobeError: if a file is not there.
    """
    return next((name for name, digest in plugin_hashes(asked).items() if stored.get(name, digest) != digest), None)
