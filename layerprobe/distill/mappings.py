"""Which of the chosen student layers learns from which of the chosen teacher layers."""

from __future__ import annotations

from collections.abc import Sequence

from layerprobe.distill.alignments.catalogue import MAPPINGS
from layerprobe.distill.pairing import Pairing, distinct
from layerprobe.errors import LayerprobeError
from layerprobe.layers.selection import find_layers
from layerprobe.networks import Network
from layerprobe.records import Layer
from layerprobe.settings.layer_choice import Pairs


def table_pairing(pairs: Pairs, student: Network, teacher: Network) -> Pairing:
    """The pairs that a table lists, in order of the student's depth, then the teacher's; a pair may stand there twice.

    Raises:
        LayerprobeError: if a layer isn't in its network, or a name selects several.
    """
    found = [(_one(student, ours), _one(teacher, theirs)) for ours, theirs in pairs.table]
    found.sort(key=lambda pair: (pair[0].index, pair[1].index))
    return Pairing(tuple(ours for ours, _ in found), tuple(theirs for _, theirs in found))


def mapped(mapping: str, student: Sequence[Layer], teacher: Sequence[Layer]) -> Pairing:
    """The pairs of chosen layers, by the name of a mapping; an objective weighs those of ``attention``.

    Args:
        mapping: a key of ``MAPPINGS``.
        student: layers in order of depth; one to one takes as many of them as of the teacher's.
        teacher: layers in order of depth.
    """
    pairing: Pairing = MAPPINGS[mapping].load()(student, teacher)
    return pairing


def check_agreement(pairing: Pairing, student: Sequence[Layer] | None, teacher: Sequence[Layer] | None) -> None:
    """Refuse layers that are named beside a table and are not those of the table.

    Args:
        pairing: the table's.
        student: what ``--student-layers`` names; None: nothing.
        teacher: what ``--layers`` names; None: nothing.

    Raises:
        LayerprobeError: if they differ.
    """
    for option, named, pairs in (
        ("--layers", teacher, pairing.teacher),
        ("--student-layers", student, pairing.student),
    ):
        theirs = [layer.name for layer in distinct(pairs)]
        if named is not None and [layer.name for layer in named] != theirs:
            raise LayerprobeError(
                f"--mapping pairs {', '.join(theirs)}, but {option} names {', '.join(layer.name for layer in named)}; "
                f"leave {option} out, or give another --mapping"
            )


def _one(network: Network, wanted: str) -> Layer:
    found = find_layers(network.layers, [wanted], network.name)
    if len(found) > 1:
        raise LayerprobeError(
            f"{wanted!r} in --mapping selects {len(found)} layers of {network.name}; name one layer on either side of ="
        )
    return found[0]
