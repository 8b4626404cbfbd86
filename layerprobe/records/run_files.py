"""The files of a run's folder: what lies in each, and how a run is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from layerprobe.errors import FileError, shown
from layerprobe.records.adaptation import Adaptation
from layerprobe.records.fields import Count, Flag, From0, Name, Number, Percent, Positive, Text
from layerprobe.records.layout import Layout
from layerprobe.records.parsing import parse
from layerprobe.records.preprocessing import Preprocessing
from layerprobe.records.runs import EpochMetrics

REMEDY = "run it again"


@dataclass(frozen=True)
class Ending:
    """The ending that replaced a student's own; see ``ReusedEnding`` in ``layerprobe.distill.methods.simkd``."""

    classifier: Name
    last_map: Text
    channels: Positive
    width: Positive
    classes: Positive
    bias: Flag
    signed: Flag


@dataclass(frozen=True)
class ReusedEnd:
    """The teacher's network that a student goes on in; see ``layerprobe.distill.methods.simkd_paper``.

    Attributes:
        teacher: name of the teacher.
        classes: number of its logits.
        teacher_layer: the layer behind which its network is reused.
        teacher_shape: of that layer's output for one image.
        teacher_layout: how that output lies in space.
        student_layer: the layer behind which the student is left.
        student_shape: of that layer's output for one image.
        student_layout: how that output lies in space.
    """

    teacher: Name
    classes: Positive
    teacher_layer: Name
    teacher_shape: tuple[Positive, ...]
    teacher_layout: Layout
    student_layer: Name
    student_shape: tuple[Positive, ...]
    student_layout: Layout


@dataclass(frozen=True)
class RunInformation:
    """What a run adds to its settings in ``config.yaml``: it describes the run, and another run finds it out by itself.

    Attributes:
        preprocessing: how images became the input of both networks.
        recipe: optimizer and schedule in a few words.
        processes: how many processes trained together.
        batch_statistics: what was done about batch normalization in several processes.
        versions: of layerprobe and PyTorch.
        layers_from: the ranking file or the rule that the layers are from.
        pairs: of a table, STUDENT=TEACHER, by the layers' names.
        ending: how a student ends that reuses the teacher's classifier.
        reused_end: how a student ends that reuses the teacher's network from a layer on.
        plugins: SHA-256 of the files that plug-ins came from, by the plug-in's name.
        constants: weights, temperatures and sizes of the method, by name; None in runs of earlier versions.
        adapted: what of the trained network's first weights isn't in their file, or not so.
        teacher_adapted: what was so of the first weights of the teacher, as its weights file says.
    """

    preprocessing: Preprocessing | None = None
    recipe: Text | None = None
    processes: Positive | None = None
    batch_statistics: Text | None = None
    versions: Mapping[Text, Text] = field(default_factory=dict)
    layers_from: Text | None = None
    pairs: tuple[Text, ...] | None = None
    ending: Ending | None = None
    reused_end: ReusedEnd | None = None
    plugins: Mapping[Text, Text] = field(default_factory=dict)
    constants: Mapping[Text, Number] | None = None
    adapted: tuple[Adaptation, ...] = ()
    teacher_adapted: tuple[Adaptation, ...] = ()


CONSTANTS = "constants"
"""The key by which a run is told from one of an earlier version."""
INFORMATION = tuple(one.name for one in fields(RunInformation))
"""Keys of a run's configuration that are no settings."""


@dataclass(frozen=True, kw_only=True)
class RunDescription(RunInformation):
    """The information of a run that was begun, which says at least this much."""

    # Without ``field()`` the default of the class above would count.
    preprocessing: Preprocessing = field()
    recipe: Text = field()
    processes: Positive = field()
    versions: Mapping[Text, Text] = field()


def parse_description(config: Mapping[str, Any], path: Path) -> RunDescription:
    """What the whole configuration of a run says beside its settings.

    Args:
        config: of ``config.yaml``.
        path: of the file, for messages.

    Raises:
        FileError: if a field is missing or wrong.
    """
    return parse(RunDescription, config, path, REMEDY)


@dataclass(frozen=True)
class RunEnvironment:
    """What a run was computed with."""

    device: Text
    device_name: Text
    threads: Positive
    processes: Positive
    versions: Mapping[Text, Text]


