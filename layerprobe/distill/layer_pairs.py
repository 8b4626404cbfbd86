"""Chooses and pairs layers of a teacher and a student, by the settings and by what the method pairs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from layerprobe.distill.alignments.catalogue import MAPPINGS, ONE_TO_ONE, PROJECTORS
from layerprobe.distill.methods.catalogue import LAST_MAPS, MIDDLE, PENULTIMATE, Method
from layerprobe.distill.pairing import NO_PAIRS, Pairing, distinct
from layerprobe.distill.paper_layers import BASELINE_TEACHERS, STUDENTS, Place, find_places
from layerprobe.distill.ranking_check import check_source
from layerprobe.distill.spatial import count_left_out
from layerprobe.errors import LayerprobeError
from layerprobe.files import read_json
from layerprobe.layers.selection import even_layers, find_layers, middle_layer, penultimate_layer
from layerprobe.models.variants import split_variant
from layerprobe.networks import Network
from layerprobe.records import Layer
from layerprobe.records.layout import ALL_TOKENS, CLASS_TOKEN
from layerprobe.records.ranking_file import REMEDY, WHAT, parse_ranking
from layerprobe.settings.base import SettingsError
from layerprobe.settings.layer_choice import EVEN, LayerChoice, Pairs
from layerprobe.settings.run import DistillSettings

_log = logging.getLogger(__name__)

BASELINE_PAIRS = 4
"""Layers that a baseline pairs, unless the user names them (k = 4 in the paper)."""


def pair_layers(method: Method, settings: DistillSettings, teacher: Network, student: Network) -> Pairing:
    """The pairs of layers of a distillation; none where a method pairs the last maps, which it finds by itself.

    Raises:
        LayerprobeError: if layers are missing or aren't there, their numbers differ, or the user contradicts a table.
    """
    if not method.uses_features or method.pairs == LAST_MAPS:  # those are found where the student is changed
        return NO_PAIRS
    if method.pairs == PENULTIMATE:
        return pair_penultimate(student, teacher)
    if method.pairs == MIDDLE:
        return pair_middle(settings, student, teacher)
    if settings.alignment.mapping.table:
        return _pair_by_table(settings, teacher, student)
    chosen = _teacher_layers(settings, teacher)
    mapping = settings.alignment.mapping.mapping if method.takes_alignment else method.mapping
    if mapping != ONE_TO_ONE and settings.student_layers is not None:
        return pair_by_mapping(mapping, find_choice(student, settings.student_layers), chosen)
    return pair_by_mapping(mapping, choose_student_layers(student, settings.student_layers, len(chosen)), chosen)


def pair_by_mapping(mapping: str, student: Sequence[Layer], teacher: Sequence[Layer]) -> Pairing:
    """The pairs of chosen layers, by the name of a mapping; an objective weighs those of ``attention``.

    Args:
        mapping: a key of ``MAPPINGS``.
        student: layers in order of depth; one to one takes as many of them as of the teacher's.
        teacher: layers in order of depth.
    """
    pair: Callable[[Sequence[Layer], Sequence[Layer]], Pairing] = MAPPINGS[mapping].load()
    return pair(student, teacher)


def pair_penultimate(student: Network, teacher: Network) -> Pairing:
    """What enters the two classifiers."""
    return Pairing((penultimate_layer(student.layers),), (penultimate_layer(teacher.layers),))


def pair_middle(settings: DistillSettings, student: Network, teacher: Network) -> Pairing:
    """One layer of each network: those named, else the middle ones.

    Raises:
        LayerprobeError: if a name isn't there, or several layers are named.
    """
    named = settings.student_layers
    ours = find_choice(student, named) if named else (middle_layer(student.layers, student.name),)
    theirs = _teacher_layers(settings, teacher) if settings.layers else (middle_layer(teacher.layers, teacher.name),)
    for option, chosen in (("student_layers", ours), ("layers", theirs)):
        if len(chosen) > 1:
            raise SettingsError(
                f"{settings.method} in the setting {settings.chosen_setting} has one hint, but <{option}> names "
                f"{len(chosen)} layers; name one, or take another <setting>"
            )
    return Pairing(ours, theirs)


def pair_by_table(pairs: Pairs, student: Network, teacher: Network) -> Pairing:
    """The pairs that a table lists, in order of the student's depth, then the teacher's; a pair may stand there twice.

    Raises:
        LayerprobeError: if a layer isn't in its network, or a name selects several.
    """
    found = [(_find_one(student, ours), _find_one(teacher, theirs)) for ours, theirs in pairs.table]
    found.sort(key=lambda pair: (pair[0].index, pair[1].index))
    return Pairing(tuple(ours for ours, _ in found), tuple(theirs for _, theirs in found))


def choose_student_layers(network: Network, wanted: LayerChoice | None, count: int) -> tuple[Layer, ...]:
    """The student's layers: those named, else the paper's for its own students, else evenly spread.

    Raises:
        LayerprobeError: if a name isn't there, or the number isn't the teacher's.
    """
    if wanted is None:
        return _paper_or_even(network, STUDENTS, count)
    chosen = find_choice(network, wanted)
    if len(chosen) != count:
        raise SettingsError(
            f"{len(chosen)} student layers for {count} teacher layers; name as many with <student_layers>"
        )
    return chosen


def default_teacher_layers(network: Network, count: int) -> tuple[Layer, ...]:
    """The teacher layers of the baselines: the paper's for its own teachers, else evenly spread."""
    return _paper_or_even(network, BASELINE_TEACHERS, count)


