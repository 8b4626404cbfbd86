"""Whatever is wrong with a file that layerprobe wrote, reading it is one line that names the file and the field."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from layerprobe.distill.engine.checkpoints import Checkpoints
from layerprobe.distill.folder import read_run
from layerprobe.distill.students import read_description
from layerprobe.errors import LayerprobeError
from layerprobe.experiments.grid.claims import Claims
from layerprobe.experiments.grid.results import failure
from layerprobe.experiments.validation.scores import read_scores
from layerprobe.features.hdf5.gram_file import GramFile
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.models.weights_file import read_weights
from layerprobe.ranking.cache import StatisticsCache, open_cache
from layerprobe.ranking.file import load_ranking
from layerprobe.records.weights_header import parse_weights_header
from layerprobe.settings.data import DataSettings
from layerprobe.settings.legacy import RENAMED
from tests.helpers.malformed import refused, spoiled


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        file: one that version 0.1.0 wrote.
        read: what reads it, given the folder that it lies in.
        encode: its text, from plain values.
        decode: plain values from its text.
        shorten: leaves less of the values, so that there is less to spoil.
        free: places at which anything may stand, since nothing reads them, or they are compared as a whole.
        optional: places that may also be null or missing.
    """

    file: str
    read: Callable[[Path], object]
    encode: Callable[[Any], str] = json.dumps
    decode: Callable[[str], Any] = json.loads
    shorten: Callable[[Any], Any] = lambda values: values
    free: str = "$nothing"
    optional: str = "$nothing"


