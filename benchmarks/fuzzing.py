"""Files of layerprobe, mutated at random and read again: each is read, or refused in one line.

    python benchmarks/fuzzing.py --count 1000 --seed 0

Of every kind of file a whole one is changed so many times: values are replaced by others of any kind, keys are dropped,
doubled and renamed, text is made hostile, and bytes are flipped, cut off, doubled and put in. What reads that kind then
reads it, and what was read is shown in every format of a table. A mutation fails where anything but one line for a
person comes of it, where what is shown would act on a terminal, where reading takes longer than a limit, and where
anything in the folder has changed afterwards. Mutations are made and read in child processes, by tens, with a limit of
memory; a child that dies is found out by trying its mutations one by one.

Of HDF5 files attributes and data sets are changed, and links put in their place: what damaged bytes do inside HDF5's
library is listed with ``--bytes``, and is nobody's failure here. Every line names the seed of a mutation, and
``--only KIND --seed SEED --count 1`` makes it again.
"""

from __future__ import annotations

import argparse
import copy
import faulthandler
import io
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tarfile
import tempfile
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
import h5py
import numpy as np
import torch
import yaml

from layerprobe.distill.engine.checkpoints import Checkpoints
from layerprobe.distill.folder import read_run
from layerprobe.distill.students import load_student, read_description
from layerprobe.errors import LayerprobeError
from layerprobe.experiments.grid.claims import Claims
from layerprobe.experiments.grid.grid_file import load_grid
from layerprobe.experiments.grid.results import read_grid
from layerprobe.experiments.grid.study import read_study
from layerprobe.experiments.publish import publish_study
from layerprobe.experiments.validation.results import read_validation
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.models.weights import load_weights
from layerprobe.models.weights_file import read_weights
from layerprobe.models.zoo import build_model
from layerprobe.ranking.cache import open_cache
from layerprobe.ranking.file import load_ranking
from layerprobe.ranking.grams import is_gram_file, open_source
from layerprobe.ranking.rank import rank
from layerprobe.report.grid.pairs import pairs_table
from layerprobe.report.grid.tables import details_table, grid_table, states_table
from layerprobe.report.html.page import Page, Section, html_page
from layerprobe.report.tables.layers import file_table, gram_table
from layerprobe.report.tables.ranking import ranking_table
from layerprobe.report.tables.runs import run_table
from layerprobe.report.tables.table import TABLE_FORMATS, Table, render
from layerprobe.report.tables.validation import candidates_table, correlations_table
from layerprobe.settings.configuration import COMMANDS, read_values, settings_of
from layerprobe.text import printable

WRITTEN = Path(__file__).parents[1] / "tests" / "data_0_1_0" / "written.tar.xz"
"""A file of every kind, which version 0.1.0 wrote."""
PATIENCE = 30
"""Seconds in which a mutated file must have been read."""
MEMORY = 6 * 2**30
"""Bytes that a child may have of addresses."""
TOGETHER = 20
"""Mutations of one child."""

Read = Callable[[Path], None]
Mutate = Callable[[Path, random.Random], None]

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 10**30, 10**400, 0.5, -0.0, 1e-320, 1e308, float("nan"),
    float("inf"), "", "x", "nan", "\x00", "\ud800", "$5_$10", "_x", "a\x1b[31mb", "\u202egnp", "<script>x()</script>",
    "=cmd|' /C calc'!A0", "../../../etc/passwd", "/dev/zero", "/etc/passwd", "x" * 5000, "a\nb", "a|b", "FILE.py:f",
    "net.py:wide", "FILE.py", "cifar:resnet20", "even:2", "quality:99999999", "all", "1e400", "0x10", [], {}, [[]],
    [None], ["x", "x"], [1, 2, 3], {"x": 1}, {"": {}}, {"a": {"b": {"c": []}}},
)  # fmt: skip


def nested(depth: int) -> Any:
    """Lists in lists."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


# --- mutations -------------------------------------------------------------------------------------------------------


def places(values: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where values stand in plain values."""
    yield place
    inside: Any = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in inside:
        yield from places(value, (*place, key))


