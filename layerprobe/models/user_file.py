"""Models and other functions from a user's own Python file, named ``FILE.py:callable``."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from layerprobe.errors import LayerprobeError, closest


def split_file_name(name: str) -> tuple[Path, str] | None:
    """The file and the callable of ``FILE.py:callable``; None where the name is of another kind.

    Example:
        >>> split_file_name("nets/mine.py:small")[1]
        'small'
        >>> split_file_name("cifar:resnet20") is None
        True

    Raises:
        LayerprobeError: if the name is a ``.py`` file without a callable.
    """
    file, _, function = name.rpartition(":")
    if name.endswith(".py") or (file.endswith(".py") and not function):
        raise LayerprobeError(f"what comes from a file is FILE.py:callable, not {name!r}; add the name of the function")
    return (Path(file), function) if file.endswith(".py") else None


def build_from_file(path: Path, function: str, num_classes: int | None, image_size: int | None) -> nn.Module:
    """Call a function of a user's file, which returns a model.

    Args:
        path: the file; it is run anew, with its folder on the import path.
        function: name of a function or class in it.
        num_classes: passed as ``num_classes=`` if it is not None and the function takes it.
        image_size: passed as ``image_size=``, likewise.

    Raises:
        LayerprobeError: if the file can't be run, lacks the function, or the function fails or returns no module.
    """
    what = f"{path}:{function}"
    with _on_import_path(path.absolute().parent):
        build = _find(_run(path), path, function)
        wanted = {"num_classes": num_classes, "image_size": image_size}
        arguments = {key: value for key, value in wanted.items() if value is not None and _takes(build, key)}
        try:
            model = build(**arguments)
        except LayerprobeError:
            raise
        except Exception as error:
            raise LayerprobeError(f"{what} failed: {_one_line(error)}; it is called with {arguments}") from error
    if not isinstance(model, nn.Module):
        raise LayerprobeError(f"{what} returns a torch.nn.Module, not {type(model).__name__}; return the model itself")
    return model


def load_function(name: str) -> Callable[..., Any]:
    """A function of a user's file, named ``FILE.py:callable``.

    Raises:
        LayerprobeError: if the name is of another kind, the file can't be run, or lacks the function.
    """
    parts = split_file_name(name)
    if parts is None:
        raise LayerprobeError(f"a function of your own is FILE.py:callable, not {name!r}; name its file")
    path, function = parts
    with _on_import_path(path.absolute().parent):
        return _find(_run(path), path, function)


@contextmanager
def _on_import_path(folder: Path) -> Iterator[None]:
    """Let a file import its neighbours, as it could if it were run as a script."""
    before = list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = before


def _run(path: Path) -> ModuleType:
    if not path.is_file():
        raise LayerprobeError(f"no file {path}; name it as FILE.py:callable")
    unique = hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(f"layerprobe_user_{path.stem}_{unique}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[spec.name]
        raise LayerprobeError(f"{path} can't be imported: {_one_line(error)}; correct the file") from error
    return module


def _find(module: ModuleType, path: Path, function: str) -> Callable[..., Any]:
    found = getattr(module, function, None)
    if callable(found):
        return found  # type: ignore[no-any-return]
    defined = [
        name
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")
    ]
    hint = closest(function, defined) if defined else "it defines no functions"
    raise LayerprobeError(f"{path} has no function {function!r}; {hint}")


def _takes(function: Callable[..., Any], argument: str) -> bool:
    """Whether a function can be called with ``argument=``."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # some built-in callables have no signature
        return False
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    named = argument in parameters and parameters[argument].kind in kinds
    return named or any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
