"""The teacher of a finished run, its pairs of layers, and the projectors that it trained."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from layerprobe.data.image_dataset import ImageDataset
from layerprobe.distill.engine.checkpoints import BEST, LATEST, Checkpoints
from layerprobe.distill.folder import CHECKPOINTS
from layerprobe.distill.layer_pairs import choose_tokens, pair_layers
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.pairing import NO_PAIRS, Pairing
from layerprobe.distill.students import read_description, weights_path
from layerprobe.errors import LayerprobeError
from layerprobe.models.weights_file import read_weights
from layerprobe.networks import Network, load_network
from layerprobe.records.weights_header import parse_weights_header
from layerprobe.settings.base import errors_of_part
from layerprobe.settings.code import check_code
from layerprobe.settings.configuration import plugin_names
from layerprobe.settings.run import DistillSettings

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedPair:
    """What a finished run trained its student with.

    Attributes:
        teacher: the teacher.
        pairing: the pairs of layers; empty where the method pairs none that both networks still have.
        projectors: one for each pair; empty where there are none.
    """

    teacher: Network
    pairing: Pairing
    projectors: Sequence[nn.Module]


def load_trained_pair(
    folder: Path, student: Network, dataset: ImageDataset, which: str, allow_code: bool
) -> TrainedPair:
    """Rebuild what a run trained its student with.

    Args:
        folder: of the run.
        student: its network as it was trained.
        dataset: images like those of the run, for the teacher's input; their classes may be others.
        which: the student's weights; the projectors are those of the same state.
        allow_code: whether to run the Python files that the run names.

    Raises:
        LayerprobeError: if the run has no teacher, or its teacher's weights aren't there.
    """
    settings, about = read_description(folder)
    if not isinstance(settings, DistillSettings) or not settings.chosen_method.needs_teacher:
        raise LayerprobeError(f"{folder} has no teacher to agree with; name a run that a teacher took part in")
    for name in plugin_names(settings):
        check_code(name, folder, allow_code, what="")
    weights = weights_path(folder, which, settings.command)
    header = parse_weights_header(read_weights(weights).metadata, weights)
    if header.classes is not None:  # a teacher without weights of its own is built for the classes of the run
        dataset = replace(dataset, classes=header.classes)
    with errors_of_part("teacher"):
        teacher = load_network(settings.teacher, settings.data.seen_as(about.preprocessing), dataset)
    method = settings.chosen_method
    if method.changes_student:
        _log.info("%s changed the student where its layers are paired: only the outputs are compared", method.name)
        return TrainedPair(teacher, NO_PAIRS, ())
    pairing = choose_tokens(settings, pair_layers(method, settings, teacher, student))
    context = ObjectiveContext(pairing, settings.training.batch_size, len(dataset.classes), settings.alignment)
    state = _objective_state(folder, BEST if which == BEST else LATEST)
    if not pairing.names or state is None:
        return TrainedPair(teacher, pairing, ())
    objective = method.build(context)
    try:
        objective.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise LayerprobeError(
            f"the checkpoint of {folder} doesn't fit its configuration ({reason}); run it again"
        ) from None
    projectors = objective.eval().pair_projectors()
    fits = len(projectors) == len(pairing.names)
    return TrainedPair(teacher, pairing, projectors if fits else ())


def _objective_state(folder: Path, name: str) -> dict[str, object] | None:
    """The parameters of a run's objective; None, with a line, where its checkpoint is gone."""
    saved = Checkpoints(folder / CHECKPOINTS, {}).load(name)
    if saved is None:
        _log.warning("%s has no checkpoint with its projectors (%s/%s): no cosines", folder, CHECKPOINTS, name)
        return None
    state: dict[str, object] = saved.state["objective"]
    return state