def changed(values: Any, draw: random.Random) -> Any:
    """Plain values with one to three changes."""
    values = copy.deepcopy(values)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        found = [place for place in places(values) if place]
        if not found:
            return draw.choice(VALUES)
        place = draw.choice(found)
        parent = values
        for key in place[:-1]:
            parent = parent[key]
        change_one(parent, place[-1], draw)
    return values


def change_one(parent: Any, key: Any, draw: random.Random) -> None:
    """Change one value of a list or a mapping, or the place that it has there."""
    how = draw.randrange(8)
    if how == 0:
        del parent[key]
    elif how == 1 and isinstance(parent, dict):
        parent[draw.choice([value for value in VALUES if isinstance(value, str)])] = parent.pop(key)
    elif how == 1:
        parent.insert(key, copy.deepcopy(draw.choice(parent)))
    elif how == 2:
        others = list(parent.values()) if isinstance(parent, dict) else parent
        parent[key] = copy.deepcopy(draw.choice(others))
    elif how == 3 and isinstance(parent[key], (int, float)) and not isinstance(parent[key], bool):
        parent[key] = draw.choice((-1, 2, 1000, 1e6, 0.5)) * parent[key] + draw.choice((0, 1, -1))
    elif how == 4:
        parent[key] = nested(draw.choice((3, 30, 300)))
    else:
        parent[key] = copy.deepcopy(draw.choice(VALUES))


def changed_bytes(content: bytes, draw: random.Random) -> bytes:
    """Content with one to four changes of its bytes."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 4))):
        at, length = draw.randrange(len(data) + 1), draw.choice((1, 1, 2, 8, 100))
        how = draw.randrange(6)
        if how == 0 and data:
            data[min(at, len(data) - 1)] ^= 1 << draw.randrange(8)
        elif how == 1:
            del data[at:]
        elif how == 2:
            data[at:at] = draw.randbytes(length)
        elif how == 3:
            del data[at : at + length]
        elif how == 4:
            data[at:at] = data[at : at + length] * draw.choice((1, 2, 50))
        else:
            data[at : at + length] = draw.choice(
                (b"\x00", b"\xff", b"{", b"[", b'"', b"\n", b"!!python/object:os.x ", b"&a *a")
            )
    return bytes(data)


def written_json(values: Any) -> bytes:
    """JSON, with numbers that JSON has none of."""
    return json.dumps(values).encode()


def written_yaml(values: Any) -> bytes:
    """YAML; what it can't express is written as JSON, which it is a superset of, nearly."""
    try:
        return yaml.safe_dump(values, allow_unicode=True, sort_keys=False).encode()
    except (UnicodeEncodeError, yaml.YAMLError):
        return json.dumps(values).encode()


def text_mutation(file: str, load: Callable[[str], Any], dump: Callable[[Any], bytes]) -> Mutate:
    """Changes the values of a file three times of four, and else its bytes."""

    def mutate(folder: Path, draw: random.Random) -> None:
        path = folder / file
        content = path.read_bytes()
        if draw.randrange(4):
            path.write_bytes(dump(changed(load(content.decode()), draw)))
        else:
            path.write_bytes(changed_bytes(content, draw))

    return mutate


def any_of(*mutations: Mutate) -> Mutate:
    """One of several mutations."""
    return lambda folder, draw: draw.choice(mutations)(folder, draw)


def bytes_mutation(*files: str) -> Mutate:
    """Changes the bytes of one of several files."""

    def mutate(folder: Path, draw: random.Random) -> None:
        path = folder / draw.choice(files)
        path.write_bytes(changed_bytes(path.read_bytes(), draw))

    return mutate


def change_claim(folder: Path, draw: random.Random) -> None:
    """Changes a claim, or puts something else where one may be."""
    path = draw.choice(sorted((folder / "grid" / "claims").iterdir()))
    if draw.randrange(3):
        path.write_bytes(written_json(changed(json.loads(path.read_bytes()), draw)))
    elif draw.randrange(3):
        path.write_bytes(changed_bytes(path.read_bytes(), draw))
    else:
        name = draw.choice(("x", "a.1", "a.99999999999999999999", "a.-1", "a.1.1", ".x", "\udcff.1", "x" * 250))
        (path.parent / name).write_bytes(draw.choice((b"", b"{}", b"[]", path.read_bytes())))