def find_choice(network: Network, choice: LayerChoice) -> tuple[Layer, ...]:
    """Layers by name or index, or ``even:K``, in order of depth.

    Raises:
        LayerprobeError: if there is no such layer, or another rule is to choose them.
    """
    if choice.rule is None:
        return find_layers(network.layers, choice.names, network.name)
    if choice.rule.name == EVEN:
        return even_layers(network.layers, choice.rule.count, network.name)
    raise LayerprobeError(
        f"{choice} is a rule, and a run takes layers by name; `layerprobe distill` and resolve_rules find them"
    )


def check_layers_are_chosen(settings: DistillSettings) -> None:
    """Refuse a method that needs layers of the teacher where nothing says which.

    Raises:
        LayerprobeError: if so.
    """
    if settings.lacks_layers:
        raise SettingsError(
            f"{settings.method} needs the teacher's layers: <layers> NAME.ranking.json (`layerprobe rank` writes "
            "one), NAME,NAME,..., quality:4 or even:4; or pairs with <alignment.mapping>"
        )


def choose_tokens(settings: DistillSettings, pairing: Pairing) -> Pairing:
    """The pairs, which know the tokens that the user wants compared.

    Raises:
        LayerprobeError: if no layer has such tokens.
    """
    if settings.tokens is None:
        return pairing
    layouts = [layer.layout for layer in (*pairing.student, *pairing.teacher)]
    wanted = settings.tokens == CLASS_TOKEN
    if not any(layout.class_token if wanted else layout.prefix for layout in layouts):
        what = "a class token" if wanted else "tokens beside those of the patches"
        raise SettingsError(
            f"<tokens> {settings.tokens}: none of the paired layers has {what}; leave it out, or say how many there "
            "are with <teacher.prefix_tokens> and <student.prefix_tokens>"
        )
    for ours, theirs in zip(pairing.student, pairing.teacher, strict=True):
        if wanted and not (ours.layout.class_token or theirs.layout.class_token):
            _log.warning(
                "student %s and teacher %s have no class token: their patches are compared", ours.name, theirs.name
            )
    return pairing.comparing(settings.tokens)


def describe_choice(layers: Sequence[Layer]) -> str | None:
    """The layers of one side of a pairing, as a configuration names them."""
    return str(LayerChoice.of(layer.name for layer in distinct(layers))) if layers else None


