"""Which part of a weights file belongs to a network, found by matching names against the network's own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from layerprobe.errors import first_of
from layerprobe.models.classifier import classifier_names, is_below, removed_classifiers
from layerprobe.models.weights_file import State, Weights
from layerprobe.settings.base import SettingsError

_COUNTER = "num_batches_tracked"
"""Of batch normalization: old files lack it, and it has no influence."""
_AUXILIARY = re.compile(r"(?:^|\.)(?:aux\w*|head_dist)\.", re.IGNORECASE)
"""Classifiers beside the one whose logits count: those of Inception, GoogLeNet and DeiT."""
_NOTES = ("n_averaged", "total_ops", "total_params")
"""What averaging and counting operations leave in a state dict."""
_LATER = ("teacher", "student", "momentum", "encoder_k")
"""Of several networks that fit those with such a word in their keys come last, in this order."""
_MOST_PREFIXES = 4


@dataclass(frozen=True)
class Fit:
    """What a part of a weights file has in common with a network.

    Attributes:
        part: key of the state dict in the file.
        prefix: what stands there before the network's own names.
        state: the tensors that the network has, by its own names.
        missing: the network's names that aren't there.
        unexpected: names in the file that are of a network like this one, but not of this one.
        shapes: the network's names whose tensors have another shape.
        left_out: names in the file of what isn't loaded: the rest of a larger whole, and heads that don't count.
        common: how many tensors have the network's names and shapes.
        classes: of the network's classifier, as it is in the file; None: it isn't, or has no number of rows.
    """

    part: str
    prefix: str
    state: dict[str, Tensor]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    shapes: tuple[str, ...]
    left_out: tuple[str, ...]
    common: int
    classes: int | None

    @property
    def is_whole(self) -> bool:
        """Whether it is the network's weights, and nothing else than these."""
        return not (self.missing or self.unexpected or self.shapes)

    @property
    def key(self) -> str:
        """What the user calls it."""
        return ".".join(filter(None, (self.part, self.prefix.rstrip("."))))


@dataclass(frozen=True)
class Fitting:
    """The part of a weights file that is taken for a network.

    Attributes:
        chosen: this part.
        others: keys of further parts that are whole, too.
    """

    chosen: Fit
    others: tuple[str, ...]

    def __str__(self) -> str:
        """What was taken, what was stripped and what was left out; empty where there is nothing to say."""
        fit = self.chosen
        said = [f"the weights under {fit.part!r} are taken"] if fit.part else []
        said += [f"the prefix {fit.prefix!r} is taken off their names"] if fit.prefix else []
        said += [f"left out: {first_of(fit.left_out)}"] if fit.left_out else []
        if self.others:
            said.append(f"{first_of([repr(key) for key in self.others])} would fit too: weights_key names what to take")
        return "; ".join(said)


def fit_weights(model: nn.Module, weights: Weights, what: str, key: str | None = None) -> Fitting:
    """Find a network in a weights file.

    A network's names may stand behind any prefix, and under any key of the file. Of several that are whole, averaged
    weights (``ema``) come first, and a momentum encoder last.

    Args:
        model: the network.
        weights: what ``read_weights`` gave.
        what: the file's name, for messages.
        key: of the part that is to be taken, its prefix, or both; None: what fits best.

    Raises:
        SettingsError: if there is no such part.
    """
    fits = [fit for part, state in weights.parts.items() for fit in _fits(model, part, state)]
    named = [fit for fit in fits if key in (None, fit.part, fit.prefix.rstrip("."), fit.key)]
    if not named:
        known = ", ".join(dict.fromkeys(repr(fit.key) for fit in fits if fit.key)) or "its tensors stand there bare"
        raise SettingsError(f"{what} has no part {key!r} for <weights_key>; found: {known}")
    first, *others = sorted(named, key=_order)
    whole = tuple(fit.key for fit in others if fit.is_whole and fit.key) if first.is_whole and key is None else ()
    return Fitting(first, whole)


def _order(fit: Fit) -> tuple[bool, int, float]:
    """What is whole comes first, then what has more in common; then the keys decide, and the order in the file."""
    words = re.split(r"[._]", fit.key)
    late = next((place for place, word in enumerate(_LATER, 1) if word in fit.key), 0)
    return not fit.is_whole, 0 if fit.is_whole else -fit.common, -1 if {"ema", "swa"}.intersection(words) else late


def _fits(model: nn.Module, part: str, state: State) -> Iterator[Fit]:
    """What a state dict has in common with a network, for each prefix that its names may have there."""
    own: dict[str, Tensor] = model.state_dict()
    classifier, removed = classifier_names(model), removed_classifiers(model)
    prefixes = _prefixes(own, state)
    for prefix in prefixes:
        deeper = tuple(other for other in prefixes if other != prefix and other.startswith(prefix))
        inside = [name for name in state if name.startswith(prefix) and not (deeper and name.startswith(deeper))]
        renamed = {name.removeprefix(prefix): state[name] for name in inside}
        rest = [name for name in renamed if name not in own]
        unexpected = [name for name in rest if not (_may_be_left_out(name) or is_below(name, removed))]
        taken = {name: value for name, value in renamed.items() if name in own}
        shapes = [name for name, value in taken.items() if value.shape != own[name].shape]
        rows = {len(taken[name]) for name in classifier if name in taken and taken[name].ndim}
        kept = {prefix + name for name in (*taken, *unexpected)}
        yield Fit(
            part,
            prefix,
            taken,
            missing=tuple(name for name in own if name not in taken and not name.endswith(_COUNTER)),
            unexpected=tuple(unexpected),
            shapes=tuple(shapes),
            left_out=tuple(name for name in state if name not in kept),
            common=len(taken) - len(shapes),
            classes=next(iter(rows)) if len(rows) == 1 else None,
        )


def _prefixes(own: State, state: State) -> Sequence[str]:
    """What may stand before a network's names, the most frequent first; always one."""
    votes: Counter[str] = Counter()
    for name in state:
        places = [0, *(found.end() for found in re.finditer(r"\.", name))]
        votes.update(name[:place] for place in places if name[place:] in own)
    most = max(votes.values(), default=0)
    return [prefix for prefix, count in votes.most_common(_MOST_PREFIXES) if 2 * count > most] or [""]


def _may_be_left_out(name: str) -> bool:
    """Whether a tensor that a network hasn't is of a head that doesn't count, or only a note."""
    return bool(_AUXILIARY.search(name)) or name.rpartition(".")[2] in _NOTES
