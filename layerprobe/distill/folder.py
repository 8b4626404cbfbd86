"""The run folder: configuration first, metrics as they come, weights and result at the end."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from layerprobe.distill.old_runs import labels_reached_backbone, setting_of
from layerprobe.distill.resume_check import MAY_DIFFER, changed_plugin, differing_settings
from layerprobe.errors import LayerprobeError, first_of
from layerprobe.files import (
    append_text,
    check_replaceable,
    is_temporary,
    read_csv,
    read_json,
    read_yaml,
    remove_leftovers,
    write_json,
    write_text,
    write_yaml,
)
from layerprobe.locks import HeldError, holding
from layerprobe.models.weights import save_weights
from layerprobe.records import EpochMetrics, Run
from layerprobe.records.run_files import CONSTANTS, LOSSES, REMEDY, check_result, parse_metrics, parse_result, read_cell
from layerprobe.settings.base import SettingsError
from layerprobe.settings.configuration import complete_config, differences, read_run_config, recorded_settings
from layerprobe.settings.run import DistillSettings, TrainSettings

CONFIG, METRICS, RESULT, CHECKPOINTS = "config.yaml", "metrics.csv", "result.json", "checkpoints"
PAGE = "report.html"
"""The page of `layerprobe report`."""
HEAD = "head.safetensors"
"""The linear head that `layerprobe evaluate --save-head` keeps."""
EVENTS = "tensorboard"
"""Folder of TensorBoard's event files."""
CONFUSION, EVALUATION = "confusion", "evaluation"
"""How the names of the files begin that `layerprobe evaluate` keeps: of the figure, and of the scores of features."""
_DRAWN = tuple(
    f"{name}.{ending}" for name in ("curves", CONFUSION, f"{CONFUSION}-*") for ending in ("pdf", "svg", "png", "csv")
)
WEIGHTS = {"distill": "student.safetensors", "train": "model.safetensors"}
"""The weights file of a run, by its command."""
_EVALUATED = (f"{EVALUATION}.json", f"{EVALUATION}-*.json", HEAD)
_REPLACED = (RESULT, METRICS, *WEIGHTS.values(), *_DRAWN, *_EVALUATED, PAGE)
"""What a new run deletes of an older one."""


class OtherRunError(LayerprobeError):
    """The run that shall go on isn't the one that lies in the folder.

    Args:
        message: for a person.
        difference: the first, e.g. ``training.epochs 3, not 4``.
    """

    def __init__(self, message: str, difference: str) -> None:
        super().__init__(message)
        self.difference = difference


