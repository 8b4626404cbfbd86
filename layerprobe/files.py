"""Small files: written whole or not at all, and read with one line for a person where they are malformed."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import math
import os
import secrets
import stat
import struct
import sys
import time
import zipfile
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedRandom, FileIO
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from layerprobe.errors import FileError, LayerprobeError, is_full, of_system
from layerprobe.locks import FOLDER_LOCK, is_named, lock

_PREFIX, _SUFFIX = ".layerprobe-", ".partial"
_LONGEST_WRITE = 24 * 3600.0
"""Seconds after which nobody writes a small file any more, where no lock says so."""
_CLOSES_FIRST = sys.platform == "win32"
"""Whether an open file can't be renamed."""
_swept: set[Path] = set()
"""Folders that this process has looked through for what killed writers left."""


def temporary_name(path: Path) -> Path:
    """A name in the folder of a file, links followed, that no file has.

    What bears such a name is being written, or its writer was killed: see ``is_temporary``.
    """
    return real_path(path).parent / f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"


def real_path(path: Path) -> Path:
    """A path with links followed, as far as they lead anywhere."""
    return Path(os.path.realpath(path))


_SPECIAL = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def special_file(path: Path) -> str:
    """What stands at a path that is no regular file, in words; empty: a regular file, or nothing.

    Reading and writing those may never end, and replacing them takes them from the whole machine.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return "a circle of links" if error.errno == errno.ELOOP else ""
    except ValueError:
        return ""
    return next((words for fits, words in _SPECIAL if fits(mode)), "")


def check_replaceable(path: Path, what: str, fits: Callable[[bytes], bool], option: str = "--output") -> None:
    """Refuse to replace what is no file of the kind that is to be written, whoever gave leave to overwrite.

    Args:
        path: the file to write; nothing need be there.
        what: its kind, for messages: ``a ranking``.
        fits: whether a file may be of this kind, by its first ``HEAD`` bytes; an empty file is of any.
        option: that names the file.

    Raises:
        LayerprobeError: if something else is there.
    """
    found = special_file(path)
    if not found and path.is_file():
        with path.open("rb") as file:
            head = file.read(HEAD)
        found = f"not {what}" if head and not fits(head) else ""
    if found:
        raise LayerprobeError(f"{path} is {found}, and is not replaced; remove it yourself, or name another {option}")


HEAD = 65_536
"""Bytes of a file that tell its kind."""


def open_temporary(path: Path) -> tuple[Path, FileIO]:
    """Make an empty file beside a file that is to be written, links followed, and lock it while it is open.

    What killed writers left there is deleted, once in a process.

    Raises:
        OSError: if it can't be made.
    """
    folder = real_path(path).parent
    if folder not in _swept:
        _swept.add(folder)
        remove_leftovers(folder)
    while True:
        partial = temporary_name(path)
        file = FileIO(partial, "x+")
        if lock(file) is not False and is_named(file, partial):
            return partial, file
        file.close()  # another process took it for a leftover before it was locked


def is_temporary(path: Path) -> bool:
    """Whether a file or folder is there only while something is written, or was when its writer was killed.

    Version 0.1.0 called a file that was being written ``.NAME.partial``.

    Examples:
        >>> is_temporary(Path("run/.layerprobe-0123456789abcdef.partial")), is_temporary(Path("run/config.yaml"))
        (True, False)
    """
    return (path.name.startswith(".") and path.name.endswith(_SUFFIX)) or path.name == FOLDER_LOCK


def remove_leftovers(folder: Path, held: bool = False) -> None:
    """Delete the files that killed writers left in a folder.

    Who writes a file locks it, and the lock ends with its process. Where there are no locks, and of files of version
    0.1.0, which locked none, those go that nobody has written to for a day.

    Args:
        folder: to look through, not the folders in it.
        held: whether nobody else writes into it; then they all go.
    """
    for path in folder.glob(f".*{_SUFFIX}"):
        with suppress(OSError):
            if path.is_file():
                _remove_leftover(path, held)


def _remove_leftover(path: Path, held: bool) -> None:
    with FileIO(path, "r+") as file:
        free = lock(file) if path.name.startswith(_PREFIX) else None
        if free is None:
            free = held or time.time() - os.fstat(file.fileno()).st_mtime > _LONGEST_WRITE
        if free:
            path.unlink()


def check_writable(path: Path) -> None:
    """Refuse to write where no regular file is, or may come to be, at the path itself.

    A link in a folder that somebody sent may lead to any file of the user's.

    Raises:
        LayerprobeError: if something else is there.
    """
    if found := special_file(path) or ("a link, which may lead anywhere" if path.is_symlink() else ""):
        raise LayerprobeError(f"can't write {path}: it is {found}; remove it, or choose another --output")


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Write a file that bears its name only once all of it is on the disk.

    What had the name is replaced in one step; where the block fails, it stays.

    Yields:
        The file under another name, open for writing.

    Raises:
        LayerprobeError: if it can't be written.
    """
    check_writable(path)
    partial = None
    try:
        partial, raw = open_temporary(path)
        with BufferedRandom(raw) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if not _CLOSES_FIRST:  # while the lock says that this is no leftover
                partial.replace(path)
        if _CLOSES_FIRST:
            partial.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            if partial is not None:
                partial.unlink(missing_ok=True)
    sync_folder(partial.parent)