HDF5_VALUES: tuple[Any, ...] = (
    0, -1, 2**62, 1.5, float("nan"), "", "x", "a\x1b[31m\u202e", "{", "null", "[1]", "x" * 10_000, b"\xff\xfe",
    np.zeros(0), np.zeros((2, 2)), np.array(["a", "b"], dtype=object), np.array([2**62]), np.array([-1, 8, 8]),
    h5py.Empty("f"),
    np.complex64(1j), np.bool_(True), np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
)  # fmt: skip


def hdf5_mutation(file: str) -> Mutate:
    """Changes attributes, data sets and links of an HDF5 file."""

    def mutate(folder: Path, draw: random.Random) -> None:
        with h5py.File(folder / file, "r+", locking=False) as opened:
            for _ in range(draw.choice((1, 1, 2, 3))):
                change_hdf5(opened, draw)

    return mutate


def change_hdf5(file: h5py.File, draw: random.Random) -> None:
    """One change: of an attribute, half of the time, or of a data set, a group or a link."""
    names: list[str] = [""]
    file.visit(names.append)
    name = draw.choice(names)
    thing = file[name] if name else file
    if draw.randrange(2) and len(thing.attrs):
        key = draw.choice(sorted(thing.attrs))
        if draw.randrange(6) == 0:
            del thing.attrs[key]
        elif key in ("preprocessing", "sample") and draw.randrange(2):
            with suppress(ValueError, TypeError):  # it may have been changed already
                thing.attrs[key] = json.dumps(changed(json.loads(thing.attrs[key]), draw))
        else:
            thing.attrs[key] = draw.choice(HDF5_VALUES)
        return
    if not name:
        file.attrs[draw.choice(("new", "format", "rows"))] = draw.choice(HDF5_VALUES)
        return
    how = draw.randrange(7)
    filled = isinstance(thing, h5py.Dataset) and thing.shape and thing.size < 10**6  # and not made by another change
    if how == 0 and filled and thing.dtype.kind in "iuf":
        thing[...] = draw.choice((0, 1, 200, 7)) if draw.randrange(2) else thing[...][::-1]
        return
    del file[name]
    if how == 1:
        file[name] = draw.choice([value for value in HDF5_VALUES if not isinstance(value, h5py.Empty)])
    elif how == 2:
        file.create_group(name)
    elif how == 3:
        file[name] = h5py.SoftLink(draw.choice(("/nowhere", f"/{name}", "/images", "/")))
    elif how == 4:
        file[name] = h5py.ExternalLink(draw.choice(("nowhere.h5", "/dev/zero", "pipe", file.filename)), "/images")
    elif how == 5:
        file.create_dataset(name, (10**9, 10**3), "f4", chunks=(1000, 1000))


def change_safetensors(folder: Path, draw: random.Random) -> None:
    """Changes the header of a safetensors file, or its bytes."""
    path = folder / "student" / "student.safetensors"
    content = path.read_bytes()
    if draw.randrange(3) == 0:
        path.write_bytes(changed_bytes(content, draw))
        return
    length = int.from_bytes(content[:8], "little")
    header = written_json(changed(json.loads(content[8 : 8 + length]), draw))
    told = len(header) if draw.randrange(8) else draw.choice((0, 1, 2**20, 2**62))
    path.write_bytes(told.to_bytes(8, "little") + header + content[8 + length :])


def odd_tensors() -> dict[str, Any]:
    """Tensors that are no weights, and things that are no tensors."""
    own = torch.rand(2, 3)
    return {
        "sparse": own.to_sparse(), "csr": own.to_sparse_csr(), "meta": torch.empty(2, 3, device="meta"), "nan": own / 0,
        "int8": (own * 9).to(torch.int8), "complex": own.to(torch.complex64), "bool": own > 0, "empty": torch.empty(0),
        "half": own.half(), "bfloat16": own.bfloat16(), "huge": torch.zeros(1).expand(2**20, 2**20),
        "quantized": torch.quantize_per_tensor(own, 0.1, 0, torch.qint8), "text": "x", "none": None, "list": [own],
        "number": 1.5, "float8": own.to(torch.float8_e5m2),
    }  # fmt: skip


