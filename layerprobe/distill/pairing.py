"""Which teacher layers teach which student layers."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from layerprobe.distill.paper_layers import BASELINE_TEACHERS, STUDENTS, Place, find_places
from layerprobe.errors import LayerprobeError
from layerprobe.layers.selection import even_layers, find_layers
from layerprobe.networks import Network
from layerprobe.records import Layer, Ranking
from layerprobe.settings.layer_choice import EVEN, LayerChoice

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pairing:
    """Pairs of layers: the i-th student layer learns from the i-th teacher layer.

    Attributes:
        student: the student's layers, in order of depth; one that learns from several stands there several times.
        teacher: as many of the teacher's.
    """

    student: tuple[Layer, ...]
    teacher: tuple[Layer, ...]

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        """Names of student and teacher layer, pair by pair."""
        return tuple((ours.name, theirs.name) for ours, theirs in zip(self.student, self.teacher, strict=True))


def one_to_one(student: Sequence[Layer], teacher: Sequence[Layer]) -> Pairing:
    """The i-th student layer with the i-th teacher layer."""
    return Pairing(tuple(student), tuple(teacher))


def full_pairing(student: Sequence[Layer], teacher: Sequence[Layer]) -> Pairing:
    """Every student layer with every teacher layer."""
    pairs = [(ours, theirs) for ours in student for theirs in teacher]
    return Pairing(tuple(ours for ours, _ in pairs), tuple(theirs for _, theirs in pairs))


def distinct(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """Layers in order of depth, each once."""
    return tuple(sorted(dict.fromkeys(layers), key=lambda layer: layer.index))


def penultimate_pairing(student: Network, teacher: Network) -> Pairing:
    """What enters the two classifiers: the flattened feature, or the last layer of a network that has none."""
    last = (
        next((layer for layer in reversed(network.layers) if layer.kind == "feature"), network.layers[-1])
        for network in (student, teacher)
    )
    return Pairing((next(last),), (next(last),))


def student_layers(network: Network, wanted: LayerChoice | None, count: int) -> tuple[Layer, ...]:
    """The student's layers: those named, else the paper's for its own students, else evenly spread.

    Raises:
        LayerprobeError: if a name isn't there, or the number isn't the teacher's.
    """
    if wanted is not None:
        chosen = named_or_even(network, wanted)
        if len(chosen) != count:
            raise LayerprobeError(
                f"{len(chosen)} student layers for {count} teacher layers; name as many with --student-layers"
            )
        return chosen
    return _paper_or_even(network, STUDENTS, count)


def named_or_even(network: Network, wanted: LayerChoice) -> tuple[Layer, ...]:
    """Layers by name or index, or ``even:K``, in order of depth.

    Raises:
        LayerprobeError: if there is no such layer, or another rule is to choose them.
    """
    if wanted.rule is None:
        return find_layers(network.layers, wanted.names, network.name)
    if wanted.rule.name == EVEN:
        return even_layers(network.layers, wanted.rule.count, network.name)
    raise LayerprobeError(
        f"{wanted} is a rule, and a run takes layers by name; `layerprobe distill` and choose_layers find them"
    )


def baseline_teacher_layers(network: Network, count: int) -> tuple[Layer, ...]:
    """The teacher layers of the baselines: the paper's for its own teachers, else evenly spread."""
    return _paper_or_even(network, BASELINE_TEACHERS, count)


def _paper_or_even(network: Network, paper: Mapping[str, tuple[Place, ...]], count: int) -> tuple[Layer, ...]:
    places = paper.get(network.name.partition(":")[2], ())
    found = find_places(network.layers, places) if len(places) == count else None
    return found or even_layers(network.layers, count, network.name)


def teacher_layers(network: Network, choice: LayerChoice) -> tuple[Layer, ...]:
    """The teacher's layers, from a ranking file, ``even:K``, or names or indices, by depth.

    Raises:
        LayerprobeError: if the ranking isn't one, or a layer isn't in the network.
    """
    if choice.ranking is None:
        return named_or_even(network, choice)
    ranking = Ranking.load(choice.ranking)
    if ranking.provenance.get("model") != network.name:
        _log.warning("%s ranks %s; the teacher is %s", choice, ranking.provenance.get("model"), network.name)
    elif ranking.provenance.get("weights_sha256") != network.weights_sha256:
        _log.warning("%s was made from other weights than the teacher's", choice)
    return find_layers(network.layers, ranking.selected, network.name)
