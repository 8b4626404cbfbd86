"""Whether a ranking is of the teacher, and of the images, that a distillation has."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from layerprobe.networks import Network
from layerprobe.records import Preprocessing, Ranking
from layerprobe.settings.base import SettingsError
from layerprobe.settings.run import DistillSettings

_log = logging.getLogger(__name__)

_NOT_SAID = {"upright": False}
"""What a preprocessing means that doesn't say it."""


def check_source(ranking: Ranking, teacher: Network, settings: DistillSettings, name: str) -> None:
    """Refuse a ranking of another network than the teacher, unless that is allowed; warn of one of other images.

    Args:
        ranking: of layers that are to be the teacher's.
        teacher: as it is loaded.
        settings: of the distillation.
        name: of the ranking, for messages.

    Raises:
        SettingsError: if it is of another model, or of other weights.
    """
    if said := _other_network(ranking.provenance, teacher):
        if not settings.allow_other_ranking:
            raise SettingsError(
                f"{name} {said}; rank the teacher's own layers, or give <allow_other_ranking> to take those of this one"
            )
        _log.warning("%s %s; its layers are taken all the same, as is asked for", name, said)
    if others := list(_other_images(ranking.provenance, teacher.preprocessing, settings)):
        _log.warning("%s was made of %s", name, " and of ".join(others))


def _other_network(provenance: Mapping[str, Any], teacher: Network) -> str:
    """What a ranking is of, instead of the teacher, in words; empty: it is of the teacher."""
    model, digest = provenance.get("model"), provenance.get("weights_sha256")
    if model is None or digest is None:
        return f"does not say of which {'model' if model is None else 'weights'} it is"
    if model != teacher.name:
        return f"is of {model}, and the teacher is {teacher.name}"
    if digest != teacher.weights_sha256:
        return (
            f"is of {model} with other weights than the teacher's: SHA-256 {str(digest)[:12]} "
            f"({provenance.get('weights')}), not {teacher.weights_sha256[:12]} ({teacher.weights})"
        )
    return ""


def _other_images(
    provenance: Mapping[str, Any], preprocessing: Preprocessing, settings: DistillSettings
) -> Iterator[str]:
    """What is other about the images of a ranking, in words."""
    dataset, split, seen = (provenance.get(key) for key in ("dataset", "split", "preprocessing"))
    if dataset is not None and Path(dataset).name.lower() != Path(settings.data.name).name.lower():
        yield f"the data set {dataset}, while the student learns from {settings.data.name}"
    if split not in (None, "train"):
        yield f"the split {split!r}, which holds the images that the student is tested on"
    if isinstance(seen, Mapping):
        own = {**_NOT_SAID, **preprocessing.to_dict()}
        seen = {**_NOT_SAID, **seen}
        differ = [key for key in own if key != "source" and key in seen and _plain(seen[key]) != _plain(own[key])]
        if differ:
            pairs = (f"{key} {_plain(seen[key])}, not {_plain(own[key])}" for key in differ)
            yield f"images with another preprocessing than the teacher's here ({'; '.join(pairs)})"


def _plain(value: Any) -> Any:
    """Lists and tuples are alike."""
    return list(value) if isinstance(value, tuple) else value