@contextmanager
def errors_of_writing(path: Path) -> Iterator[None]:
    """Have the operating system's errors raised as one line about the file that is written.

    Raises:
        LayerprobeError: in place of such an error.
    """
    try:
        yield
    except OSError as error:
        raise _cannot_write(path, error) from error


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write several files that belong together: where there is no room for all, none is there.

    Raises:
        LayerprobeError: if one can't be written. Those that had the names before stay.
    """
    with ExitStack() as stack:
        for path, content in contents.items():
            file = stack.enter_context(writing(path))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def _cannot_write(path: Path, error: OSError) -> LayerprobeError:
    room = "make room, or " if is_full(error) else ""
    return LayerprobeError(f"can't write {path}: {of_system(error)}; {room}choose another --output")


def sync_folder(folder: Path) -> None:
    """Return when the names of a folder's files are on the disk."""
    if sys.platform == "win32":
        return
    with suppress(OSError):  # some file systems can't, and a folder may be closed to readers
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file, whole or not at all.

    Raises:
        LayerprobeError: if it can't be written.
    """
    with writing(path) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all.

    Raises:
        LayerprobeError: if it can't be written.
    """
    write_bytes(path, text.encode("utf-8"))


def create_text(path: Path, text: str) -> None:
    """Make a text file that is not there yet: of several processes that try, one does, and it is never seen empty.

    Raises:
        FileExistsError: if it is there.
        OSError: if it can't be written.
    """
    partial, file = open_temporary(path)
    try:
        with file:
            file.write(text.encode("utf-8"))
            _link(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _link(file: Path, path: Path) -> None:
    """Give a file a second name that no file has."""
    try:
        os.link(file, path)
    except FileExistsError:
        raise
    except OSError:  # some file systems have no links
        with path.open("xb") as copy:
            copy.write(file.read_bytes())


def short_name(name: str, longest: int = 255) -> str:
    """A file name that file systems take: where it is too long, its beginning and a hash of all of it.

    Args:
        name: of the file, or what it begins with.
        longest: bytes of UTF-8 that it may have.

    Examples:
        >>> short_name("seed-0", 20), short_name("a-label-of-many-words", 20)
        ('seed-0', 'a-l-7d1b27739b4ff0cf')
    """
    encoded = name.encode("utf-8", errors="surrogateescape")
    if len(encoded) <= longest:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:16]
    return f"{encoded[: longest - 17].decode('utf-8', errors='ignore')}-{digest}"


