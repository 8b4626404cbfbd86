"""The state of a training on disk: at any moment one whole state lies there, however the process ends."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from layerprobe.errors import LayerprobeError
from layerprobe.files import check_archive, special_file, write_bytes
from layerprobe.models.weights import save_weights
from layerprobe.records.checkpoint_file import CheckpointState, parse_checkpoint

LATEST, BEST, DIVERGED = "latest", "best", "diverged"
WEIGHTS, STATE = "weights.safetensors", "state.pt"


@dataclass(frozen=True)
class Saved:
    """A state that was read back.

    Attributes:
        path: where it lies.
        weights: the student's tensors by name.
        state: plain values and tensors of everything else, as the trainer gave them.
    """

    path: Path
    weights: dict[str, Tensor]
    state: dict[str, Any]

    def check(self) -> CheckpointState:
        """What the state says of the training.

        Raises:
            FileError: if something is missing or wrong.
        """
        return parse_checkpoint(self.state, self.path)


class Checkpoints:
    """Folders ``latest`` and ``best``, each with the student's weights and the rest of the training's state.

    A state is written beside the one that it replaces, and takes its name only once it is whole on the disk.

    Args:
        folder: holds the states; made when the first is written.
        metadata: text by key, for the header of the weights files.
    """

    def __init__(self, folder: Path, metadata: dict[str, str]) -> None:
        self.folder = folder
        self._metadata = metadata

    def save(self, name: str, student: nn.Module, state: Mapping[str, Any]) -> Path:
        """Write a state; the one that had this name before is there until the new one is whole.

        Raises:
            LayerprobeError: if it can't be written.
        """
        target, old, partial = self._places(name)
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            save_weights(student, partial / WEIGHTS, self._metadata)
            # To memory first: where a signal interrupts the writing of a file, torch's C++ reports another error.
            content = io.BytesIO()
            torch.save(dict(state), content)
            write_bytes(partial / STATE, content.getbuffer())
            if target.exists():
                shutil.rmtree(old, ignore_errors=True)
                target.rename(old)
            partial.rename(target)
            shutil.rmtree(old, ignore_errors=True)
        except (OSError, LayerprobeError) as error:
            shutil.rmtree(partial, ignore_errors=True)  # the disk may have no room for it
            cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
            reason = getattr(cause, "strerror", None) or cause
            raise LayerprobeError(
                f"can't write the checkpoint {target}: {reason}; make room, then go on with --resume"
            ) from error
        return target

    def tidy(self) -> None:
        """Put right what a writer left that was killed while it saved a state."""
        for name in (LATEST, BEST, DIVERGED):
            target, old, partial = self._places(name)
            shutil.rmtree(partial, ignore_errors=True)
            if target.exists():
                shutil.rmtree(old, ignore_errors=True)
            elif old.exists():
                old.rename(target)

    def load(self, name: str) -> Saved | None:
        """Read a state back; None where there is none. No code that a file may hold is run.

        Raises:
            LayerprobeError: if it is damaged.
        """
        target, old, _ = self._places(name)
        found = next((path for path in (target, old) if path.is_dir()), None)
        if found is None:
            return None
        for file in (found / STATE, found / WEIGHTS):
            if special := special_file(file):
                raise LayerprobeError(f"{file} is {special}, not a checkpoint; start anew with --overwrite")
        try:
            check_archive(found / STATE)
            state = torch.load(found / STATE, map_location="cpu", weights_only=True)
            return Saved(found, load_file(found / WEIGHTS), state)
        except Exception as error:  # damaged bytes make the unpickler raise errors of any kind
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise LayerprobeError(
                f"the checkpoint {found} can't be read ({reason}); start anew with --overwrite"
            ) from error

    def remove(self) -> None:
        """Delete every state."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _places(self, name: str) -> tuple[Path, Path, Path]:
        """A state's own place, where the one before it waits, and where the next one is written."""
        return self.folder / name, self.folder / f".{name}.old", self.folder / f".{name}.partial"
