"""Weights put into a network, written and hashed."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from layerprobe.errors import LayerprobeError, first_of
from layerprobe.files import write_bytes
from layerprobe.models.adapt import POSITIONS, Kernels, adapt_weights, new_classifier, shape_of
from layerprobe.models.classifier import classifier_names
from layerprobe.models.fit import Fit, Fitting, fit_weights
from layerprobe.models.weights_file import Weights
from layerprobe.records.adaptation import Adaptation
from layerprobe.settings.base import SettingsError

_log = logging.getLogger(__name__)


def load_weights(
    model: nn.Module,
    weights: Weights,
    what: str,
    key: str | None = None,
    fitting: Fitting | None = None,
    trained: bool = False,
    adapt: Kernels | None = None,
) -> tuple[Adaptation, ...]:
    """Put weights into a model: all of them, or none and an error. What isn't loaded as it stands there is logged.

    Batch-normalization counters (``num_batches_tracked``) may be missing: old files lack them.

    Args:
        model: it keeps its device and its dtypes.
        weights: what ``read_weights`` gave.
        what: the file's name, which messages start with.
        key: of the part of the file that is to be taken; None: what fits best.
        fitting: what ``fit_weights`` found for this model; None: that is done here.
        trained: whether the model will be trained: then the classifier may keep its initial weights where the file has
            none, or one of another number of classes.
        adapt: how weights of another form are brought to the model's, see ``adapt_weights``; None: they are refused.

    Returns:
        What of the model's weights isn't in the file as it is in the model.

    Raises:
        LayerprobeError: if a tensor is missing, unexpected, of another shape, or no dense tensor of real numbers.
    """
    fitting = fitting or fit_weights(model, weights, what, key)
    fit, own = fitting.chosen, model.state_dict()
    adapted: tuple[Adaptation, ...] = ()
    if adapt and fit.state:
        _check_usual(fit, what)
        fit, adapted = adapt_weights(model, fit, adapt, what)
    head = classifier_names(model)
    other = head.intersection({*fit.missing, *fit.shapes}) if trained else set()
    if (complaint := _complaint(fit, own, what, head, other)) is not None:
        brought = trained and not adapt and fit.state and _is_adaptable(model, fit, what)
        raise SettingsError(complaint + ("; <adapt> brings them to the model's form" if brought else ""))
    _check_usual(fit, what)
    _check_kinds(fit, own, what)
    model.load_state_dict({name: value for name, value in fit.state.items() if name not in other}, strict=False)
    if said := str(fitting):
        _log.info("%s: %s", what, said, extra={"once": True})
    for one in adapted:
        _log.info("%s: %s", what, one)
    if other:
        found = f"has {fit.classes} classes in the file" if other - {*fit.missing} else "is not in the file"
        _log.info("%s: the classifier (%s) %s; it starts from random weights", what, first_of(sorted(other)), found)
        return (new_classifier(other, fit.state, own),)
    return adapted


def _is_adaptable(model: nn.Module, fit: Fit, what: str) -> bool:
    """Whether ``adapt_weights`` brings weights to a model's form."""
    try:
        _check_usual(fit, what)
        return adapt_weights(model, fit, "resample", what)[0].is_whole
    except LayerprobeError:
        return False


def _complaint(fit: Fit, own: dict[str, Tensor], what: str, head: set[str], exempt: set[str]) -> str | None:
    """What is wrong with weights that aren't those of the model; None: nothing.

    Args:
        fit: what the file has in common with the model.
        own: the model's state.
        what: the file's name.
        head: names of the model's classifier.
        exempt: names that may be missing, or of another shape.
    """
    missing = [name for name in fit.missing if name not in exempt]
    shapes = [name for name in fit.shapes if name not in exempt]
    if not (missing or shapes or fit.unexpected):
        return None
    if not fit.state:
        names = first_of(fit.unexpected or fit.left_out)
        return (
            f"{what}: none of the names in the file ({names}) is one of the model's ({first_of(list(own))}); <name> "
            "must be the model that the weights are of"
        )
    if missing and not shapes and not fit.unexpected and head.issuperset(missing):
        verb = "are" if missing[1:] else "is"
        return (
            f"{what}: the file has no classifier: of the model's tensors only {' and '.join(missing)} {verb} missing"
            f"{_beside(fit)}; give <num_classes> 0 to take the network without it"
        )
    described = [f"{n} is {shape_of(fit.state[n])} in the file, {shape_of(own[n])} in the model" for n in shapes]
    problems = [f"missing in the file: {_some(missing)}"] if missing else []
    problems += [f"not in the model: {_some(fit.unexpected)}"] if fit.unexpected else []
    problems += [_some(described, "; ")] if shapes else []
    remedy = _remedy(fit, set(missing), set(shapes), head)
    return (
        f"{what}: the weights don't fit the model: {fit.common} of its {len(own)} tensors do; "
        f"{'; '.join(problems)}; {remedy}"
    )


def _beside(fit: Fit) -> str:
    """What a file holds that isn't the network's: a head of its own, where the classifier should be."""
    return f", and beside them the file holds {first_of(fit.left_out)}" if fit.left_out else ""


def _remedy(fit: Fit, missing: set[str], shapes: set[str], head: set[str]) -> str:
    """What to do about tensors that are missing, or have other shapes, where that is known of all of them.

    Args:
        fit: what the file has in common with the model.
        missing: names of tensors that aren't in the file.
        shapes: names of tensors that have other shapes there.
        head: names of the model's classifier.
    """
    positions = {name for name in shapes if name.rpartition(".")[2] in POSITIONS}
    other = shapes & head
    if fit.unexpected or missing - head or shapes - head - positions or (other and not fit.classes):
        return "<name> must be the model that the weights are of"
    remedies = ["the file has no classifier: give <num_classes> 0 to take the network without it"] if missing else []
    if other:
        remedies.append(f"the classifier in the file has {fit.classes} classes: give <num_classes> {fit.classes}")
    if positions:
        remedies.append("position embeddings have an entry per patch: give the <data.image_size> of the weights")
    return "; ".join(remedies)


def _check_kinds(fit: Fit, own: dict[str, Tensor], what: str) -> None:
    for name, value in fit.state.items():
        if _kind(value) != _kind(own[name]):
            found, wanted = (str(tensor.dtype).removeprefix("torch.") for tensor in (value, own[name]))
            raise LayerprobeError(
                f"{what}: {name!r} is {found} in the file, {wanted} in the model: numbers of another kind, such as "
                "those of quantized weights, would be taken for others; save the weights as floating-point numbers"
            )


def _kind(tensor: Tensor) -> tuple[bool, bool]:
    """Whether a tensor has fractions, and whether it has truth values: kinds between which nothing is converted."""
    return tensor.is_floating_point(), tensor.dtype == torch.bool


def _check_usual(fit: Fit, what: str) -> None:
    for name, value in fit.state.items():
        if found := _unusual(value):
            raise LayerprobeError(
                f"{what}: {name!r} is {found}, and weights are dense tensors of real numbers; save it as one"
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


def _some(items: Sequence[str], separator: str = ", ") -> str:
    more = f"{separator}and {len(items) - 3} more" if len(items) > 3 else ""
    return separator.join(items[:3]) + more


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
