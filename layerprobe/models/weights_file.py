"""Weights files of several formats, read without ever running code that they may hold."""

from __future__ import annotations

import argparse
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from layerprobe.errors import LayerprobeError
from layerprobe.files import check_archive, special_file

State = Mapping[str, Tensor]
"""A state dict: tensor by name, on the CPU."""
_DEEPEST = 3
_OTHERS = {
    b"version https://git-lfs": "a pointer of Git LFS, which stands for the file itself: `git lfs pull` fetches that",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
    b"\x89HDF\r\n": "an HDF5 file, as Keras writes it",
    b"\x1f\x8b": "compressed with gzip: unpack it",
}
"""What weights files turn out to be, by their first bytes."""


@dataclass(frozen=True)
class Weights:
    """The content of a weights file.

    Attributes:
        parts: the state dicts in it by the keys that lead to each, with dots between them; a bare one has the key "".
        metadata: text by key, from the header of a ``.safetensors`` file; empty for other formats.
    """

    parts: Mapping[str, State]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """The state dict with most tensors."""
        return max(self.parts.values(), key=len)


def read_weights(path: Path) -> Weights:
    """Read a file of safetensors or of ``torch.save``, whatever its name ends in.

    Raises:
        LayerprobeError: if there is no such file, it can't be read without running code, or it holds no state dict.
    """
    if not path.is_file():
        found = special_file(path)
        what = f"is {found}" if found else "does not exist"
        raise LayerprobeError(
            f"the weights file {path} {what}; name a file of safetensors or of torch.save (.safetensors, .pt, .pth, "
            ".ckpt, .bin, ...)"
        )
    with path.open("rb") as file:
        start = file.read(32)
    if start[8:9] == b"{":  # the length of the header, then its JSON
        state, metadata = _read_safetensors(path)
        parts: dict[str, State] = {"": state}
    elif start.startswith((b"PK", b"\x80")):  # a zip archive, or a pickle of protocol 2 and later
        content, metadata = _read_pickle(path), {}
        parts = dict(_find_states(content))
        if not parts:
            raise _without_state(path, content)
    else:
        raise LayerprobeError(
            f"{path} is {_describe(start)}, and no weights file of safetensors or torch.save; get the weights anew"
        )
    if not any(parts.values()):
        raise LayerprobeError(f"{path} holds no tensors; save the model's state_dict() in it")
    _check_sizes(parts, path)
    return Weights(parts, metadata)


def _check_sizes(parts: Mapping[str, State], path: Path) -> None:
    """Refuse tensors that repeat one value: of some bytes, the network that is made for them has gigabytes."""
    size = path.stat().st_size
    for state in parts.values():
        for name, value in state.items():
            if value.layout == torch.strided and value.nbytes > size:
                raise LayerprobeError(f"{path}: {name!r} is a tensor of more values than the file has; save it whole")


def _describe(start: bytes) -> str:
    """What a file is that begins with these bytes."""
    if not start:
        return "empty"
    known = (words for magic, words in _OTHERS.items() if start.lower().startswith(magic.lower()))
    return next(known, f"a file that begins with {start[:12]!r}")


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, "safetensors", error) from error


def _read_pickle(path: Path) -> Any:
    check_archive(path)
    try:
        # A namespace is plain data: training scripts keep their options in one.
        allowed = torch.serialization.safe_globals([argparse.Namespace])
        # Of a path torch looks at the ending first; of an open file at the content alone.
        with path.open("rb") as file, warnings.catch_warnings(), allowed:
            # Warnings about the pickle's age or protocol are no business of the user's.
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        if not found and "truncated" in str(error):
            raise _unreadable(path, "torch.save", error.__cause__ or error) from error
        objects = f" ({found[1]})" if found else ""
        raise LayerprobeError(
            f"{path} holds arbitrary Python objects{objects}, which could run code when read, so it is refused; "
            "where you trust it, load it yourself and save model.state_dict() as .safetensors or with torch.save"
        ) from error
    except Exception as error:  # damaged bytes make the unpickler raise errors of any kind
        raise _unreadable(path, "torch.save", error) from error


def _unreadable(path: Path, writer: str, error: BaseException) -> LayerprobeError:
    # Behind its first sentence torch guesses at the cause.
    reason = (str(error).splitlines() or [type(error).__name__])[0].partition(". ")[0]
    return LayerprobeError(f"{path} can't be read as a file of {writer}: {reason}; get it anew")


def _find_states(content: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, State]]:
    """Every mapping in a file that has tensors by names; values of another kind beside them are no weights."""
    if not isinstance(content, Mapping):
        return
    named = {key: value for key, value in content.items() if isinstance(key, str)}
    tensors = {name: value.detach() for name, value in named.items() if isinstance(value, Tensor)}
    if tensors or not content:
        yield ".".join(path), tensors
    if len(path) < _DEEPEST:
        for key, value in named.items():
            yield from _find_states(value, (*path, key))


def _without_state(path: Path, content: object) -> LayerprobeError:
    keys = ", ".join(map(repr, list(content)[:5])) if isinstance(content, Mapping) else type(content).__name__
    return LayerprobeError(
        f"{path} holds no state dict (a tensor per name), neither bare nor under a key; found: {keys}; "
        "save model.state_dict()"
    )
