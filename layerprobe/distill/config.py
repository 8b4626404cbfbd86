"""What a training run is told: frozen values, resolved before the first step."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from layerprobe.distill.alignments.options import Alignment
from layerprobe.networks import DataSpec, ModelSpec


@dataclass(frozen=True)
class Recipe:
    """How long, how fast and by which rule to train: all that the training loop needs to be told.

    Attributes:
        epochs: passes over the training images.
        learning_rate: peak of the schedule, the classifier's where the backbone has a factor; None: by architecture
            (``default_learning_rate``).
        weight_decay: of the optimizer.
        seed: initial weights, order of the images, augmentation, dropout.
        optimizer: ``adamw`` or ``sgd``.
        momentum: of SGD.
        schedule: ``onecycle`` (30 % warm-up), ``cosine`` or ``multi-step``.
        milestones: of multi-step, the epochs after which the rate falls; None: after 5/8, 3/4 and 7/8 of all.
        decay: of multi-step, what the rate is multiplied by.
        backbone_lr_factor: learning rate of the student's backbone / that of everything else.
        clip: largest norm of a step's gradient; None: any. Backbone and classifier of a student whose backbone learns
            from features alone are clipped apart.
        accumulate: batches per step.
        compile: whether ``torch.compile`` compiles the networks.
        check: whether it is made sure, before the first step, that no gradient of the classifier's loss reaches the
            backbone of a student that learns from features alone.
        cache_teacher: whether the teacher's outputs for all training images are computed once, and kept in the memory
            of the device; for images without augmentation.
        channels_last: whether the networks keep their maps with the channels last in memory: faster where there are
            many convolutions. Results differ in their last bits.
    """

    epochs: int = 50
    learning_rate: float | None = None
    weight_decay: float = 0.01
    seed: int = 0
    optimizer: str = "adamw"
    momentum: float = 0.9
    schedule: str = "onecycle"
    milestones: tuple[int, ...] | None = None
    decay: float = 0.1
    backbone_lr_factor: float = 1.0
    clip: float | None = None
    accumulate: int = 1
    compile: bool = False
    check: bool = True
    cache_teacher: bool = False
    channels_last: bool = False


@dataclass(frozen=True)
class Training(Recipe):
    """How to train, whatever the method: the recipe, and what it is applied to and computed with.

    Attributes:
        batch_size: images per batch, in every process.
        augment: ``none``, ``crop-flip`` or ``trivial``: what is done to training images before both networks see them.
        train_samples: train on a class-balanced sample of so many images; None: all. The sample does not
            depend on ``seed``.
        test_samples: test on a class-balanced sample of so many images; None: all.
        holdout: fraction of the training images that are held out to choose an epoch.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: ``no`` (float32), ``bf16`` or ``fp16`` autocast.
        workers: processes that decode images.
        tensorboard: whether TensorBoard's event files are written too.
    """

    batch_size: int = 128
    augment: str = "none"
    train_samples: int | None = None
    test_samples: int | None = None
    holdout: float = 0.0
    device: str = "auto"
    precision: str = "no"
    workers: int = 0
    tensorboard: bool = False


@dataclass(frozen=True)
class TrainConfig:
    """Supervised training of one network.

    Attributes:
        model: the network; without ``weights`` it starts from random ones.
        data: the images.
        output: the run folder to make.
        training: how to train.
        overwrite: whether an existing run may be replaced.
        resume: whether to go on with the run that lies there.
    """

    model: ModelSpec
    data: DataSpec
    output: Path
    training: Training = field(default_factory=Training)
    overwrite: bool = False
    resume: bool = False


@dataclass(frozen=True)
class DistillConfig:
    """Training of a student with a teacher.

    Attributes:
        method: a key of ``METHODS``.
        teacher: the teacher.
        student: the student; without ``weights`` it starts from random ones.
        data: the images.
        output: the run folder to make.
        layers: the teacher's layers: a ranking file, names or indices separated by commas, or ``even:K``; None: those
            of a table of pairs, else the baselines' own.
        student_layers: names or indices of the student's layers, or ``even:K``; None: those of a table of pairs, else
            the paper's, else evenly spread.
        alignment: the form of feature-only.
        teacher_features: a feature file that holds the teacher's features of the training images; None: the teacher
            computes them in every step.
        training: how to train.
        overwrite: whether an existing run may be replaced.
        resume: whether to go on with the run that lies there.
    """

    method: str
    teacher: ModelSpec
    student: ModelSpec
    data: DataSpec
    output: Path
    layers: str | None = None
    student_layers: tuple[str, ...] | None = None
    teacher_features: Path | None = None
    training: Training = field(default_factory=Training)
    overwrite: bool = False
    resume: bool = False
    alignment: Alignment = field(default_factory=Alignment)


def default_learning_rate(model: str) -> float:
    """Peak learning rate by architecture, from its name: 0.001 transformers, 0.005 VGG, 0.0075 all others.

    Source: section 4 of Cooper et al., arXiv 2511.14981, which names ResNet, MobileNet, VGG and tiny ViT.

    Example:
        >>> default_learning_rate("cifar:resnet20"), default_learning_rate("timm:vit_tiny_patch16_224")
        (0.0075, 0.001)
    """
    name = model.rpartition(":")[2].lower() if ".py:" not in model else model.lower()
    if any(word in name for word in ("vit", "deit", "swin", "former", "mixer", "beit", "cait")):
        return 0.001
    return 0.005 if "vgg" in name else 0.0075
