"""What ``layerprobe evaluate`` is told."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from layerprobe.evaluation.catalogue import AGREEMENT, CLASSIFIER, EVALUATORS
from layerprobe.settings.base import AnyPath, Count, ImageCount, Number, OneOf, RefusedError, Seed, Separated, Whole
from layerprobe.settings.code import CodeSettings
from layerprobe.settings.data import PREPROCESSING, DataSettings
from layerprobe.settings.display import FigureSettings
from layerprobe.settings.extract import Split
from layerprobe.settings.flags import Flag, Part
from layerprobe.settings.layer_choice import NamedLayers
from layerprobe.settings.machine import DeviceSettings, Workers
from layerprobe.settings.model import ModelSettings

_OF_RUN = "the run's"


class LayerEvaluationSettings(FigureSettings, DeviceSettings, CodeSettings):
    """Which features are evaluated, and how."""

    panel: ClassVar[str] = "Evaluation"

    layers: Annotated[
        NamedLayers | None,
        Flag(panel="Layers", default="what enters the classifier; the last trained layer of a run without one"),
    ] = None
    """The layers whose features are evaluated, separated by commas: names, globs (layer3.*), indices, ranges (3-7, 3:8,
    -4:), every:4 or all; output is what the network returns. Maps are averaged over their positions."""
    tokens: Annotated[
        Literal["cls", "mean", "both"] | None,
        Flag(panel="Layers", default="cls where there is one that learned, else mean"),
    ] = None
    """The one vector that stands for the tokens of a transformer: the class token, the mean of the patch tokens, or
    both in a row. In distill, which compares position by position, --tokens says which positions."""
    neighbours: Count = 20
    """The number of training images that vote in k-NN."""
    votes: Literal["weighted", "plain"] = "weighted"
    """How neighbours vote: weighted by exp(cosine / temperature), or all alike."""
    temperature: Annotated[Number, Field(gt=0, le=1e6)] = 0.07
    """The temperature of weighted votes."""
    train_samples: Annotated[ImageCount, Flag(panel="Data", default="all")] = None
    """The number of training images in a class-balanced sample that k-NN and probe learn from, or 'all'."""
    resamples: Annotated[Whole, Field(ge=0, le=1_000_000)] = 1000
    """How often the images are resampled for the intervals. With 0 there are no intervals."""
    level: Annotated[Number, Field(gt=0, lt=1)] = 0.9
    """The confidence level of the intervals."""
    seed: Seed = 0
    """The seed of the resampling, and of the training images that the probe holds out to choose its penalty."""


class EvaluateSettings(LayerEvaluationSettings):
    """Which network is evaluated on which images, and where the results go."""

    run: Annotated[AnyPath | None, Flag(argument=True, metavar="RUN", default="the network of --model")] = None
    """The folder of a run of `layerprobe distill` or `train`."""
    model: Annotated[ModelSettings | None, Part(defaults={"name": _OF_RUN}, without=("adapt",))] = None
    """A network in place of that of a run."""
    by: Annotated[
        tuple[Annotated[str, OneOf(EVALUATORS)], ...] | None,
        Separated,
        Flag(default="classifier; of a network without one, and with --model, knn,probe"),
    ] = None
    """How the network is evaluated, separated by commas."""
    data: Annotated[DataSettings | None, Part(defaults={"name": _OF_RUN}, without=("skip_damaged",))] = None
    """The images."""
    skip_damaged: Annotated[bool, Flag(panel="Data", default="as in the run, for the run's own images")] = False
    """Leave out images that can't be read."""
    split: Annotated[Split, Flag(panel="Data")] = "test"
    """The part of the data set to evaluate on. The ways knn and probe learn from the training images, and are tested on
    the test images alone."""
    samples: Annotated[ImageCount, Flag(panel="Data", default="all")] = None
    """The number of images in a class-balanced sample, or 'all' for every image."""
    which: Annotated[Literal["last", "best", "latest"], Flag(panel="Model")] = "last"
    """The weights to take: those of the last epoch, of the best epoch on held-out images, or the latest of an
    unfinished run."""
    head: Annotated[AnyPath | None, Flag(panel="Model", metavar="FILE", default="the network's own classifier")] = None
    """Classify with this linear head, which --save-head wrote, on the network's features."""
    save_head: Annotated[bool, Flag(panel="Output", alone=True)] = False
    """Keep the linear probe as head.safetensors, which --head and load_student take."""
    output: Annotated[AnyPath | None, Flag(short="-o", panel="Output", metavar="DIR", default=_OF_RUN)] = None
    """The folder for the confusion matrix and the other results. With --model nothing is kept without it."""
    overwrite: Annotated[bool, Flag(panel="Output", alone=True)] = False
    """Replace results that exist."""
    batch_size: Annotated[Count, Flag(panel="Machine")] = 128
    """The number of images per forward pass."""
    workers: Workers = 0
    """The number of processes that decode images."""

    kept_so_far: ClassVar[str] = ""

    @property
    def takes_less_memory(self) -> tuple[str, ...]:
        """What takes less memory than these settings, the most helpful first; fields stand in angle brackets."""
        return (f"a <batch_size> below {self.batch_size}", *(() if self.device == "cpu" else ("<device> cpu",)))

    @model_validator(mode="after")
    def _one_network(self) -> Self:
        if (self.run is None) == (self.model is None):
            what = "nothing names the network" if self.run is None else "both name a network"
            raise RefusedError(f"<run> or <model> names the network, and {what}; give one of them")
        if self.model is not None and self.data is None:
            raise RefusedError("<model> has no images of its own; give <data>")
        given = self.data.options() if self.data is not None and self.run is not None else {}
        if seen := next((name for name in PREPROCESSING if name in given), None):
            raise RefusedError(f"the network of a run sees images as the run prepared them; leave <data.{seen}> out")
        if self.model is not None and self.which != "last":
            raise RefusedError("<which> chooses among the weights of a run, not of <model>; leave it out")
        if self.model is not None and AGREEMENT in (self.by or ()):
            raise RefusedError(f"<by> {AGREEMENT} compares the student of a run with its teacher; leave it out")
        return self

    @model_validator(mode="after")
    def _ways_fit(self) -> Self:
        ways = [EVALUATORS[name] for name in self.by or ()]
        if self.by == ():
            raise RefusedError("<by> names at least one way of evaluation; leave it out for the default")
        learning = [way.name for way in ways if way.learns]
        if learning and self.split != "test":
            raise RefusedError(
                f"<by> {learning[0]} learns from the training images; <split> {self.split} would test it on them"
            )
        if self.save_head and self.by is not None and "probe" not in self.by:
            raise RefusedError("<save_head> keeps the linear probe; add probe to <by>")
        if self.head is not None and self.by is not None and CLASSIFIER not in self.by:
            raise RefusedError(f"<head> is a classifier, and <by> asks for none; add {CLASSIFIER} to it")
        return self

    @property
    def folder(self) -> AnyPath | None:
        """Where results are kept; None: nowhere."""
        return self.output or self.run
