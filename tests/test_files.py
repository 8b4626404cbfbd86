"""Small files: whole or not at all, and one line where they are malformed."""

from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layerprobe import files, locks
from layerprobe.errors import LayerprobeError
from layerprobe.files import (
    append_text,
    is_temporary,
    read_csv,
    read_json,
    read_yaml,
    remove_leftovers,
    sha256,
    temporary_name,
    write_json,
    write_text,
    write_yaml,
    writing,
)
from tests.helpers.places import time_limit

PACKAGE = Path(files.__file__).parent


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_read(tmp_path: Path) -> None:
    values = {"b": [1, 2.5, None], "a": "ä\n", "c": {"d": True}}
    write_json(tmp_path / "f.json", values)
    write_yaml(tmp_path / "f.yaml", values)
    append_text(tmp_path / "f.csv", "a,b\r\n1,\r\n")
    append_text(tmp_path / "f.csv", '"x\ny",2\r\n')
    assert read_json(tmp_path / "f.json", "file", "write it") == values
    assert list(read_yaml(tmp_path / "f.yaml", "file", "write it").items()) == list(values.items())
    assert read_csv(tmp_path / "f.csv", "file", "write it") == [{"a": "1", "b": ""}, {"a": "x\ny", "b": "2"}]
    assert names(tmp_path) == ["f.csv", "f.json", "f.yaml"]


def test_the_hash_of_a_file(tmp_path: Path) -> None:
    write_text(tmp_path / "f.txt", "abc")  # the example of FIPS 180-4
    assert sha256(tmp_path / "f.txt") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_numbers_that_json_lacks_become_null(tmp_path: Path) -> None:
    write_json(tmp_path / "f.json", {"a": [math.nan, (math.inf, 1.5)], "b": -math.inf})
    assert json.loads((tmp_path / "f.json").read_text()) == {"a": [None, [None, 1.5]], "b": None}


def test_a_file_that_fails_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f.txt"
    write_text(path, "one")
    with pytest.raises(ZeroDivisionError), writing(path) as file:
        file.write(b"two")
        assert path.read_text() == "one" and sum(map(is_temporary, tmp_path.iterdir())) == 1
        raise ZeroDivisionError
    assert path.read_text() == "one" and names(tmp_path) == ["f.txt"]

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LayerprobeError, match=r"can't write .*f.txt: No space left on device; make room"):
        write_text(path, "two")
    assert path.read_text() == "one" and names(tmp_path) == ["f.txt"]


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    for path in (tmp_path / "none" / "f.txt", tmp_path):
        with pytest.raises(LayerprobeError, match="can't write"):
            write_text(path, "")
    with pytest.raises(LayerprobeError, match="can't write"):
        append_text(tmp_path, "")
    assert names(tmp_path) == []


@pytest.mark.parametrize("target", ["there/f.txt", "there/none", "none/f.txt"])
def test_what_a_link_leads_to_is_not_written(target: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    write_text(tmp_path / "there" / "f.txt", "one")
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / target)
    for write in (write_text, append_text):
        with pytest.raises(LayerprobeError, match=r"link.txt: it is a link, which may lead anywhere; remove it, or"):
            write(link, "two")
    assert link.is_symlink() and names(tmp_path / "there") == ["f.txt"] and not (tmp_path / "none").exists()
    assert (tmp_path / "there" / "f.txt").read_text() == "one"


def test_the_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain.txt").touch()
    write_text(tmp_path / "f.txt", "")
    assert (tmp_path / "f.txt").stat().st_mode == (tmp_path / "plain.txt").stat().st_mode