def write_json(path: Path, values: Any) -> None:
    """Write a JSON file, whole or not at all; numbers that are NaN or infinite become null.

    Raises:
        LayerprobeError: if it can't be written.
    """
    write_text(path, json.dumps(null_for_nan(values), indent=1, allow_nan=False) + "\n")


def write_yaml(path: Path, values: Mapping[str, Any]) -> None:
    """Write a YAML file with keys in the order given, whole or not at all.

    Raises:
        LayerprobeError: if it can't be written.
    """
    write_text(path, yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True))


def append_text(path: Path, text: str) -> None:
    """Append to a text file in one step, and return when it is on the disk.

    Raises:
        LayerprobeError: if it can't be written.
    """
    check_writable(path)
    try:
        with path.open("ab", buffering=0) as file:
            file.write(text.encode("utf-8"))
            os.fsync(file.fileno())
    except OSError as error:
        raise _cannot_write(path, error) from error


def null_for_nan(value: Any) -> Any:
    """Plain values with None in place of numbers that JSON doesn't have.

    Examples:
        >>> null_for_nan({"a": (1.0, math.nan)})
        {'a': [1.0, None]}
    """
    if isinstance(value, Mapping):
        return {key: null_for_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [null_for_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_archive(path: Path) -> None:
    """Refuse a zip archive that unpacks to more than its own size: PyTorch and NumPy pack nothing in theirs.

    Raises:
        FileError: if it does.
        OSError: if the file can't be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error):
        return  # no archive, or one that nobody can read
    if size > path.stat().st_size:
        raise FileError(
            f"{path} would unpack to {size:,} bytes, more than it has itself; PyTorch and NumPy pack nothing"
        )


def read_text(path: Path, what: str, remedy: str) -> str:
    """The text of a file in UTF-8.

    Args:
        path: the file.
        what: the kind of file, for messages: ``ranking file``.
        remedy: what to do where it is missing or malformed.

    Raises:
        LayerprobeError: if there is no such file, it can't be read, or it isn't text.
    """
    if found := special_file(path):
        raise LayerprobeError(f"{path} is {found}, not a {what}; {remedy}")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        raise LayerprobeError(f"no {what} at {path}; {remedy}") from None
    except UnicodeDecodeError as error:
        raise FileError(f"{path} is not text in UTF-8 (byte {error.start}); {remedy}") from None
    except OSError as error:
        raise LayerprobeError(f"can't read {path}: {error.strerror or error}; {remedy}") from None


def read_json(path: Path, what: str, remedy: str) -> Any:
    """The values of a JSON file.

    Args:
        path: the file.
        what: the kind of file, for messages.
        remedy: what to do where it is missing or malformed.

    Raises:
        LayerprobeError: if there is no such file, it can't be read, or it isn't JSON.
    """
    return parse_json(read_text(path, what, remedy), str(path), remedy)


def parse_json(text: str, where: str, remedy: str) -> Any:
    """The values of a JSON text. Keys that are there twice are refused.

    Args:
        text: the text.
        where: the file that it is of, or its place in one, for messages.
        remedy: what to do where it is malformed.

    Raises:
        LayerprobeError: if it isn't JSON.
    """
    try:
        return json.loads(text, object_pairs_hook=_without_repeats)
    except RecursionError:
        raise FileError(f"{where} is not JSON (it is nested too deeply); {remedy}") from None
    except ValueError as error:
        raise FileError(f"{where} is not JSON ({error}); {remedy}") from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    for number in _repeats([key for key, _ in pairs]):
        raise ValueError(f"the key {pairs[number][0]!r} is there twice")
    return dict(pairs)


def _repeats(keys: Iterable[object]) -> Iterator[int]:
    """The places of keys that are there before; such that can be no key of a dictionary are left to others."""
    known: set[object] = set()
    for number, key in enumerate(keys):
        if isinstance(key, Hashable):
            if key in known:
                yield number
            known.add(key)


def read_yaml(path: Path, what: str, remedy: str) -> dict[str, Any]:
    """The keys and values of a YAML file.

    Args:
        path: the file.
        what: the kind of file, for messages.
        remedy: what to do where it is missing or malformed.

    Raises:
        LayerprobeError: if there is no such file, it can't be read, isn't YAML, or holds no keys.
    """
    return parse_yaml(read_text(path, what, remedy), str(path), remedy)


def parse_yaml(text: str, where: str, remedy: str) -> dict[str, Any]:
    """The keys and values of a YAML text. Keys that are there twice are refused.

    Args:
        text: the text.
        where: the file that it is of, or its place in one, for messages.
        remedy: what to do where it is malformed.

    Raises:
        LayerprobeError: if it isn't YAML, or holds no keys.
    """
    try:
        values = yaml.load(text, _Loader)
    except RecursionError:
        raise FileError(f"{where} is not YAML (it is nested too deeply); {remedy}") from None
    # Of a value that is no date, number or truth value after all, PyYAML raises what it stumbles over.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, OverflowError) as error:
        raise FileError(f"{where} is not YAML ({' '.join(str(error).split())}); {remedy}") from None
    if not isinstance(values, dict):
        raise FileError(f"{where} holds no keys; {remedy}")
    return values


_Base: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Where PyYAML was built with libyaml, reading takes a tenth of the time."""


_MOST_VALUES = 1_000_000
"""Values of a YAML text, where those that a name (``*a``) stands for count each time: a few lines can say billions."""
_MOST_DIGITS = 4300
"""Of a number: Python's own limit, which numbers with colons or letters in them pass by."""
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class _Loader(_Base):  # type: ignore[misc, valid-type]
    """PyYAML's loader of plain values: no key is there twice, no value holds itself, and they are not too many."""

    def construct_document(self, node: Any) -> Any:
        if _count(node, {}) > _MOST_VALUES:
            raise yaml.constructor.ConstructorError(None, None, f"it holds more than {_MOST_VALUES:,} values")
        return self.construct_object(node, deep=True)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        nodes = [key for key, _ in node.value if key.value != "<<"]
        keys = [self.construct_object(key, deep=True) for key in nodes]
        for number in _repeats(keys):
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {keys[number]!r} is there twice", nodes[number].start_mark
            )
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: Any) -> Any:
        if node.tag in _NUMBERS and len(node.value) > _MOST_DIGITS:
            raise yaml.constructor.ConstructorError(None, None, "a number of too many digits", node.start_mark)
        return super().construct_scalar(node)