def change_checkpoint(folder: Path, draw: random.Random) -> None:
    """Changes a file of ``torch.save``: an entry of its dictionary, a member of its archive, or its bytes."""
    path = folder / "weights.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        state: dict[Any, Any] = dict(read_weights(folder / "student" / "student.safetensors").state)
        how = draw.randrange(4)
        if how == 0:
            state[draw.choice([*state, "more", 5, None, ("a",)])] = draw.choice(list(odd_tensors().values()))
        elif how == 1:
            state = {draw.choice(("state_dict", "model", "epoch")): draw.choice((state, [], None, 5, odd_tensors()))}
        torch.save(state if how != 1 or draw.randrange(2) else list(state.values()), path)
    content = path.read_bytes()
    if how == 2:
        path.write_bytes(changed_bytes(content, draw))
    elif how == 3:
        path.write_bytes(changed_archive(content, draw))


def changed_archive(content: bytes, draw: random.Random) -> bytes:
    """A zip archive with one member changed, dropped or renamed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w") as new:
        names = old.namelist()
        chosen = draw.choice(names if draw.randrange(2) else [name for name in names if name.endswith("data.pkl")])
        for name in names:
            data = old.read(name)
            if name == chosen:
                how = draw.randrange(6)
                if how == 0:
                    continue
                if how == 1:
                    name = draw.choice(("../x", "/x", "x\x1b", name + "x"))
                else:
                    data = changed_bytes(data, draw)
            new.writestr(name, data)
    return stream.getvalue()


# --- what reads them -------------------------------------------------------------------------------------------------


def show(*tables: Table) -> None:
    """Every table in every format, and on a page; none may act on a terminal."""
    for table in tables:
        for name in TABLE_FORMATS:
            text = render(table, name).replace("\n", "")
            if printable(text) != text:
                raise AssertionError(f"{name} would act on a terminal")
    html_page(Page("x", "y", {}, (Section("z", tuple(tables)),)))


def see_ranking(folder: Path) -> None:
    """Read a ranking and show it."""
    show(ranking_table(load_ranking(folder / "features.ranking.json")))


def see_grid_file(folder: Path) -> None:
    """Read a grid file, to run it and to report on it."""
    for recorded in (False, True):
        load_grid(folder / "grid.yaml", recorded)


def see_grid(folder: Path) -> None:
    """Read a grid's folder and show its tables."""
    results = read_grid(folder / "grid")
    show(grid_table(results), details_table(results), states_table(results), *filter(None, [pairs_table(results)]))


def see_configuration(folder: Path) -> None:
    """Read a run's configuration: to look at the run, and to run it again."""
    read_description(folder / "student")
    try:
        load_student(folder / "student")
    except LayerprobeError as error:
        if "allow_code" not in str(error):
            raise
    kind = COMMANDS["distill"]
    settings_of(kind, read_values(folder / "student" / "config.yaml", "distill"), folder / "new")


def see_run(folder: Path) -> None:
    """Read a finished run and show it."""
    show(run_table(read_run(folder / "student")))


def see_claims(folder: Path) -> None:
    """Ask who works on the cells of a grid."""
    claims = Claims(folder / "grid" / "claims")
    claims.deaths()
    for path in (folder / "grid" / "claims").iterdir():
        claims.held(path.name.rpartition(".")[0])
    see_grid(folder)


def see_scores(folder: Path) -> None:
    """Read a validation and show it; its networks are those of the folder that the test itself made."""
    found = read_validation(folder / "validation", allow_code=True)
    if found is not None:
        show(correlations_table(found), candidates_table(found))


def see_study(folder: Path) -> None:
    """Read a study's table and show it."""
    results = read_grid(folder / "study")
    read_study(folder / "study")
    show(grid_table(results), details_table(results), states_table(results))


def see_features(folder: Path) -> None:
    """Read a feature file as inspect and rank do."""
    path = folder / "features.h5"
    with FeatureFile(path, unfinished=True) as file:
        damaged = file.damaged_layers(lambda *_: None)
        show(file_table(path, file.layers, file.provenance, file.counts, file.complete, damaged))
    with open_source(path) as source:
        show(ranking_table(rank(source, 1, resamples=4)))
        open_cache(source)


