"""Models from a user's own Python file, named ``FILE.py:callable``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from layerprobe.errors import LayerprobeError
from layerprobe.plugins import importing_from, load_function, one_line


def build_from_file(path: Path, function: str, num_classes: int | None, image_size: int | None) -> nn.Module:
    """Call a function of a user's file, which returns a model.

    Args:
        path: the file; it is run anew, with its folder on the import path.
        function: name of a function or class in it.
        num_classes: passed as ``num_classes=`` if it is not None and the function takes it; one that doesn't can't
            leave the classifier out, which 0 asks for.
        image_size: passed as ``image_size=``, likewise.

    Raises:
        LayerprobeError: if the file can't be run, lacks the function, or the function fails or returns no module.
    """
    what = f"{path}:{function}"
    build = load_function(what)
    wanted = {"num_classes": num_classes, "image_size": image_size}
    arguments = {key: value for key, value in wanted.items() if value is not None and _takes(build, key)}
    if num_classes == 0 and "num_classes" not in arguments:
        raise LayerprobeError(
            f"{what} takes no num_classes, and so builds no network without its classifier; add num_classes to its "
            "parameters, or leave the 0 out"
        )
    with importing_from(path.absolute().parent):
        try:
            model = build(**arguments)
        except (LayerprobeError, KeyboardInterrupt):
            raise
        except BaseException as error:  # sys.exit too
            raise LayerprobeError(f"{what} failed: {one_line(error)}; it is called with {arguments}") from error
    if not isinstance(model, nn.Module):
        raise LayerprobeError(f"{what} returns a torch.nn.Module, not {type(model).__name__}; return the model itself")
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