def _count(node: Any, known: dict[int, int]) -> int:
    """How many values a YAML node stands for; one that holds itself is refused later."""
    if id(node) not in known:
        known[id(node)] = 0
        inside = [] if isinstance(node, yaml.ScalarNode) else node.value
        parts = (part for one in inside for part in (one if isinstance(one, tuple) else (one,)))
        known[id(node)] = 1 + sum(_count(part, known) for part in parts)
    return known[id(node)]


def read_csv(path: Path, what: str, remedy: str) -> list[dict[str, str]]:
    """The rows of a CSV file by column.

    Args:
        path: the file, with the names of the columns in its first line.
        what: the kind of file, for messages.
        remedy: what to do where it is missing or malformed.

    Raises:
        LayerprobeError: if there is no such file, it can't be read, isn't CSV, or a row has more or fewer values than
            there are columns.
    """
    text = io.StringIO(read_text(path, what, remedy), newline="")
    try:
        header, *rows = list(csv.reader(text, strict=True)) or [[]]
    except csv.Error as error:
        raise FileError(f"{path} is not CSV ({error}); {remedy}") from None
    for number in _repeats(header):
        raise FileError(f"{path} has the column {header[number]!r} twice; {remedy}")
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise FileError(f"{path}: row {number} has {len(row)} values for {len(header)} columns; {remedy}")
    return [dict(zip(header, row, strict=True)) for row in rows]
