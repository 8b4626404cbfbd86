"""Catalogues: what the names that a user may type stand for, without importing what makes them.

An entry says its name, its label and its help in words, and where the object lies as text, ``module:attribute``. The
object is imported when it is used, so that the command line, completion and the documentation need no PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic, TypeVar

from layerprobe.errors import LayerprobeError, closest
from layerprobe.plugins import load_function, split_file_name


@dataclass(frozen=True)
class Entry:
    """Something that has a name on the command line, in grid files and in Python.

    Attributes:
        name: as it is typed; of a plug-in ``FILE.py:name``.
        label: what tables and figures call it.
        help: what it is, in one sentence or less, without a full stop.
        target: ``module:attribute`` of the object; of a plug-in ``FILE.py:name``; empty: the name stands for values.
    """

    name: str
    label: str
    help: str
    target: str

    @property
    def is_plugin(self) -> bool:
        """Whether it comes from a user's own file."""
        return split_file_name(self.target) is not None

    def load(self) -> Any:
        """The object itself.

        Raises:
            LayerprobeError: if it is a plug-in whose file can't be run, or lacks it.
        """
        return load_target(self.target)


def load_target(target: str) -> Any:
    """What ``module:attribute``, or ``FILE.py:name``, names.

    Raises:
        LayerprobeError: if it is a plug-in whose file can't be run, or lacks it.
    """
    if split_file_name(target) is not None:
        return load_function(target)
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def plugin_entry(name: str) -> Entry:
    """The entry of ``FILE.py:name``, labelled by the file's own name without its folders.

    Raises:
        LayerprobeError: if the name is of another kind.
    """
    parts = split_file_name(name)
    if parts is None:
        raise LayerprobeError(f"what comes from a file is FILE.py:name, not {name!r}; name its file")
    file, function = parts
    return Entry(name, f"{file.name}:{function}", f"{function} of {file.name}", name)


E = TypeVar("E", bound=Entry)


class Catalogue(Mapping[str, E], Generic[E]):
    """Entries of one kind by name.

    Args:
        kind: what an entry is, in the singular, for messages: ``feature loss``.
        entries: in the order in which they are listed.
        plugin: makes the entry of ``FILE.py:name``; None: this kind has no plug-ins.
    """

    def __init__(self, kind: str, entries: Iterable[E], plugin: Callable[[str], E] | None = None) -> None:
        self.kind = kind
        self._entries = {entry.name: entry for entry in entries}
        self._plugin = plugin

    def __getitem__(self, name: str) -> E:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> Mapping[str, E]:
        return self._entries

    @property
    def takes_plugins(self) -> bool:
        """Whether ``FILE.py:name`` may stand where a name may."""
        return self._plugin is not None

    def find(self, name: str) -> E:
        """The entry of a name, or of a plug-in.

        Raises:
            LayerprobeError: if there is none.
        """
        entries = self._all()
        if name in entries:
            return entries[name]
        if self._plugin is not None and split_file_name(name) is not None:
            return self._plugin(name)
        own = ", or FILE.py:name" if self._plugin is not None else ""
        raise LayerprobeError(f"no {self.kind} {name!r}; {closest(name, entries, 3)}{own}")

    @contextmanager
    def registered(self, entry: E) -> Iterator[E]:
        """Have one more entry for the length of a block: for tests, and for programs that bring their own.

        Raises:
            ValueError: if there is an entry of this name already.
        """
        if entry.name in self._all():
            raise ValueError(f"there is a {self.kind} {entry.name!r} already")
        self._entries[entry.name] = entry
        try:
            yield entry
        finally:
            del self._entries[entry.name]


class DerivedCatalogue(Catalogue[E]):
    """A catalogue whose entries follow from others: looked up anew each time, so that what is registered there is here.

    Args:
        kind: what an entry is, in the singular, for messages.
        entries: gives them, in the order in which they are listed.
        plugin: makes the entry of ``FILE.py:name``; None: this kind has no plug-ins.
    """

    def __init__(self, kind: str, entries: Callable[[], Iterable[E]], plugin: Callable[[str], E] | None = None) -> None:
        super().__init__(kind, (), plugin)
        self._derive = entries

    def _all(self) -> Mapping[str, E]:
        return {**{entry.name: entry for entry in self._derive()}, **self._entries}
