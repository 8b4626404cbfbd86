"""Which of the chosen student layers learns from which of the chosen teacher layers."""

from __future__ import annotations

from collections.abc import Sequence

from layerprobe.distill.alignments.catalogue import MAPPINGS
from layerprobe.distill.pairing import Pairing, distinct
from layerprobe.errors import LayerprobeError, closest
from layerprobe.layers.selection import find_layers
from layerprobe.networks import Network
from layerprobe.records import Layer


def is_table(mapping: str) -> bool:
    """Whether a mapping lists its pairs, e.g. ``layer1.2=layer3.5,layer3.2=layer3.6``."""
    return "=" in mapping


def check_mapping(mapping: str) -> None:
    """Refuse what is neither the name of a mapping nor a list of pairs.

    Raises:
        LayerprobeError: if so.
    """
    if not isinstance(mapping, str) or (mapping not in MAPPINGS and not is_table(mapping)):
        raise LayerprobeError(
            f"--mapping is one of {', '.join(MAPPINGS)}, or pairs STUDENT=TEACHER separated by commas; not "
            f"{mapping!r}; {closest(str(mapping), MAPPINGS)}"
        )
    if is_table(mapping):
        table_entries(mapping)


def table_entries(table: str) -> list[tuple[str, str]]:
    """The pairs of a table as they are written: student and teacher layer by name or index.

    Raises:
        LayerprobeError: if an entry isn't a pair.

    Example:
        >>> table_entries("layer1.2=layer3.5, 9=-1")
        [('layer1.2', 'layer3.5'), ('9', '-1')]
    """
    pairs = []
    for entry in filter(None, (part.strip() for part in table.split(","))):
        ours, _, theirs = (part.strip() for part in entry.partition("="))
        if not ours or not theirs or "=" in theirs:
            raise LayerprobeError(
                f"--mapping has pairs STUDENT=TEACHER separated by commas, e.g. layer1.2=layer3.5; not {entry!r}"
            )
        pairs.append((ours, theirs))
    return pairs


def table_pairing(table: str, student: Network, teacher: Network) -> Pairing:
    """The pairs that a table lists, in order of the student's depth, then the teacher's; a pair may stand there twice.

    Raises:
        LayerprobeError: if a layer isn't in its network, or a name selects several.
    """
    pairs = [(_one(student, ours), _one(teacher, theirs)) for ours, theirs in table_entries(table)]
    pairs.sort(key=lambda pair: (pair[0].index, pair[1].index))
    return Pairing(tuple(ours for ours, _ in pairs), tuple(theirs for _, theirs in pairs))


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
