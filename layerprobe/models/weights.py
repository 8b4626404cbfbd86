"""Weights: reading files of several formats, checking them against a model, writing and hashing."""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from layerprobe.errors import LayerprobeError
from layerprobe.files import special_file, write_bytes
from layerprobe.settings.base import SettingsError

_PICKLE_SUFFIXES = (".pt", ".pth", ".th")
_STATE_KEYS = ("state_dict", "model", "model_state_dict")
# DataParallel and torch.compile put these before every name.
_PREFIXES = ("module.", "_orig_mod.")
_HEAD = re.compile(r"^(fc|head|heads|linear|classifier|last_linear|output|logits)\.")


@dataclass(frozen=True)
class Weights:
    """The content of a weights file.

    Attributes:
        state: tensor by name, on the CPU.
        metadata: text by key, from the header of a ``.safetensors`` file; empty for other formats.
    """

    state: dict[str, Tensor]
    metadata: dict[str, str] = field(default_factory=dict)


def read_weights(path: Path) -> Weights:
    """Read a ``.safetensors``, ``.pt``, ``.pth`` or ``.th`` file without ever running code that it may hold.

    The state dict may lie under ``state_dict``, ``model`` or ``model_state_dict``. The prefixes ``module.`` and
    ``_orig_mod.`` are removed where all names carry them.

    Raises:
        LayerprobeError: if there is no such file, or it can't be read, or holds no state dict.
    """
    if not path.is_file():
        found = special_file(path)
        what = f"is {found}" if found else "does not exist"
        raise LayerprobeError(f"the weights file {path} {what}; --weights takes a .safetensors, .pt, .pth or .th file")
    if path.suffix == ".safetensors":
        state, metadata = _read_safetensors(path)
    elif path.suffix in _PICKLE_SUFFIXES:
        state, metadata = _find_state(_read_pickle(path), path), {}
    else:
        raise LayerprobeError(
            f"a weights file ends in .safetensors, .pt, .pth or .th, not in {path.suffix or 'no suffix'!r} ({path})"
        )
    if not state:
        raise LayerprobeError(f"{path} holds no tensors; save the model's state_dict() in it")
    for name, value in state.items():
        if found := _unusual(value):
            raise LayerprobeError(
                f"{path}: {name!r} is {found}, and weights are dense tensors of real numbers; save it as one"
            )
    return Weights(_strip_prefixes(state), metadata)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _corrupt(path, error) from error


def _read_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # Warnings about the pickle's age or protocol are no business of the user's.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not _is_pickle(path):
            raise _corrupt(path, None) from error
        found = re.search(r"GLOBAL (\S+)", str(error))
        objects = f" ({found[1]})" if found else ""
        raise LayerprobeError(
            f"{path} holds arbitrary Python objects{objects}, which could run code when read, so it is refused; "
            "where you trust it, load it yourself and save model.state_dict() as .safetensors or with torch.save"
        ) from error
    except Exception as error:  # damaged bytes make the unpickler raise errors of any kind
        raise _corrupt(path, error) from error


def _is_pickle(path: Path) -> bool:
    """Whether a file starts as a zip archive or a pickle of protocol 2 or later."""
    with path.open("rb") as file:
        return file.read(2).startswith((b"PK", b"\x80"))


def _corrupt(path: Path, error: Exception | None) -> LayerprobeError:
    lines = str(error).splitlines() if error else []
    reason = f" ({lines[0]})" if lines else ""
    return LayerprobeError(f"{path} can't be read as {path.suffix} weights: damaged or cut short?{reason}; get it anew")


def _find_state(content: object, path: Path) -> dict[str, Tensor]:
    nested = [content.get(key) for key in _STATE_KEYS] if isinstance(content, Mapping) else []
    for candidate in [*nested, content]:
        if isinstance(candidate, Mapping) and all(
            isinstance(name, str) and isinstance(value, Tensor) for name, value in candidate.items()
        ):
            return {name: value.detach() for name, value in candidate.items()}
    keys = ", ".join(map(repr, list(content)[:5])) if isinstance(content, Mapping) else type(content).__name__
    raise LayerprobeError(
        f"{path} holds no state dict (a tensor per name), neither bare nor under {', '.join(_STATE_KEYS)}; "
        f"found: {keys}; save model.state_dict()"
    )


def _unusual(tensor: Tensor) -> str:
    """What makes a tensor no dense one of real numbers, in words; empty: it is one."""
    kinds = {
        "a sparse tensor": tensor.layout != torch.strided,
        "a tensor without values (of the device 'meta')": tensor.is_meta,
        "a quantized tensor": tensor.is_quantized,
        "a nested tensor": tensor.is_nested,
        "a tensor of complex numbers": tensor.is_complex(),
    }
    return next((words for words, applies in kinds.items() if applies), "")


def _strip_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            return _strip_prefixes({name.removeprefix(prefix): value for name, value in state.items()})
    return state