def test_a_killed_writer_leaves_a_name_that_is_known(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from layerprobe.files import writing\n"
        "with writing(Path(sys.argv[1])) as file:\n    file.write(b'half'); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "f.txt")], check=False)
    (left,) = tmp_path.iterdir()
    assert is_temporary(left) and left.name != temporary_name(tmp_path / "f.txt").name
    (tmp_path / ".latest.partial").mkdir()  # a checkpoint, which is its writer's to remove
    write_text(tmp_path / "f.txt", "whole")  # the next who writes there removes it
    assert names(tmp_path) == [".latest.partial", "f.txt"]


def test_only_what_nobody_writes_any_more_is_a_leftover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, of_0_1_0, new = tmp_path / ".a.partial", tmp_path / ".b.partial", tmp_path / ".layerprobe-c.partial"
    for path in (old, of_0_1_0, new):
        path.touch()
    os.utime(old, (1, 1))
    with writing(tmp_path / "f.txt") as file:
        file.write(b"half")
        remove_leftovers(tmp_path)
        assert len(names(tmp_path)) == 2 and not old.exists() and of_0_1_0.exists() and not new.exists()
        remove_leftovers(tmp_path, held=True)
        assert len(names(tmp_path)) == 1 and not of_0_1_0.exists()
    assert names(tmp_path) == ["f.txt"]

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", no_locks)
    with writing(tmp_path / "f.txt") as file:
        file.write(b"half")
        remove_leftovers(tmp_path)
        assert len(names(tmp_path)) == 2


def of_ten(inner: str, outer: str) -> bytes:
    """A YAML text of ten lines, each of ten times what the line before holds."""
    lines = [f"a{n}: &a{n} {outer.format(','.join([f'*a{n - 1}'] * 10))}\n" for n in range(1, 10)]
    return "".join([f"a0: &a0 {inner}\n", *lines]).encode()


ALIASES, MERGES = of_ten("[x]", "[{}]"), of_ten("{x: 1}", "{{<<: [{}]}}")
MANY = b"".join(b"k%d: 1," % number for number in range(100_000))
"""Keys that would take minutes, were each compared with all others."""


@pytest.mark.parametrize(
    ("read", "content", "message"),
    [
        (read_json, b"", "is not JSON"),
        (read_json, b'{"a": [1,', "is not JSON"),
        (read_json, b'{"a": 1, "a": 2}', r"is not JSON \(the key 'a' is there twice\)"),
        (read_json, b"[" * 100_000, r"is not JSON \(it is nested too deeply\)"),
        (read_json, b"9" * 5000, "is not JSON"),
        (read_json, b"\xff\xfe1\x00", r"is not text in UTF-8 \(byte 0\)"),
        (read_yaml, b"", "holds no keys"),
        (read_yaml, b"- 1", "holds no keys"),
        (read_yaml, b"a: [1,", "is not YAML"),
        (read_yaml, b"a: 1\nb:\n  c: 1\n  c: 2", r"is not YAML \(the key 'c' is there twice .*line 4"),
        (read_yaml, b"a: &a [*a]", "is not YAML .*recursive"),
        (read_yaml, b"a: " + b"[" * 5000, "is not YAML .*nest"),
        (read_yaml, b"a: !!python/object:os.system 1", "is not YAML"),
        (read_yaml, b"a: !!timestamp x", "is not YAML"),
        (read_yaml, b"a: 2024-13-45", "is not YAML"),
        (read_yaml, b"a: !!bool x", "is not YAML"),
        (read_yaml, b"? [a]\n: b", "is not YAML"),
        (read_yaml, b"!!map [a]", "is not YAML"),
        (read_yaml, b"\x00", "is not YAML"),
        (read_yaml, ALIASES, r"is not YAML \(it holds more than 1,000,000 values\)"),
        (read_yaml, MERGES, r"is not YAML \(it holds more than 1,000,000 values\)"),
        (read_yaml, b"a: 1" + b":1" * 100_000, r"is not YAML \(a number of too many digits"),
        (read_yaml, b"a: 0x" + b"f" * 5000, r"is not YAML \(a number of too many digits"),
        (read_json, b"{" + MANY.replace(b"k", b'"k').replace(b":", b'":') + b'"k0":1}', r"is not JSON \(the key 'k0'"),
        (read_csv, MANY + b"k0: 1", "has the column 'k0: 1' twice"),
        (read_yaml, b"a: \xe4", r"is not text in UTF-8 \(byte 3\)"),
        (read_csv, b"a,b\n1", "row 1 has 1 values for 2 columns"),
        (read_csv, b"a,b\n1,2\n1,2,3", "row 2 has 3 values for 2 columns"),
        (read_csv, b"a,a\n1,2", "has the column 'a' twice"),
        (read_csv, b'a\n"x', "is not CSV"),
        (read_csv, b"a\n\xff", r"is not text in UTF-8 \(byte 2\)"),
    ],
)
def test_malformed_files(read: Callable[..., Any], content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "f.x"
    path.write_bytes(content)
    expected = pytest.raises(LayerprobeError, match=rf"f\.x:? ({message})(.|\n)*; write it anew$")
    with time_limit(60), expected as caught:
        read(path, "small file", "write it anew")
    assert "\n" not in str(caught.value)


def test_files_that_are_not_there_or_no_files(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "none", tmp_path / "file" / "none"):
        with pytest.raises(LayerprobeError, match=r"no small file at .*none; write it"):
            read_json(path, "small file", "write it")
    with pytest.raises(LayerprobeError, match=r"is a folder, not a small file; write it"):
        read_json(tmp_path, "small file", "write it")


def test_anchors_and_merged_keys_are_yaml(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("a: &x {c: 1, d: 1}\nb: {<<: *x, d: 2}\n")
    assert read_yaml(tmp_path / "f.yaml", "file", "")["b"] == {"c": 1, "d": 2}


def test_a_mark_at_the_beginning_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(tmp_path / "f.json", "file", "") == [1]


WRITERS = (".write_text(", ".write_bytes(", "os.fsync(", ".replace(path)", '.partial"', "json.dump(", "safe_dump(")
OTHERS = {
    "features/hdf5/layout.py": "os.fsync(",  # HDF5 files, which have a lock
    "features/hdf5/writer.py": "os.fsync(",
    "features/hdf5/naming.py": ".replace(path)",
    "experiments/validation/candidates.py": "safe_dump(",  # the text of a grid
    "distill/engine/checkpoints.py": '.partial"',  # folders
}


def test_no_other_module_writes_small_files() -> None:
    found = {
        (path.relative_to(PACKAGE).as_posix(), word)
        for path in PACKAGE.rglob("*.py")
        for word in WRITERS
        if path != PACKAGE / "files.py" and word in path.read_text(encoding="utf-8")
    }
    assert found == set(OTHERS.items())