def log_pairs(method: Method, settings: DistillSettings, pairing: Pairing) -> None:
    """Log which layer learns from which, and warn of layers that the user names and the method ignores."""
    for ours in distinct(pairing.student):
        theirs = [other for one, other in zip(pairing.student, pairing.teacher, strict=True) if one == ours]
        shown = ", ".join(f"{layer.name} {layer.shape}" for layer in theirs)
        _log.info("student %s %s learns from teacher %s", ours.name, ours.shape, shown)
    taken = {describe_choice(side) for side in (pairing.teacher, pairing.student)}
    named = {str(choice) for choice in (settings.layers, settings.student_layers) if choice}
    if named - taken and (method.pairs_ends or not method.uses_features):
        reason = "pairs what comes last in both networks" if method.pairs_ends else "uses no features"
        _log.warning("%s %s: --layers and --student-layers are ignored", method.name, reason)


def log_left_out(method: Method, settings: DistillSettings, pairing: Pairing) -> None:
    """Log which extra tokens are compared with nothing, unless the user asked for that or the projector decides."""
    asked = settings.tokens not in (None, ALL_TOKENS)
    if not PROJECTORS.find(settings.alignment.projector).positions:
        return
    if asked or not method.compares_positions(settings.alignment.name):
        return
    left: dict[tuple[str, int], list[str]] = {}
    for ours, theirs in zip(pairing.student, pairing.teacher, strict=True):
        counts = count_left_out(ours.shape, theirs.shape)
        for whose, layer, count in zip(("student", "teacher"), (ours, theirs), counts, strict=True):
            if number := layer.layout.prefix if method.maps_only else count:
                left.setdefault((whose, number), []).append(layer.name)
    for (whose, number), names in left.items():
        tokens, verbs = ("token", ("has", "is")) if number == 1 else ("tokens", ("have", "are"))
        _log.info(
            "%s %s: %d extra %s (class token, registers) %s no counterpart and %s left out%s",
            whose, ", ".join(dict.fromkeys(names)), number, tokens, *verbs,
            "" if method.maps_only or settings.tokens else "; see --tokens",
        )  # fmt: skip


def _teacher_layers(settings: DistillSettings, teacher: Network) -> tuple[Layer, ...]:
    """Those that are chosen, from a ranking file only where it is of this teacher; else the baselines'."""
    choice = settings.layers
    if choice is None:
        return default_teacher_layers(teacher, BASELINE_PAIRS)
    if choice.ranking is None:
        return find_choice(teacher, choice)
    ranking = parse_ranking(read_json(choice.ranking, WHAT, REMEDY), choice.ranking)
    check_source(ranking, teacher, settings, str(choice))
    return find_layers(teacher.layers, ranking.selected, teacher.name)


def _pair_by_table(settings: DistillSettings, teacher: Network, student: Network) -> Pairing:
    """The pairs of a table; layers that are named beside it must be its own."""
    pairing = pair_by_table(settings.alignment.mapping, student, teacher)
    ours = find_choice(student, settings.student_layers) if settings.student_layers else ()
    for option, named, paired in (
        ("<layers>", _teacher_layers(settings, teacher) if settings.layers else (), pairing.teacher),
        ("<student_layers>", ours, pairing.student),
    ):
        theirs = [layer.name for layer in distinct(paired)]
        if named and [layer.name for layer in named] != theirs:
            raise SettingsError(
                f"<alignment.mapping> pairs {', '.join(theirs)}, but {option} names "
                f"{', '.join(layer.name for layer in named)}; leave {option} out, or give another <alignment.mapping>"
            )
    return pairing


def _find_one(network: Network, wanted: str) -> Layer:
    found = find_layers(network.layers, [wanted], network.name)
    if len(found) > 1:
        raise SettingsError(
            f"{wanted!r} in <alignment.mapping> selects {len(found)} layers of {network.name}; name one layer on "
            "either side of ="
        )
    return found[0]


def _paper_or_even(network: Network, paper: Mapping[str, tuple[Place, ...]], count: int) -> tuple[Layer, ...]:
    places = paper.get(split_variant(network.name)[0].partition(":")[2], ())
    found = find_places(network.layers, places) if len(places) == count else None
    return found or even_layers(network.layers, count, network.name)