def to_csv(rows: Any) -> str:
    """Rows of a CSV file; what isn't such rows is written as it comes."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or not rows:
        return str(rows)
    text = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def from_csv(text: str) -> list[dict[str, Any]]:
    rows = csv.DictReader(io.StringIO(text))
    return [{key: float(value) if value else "" for key, value in row.items()} for row in rows]


def less_of_a_ranking(values: Any) -> Any:
    layers = [
        {**layer, "statistics": {name: layer["statistics"][name] for name in ("quality", "nc1")}}
        for layer in values["layers"][2:4]
    ]
    return {**values, "layers": layers, "evenly_spread": [], "undecided": [], "selected": ["5"]}


KINDS = {
    "ranking": Kind(
        "features.ranking.json", lambda folder: load_ranking(folder / "features.ranking.json"),
        shorten=less_of_a_ranking,
        optional=r"provenance\.\w+|provenance\.sample\.\w+|provenance\.preprocessing\.(resize|interpolation|source)"
        r"|layers\.\d\.(top_share|(statistics|intervals)\.\w+(\.\w+)?)",
    ),
    "result": Kind(
        "student/result.json", lambda folder: read_run(folder / "student"),
        optional=r"teacher_accuracy|wall_seconds|peak_memory_bytes|environment\.versions\.\w+",
    ),
    "configuration of a run": Kind(
        "simkd/config.yaml", lambda folder: (read_description(folder / "simkd"), read_run(folder / "simkd")),
        encode=lambda values: yaml.safe_dump(values, allow_unicode=True), decode=yaml.safe_load,
        free=r"(teacher|training|data|student|alignment)(\..*)?|teacher_layers.*|student_layers.*|teacher_features",
        optional=r"method|ending|versions\.\w+|preprocessing\.(resize|interpolation|source)",
    ),
    "scores": Kind(
        "validation/scores.json", lambda folder: read_scores(folder / "validation"),
        free=r"(measured|provenance)\..*", optional=r"(scores|cka)\..*|taught\.[\w ]+(\.1)?|measured",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_every_field_of_a_file_is_checked(name: str, written: Path, tmp_path: Path) -> None:
    kind = KINDS[name]
    folder = tmp_path / "copy"
    shutil.copytree(written, folder)
    file = folder / kind.file
    values = kind.shorten(kind.decode(file.read_text()))
    file.write_text(kind.encode(values))
    kind.read(folder)
    count, passed = 0, []
    for place, what, changed in spoiled(values):
        count += 1
        file.write_bytes(kind.encode(changed).encode("utf-8", "surrogatepass"))
        dotted = ".".join(map(str, place))
        field = str(place[-1]) if place else ""
        renamed = [new.rpartition(".")[2] for old, new in RENAMED.items() if f"{dotted}.".startswith(f"{old}.")]
        if not refused(kind.read, folder, file, field, *renamed, *map(str, place[-2:-1])):
            free = re.fullmatch(kind.free, dotted)
            optional = re.fullmatch(kind.optional, dotted) and what in ("None", "dropped", "nan", "{}", "[]")
            if not (free or optional):
                passed.append(f"{dotted}: {what}")
    assert not passed, passed
    assert count > 100


def test_every_cell_of_the_metrics_is_checked(written: Path, tmp_path: Path) -> None:
    shutil.copytree(written / "classes", tmp_path / "run")
    file = tmp_path / "run" / "metrics.csv"
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    read_run(tmp_path / "run")
    for number, row in enumerate(rows):
        for column in row:
            for wrong in ("", "x", "nan", "inf", "-1", "1e400", "9" * 5000, "0x1", "\x00", "1.5.2"):
                changed = [dict(one) for one in rows]
                if column.startswith("loss_"):
                    if wrong == "-1":
                        continue  # a loss may be below 0
                    if not wrong:  # an epoch may lack a term, but not every one
                        changed[number] |= dict.fromkeys((name for name in row if name.startswith("loss_")), "")
                changed[number][column] = wrong
                file.write_text(to_csv(changed))
                words = column.removeprefix("loss_"), "row", "holdout"
                assert refused(read_run, tmp_path / "run", tmp_path / "run", *words), wrong
    for column in rows[0]:
        file.write_text(to_csv([{key: value for key, value in row.items() if key != column} for row in rows]))
        if not column.startswith("loss_"):
            assert refused(read_run, tmp_path / "run", file, column)
    for changed in (rows[:1], rows[::-1], [*rows, rows[1]], []):
        file.write_text(to_csv(changed))
        assert refused(read_run, tmp_path / "run", tmp_path / "run")


READERS: dict[str, Callable[[Path], object]] = {
    "features.ranking.json": lambda folder: load_ranking(folder / "features.ranking.json"),
    "student/result.json": lambda folder: read_run(folder / "student"),
    "student/metrics.csv": lambda folder: read_run(folder / "student"),
    "student/config.yaml": lambda folder: read_description(folder / "student"),
    "validation/scores.json": lambda folder: read_scores(folder / "validation"),
    "features.h5": lambda folder: FeatureFile(folder / "features.h5"),
    "grams.h5": lambda folder: GramFile(folder / "grams.h5"),
    "student/student.safetensors": lambda folder: read_weights(folder / "student/student.safetensors"),
    "unfinished/checkpoints/latest/state.pt": lambda folder: Checkpoints(folder / "unfinished/checkpoints", {}).load(
        "latest"
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_files_that_are_cut_off_or_rubbish_or_of_another_encoding(name: str, written: Path, tmp_path: Path) -> None:
    shutil.copytree(written, tmp_path / "copy")
    file = tmp_path / "copy" / name
    whole = file.read_bytes()
    rubbish = np.random.default_rng(0).bytes(1000)
    contents = [
        b"",
        rubbish,
        whole[:1],
        b"[" * 50_000,
        b"{" * 50_000,
        b"\x89HDF\r\n\x1a\n" + rubbish,
        b"PK\x03\x04" + rubbish,
    ]
    contents += [whole[: len(whole) * part // 10] for part in range(1, 10)]
    if file.suffix in (".json", ".yaml", ".csv"):
        contents += [whole.decode().encode("utf-16"), whole.replace(b"e", b"\xe4"), b"null", b"5", b"- x", b'"text"']
    for content in contents:
        file.write_bytes(content)
        what = file.parent if file.suffix == ".pt" else file
        said = refused(READERS[name], tmp_path / "copy", what)
        # Of YAML and CSV what is left may be a smaller file of its kind.
        assert said or (file.suffix == ".yaml" and content == whole[: len(content)]), content[:50]


def test_a_claim_that_is_malformed_is_held_until_it_expires(tmp_path: Path) -> None:
    claims = Claims(tmp_path, expires=100)
    claim = claims.take("a")
    assert claim
    file = tmp_path / "a.1"
    values = json.loads(file.read_text())
    count = 0
    for place, what, changed in spoiled(values):
        file.write_bytes(json.dumps(changed).encode())
        assert claims.held("a") and claims.take("a") is None, (place, what)
        count += 1
    for content in (b"", b"\xff", b"[" * 50_000, b'{"pid": ' + b"9" * 5000 + b"}"):
        file.write_bytes(content)
        assert claims.held("a") and not claims.deaths()
    assert count > 30


def test_a_failure_that_is_malformed_is_why_the_cell_failed(written: Path, tmp_path: Path) -> None:
    shutil.copytree(written / "grid", tmp_path / "grid")
    path = "runs/wide-to-narrow/lost/seed-0"
    (file,) = (tmp_path / "grid" / "failures").iterdir()
    values = json.loads(file.read_text())
    assert failure(tmp_path / "grid", path) == values["reason"]
    for place, what, changed in spoiled(values):
        file.write_bytes(json.dumps(changed).encode())
        said = failure(tmp_path / "grid", path)
        assert (str(file) in said and "\n" not in said and (not place or str(place[-1]) in said)) or what == "dropped"
    file.write_bytes(b"\xff")
    assert f"{file} is not text in UTF-8" in failure(tmp_path / "grid", path)


def test_every_field_of_the_header_of_weights_is_checked(written: Path, tmp_path: Path) -> None:
    file = written / "teacher" / "model.safetensors"
    weights = read_weights(file)
    header = {key: json.loads(weights.metadata[key]) for key in ("preprocessing", "classes")}
    optional = r"preprocessing\.(resize|interpolation|source)"
    for place, what, changed in spoiled(header):
        if not place or (place in (("preprocessing",), ("classes",)) and what == "dropped"):
            continue
        metadata = {key: json.dumps(value) for key, value in changed.items()}
        said = refused(lambda _, m=metadata: parse_weights_header(m, file), tmp_path, file, *map(str, place[-2:]))
        dotted = ".".join(map(str, place))
        assert said or (what in ("None", "dropped", "[]") and re.fullmatch(rf"{optional}|classes", dotted)), (
            place,
            what,
        )
    for text in ("", "{", "[" * 5000, "NaN"):
        assert refused(
            lambda _, t=text: parse_weights_header({"preprocessing": t}, file), tmp_path, file, "preprocessing"
        )


def test_every_field_of_a_checkpoint_is_checked(written: Path, tmp_path: Path) -> None:
    shutil.copytree(written / "unfinished" / "checkpoints", tmp_path / "checkpoints")
    checkpoints, folder = Checkpoints(tmp_path / "checkpoints", {}), tmp_path / "checkpoints" / "latest"
    saved = checkpoints.load("latest")
    assert saved and saved.check().history[0].epoch == 1
    told = {key: saved.state[key] for key in ("history", "resumed_after")}
    for place, what, changed in spoiled(told):
        state = {**saved.state, **changed} if isinstance(changed, dict) else changed
        if isinstance(changed, dict):
            state = {key: value for key, value in state.items() if key in changed or key not in told}
        one = replace(saved, state=state)
        said = refused(lambda _, one=one: one.check(), tmp_path, folder, *map(str, place[-2:]))
        dotted = ".".join(map(str, place))
        optional = r"history(\.0\.((holdout|test)_accuracy|losses(\.\w+)?))?|resumed_after"
        assert said or (re.fullmatch(optional, dotted) and what in ("None", "[]", "{}", "dropped")), (place, what)
    for key in ("objective", "optimizer", "schedule", "scaler"):
        left = {name: value for name, value in saved.state.items() if name != key}
        one = replace(saved, state=left)
        assert refused(lambda _, one=one: one.check(), tmp_path, folder, key)


def test_a_cache_that_is_damaged_is_computed_again(
    written: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "c.npz"
    kept = {"a": torch.arange(3.0, dtype=torch.float64), "b": torch.tensor(2.0)}
    cache = StatisticsCache(path, "f")
    cache.put("layer1", "scores", kept)
    cache.save()
    found = StatisticsCache(path, "f").get("layer1", "scores")
    assert found is not None and all(torch.equal(found[name], value) for name, value in kept.items())
    whole = path.read_bytes()
    with np.load(path) as file:
        arrays = dict(file)
    entry = "layer1|scores|a"
    changes: list[dict[str, Any]] = [{key: value for key, value in arrays.items() if key != name} for name in arrays]
    changes += [{**arrays, entry: value} for value in (np.array("x"), arrays[entry][:2], arrays[entry].astype("f4"))]
    changes += [{**arrays, "more": np.zeros(1)}, {**arrays, "key": np.zeros(3)}, {**arrays, "digest": np.zeros(3)}]
    contents: list[bytes] = [b"", b"rubbish", b"PK\x03\x04" + b"\x00" * 100]
    contents += [whole[: len(whole) * part // 10] for part in range(1, 10)]
    contents += [whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :] for place in range(0, len(whole), 7)]
    for changed in [*changes, *contents]:
        if isinstance(changed, bytes):
            path.write_bytes(changed)
        else:
            np.savez(path, **changed)
        caplog.clear()
        with caplog.at_level(logging.INFO):
            again = StatisticsCache(path, "f").get("layer1", "scores")
        same = again is not None and all(torch.equal(again[name], value) for name, value in kept.items())
        assert same or (again is None and "c.npz" in caplog.text and "computed again" in caplog.text), changed
    with FeatureFile(written / "features.h5") as features:  # one of version 0.1.0 lies beside it
        assert open_cache(features).get("3", "scores") is None


def test_a_name_of_any_length_is_refused_in_a_line() -> None:
    with pytest.raises(LayerprobeError) as told:
        DataSettings(name="digits", split="x" * 10**6)
    assert len(str(told.value)) < 2000
    text = str(LayerprobeError(f"no score {'x' * 10**6}; name another"))
    assert len(text) < 2000 and text.startswith("no score xxx") and text.endswith("xxx; name another")
