"""Models from a user's own Python file, named ``FILE.py:callable``."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from layerprobe.errors import LayerprobeError
from layerprobe.models.classifier import declare_no_classifier
from layerprobe.plugins import importing_from, load_function, one_line

_log = logging.getLogger(__name__)


def build_from_file(path: Path, function: str, num_classes: int | None, image_size: int | None) -> nn.Module:
    """Call a function of a user's file, which returns a model.

    Args:
        path: the file; it is run anew, with its folder on the import path.
        function: name of a function or class in it.
        num_classes: passed as ``num_classes=`` if it is not None and the function takes it. Of one that doesn't take it
            0 says that the network has no classifier, and what it returns is taken for features.
        image_size: passed as ``image_size=``, likewise.

    Raises:
        LayerprobeError: if the file can't be run, lacks the function, or the function fails or returns no module.
    """
    what = f"{path}:{function}"
    build = load_function(what)
    wanted = {"num_classes": num_classes, "image_size": image_size}
    arguments = {key: value for key, value in wanted.items() if value is not None and _takes(build, key)}
    with importing_from(path.absolute().parent):
        try:
            model = build(**arguments)
        except (LayerprobeError, KeyboardInterrupt):
            raise
        except BaseException as error:  # sys.exit too
            raise LayerprobeError(f"{what} failed: {one_line(error)}; it is called with {arguments}") from error
    if not isinstance(model, nn.Module):
        raise LayerprobeError(f"{what} returns a torch.nn.Module, not {type(model).__name__}; return the model itself")
    if num_classes == 0:
        if "num_classes" not in arguments:
            _log.warning("%s takes no num_classes: what its network returns is taken for features, no logits", what)
        declare_no_classifier(model)
    return model


def _takes(function: Callable[..., Any], argument: str) -> bool:
    """Whether a function can be called with ``argument=``."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # some built-in callables have no signature
        return False
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    named = argument in parameters and parameters[argument].kind in kinds
    return named or any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
