"""Functions and classes from a user's own Python file, named ``FILE.py:name``."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from layerprobe.errors import LayerprobeError, closest


def split_file_name(name: str) -> tuple[Path, str] | None:
    """The file and the callable of ``FILE.py:callable``; None where the name is of another kind.

    Examples:
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


def load_function(name: str) -> Callable[..., Any]:
    """A function or class of a user's file, named ``FILE.py:callable``. The file is run anew.

    Raises:
        LayerprobeError: if the name is of another kind, the file can't be run, or it lacks the function.
    """
    parts = split_file_name(name)
    if parts is None:
        raise LayerprobeError(f"a function of your own is FILE.py:callable, not {name!r}; name its file")
    path, function = parts
    with importing_from(path.absolute().parent):
        return _find(_run(path), path, function)


@contextmanager
def errors_in_one_line(what: str, given: str) -> Iterator[None]:
    """Report in one line what a user's code raises, and its attempt to exit.

    Args:
        what: the plug-in, such as ``the feature loss mine.py:loss``.
        given: what it was called with.

    Raises:
        LayerprobeError: in place of any other error.
    """
    try:
        yield
    except LayerprobeError:
        raise
    except KeyboardInterrupt:
        raise
    except SystemExit as error:
        raise LayerprobeError(
            f"{what} ends the program (SystemExit: {error.code}) for {given}; correct the file"
        ) from error
    except BaseException as error:
        raise LayerprobeError(f"{what} fails for {given} ({one_line(error)}); correct the file") from error


def ends_program(error: BaseException) -> str:
    """What to say where code of a user's, unseen until then, ended the program or raised what is no ``Exception``."""
    if isinstance(error, SystemExit):
        return f"a model, score or plug-in ends the program (SystemExit: {error.code}); correct its file"
    return f"a model, score or plug-in raises {type(error).__name__}, which is no Exception; correct its file"


def file_sha256(name: str) -> str:
    """SHA-256 of the file that ``FILE.py:callable`` names.

    Raises:
        LayerprobeError: if the name is of another kind, or there is no such file.
    """
    parts = split_file_name(name)
    if parts is None or not parts[0].is_file():
        raise LayerprobeError(f"no file {parts[0] if parts else name}; name it as FILE.py:callable")
    from layerprobe.files import sha256  # it reads YAML too, which help and completion need not wait for

    return sha256(parts[0])


@contextmanager
def importing_from(folder: Path) -> Iterator[None]:
    """Let a file import its neighbours, as it could if it were run as a script."""
    before = list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = before


def one_line(error: BaseException) -> str:
    """An error of a user's code in one line: its class and the first line of its message."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


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
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit too
        del sys.modules[spec.name]
        raise LayerprobeError(f"{path} can't be imported: {one_line(error)}; correct the file") from error
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