def see_grams(folder: Path) -> None:
    """Read a file of Gram matrices as inspect and rank do."""
    path = folder / "grams.h5"
    is_gram_file(path)
    with open_source(path) as source:
        show(gram_table(path, source.layers, source.provenance))
        show(ranking_table(rank(source, 1, resamples=4)))


def see_weights(name: str) -> Read:
    """Read weights and put them into a network."""

    def read(folder: Path) -> None:
        sys.path.insert(0, str(folder))
        model = build_model(f"{folder / 'net.py'}:narrow", num_classes=10)
        load_weights(model, read_weights(folder / name), name)

    return read


def see_state(folder: Path) -> None:
    """Read a run's checkpoint, as --resume does."""
    saved = Checkpoints(folder / "unfinished" / "checkpoints", {}).load("latest")
    if saved is not None:
        saved.check()


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        mutate: changes one below a folder.
        read: reads it there, and shows it.
    """

    mutate: Mutate
    read: Read


CELL = "grid/runs/wide-to-narrow/kd/seed-0"
KINDS = {
    "rankings": Kind(text_mutation("features.ranking.json", json.loads, written_json), see_ranking),
    "grid files": Kind(text_mutation("grid.yaml", yaml.safe_load, written_yaml), see_grid_file),
    "run configurations": Kind(text_mutation("student/config.yaml", yaml.safe_load, written_yaml), see_configuration),
    "results": Kind(
        any_of(
            text_mutation("student/result.json", json.loads, written_json), bytes_mutation("student/metrics.csv"),
        ),
        see_run,
    ),
    "grids' folders": Kind(
        any_of(
            text_mutation(f"{CELL}/result.json", json.loads, written_json),
            text_mutation(f"{CELL}/config.yaml", yaml.safe_load, written_yaml),
            text_mutation(f"{CELL}.yaml", yaml.safe_load, written_yaml),
            text_mutation("grid/grid.yaml", yaml.safe_load, written_yaml),
            text_mutation("grid/failures/runs__wide-to-narrow__lost__seed-0.json", json.loads, written_json),
            bytes_mutation(f"{CELL}/metrics.csv"),
        ),
        see_grid,
    ),
    "claims": Kind(change_claim, see_claims),
    "validations' scores": Kind(text_mutation("validation/scores.json", json.loads, written_json), see_scores),
    "studies": Kind(bytes_mutation("study/runs.csv"), see_study),
    "headers of feature files": Kind(hdf5_mutation("features.h5"), see_features),
    "headers of Gram files": Kind(hdf5_mutation("grams.h5"), see_grams),
    "weights (.safetensors)": Kind(change_safetensors, see_weights("student/student.safetensors")),
    "weights (.pt)": Kind(change_checkpoint, see_weights("weights.pt")),
    "checkpoints": Kind(
        bytes_mutation("unfinished/checkpoints/latest/state.pt", "unfinished/checkpoints/latest/weights.safetensors"),
        see_state,
    ),
}  # fmt: skip
BYTES = {
    "bytes of feature files": Kind(bytes_mutation("features.h5"), see_features),
    "bytes of Gram files": Kind(bytes_mutation("grams.h5"), see_grams),
}


# --- running them ----------------------------------------------------------------------------------------------------


def prepare(folder: Path) -> None:
    """Unpack a file of every kind; some are what this version writes."""
    with tarfile.open(WRITTEN) as archive:
        archive.extractall(folder, filter="data")
    os.chdir(folder)
    publish_study(folder / "grid", folder / "study")
    torch.save(dict(read_weights(folder / "student" / "student.safetensors").state), folder / "weights.pt")
    os.mkfifo(folder / "pipe")


def state_of(folder: Path) -> dict[str, tuple[int, ...]]:
    """Every file and folder, with the size, time and number on the disk of files."""
    found = {}
    for path in folder.rglob("*"):
        about = path.lstat()
        found[str(path)] = () if path.is_dir() else (about.st_size, about.st_mtime_ns, about.st_ino)
    return found


class HangError(Exception):
    """Reading took too long."""


def give_up(number: int, frame: object) -> None:
    raise HangError


def outcome(kind: Kind, folder: Path, seed: int) -> str:
    """What comes of one mutation: ``read``, ``refused``, or what is wrong."""
    with suppress(RecursionError):  # of what writes values that are nested too deeply
        kind.mutate(folder, random.Random(seed))
    before = state_of(folder)
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            kind.read(folder)
        found = "read"
    except LayerprobeError as error:
        found = (
            "refused" if "\n" not in str(error) and len(str(error)) < 2000 else f"not one line: {str(error)[:300]!r}"
        )
    except MemoryError:
        found = "refused"  # the commands say so in one line
    except HangError:
        found = f"hangs: {''.join(traceback.format_stack()[-2:])}"
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        found = f"{type(error).__name__}: {str(error)[:200]!r} ({Path(last.filename).name}:{last.lineno})"
    finally:
        signal.alarm(0)
    return found if state_of(folder) == before else f"changed the disk, and {found}"


def child(kind: Kind, origin: Path, seeds: Sequence[int], told: Any) -> None:
    """Try some mutations, each in a folder of its own that is a copy of the first."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.disable()
    sys.stderr = io.StringIO()
    torch.set_num_threads(1)
    for seed in seeds:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "copy"
            shutil.copytree(origin, folder, copy_function=shutil.copy, ignore=shutil.ignore_patterns("pipe"))
            os.mkfifo(folder / "pipe")
            os.chdir(folder)
            try:
                told.send((seed, outcome(kind, folder, seed)))
            finally:
                os.chdir("/")
    told.close()