class RunFolder:
    """Writes one run.

    Args:
        path: the folder; it is made when the run begins.
        overwrite: whether a run that lies there may be replaced.
        resume: whether to go on with a run that lies there.

    Raises:
        LayerprobeError: if the folder holds something and may not be overwritten, isn't a run that can go on, or is a
            file.
    """

    def __init__(self, path: Path, overwrite: bool = False, resume: bool = False) -> None:
        self.path = path
        if path.exists() and not path.is_dir():
            raise SettingsError(f"{path} is a file; <output> names the run folder to make")
        self._found = filled, _ = self._state()
        if filled and not overwrite and not resume:
            raise SettingsError(
                f"{path} exists and is not empty; <overwrite> replaces the run in it, <resume> goes on with it"
            )
        if filled and resume and not (path / CONFIG).is_file():
            raise SettingsError(
                f"{path} holds no run: it has no {CONFIG}; name the run's folder, or leave <resume> out"
            )
        self.goes_on = filled and resume
        if filled and not self.goes_on:
            self._check_replaceable()

    def _check_replaceable(self) -> None:
        """Refuse to replace what bears the name of a run's file, and belongs to something else.

        Raises:
            LayerprobeError: if there is such a file.
        """
        check_replaceable(self.path / CONFIG, "the configuration of a run", lambda head: b"command:" in head)
        if (self.path / CONFIG).is_file():
            return
        for pattern in _REPLACED:
            if stale := next(self.path.glob(pattern), None):
                raise SettingsError(
                    f"{self.path} holds no run, for it has no {CONFIG}, but <overwrite> would replace {stale.name} in "
                    "it; remove that yourself, or name another <output>"
                )

    def _state(self) -> tuple[bool, bool]:
        """Whether there is something in the folder, and whether that is a finished run."""
        filled = self.path.is_dir() and any(not is_temporary(file) for file in self.path.iterdir())
        return filled, self.finished

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other runs from writing into the folder for the length of a block.

        What killed writers left in it is deleted.

        Raises:
            HeldError: if another process writes into it, or has since it was looked at.
        """
        with holding(self.path):
            if self._state() != self._found:
                raise HeldError(self.path)
            remove_leftovers(self.path, held=True)
            yield

    @property
    def checkpoints(self) -> Path:
        """Where the states of the training lie."""
        return self.path / CHECKPOINTS

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return (self.path / RESULT).is_file()

    def start(self, config: Mapping[str, Any]) -> None:
        """Write the resolved configuration; what an older run left is removed, and other files stay."""
        for pattern in _REPLACED:
            for stale in self.path.glob(pattern):
                stale.unlink()
        shutil.rmtree(self.path / EVENTS, ignore_errors=True)
        write_yaml(self.path / CONFIG, config)

    def check_settings(self, settings: DistillSettings | TrainSettings) -> None:
        """Refuse to take the finished run that lies here for another one.

        Args:
            settings: that are given now.

        Raises:
            LayerprobeError: if the run has others.
        """
        if found := differing_settings(settings, recorded_settings(self.path / CONFIG)):
            raise SettingsError(
                f"{self.path} holds a finished run with {'; '.join(found)}; another run takes another <output>, or "
                "<overwrite> in place of <resume>"
            )

    def check_plugins(self, settings: DistillSettings | TrainSettings) -> None:
        """Refuse to go on with a run whose plug-ins have changed since it was begun.

        Raises:
            OtherRunError: if the file of one is another one.
        """
        name = changed_plugin(settings, read_run_config(self.path / CONFIG).get("plugins", {}))
        if name is not None:
            raise OtherRunError(
                f"{name} is another file than when the run in {self.path} was begun; put that file back, or start "
                "another run with another --output",
                f"another {name}",
            )

    def check_same(self, config: Mapping[str, Any]) -> None:
        """Refuse to go on with another run than the one that lies here.

        Raises:
            OtherRunError: if its configuration differs.
        """
        here = read_run_config(self.path / CONFIG)
        unsaid = () if CONSTANTS in here else (CONSTANTS,)  # an earlier version began it
        without = (*MAY_DIFFER, "data.upright", *unsaid)  # preprocessing has data.upright
        found = differences(json.loads(json.dumps(dict(config))), here, without)
        if found:
            raise OtherRunError(
                f"--resume goes on with the run as it was, but {self.path} has {first_of(found)}; leave the option "
                "out, or start another run with --config and another --output",
                found[0],
            )

    def write_epochs(self, history: Sequence[EpochMetrics]) -> None:
        """Write the metrics of these epochs and of no other."""
        if history:
            write_text(self.path / METRICS, _metrics_text(list(map(_metrics_row, history))))
        else:
            (self.path / METRICS).unlink(missing_ok=True)

    def add_epoch(self, metrics: EpochMetrics) -> None:
        """Add one epoch to the metrics; they hold no times, so that the same run is the same file."""
        path, row = self.path / METRICS, _metrics_row(metrics)
        before = read_csv(path, "metrics", REMEDY) if path.exists() else []
        if not before:
            append_text(path, _metrics_text([row]))
        elif row.keys() <= before[0].keys():
            append_text(path, _metrics_text([row], list(before[0])))
        else:  # a loss term that no epoch had before
            write_text(path, _metrics_text([*before, row]))

    def files(self, weights: str) -> tuple[Path, ...]:
        """Every file of a finished run whose weights have this name, without checkpoints."""
        return tuple(self.path / name for name in (CONFIG, METRICS, weights, RESULT))

    def finish(self, run: Run, model: nn.Module, metadata: dict[str, str]) -> None:
        """Write the weights, then the result: a folder with a result is complete."""
        save_weights(model, run.weights, metadata)
        write_json(self.path / RESULT, run.to_dict())


def tidy_run(folder: Path) -> None:
    """Delete what a writer left that was killed when its run was finished already."""
    if any(map(is_temporary, folder.iterdir())):
        with suppress(OSError, HeldError), holding(folder):
            remove_leftovers(folder, held=True)


@dataclass(frozen=True)
class RunRecord:
    """What the files of a finished run hold, as plain values.

    Attributes:
        config: of ``config.yaml``, by the keys of the version that wrote it.
        result: of ``result.json``.
        metrics: of ``metrics.csv``, column by column: a value per epoch, None where there is none.
    """

    config: Mapping[str, Any]
    result: Mapping[str, Any]
    metrics: Mapping[str, Sequence[Any]]


def read_run(folder: Path) -> Run:
    """A finished run, from its folder.

    Raises:
        LayerprobeError: if there is none.
    """
    return build_run(folder, read_record(folder))


def read_record(folder: Path) -> RunRecord:
    """What the files of a finished run hold.

    Raises:
        LayerprobeError: if the folder holds no finished run, or a file of it can't be read.
    """
    for name in (CONFIG, RESULT, METRICS):
        if not (folder / name).is_file():
            raise LayerprobeError(
                f"{folder} is no finished run: it has no {name}; `layerprobe distill` makes one, and --resume "
                "finishes it"
            )
    config = read_yaml(folder / CONFIG, "configuration", REMEDY)
    result = read_json(folder / RESULT, "result", REMEDY)
    rows = read_csv(folder / METRICS, "metrics", REMEDY)
    metrics = {name: [read_cell(row[name]) for row in rows] for name in (rows[0] if rows else ())}
    return RunRecord(config, result, metrics)


def build_run(folder: Path, record: RunRecord) -> Run:
    """A finished run, from what its files hold.

    Args:
        folder: of the run.
        record: what its files hold, or held where only the record was kept.

    Raises:
        LayerprobeError: if something is missing, or of another type.
    """
    config = complete_config(record.config, folder / CONFIG)
    result = parse_result(record.result, folder / RESULT)
    setting = result.setting or setting_of(config)
    labels = result.labels_reach_backbone
    weights = folder / WEIGHTS[config["command"]]
    run = Run(
        folder=folder,
        weights=weights,
        files=RunFolder(folder, resume=True).files(weights.name),
        method=result.method,
        config=config,
        epochs=parse_metrics(record.metrics, result.epoch_seconds, folder / METRICS),
        labels_reach_backbone=labels_reached_backbone(config) if labels is None else labels,
        teacher_accuracy=result.teacher_accuracy,
        wall_seconds=result.wall_seconds,
        peak_memory=result.peak_memory_bytes,
        resumed_after=result.resumed_after_epochs,
        environment=record.result["environment"],
        setting=setting,
    )
    check_result({**record.result, "setting": setting}, run.to_dict(), folder / RESULT)
    return run


def _metrics_row(metrics: EpochMetrics) -> dict[str, Any]:
    """An epoch, by the columns of the metrics."""
    return {
        "epoch": metrics.epoch,
        "test_accuracy": metrics.test_accuracy,
        "holdout_accuracy": metrics.holdout_accuracy,
        "learning_rate": metrics.learning_rate,
        **{f"{prefix}{name}": value for key, prefix in LOSSES.items() for name, value in getattr(metrics, key).items()},
    }


def _metrics_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    """Epochs as lines of CSV.

    Args:
        rows: by column; a loss term that an epoch does not have is an empty cell.
        columns: of the file that the lines are for; empty: those of the rows, whose names come first then.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=columns or list(dict.fromkeys(name for row in rows for name in row)))
    if not columns:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