def load_weights(model: nn.Module, weights: Weights, what: str) -> None:
    """Put weights into a model: all of them, or none and an error.

    Batch-normalization counters (``num_batches_tracked``) may be missing: old files lack them.

    Args:
        model: it keeps its device and its dtypes.
        weights: what ``read_weights`` gave.
        what: the file's or the model's name, which the error message starts with.

    Raises:
        LayerprobeError: if a name is missing, unexpected, or of another shape.
    """
    own = model.state_dict()
    missing = [name for name in own if name not in weights.state and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in weights.state if name not in own]
    shapes = [name for name, value in weights.state.items() if name in own and value.shape != own[name].shape]
    described = [f"{n} is {_shape(weights.state[n])} in the file, {_shape(own[n])} in the model" for n in shapes]
    kinds = [name for name, value in weights.state.items() if name in own and _kind(value) != _kind(own[name])]
    if kinds and not missing and not unexpected and not shapes:
        found, wanted = (str(tensors[kinds[0]].dtype).removeprefix("torch.") for tensors in (weights.state, own))
        raise LayerprobeError(
            f"{what}: {kinds[0]!r} is {found} in the file, {wanted} in the model: numbers of another kind, such as "
            "those of quantized weights, would be taken for others; save the weights as floating-point numbers"
        )
    problems = [f"missing in the file: {_first(missing)}"] if missing else []
    problems += [f"not in the model: {_first(unexpected)}"] if unexpected else []
    problems += [_first(described, "; ")] if shapes else []
    if problems:
        only_head = not missing and not unexpected and len(shapes) <= 2
        remedy = (
            _remedy(weights.state, shapes) if only_head else "are they another architecture's? check the model's name"
        )
        raise SettingsError(f"{what}: the weights don't fit the model: {'; '.join(problems)}; {remedy}")
    model.load_state_dict(weights.state, strict=False)


def _kind(tensor: Tensor) -> tuple[bool, bool]:
    """Whether a tensor has fractions, and whether it has truth values: kinds between which nothing is converted."""
    return tensor.is_floating_point(), tensor.dtype == torch.bool


def _first(items: list[str], separator: str = ", ") -> str:
    more = f"{separator}and {len(items) - 3} more" if len(items) > 3 else ""
    return separator.join(items[:3]) + more


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"


def _remedy(state: dict[str, Tensor], shapes: list[str]) -> str:
    """What to do where nothing but some shapes differ: another number of classes, most often."""
    head, classes = _head(state), head_classes(state)
    if head in shapes and classes:
        return f"try <num_classes> {classes}"
    return "is the model built for another size? check the model's name and <data.image_size>"


def head_classes(state: Mapping[str, Tensor]) -> int | None:
    """The number of classes that a state dict's classifier has: the rows of its last matrix.

    A classifier has a usual name (``fc``, ``head``, ``linear``, ``classifier``, ...). Otherwise it is the last
    matrix, if the names are in the model's order (a ``.safetensors`` file sorts them) or there is one only.

    Examples:
        >>> head_classes({"conv.weight": torch.zeros(8, 3, 3, 3), "fc.weight": torch.zeros(100, 8)})
        100

    Returns:
        None where it can't be told.
    """
    head = _head(state)
    return None if head is None else int(state[head].shape[0])


def _head(state: Mapping[str, Tensor]) -> str | None:
    matrices = [name for name, value in state.items() if value.ndim == 2 and name.endswith("weight")]
    if named := [name for name in matrices if _HEAD.match(name)]:
        return named[-1]
    in_order = list(state) != sorted(state)
    return matrices[-1] if matrices and (in_order or len(matrices) == 1) else None


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """A model's state dict on the CPU, contiguous; tensors that share memory are taken apart."""
    state: dict[str, Any] = model.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise LayerprobeError(f"a model's state is made of tensors, but {name!r} is {type(value).__name__}")
    return {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in state.items()}


def save_weights(model: nn.Module, path: Path, metadata: dict[str, str]) -> None:
    """Write a model's weights as safetensors; the file appears under its name only once it is whole.

    Args:
        model: shared tensors are written once per name, so that a strict reader finds every name.
        path: ends in ``.safetensors``; its folder exists.
        metadata: text by key, for the file's header.

    Raises:
        LayerprobeError: if the file can't be written.
    """
    if path.suffix != ".safetensors":
        raise LayerprobeError(
            f"weights are written as .safetensors, not {path.name!r}; name it {path.stem}.safetensors"
        )
    # The library's own writer to a file would leave it readable by its owner alone.
    write_bytes(path, to_safetensors(_tensors(model), metadata))


def hash_weights(model: nn.Module) -> str:
    """The SHA-256 of a model's state: name, dtype, shape and bytes of every entry, in the order of names.

    It does not depend on the file format that the weights came from, nor on the device that they are on.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name, value in sorted(_tensors(model).items()):
        digest.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        # numpy has no bfloat16, so the bytes are read as such.
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
