"""What a training run is told: frozen values, resolved before the first step."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from layerprobe.resolve import DataSpec, ModelSpec


@dataclass(frozen=True)
class Training:
    """How to train, whatever the method.

    Attributes:
        epochs: passes over the training images.
        batch_size: images per step.
        learning_rate: peak of OneCycle; None: by architecture (``default_learning_rate``).
        weight_decay: of AdamW.
        seed: initial weights, order of the images, dropout.
        train_samples: train on a class-balanced sample of so many images; None: all. The sample does not
            depend on ``seed``.
        test_samples: test on a class-balanced sample of so many images; None: all.
        holdout: fraction of the training images that are held out to choose an epoch.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: ``no`` (float32), ``bf16`` or ``fp16`` autocast.
        workers: processes that decode images.
    """

    epochs: int = 50
    batch_size: int = 128
    learning_rate: float | None = None
    weight_decay: float = 0.01
    seed: int = 0
    train_samples: int | None = None
    test_samples: int | None = None
    holdout: float = 0.0
    device: str = "auto"
    precision: str = "no"
    workers: int = 0


@dataclass(frozen=True)
class TrainConfig:
    """Supervised training of one network.

    Attributes:
        model: the network; without ``weights`` it starts from random ones.
        data: the images.
        output: the run folder to make.
        training: how to train.
        overwrite: whether an existing run may be replaced.
    """

    model: ModelSpec
    data: DataSpec
    output: Path
    training: Training = field(default_factory=Training)
    overwrite: bool = False


@dataclass(frozen=True)
class DistillConfig:
    """Training of a student with a teacher.

    Attributes:
        method: a key of ``METHODS``.
        teacher: the teacher.
        student: the student; without ``weights`` it starts from random ones.
        data: the images.
        output: the run folder to make.
        layers: the teacher's layers: a ranking file, or names or indices separated by commas.
        student_layers: names or indices of the student's layers; None: the paper's, else evenly spread.
        training: how to train.
        overwrite: whether an existing run may be replaced.
    """

    method: str
    teacher: ModelSpec
    student: ModelSpec
    data: DataSpec
    output: Path
    layers: str | None = None
    student_layers: tuple[str, ...] | None = None
    training: Training = field(default_factory=Training)
    overwrite: bool = False


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