@dataclass(frozen=True)
class ResultFile:
    """The keys of ``result.json``; those that ``Run`` computes are compared with what it computes."""

    method: Name
    epochs: Positive
    test_accuracy_last_epoch: Percent | None
    test_accuracy_epoch_chosen_on_holdout: Percent | None
    test_accuracy_best_epoch_on_test: Percent | None
    epoch_chosen_on_holdout: Positive | None
    holdout_accuracy_epoch_chosen_on_holdout: Percent | None
    epoch_best_on_test: Positive | None
    teacher_accuracy: Percent | None
    seconds: From0
    epoch_seconds: tuple[From0, ...]
    wall_seconds: From0 | None
    peak_memory_bytes: Count | None
    resumed_after_epochs: tuple[Count, ...]
    environment: RunEnvironment
    labels_reach_backbone: Flag | None = None
    setting: Text | None = None


LOSSES = {"losses": "loss_", "holdout_losses": "holdout_loss_"}
"""How the columns of ``metrics.csv`` begin that hold loss terms, by the fields of ``EpochMetrics``."""


def parse_result(values: Any, path: Path) -> ResultFile:
    """What a run came to.

    Args:
        values: of ``result.json``.
        path: of the file, for messages.

    Raises:
        FileError: if a field is missing or wrong.
    """
    return parse(ResultFile, values, path, REMEDY)


def parse_metrics(
    columns: Mapping[str, Sequence[Any]], seconds: Sequence[float], path: Path
) -> tuple[EpochMetrics, ...]:
    """The epochs of a run.

    Args:
        columns: of ``metrics.csv`` by name, a value per epoch; None: there is none, as of a loss term that an epoch
            did not have.
        seconds: of every epoch.
        path: of the file, for messages.

    Raises:
        FileError: if a column is missing, a value is wrong, an epoch has no loss term, or there are more or fewer
            epochs than ``seconds``.
    """
    of_images = {key: _begin_with(prefix, columns) for key, prefix in LOSSES.items()}
    terms = {name for prefix in LOSSES.values() for name in columns if name.startswith(prefix)}
    columns = {name: values for name, values in columns.items() if name not in terms}
    count = max(map(len, columns.values()), default=0)
    if count != len(seconds):
        raise FileError(f"{path} has {count} epochs, and the result {len(seconds)}; {REMEDY}")
    epochs = []
    for number, took in enumerate(seconds):
        row = {name: values[number] for name, values in columns.items()} | {"seconds": took}
        for key, losses in of_images.items():
            row[key] = {name: values[number] for name, values in losses.items() if values[number] is not None}
        if of_images["losses"] and not row["losses"]:
            raise FileError(f"{path}, row {number + 1}: no loss term has a value; {REMEDY}")
        epochs.append(parse(EpochMetrics, row, f"{path}, row {number + 1}", REMEDY))
        if epochs[-1].epoch != number + 1:
            raise FileError(f"{path}, row {number + 1}: epoch must be {number + 1}, not {epochs[-1].epoch}; {REMEDY}")
    for name in ("test_accuracy", "holdout_accuracy", "holdout_loss"):
        if len({getattr(one, name) is None for one in epochs}) > 1:
            raise FileError(f"{path} has {name} in some rows alone; {REMEDY}")
    return tuple(epochs)


def _begin_with(prefix: str, columns: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """The columns whose names begin so, by what follows."""
    return {name.removeprefix(prefix): values for name, values in columns.items() if name.startswith(prefix)}


def check_result(found: Mapping[str, Any], expected: Mapping[str, Any], path: Path) -> None:
    """Refuse a result that contradicts the epochs that it is of.

    Args:
        found: in ``result.json``.
        expected: what the epochs give; keys that the file doesn't have are passed over.
        path: of the file, for messages.

    Raises:
        FileError: if a value differs.
    """
    for key, value in expected.items():
        if key in found and found[key] != value:
            raise FileError(f"{path}: {key} is {shown(found[key])}, but the epochs give {shown(value)}; {REMEDY}")


def read_cell(text: str) -> int | float | str | None:
    """A value of a CSV file: a number where it is one, else the text; None where there is nothing.

    Examples:
        >>> read_cell("1"), read_cell("0.5"), read_cell(""), read_cell("x")
        (1, 0.5, None, 'x')
    """
    if not text:
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
