"""What a method of distillation is: its record, and the settings in which it may be compared, without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from layerprobe.catalogue import Catalogue, Entry, load_target
from layerprobe.distill.alignments.catalogue import ALIGNMENTS, ONE_TO_ONE

if TYPE_CHECKING:
    from layerprobe.distill.changed_student import ChangeStudent
    from layerprobe.distill.objective_context import ObjectiveContext
    from layerprobe.distill.objectives import Objective

LABELS, LOGITS, FEATURES, CLASSIFIER, END = "labels", "logits", "features", "classifier", "end"
"""What a method asks of the teacher, and what its losses let into the student's backbone."""

PUBLICATION, PAPER, FINE_TUNED = "publication", "paper", "fine-tuned"

SETTINGS = Catalogue(
    "setting",
    (
        Entry(PUBLICATION, PUBLICATION, "the form and the weights of the method's own publication", ""),
        Entry(PAPER, PAPER, "the form and the weights that the paper compares it with: features weigh 1", ""),
        Entry(
            FINE_TUNED,
            FINE_TUNED,
            "of simkd alone, as version 0.1.0 had it: the publication's, with a classifier that is fine-tuned",
            "",
        ),
    ),
)
"""The settings of baselines by name: ``Method.settings`` says which of them a method has."""

LAYERS, MIDDLE, PENULTIMATE, LAST_MAPS = "layers", "middle", "penultimate", "last maps"
"""What a method pairs: chosen layers; one layer of each network, the middle ones where none are chosen; the vectors
that enter the classifiers; the last maps."""


class _Form(Protocol):
    """What a method needs to know of the form of feature-only."""

    @property
    def by_class(self) -> bool: ...

    @property
    def cross_entropy(self) -> bool: ...

    @property
    def kl(self) -> bool: ...


@dataclass(frozen=True)
class Method(Entry):
    """A way of training a student.

    ``target`` is a function of an ``ObjectiveContext`` and of ``constants``, as keywords, that gives the objective.

    Attributes:
        source: author and year of the publication; empty: there is none.
        link: where the publication is to be read.
        objective: the sum of loss terms that trains the backbone, in words, with ``constants`` by name.
        constants: weights, temperatures and sizes of the objective, by name.
        teacher: what the student needs of the teacher: nothing, or any of ``features``, ``logits``, ``classifier``, and
            ``end``, its network from the last paired layer on.
        reaches_backbone: what the losses let into the backbone: any of ``labels``, ``logits``, ``features``.
        pairs: what is paired; empty: nothing is.
        mapping: which student layer learns from which teacher layer; with an alignment, that says it.
        layers_required: whether the user must choose the teacher's layers; otherwise they have a default.
        takes_alignment: whether it takes an alignment, a projector, a feature loss and a mapping.
        positions: whether it compares features position by position; with an alignment, that says it.
        maps_only: whether all of its layers must be maps, or grids of patches.
        changes_student: ``module:function`` of a ``ChangeStudent``, which puts a part of the teacher into the student;
            empty: the student stays as it is.
        settings: the settings that it has, and what each changes of this entry, by the names of its attributes. The
            entry itself is the form in the ``default_setting``.
    """

    source: str = ""
    link: str = ""
    objective: str = ""
    constants: Mapping[str, float] = field(default_factory=dict)
    teacher: tuple[str, ...] = ()
    reaches_backbone: tuple[str, ...] = ()
    pairs: str = ""
    mapping: str = ONE_TO_ONE
    layers_required: bool = False
    takes_alignment: bool = False
    positions: bool = False
    maps_only: bool = False
    changes_student: str = ""
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {PUBLICATION: {}, PAPER: {}})

    def in_setting(self, setting: str) -> Method:
        """The method as it is in one of its settings.

        Raises:
            KeyError: if it does not have that one.
        """
        return replace(self, **self.settings[setting])

    @property
    def default_setting(self) -> str:
        """The setting where the user names none: the publication's, or the only one that the method has."""
        return PUBLICATION if PUBLICATION in self.settings else next(iter(self.settings))

    def shown_setting(self, setting: str) -> str:
        """The setting as tables name it; empty: the method is the publication's in all that it has."""
        differs = any(self.settings.values()) or PUBLICATION not in self.settings
        return SETTINGS[setting].label if differs else ""

    @property
    def needs_teacher(self) -> bool:
        """Whether there is a teacher at all."""
        return bool(self.teacher)

    @property
    def uses_features(self) -> bool:
        """Whether it pairs layers."""
        return bool(self.pairs)

    @property
    def pairs_ends(self) -> bool:
        """Whether it pairs what comes last in either network, whatever layers the user names."""
        return self.pairs in (PENULTIMATE, LAST_MAPS)

    def compares_positions(self, alignment: str) -> bool:
        """Whether features meet position by position, with this alignment where it takes one."""
        return ALIGNMENTS.find(alignment).positions if self.takes_alignment else self.positions

    def needs_same_classes(self, form: _Form) -> bool:
        """Whether the teacher must have the classes of the data, with this form of feature-only where it takes one."""
        return bool({LOGITS, CLASSIFIER} & set(self.teacher)) or (self.takes_alignment and form.kl)

    def needs_classifier(self, form: _Form) -> bool:
        """Whether the student must have a classifier, with this form of feature-only where it takes one."""
        by_logits = self.takes_alignment and (form.cross_entropy or form.kl)
        return by_logits or bool({LABELS, LOGITS} & set(self.reaches_backbone)) or bool(self.changes_student)

    def labels_reach_backbone(self, form: _Form | None = None) -> bool:
        """Whether labels influence the student's backbone, with this form of feature-only where it takes one."""
        shaped = form is not None and self.takes_alignment and (form.by_class or form.cross_entropy)
        return shaped or LABELS in self.reaches_backbone

    def load_change(self) -> ChangeStudent:
        """What puts a part of the teacher into the student."""
        change: ChangeStudent = load_target(self.changes_student)
        return change

    def build(self, context: ObjectiveContext, **constants: Any) -> Objective[Any]:
        """The objective; constants replace those of the method."""
        objective: Objective[Any] = self.load()(context, **{**self.constants, **constants})
        return objective

    @property
    def objective_in_words(self) -> str:
        """The objective, with the values of its constants."""
        return self.objective.format(**self.constants, squared=self.constants.get("temperature", 1) ** 2)
