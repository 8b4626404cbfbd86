"""A teacher's layers ranked on the spot, for a distillation that starts without a ranking file."""

from __future__ import annotations

import logging
import re
import tempfile
from dataclasses import replace
from pathlib import Path

from layerprobe.devices import resolve_device
from layerprobe.features.config import ExtractConfig
from layerprobe.grams import extract_grams
from layerprobe.ranking.choose import SCORES
from layerprobe.ranking.rank import rank
from layerprobe.types import Progress, Ranking, silent

_log = logging.getLogger(__name__)


def asks_for_ranking(layers: str) -> bool:
    """Whether ``--layers`` names a score and a number of layers.

    Example:
        >>> asks_for_ranking("quality:4"), asks_for_ranking("every:4"), asks_for_ranking("layer3.6")
        (True, False, False)
    """
    return _parts(layers) is not None


def rank_on_the_spot(layers: str, config: ExtractConfig, progress: Progress = silent) -> Ranking:
    """Rank the layers of a network and choose as many as asked for, without a feature file.

    The Gram matrices lie in a temporary folder meanwhile: 50 MB per layer for 5,000 images.

    Args:
        layers: ``SCORE:K``, with a key of ``SCORES``, e.g. ``quality:4``.
        config: the network and the images; its ``output`` is not used.
        progress: told while images pass through, and before every layer.

    Raises:
        LayerprobeError: as ``extract_grams`` and ``rank``.
        ValueError: if ``layers`` is not of that form.
    """
    parts = _parts(layers)
    if parts is None:
        raise ValueError(f"{layers!r} is not a score and a number of layers")
    device = resolve_device(config.device)
    with (
        tempfile.TemporaryDirectory() as folder,
        extract_grams(replace(config, output=Path(folder) / "grams.h5"), progress=progress) as grams,
    ):
        ranking = rank(grams, int(parts["top"]), parts["score"], device=device, progress=progress)
    _log.info("chosen by %s: %s", parts["score"], ", ".join(ranking.selected))
    if ranking.undecided:
        _log.info("can't be told apart from the last of these: %s", ", ".join(ranking.undecided))
    return ranking


def _parts(layers: str) -> re.Match[str] | None:
    scores = "|".join(map(re.escape, SCORES))
    return re.fullmatch(rf"(?P<score>{scores}):(?P<top>[1-9]\d*)", layers)
