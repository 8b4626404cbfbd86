"""The feature objective that an alignment means, whether it is built in or comes from a user's file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from layerprobe.catalogue import load_target
from layerprobe.distill.alignments.catalogue import ALIGNMENTS, ATTENTION
from layerprobe.distill.batches import FeatureBatch
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.objectives import FeatureObjective, Objective
from layerprobe.distill.plugin_errors import returned
from layerprobe.errors import LayerprobeError
from layerprobe.plugins import errors_in_one_line


def build_alignment(context: ObjectiveContext) -> Objective[Any]:
    """The objective of an alignment: from features alone, or by class from labels too.

    Raises:
        LayerprobeError: if there is no such alignment, or a user's one can't be made.
    """
    form = context.alignment
    entry = ALIGNMENTS.find(form.name)
    if form.by_class:
        target = entry.by_class
    elif form.mapping.mapping == ATTENTION:
        target = entry.by_attention
    else:
        target = entry.target
    make = load_target(target)
    objective: Objective[Any] = CheckedAlignment(make, form.name, context) if entry.is_plugin else make(context)
    return objective


class CheckedAlignment(FeatureObjective):
    """A user's alignment, with one line for a person where it fails or doesn't return loss terms.

    Whatever the user's module is, it is called with features alone.

    Args:
        make: called with the context; gives a module that is called with a ``FeatureBatch``, and returns a scalar or
            scalars by name. It may have ``needs_fit`` and ``fit``, as a ``FeatureObjective`` has.
        name: ``FILE.py:name``, for messages.
        context: what it is built for.

    Raises:
        LayerprobeError: if it can't be made, isn't a module, or asks for more than features.
    """

    def __init__(self, make: Any, name: str, context: ObjectiveContext) -> None:
        super().__init__()
        self.name = name
        with errors_in_one_line(f"the alignment {name}", "the pairs of layers"):
            inner = make(context)
        if not isinstance(inner, nn.Module):
            raise LayerprobeError(f"the alignment {name} makes {returned(inner)}; return an nn.Module")
        if getattr(inner, "batch_kind", FeatureBatch) is not FeatureBatch:
            raise LayerprobeError(
                f"the alignment {name} asks for more than features; derive it from FeatureObjective or from nn.Module"
            )
        self.inner = inner
        self.needs_fit = bool(getattr(inner, "needs_fit", False))

    def fit(self, batches: Iterable[FeatureBatch]) -> None:
        """As the user's module's.

        Raises:
            LayerprobeError: if it fails.
        """
        with errors_in_one_line(f"the fit of the alignment {self.name}", "the training images"):
            self.inner.fit(batches)  # type: ignore[operator]

    def forward(self, batch: FeatureBatch) -> dict[str, Tensor]:
        """The user's terms; a scalar alone is the term ``features``.

        Raises:
            LayerprobeError: if the user's module fails, or returns no scalars.
        """
        shapes = f"student features {_shapes(batch.student)} and teacher features {_shapes(batch.teacher)}"
        with errors_in_one_line(f"the alignment {self.name}", shapes):
            value = self.inner(batch)
        terms = value if isinstance(value, dict) else {"features": value}
        for term in terms.values():
            if not isinstance(term, Tensor) or term.ndim != 0 or not term.is_floating_point():
                raise LayerprobeError(
                    f"the alignment {self.name} returns {returned(term)}; return a scalar tensor, or scalar tensors by "
                    "name"
                )
        if not terms:
            raise LayerprobeError(f"the alignment {self.name} returns no loss term; return a scalar tensor")
        return {str(name): term for name, term in terms.items()}


def _shapes(features: Iterable[Tensor]) -> str:
    return ", ".join(str(tuple(one.shape)) for one in features)