def try_seeds(kind: Kind, origin: Path, seeds: Sequence[int]) -> dict[int, str]:
    """What comes of mutations, also of such as end the process."""
    found: dict[int, str] = {}
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=child, args=(kind, origin, seeds, theirs))
    process.start()
    theirs.close()
    while len(found) < len(seeds) and ours.poll(2 * PATIENCE):
        try:
            seed, what = ours.recv()
        except EOFError:
            break
        found[seed] = what
    process.kill() if process.is_alive() and len(found) < len(seeds) else process.join(PATIENCE)
    process.join()
    left = [seed for seed in seeds if seed not in found]
    if left:
        found[left[0]] = f"ends the process ({process.exitcode}; no answer in {2 * PATIENCE} s is -9)"
        found |= try_seeds(kind, origin, left[1:]) if left[1:] else {}
    return found


def fuzz(name: str, kind: Kind, origin: Path, first: int, count: int, listed: int) -> bool:
    """Try mutations of one kind, and print a line of the table; whether all is well."""
    seeds = range(first, first + count)
    found: dict[int, str] = {}
    for start in range(0, count, TOGETHER):
        found |= try_seeds(kind, origin, seeds[start : start + TOGETHER])
    counts = Counter(what if what in ("read", "refused") else "failed" for what in found.values())
    print(
        f"| {name} | {count:,} | {first} to {first + count - 1} | {counts['read']:,} | {counts['refused']:,} | "
        f"{counts['failed']:,} |",
        flush=True,
    )
    failures = [(seed, what) for seed, what in sorted(found.items()) if what not in ("read", "refused")]
    for seed, what in failures[:listed]:
        print(f"    seed {seed}: {what}", flush=True)
    return not failures


def main() -> None:
    """Try mutations of every kind."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=1000, help="mutations of every kind")
    parser.add_argument("--seed", type=int, default=0, help="of the first mutation; the next ones follow")
    parser.add_argument("--only", nargs="*", default=[], help="kinds, by the first letters of their names")
    parser.add_argument("--bytes", action="store_true", help="also list what damaged bytes of HDF5 files do")
    parser.add_argument("--listed", type=int, default=10, help="failures that are listed of each kind")
    given = parser.parse_args()
    print(
        "| kind | mutations | seeds | read | refused in one line | failed |\n"
        "| :--- | ---: | ---: | ---: | ---: | ---: |"
    )
    fine = True
    with tempfile.TemporaryDirectory() as name:
        origin = Path(name)
        prepare(origin)
        for kind in KINDS.values():
            kind.read(origin)  # what is whole is read
        for title, kind in (KINDS | (BYTES if given.bytes else {})).items():
            if not given.only or any(title.startswith(begin) for begin in given.only):
                good = fuzz(title, kind, origin, given.seed, given.count, given.listed)
                fine = fine and (good or title in BYTES)
        os.chdir("/")
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
