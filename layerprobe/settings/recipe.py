"""How to train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from layerprobe.data.catalogue import AUGMENTATIONS, NONE
from layerprobe.distill.engine.catalogue import OPTIMIZERS, SCHEDULES, default_milestones
from layerprobe.settings.base import (
    Count,
    Fraction,
    ImageCount,
    NotNegative,
    OneOf,
    Positive,
    RefusedError,
    Seed,
    Separated,
    Settings,
    Whole,
)
from layerprobe.settings.flags import Flag
from layerprobe.settings.machine import Device, Workers

_MACHINE = "Machine"


class RecipeSettings(Settings):
    """How long, how fast and by which rule to train: all that the training loop needs to be told."""

    panel: ClassVar[str] = "Recipe"

    epochs: Count = 50
    """The number of passes over the training images."""
    lr: Annotated[Positive | None, Flag(default="0.0075; VGG 0.005; transformers 0.001")] = None
    """The peak learning rate. With --backbone-lr-factor it is that of the classifier."""
    weight_decay: NotNegative = 0.01
    """The weight decay of the optimizer."""
    seed: Seed = 0
    """The seed of the initial weights, of the order of the images, and of augmentation and dropout."""
    optimizer: Annotated[str, OneOf(OPTIMIZERS)] = "adamw"
    """The optimizer."""
    momentum: NotNegative = 0.9
    """The momentum of SGD."""
    schedule: Annotated[str, OneOf(SCHEDULES)] = "onecycle"
    """How the learning rate changes during training."""
    milestones: Annotated[tuple[Count, ...] | None, Separated, Flag(default="after 5/8, 3/4 and 7/8 of the epochs")] = (
        None
    )
    """The epochs after which multi-step lowers the learning rate, such as 150,180,210."""
    decay: NotNegative = 0.1
    """The factor by which multi-step multiplies the learning rate."""
    backbone_lr_factor: NotNegative = 1.0
    """The learning rate of the backbone as a share of the classifier's. 0 freezes the backbone; 0.01 suits pretrained
    weights."""
    clip: Annotated[Positive | None, Flag(default="no clipping")] = None
    """The largest norm of a step's gradient. If the backbone learns from features alone, backbone and classifier are
    clipped apart."""
    accumulate: Count = 1
    """The number of batches per optimizer step."""
    compile: Annotated[bool, Flag(panel=_MACHINE)] = False
    """Compile the networks with torch.compile."""
    check: Annotated[bool, Flag(panel="Method")] = True
    """If the backbone learns from features alone, check before the first step that no gradient of the classifier's loss
    reaches it."""
    cache_teacher: Annotated[bool, Flag(panel=_MACHINE)] = False
    """Run the teacher once over the training images and keep its outputs in memory; for a GPU, features in 16 bits.
    Images can't be augmented then."""
    channels_last: Annotated[bool, Flag(panel=_MACHINE)] = False
    """Keep feature maps with their channels last in memory. Convolutions are faster, and results differ in their last
    bits."""

    @model_validator(mode="after")
    def _milestones_fit(self) -> Self:
        if not self.milestones:
            return self
        if not SCHEDULES.find(self.schedule).takes_milestones:
            takes = ", ".join(name for name, schedule in SCHEDULES.items() if schedule.takes_milestones)
            raise RefusedError(f"<milestones> belong to <schedule> {takes}, not to {self.schedule}; leave them out")
        if list(self.milestones) != sorted(set(self.milestones)) or self.milestones[-1] >= self.epochs:
            shown, example = (
                ",".join(map(str, epochs)) for epochs in (self.milestones, default_milestones(self.epochs))
            )
            instead = f"e.g. {example}" if example else "take more epochs, or another <schedule>"
            raise RefusedError(
                f"<milestones> are ascending epochs below <epochs> {self.epochs}, not {shown!r}; {instead}"
            )
        return self

    def resolved(self, model: str) -> Self:
        """The same, with what depends on the network and on the number of epochs filled in.

        Args:
            model: name of the network to train.
        """
        milestones = self.milestones
        if milestones is None and SCHEDULES.find(self.schedule).takes_milestones:
            milestones = default_milestones(self.epochs)
        return self.replaced(lr=DEFAULT_RATES.of(model) if self.lr is None else self.lr, milestones=milestones)


class TrainingSettings(RecipeSettings):
    """How to train, whatever the method: the recipe, and what it is applied to and computed with."""

    batch_size: Annotated[Whole, Field(ge=2)] = 128
    """The number of images per batch, in every process."""
    augment: Annotated[str, OneOf(AUGMENTATIONS)] = NONE
    """The augmentation of training images. A teacher sees the same augmented images as its student."""
    train_samples: Annotated[ImageCount, Flag(panel="Data", default="all")] = None
    """The number of training images in a class-balanced sample, or 'all' for every image. The sample does not depend on
    the seed."""
    test_samples: Annotated[ImageCount, Flag(panel="Data", default="all")] = None
    """The number of test images in a class-balanced sample, or 'all' for every image."""
    holdout: Annotated[Fraction, Flag(panel="Data")] = 0.0
    """The fraction of the training images that is held out to choose an epoch."""
    device: Device = "auto"
    """The device to compute on; auto takes a GPU if there is one."""
    precision: Annotated[Literal["no", "bf16", "fp16"], Flag(panel=_MACHINE)] = "no"
    """The precision of the networks: float32 (no), or autocast to bf16 or fp16."""
    workers: Workers = 0
    """The number of processes that decode images."""
    tensorboard: Annotated[bool, Flag(panel="Output")] = False
    """Also write event files for TensorBoard."""

    @property
    def takes_less_memory(self) -> tuple[str, ...]:
        """What takes less memory than these settings, the most helpful first; fields stand in angle brackets."""
        found = {
            "no <cache_teacher>": self.cache_teacher,
            f"a <batch_size> below {self.batch_size} (with <accumulate> for as many images in a step)": True,
            "<precision> bf16": self.precision == "no",
        }
        return tuple(words for words, helps in found.items() if helps)


@dataclass(frozen=True)
class Rates:
    """Peak learning rates of a recipe by architecture.

    Attributes:
        transformer: of transformers.
        vgg: of VGG networks.
        other: of all others.

    Examples:
        >>> DEFAULT_RATES.of("cifar:resnet20"), DEFAULT_RATES.of("timm:vit_tiny_patch16_224")
        (0.0075, 0.001)
    """

    transformer: float
    vgg: float
    other: float

    def of(self, model: str) -> float:
        """The rate of an architecture, which its name tells.

        Args:
            model: as a user types it, e.g. ``cifar:resnet20``.
        """
        name = model.rpartition(":")[2].lower() if ".py:" not in model else model.lower()
        if any(word in name for word in ("vit", "deit", "swin", "former", "mixer", "beit", "cait")):
            return self.transformer
        return self.vgg if "vgg" in name else self.other


DEFAULT_RATES = Rates(transformer=0.001, vgg=0.005, other=0.0075)
"""Those of AdamW: ``MaxLR`` in the configurations of Cooper et al. (arXiv 2511.14981) for tiny ViT, VGG, ResNet and
MobileNet."""
