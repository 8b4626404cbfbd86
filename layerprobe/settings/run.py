"""What a training run is told: `layerprobe train` and `layerprobe distill`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import model_validator
from typing_extensions import Self

from layerprobe.data.catalogue import NONE
from layerprobe.distill.methods.catalogue import METHODS, SETTINGS, Method
from layerprobe.records.layout import ALL_TOKENS, CLASS_TOKEN, PATCHES
from layerprobe.settings.alignment import AlignmentSettings
from layerprobe.settings.base import AnyPath, OneOf, RefusedError, Settings, SettingsError
from layerprobe.settings.data import DataSettings
from layerprobe.settings.flags import Flag, Part
from layerprobe.settings.layer_choice import StudentLayers, TeacherLayers, rule_words
from layerprobe.settings.model import ModelSettings
from layerprobe.settings.recipe import TrainingSettings
from layerprobe.settings.samples import SpectrumSamples

_RANDOM = {"weights": "random"}
_TOKENS = {PATCHES: "patch tokens", CLASS_TOKEN: "class token", ALL_TOKENS: "all tokens"}


class RunSettings(Settings):
    """Where a run is written to, and what is done with a run that is there already."""

    command: ClassVar[str]
    network_part: ClassVar[str]  # the field that names the network to train

    output: Annotated[AnyPath, Flag(short="-o", panel="Output", metavar="DIR")]
    """The folder of the run."""
    overwrite: Annotated[bool, Flag(panel="Output", alone=True)] = False
    """Replace the run that is in the folder."""
    resume: Annotated[bool, Flag(panel="Output", alone=True)] = False
    """Continue the run that is in the folder, after its last complete epoch."""

    @model_validator(mode="after")
    def _replaced_or_gone_on_with(self) -> Self:
        if self.overwrite and self.resume:
            raise RefusedError("<resume> continues a run and <overwrite> replaces it; give only one of them")
        return self

    @property
    def kept_so_far(self) -> str:
        """What of a run is not lost where it ends early."""
        return f"what was saved in {self.output} stays, and <resume> goes on from there with the same recipe"

    def configuration(self) -> dict[str, Any]:
        """What the run is told, as ``config.yaml`` holds it: without where it is written to."""
        return {"command": self.command, **self.model_dump(mode="json", exclude=set(RunSettings.model_fields))}


class TrainSettings(RunSettings):
    """Supervised training of one network; without weights it starts from random ones."""

    command: ClassVar[str] = "train"
    network_part: ClassVar[str] = "model"

    model: Annotated[ModelSettings, Part(defaults=_RANDOM, without=("prefix_tokens",))]
    """The network."""
    data: Annotated[DataSettings, Part()]
    """The images."""
    training: Annotated[TrainingSettings, Part(without=("check", "cache_teacher"))] = TrainingSettings()
    """How to train."""

    @property
    def network(self) -> ModelSettings:
        """The network that is trained."""
        return self.model

    @property
    def takes_less_memory(self) -> tuple[str, ...]:
        """What takes less memory than these settings, the most helpful first; fields stand in angle brackets."""
        return _of_part("training", self.training.takes_less_memory)

    @model_validator(mode="after")
    def _has_a_classifier(self) -> Self:
        _check_classifier(self.model, "model")
        return self

    @model_validator(mode="after")
    def _has_no_teacher(self) -> Self:
        if self.training.cache_teacher:
            raise RefusedError("<training.cache_teacher> is for training with a teacher; leave it out")
        return self


class DistillSettings(RunSettings):
    """Training of a student with a teacher."""

    command: ClassVar[str] = "distill"
    network_part: ClassVar[str] = "student"
    panel: ClassVar[str] = "Method"

    method: Annotated[str, OneOf(METHODS)] = "feature-only"
    """How the student learns: feature-only is from features alone, and the others are baselines to compare it with."""
    setting: Annotated[
        Annotated[str, OneOf(SETTINGS)] | None, Flag(default="publication; of the paper's own variants paper")
    ] = None
    """The form and the loss weights of a baseline: those of its publication, or those of the paper's comparison, where
    features have weight 1 in every method. Of simkd there is fine-tuned too, the form of version 0.1.0."""
    teacher: Annotated[ModelSettings, Part("teacher", without=("adapt",))]
    """The teacher."""
    student: Annotated[ModelSettings, Part("student", defaults=_RANDOM)]
    """The student."""
    data: Annotated[DataSettings, Part()]
    """The images."""
    layers: Annotated[
        TeacherLayers, Flag(panel="Layers", default="the paper's, else evenly spread", suggests=rule_words)
    ] = None
    """The teacher's layers to learn from: a ranking file; names or indices separated by commas; or a rule and a number
    of layers. We recommend the rule even-information:4; others are even:4, stagewise:4, quality:4 or another score of
    `layerprobe rank`, and FILE.py:name:4 of your own. The method feature-only needs this option."""
    allow_other_ranking: Annotated[bool, Flag(panel="Layers", alone=True)] = False
    """Accept a ranking file of another model, or of other weights, than the teacher's."""
    spectrum_samples: SpectrumSamples = None
    """If a rule measures the teacher's layers, compute the entropy in information from a second sample with up to so
    many images of every class."""
    student_layers: Annotated[StudentLayers, Flag(panel="Layers", default="the paper's, else evenly spread")] = None
    """The student's layers that learn: names or indices separated by commas, or even:K for K evenly spread blocks."""
    tokens: Annotated[
        Literal["patches", "cls", "all"] | None,
        Flag(panel="Layers", default="all between layers of one layout, else patches"),
    ] = None
    """The tokens of transformers to compare, in methods that compare features position by position: the patch tokens;
    the class token, with the other network's or with the mean of its patches; or all tokens. There is no mean here, as
    in extract and evaluate, since positions are compared; --projector pooled compares one vector of each image."""
    alignment: Annotated[AlignmentSettings, Part()] = AlignmentSettings()
    """The form of feature-only."""
    teacher_features: Annotated[
        AnyPath | None, Flag(metavar="FILE", default="the teacher computes them in every step")
    ] = None
    """Take the teacher's features of the training images from this file of `layerprobe extract`."""
    training: Annotated[TrainingSettings, Part()] = TrainingSettings()
    """How to train."""

    def configuration(self) -> dict[str, Any]:
        """What the run is told, with its setting by name."""
        return {**super().configuration(), "setting": self.chosen_setting}

    @property
    def network(self) -> ModelSettings:
        """The network that is trained."""
        return self.student

    @property
    def takes_less_memory(self) -> tuple[str, ...]:
        """What takes less memory than these settings, the most helpful first; fields stand in angle brackets."""
        return _of_part("training", self.training.takes_less_memory)

    @property
    def chosen_method(self) -> Method:
        """The method, in its setting."""
        return METHODS[self.method].in_setting(self.chosen_setting)

    @property
    def chosen_setting(self) -> str:
        """The setting that is given, else the method's default."""
        return self.setting or METHODS[self.method].default_setting

    @property
    def label(self) -> str:
        """The method with its form, for tables."""
        parts = METHODS.find(self.method).label, _TOKENS.get(self.tokens or "", ""), self.alignment.label
        return ", ".join(filter(None, parts))

    @property
    def form_in_words(self) -> str:
        """The method, or that form of it which its options ask for."""
        return f"this form of {self.method}" if self.chosen_method.takes_alignment else self.method

    @property
    def lacks_layers(self) -> bool:
        """Whether the method needs layers of the teacher, and nothing says which."""
        return self.chosen_method.layers_required and self.layers is None and not self.alignment.mapping.table

    @property
    def needs_classes(self) -> bool:
        """Whether the teacher must have the same classes as the data."""
        return self.chosen_method.needs_same_classes(self.alignment)

    @property
    def needs_labels(self) -> bool:
        """Whether labels, or the logits of classes, train the student's backbone."""
        return self.needs_classes or self.chosen_method.labels_reach_backbone(self.alignment)

    @model_validator(mode="after")
    def _method_has_the_setting(self) -> Self:
        has = METHODS[self.method].settings
        if self.chosen_setting not in has:
            raise RefusedError(
                f"{self.method} has no <setting> {self.setting}, but {' and '.join(has)}; leave <setting> out, or take "
                "another <method>"
            )
        return self

    @model_validator(mode="after")
    def _has_classifiers(self) -> Self:
        if self.chosen_method.needs_classifier(self.alignment):
            _check_classifier(self.student, "student", "; feature-only without ablations trains a backbone alone")
        if self.needs_classes and self.teacher.num_classes == 0:
            raise RefusedError(
                f"{self.method} needs the teacher's classifier, which <teacher.num_classes> 0 leaves out; leave the "
                "number out, or take <method> feature-only"
            )
        return self

    @model_validator(mode="after")
    def _method_takes_them(self) -> Self:
        method = self.chosen_method
        if self.alignment != AlignmentSettings() and not method.takes_alignment:
            raise RefusedError(
                "<alignment>, <alignment.by_class>, <alignment.projector>, <alignment.feature_loss>, "
                f"<alignment.mapping> and the ablations are forms of feature-only; {self.method} has its own; leave "
                "them out"
            )
        if self.tokens and not method.compares_positions(self.alignment.name):
            whole = f"{self.method} {self.alignment.name}" if method.takes_alignment else self.method
            raise RefusedError(f"{whole} does not compare features position by position; leave <tokens> out")
        if self.tokens in (CLASS_TOKEN, ALL_TOKENS) and method.maps_only:
            raise RefusedError(f"{self.method} fuses maps, in which <tokens> {self.tokens} has no place; leave it out")
        if self.teacher_features is None:
            return self
        if self.needs_classes:
            raise RefusedError(
                f"{self.method} needs more of a teacher than the features that <teacher_features> holds; leave it out"
            )
        if not method.uses_features:
            raise RefusedError(f"{self.method} uses no features of a teacher; leave <teacher_features> out")
        return self

    @model_validator(mode="after")
    def _teacher_sees_the_same_images(self) -> Self:
        _check_cache(self.training, self.teacher_features is not None)
        if self.teacher_features is not None and self.training.augment != NONE:
            raise RefusedError(
                f"<training.augment> {self.training.augment} changes the images in every epoch, and "
                f"{self.teacher_features} holds features of them as they are; leave <training.augment> or "
                "<teacher_features> out"
            )
        return self


def _check_classifier(trained: ModelSettings, part: str, instead: str = "") -> None:
    if trained.num_classes == 0:
        raise RefusedError(
            f"training needs a classifier, which <{part}.num_classes> 0 leaves out; leave the number out{instead}"
        )


def _of_part(part: str, texts: Iterable[str]) -> tuple[str, ...]:
    """Texts that name fields of a part, as these settings name them."""
    return tuple(SettingsError(text).within(part).message for text in texts)


def _check_cache(training: TrainingSettings, teacher_features: bool) -> None:
    if not training.cache_teacher:
        return
    if training.augment != NONE:
        raise RefusedError(
            f"<training.augment> {training.augment} changes the images in every epoch, and <training.cache_teacher> "
            "sees them once; leave one of them out"
        )
    if teacher_features:
        raise RefusedError(
            "<teacher_features> stands for the teacher's passes already; leave <training.cache_teacher> out"
        )
