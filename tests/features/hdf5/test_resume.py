"""An extraction that is stopped goes on, and ends with the bytes of one that wasn't."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from layerprobe.errors import LayerprobeError
from layerprobe.features.extraction import extract as module
from layerprobe.features.extraction.extract import extract
from layerprobe.features.extraction.job import prepare
from layerprobe.features.hdf5.layout import create_file
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.features.hdf5.writer import FeatureFileWriter
from layerprobe.records import Progress
from layerprobe.runtime import processes
from layerprobe.runtime.processes import Processes
from layerprobe.settings.data import DataSettings
from layerprobe.settings.extract import ExtractSettings
from layerprobe.settings.model import ModelSettings
from tests.helpers.commands import invoke

COMMAND = (
    "layerprobe", "extract", "--model", "cifar:resnet20", "--weights", "random", "--data", "digits", "--device", "cpu",
)  # fmt: skip
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
TWO_LANES = {**os.environ, "OMP_NUM_THREADS": "2"}


def contents(path: Path) -> dict[str, bytes]:
    """Every data set's type, shape and bytes."""
    found: dict[str, bytes] = {}

    def visit(name: str, item: h5py.HLObject) -> None:
        if isinstance(item, h5py.Dataset):
            data = item[:]
            found[f"{name} {item.dtype} {item.shape}"] = (
                repr(list(data)).encode() if data.dtype == object else data.tobytes()
            )

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def stop_after(rows: int) -> Progress:
    def progress(what: str, done: int, total: int) -> None:
        if what == "images extracted" and done >= rows:
            raise KeyboardInterrupt

    return progress


def file_is_complete(path: Path) -> bool:
    with FeatureFile(path, unfinished=True) as file:
        return file.complete


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_interrupted_run_goes_on(config: ExtractSettings, dtype: str, caplog: pytest.LogCaptureFixture) -> None:
    config = config.replaced(dtype=dtype)
    extract(config.replaced(output=config.output.with_name("whole.h5"))).close()
    caplog.set_level("INFO", "layerprobe")
    for rows in (4, 8):
        with pytest.raises(KeyboardInterrupt):
            extract(config, stop_after(rows))
        with FeatureFile(config.output, unfinished=True) as file:
            done = int(file.written.sum())
        assert rows <= done <= 15 and not file_is_complete(config.output)
        follows = "goes on from there" if done < 15 else "finishes the file"
        assert f"stopped: {done} of 15 rows are in {config.output}; the same command {follows}" in caplog.text
    extract(config).close()
    assert f"going on: {done} of 15 rows are in" in caplog.text
    assert contents(config.output) == contents(config.output.with_name("whole.h5"))


def test_a_run_that_wrote_nothing_leaves_nothing(config: ExtractSettings) -> None:
    with pytest.raises(KeyboardInterrupt):
        extract(config, _stop_at_once)
    assert not config.output.exists()


def _stop_at_once(what: str, done: int, total: int) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("overwrite", [False, True])
def test_another_runs_file_is_left_alone(config: ExtractSettings, overwrite: bool) -> None:
    """Also while it has no row yet."""

    def start_another(what: str, done: int, total: int) -> None:
        with pytest.raises(LayerprobeError, match="f.h5 is being written by another process"):
            extract(config.replaced(overwrite=overwrite))

    extract(config, start_another).close()
    assert file_is_complete(config.output)


def test_a_file_is_not_replaced_while_its_rows_are_checked(config: ExtractSettings) -> None:
    with pytest.raises(KeyboardInterrupt):
        extract(config, stop_after(8))
    seen = []

    def start_another(what: str, done: int, total: int) -> None:
        seen.append(what)
        if what == "rows verified":
            with pytest.raises(LayerprobeError, match="f.h5 is being written by another process"):
                extract(config.replaced(overwrite=True))

    extract(config, start_another).close()
    assert "rows verified" in seen and file_is_complete(config.output)


class _Alone(Processes):
    def wait(self) -> None:
        pass


def test_a_run_that_lacks_the_last_mark_alone_says_so(
    config: ExtractSettings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(writer: FeatureFileWriter) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(FeatureFileWriter, "finish", stop)
        extract(config)
    assert "stopped: 15 of 15 rows are in" in caplog.text and "the same command finishes the file" in caplog.text
    extract(config).close()


def test_another_process_of_the_run_does_not_remove_the_file(
    config: ExtractSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_file(config.output, prepare(config, torch.device("cpu")).plan)
    monkeypatch.setattr(module, "join_processes", lambda device: _Alone(1, 2))
    with pytest.raises(KeyboardInterrupt):
        extract(config, _stop_at_once)
    assert config.output.exists()


def test_what_stopped_a_run_is_said_though_its_file_is_gone(config: ExtractSettings) -> None:
    def stop(what: str, done: int, total: int) -> None:
        config.output.unlink()
        config.output.write_text("mine")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(config, stop)
    assert config.output.read_text() == "mine"


def test_an_error_on_leaving_hides_nothing(config: ExtractSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(writer: FeatureFileWriter) -> None:
        raise OSError("no such disk")

    monkeypatch.setattr(FeatureFileWriter, "remove", fail)
    with pytest.raises(KeyboardInterrupt):
        extract(config, _stop_at_once)


def test_a_finished_file_is_left_as_it_is(config: ExtractSettings, caplog: pytest.LogCaptureFixture) -> None:
    extract(config).close()
    before = config.output.read_bytes()
    caplog.set_level("INFO", "layerprobe")
    extract(config).close()
    assert "is complete: nothing to do" in caplog.text and config.output.read_bytes() == before
    extract(config.replaced(overwrite=True)).close()
    assert "going on" not in caplog.text


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"seed": 1}, "sample seed: 0 in the file, 1 now"),
        ({"samples": 12}, "sample images: 15 in the file, 12 now"),
        ({"split": "all"}, "split: train in the file, all now"),
        ({"dtype": "float16"}, "dtype: float32 in the file, float16 now"),
        ({"amp": True}, "precision: float32 in the file, bfloat16 now"),
        ({"layers": ("act",)}, "layers: 2 in the file, 1 now"),
        ({"pool": "avg:4"}, r"layer act: \(4, 32, 32\) in the file, \(4, 4, 4\) avg:4x4 now"),
        ({"mean": (0.5,)}, r"preprocessing mean: \[0.485, 0.456, 0.406\] in the file, \[0.5, 0.5, 0.5\] now"),
        ({"model": ":loud"}, "model: .*net.py:net in the file, .*net.py:loud now"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_another_extraction_is_refused(
    config: ExtractSettings, change: Mapping[str, object], difference: str, finished: bool
) -> None:
    if finished:
        extract(config).close()
    else:
        with pytest.raises(KeyboardInterrupt):
            extract(config, stop_after(4))
    before = config.output.read_bytes()
    if "mean" in change:
        change = {"data": config.data.replaced(mean=change["mean"], std=(0.2,))}
    elif "model" in change:
        change = {"model": ModelSettings(name=config.model.name.replace(":net", ":loud"))}
    state = "exists" if finished else "is unfinished"
    with pytest.raises(
        LayerprobeError, match=rf"f.h5 {state}, and is another extraction \(.*{difference}.*--overwrite"
    ):
        extract(config.replaced(**change))
    assert config.output.read_bytes() == before


def test_other_weights_and_other_pixels_are_refused(config: ExtractSettings, photos: Path) -> None:
    extract(config).close()
    source = config.output.parent / "net.py"
    source.write_text(source.read_text().replace("manual_seed(0)", "manual_seed(1)"))
    with pytest.raises(LayerprobeError, match=r"weights_sha256: \w{12}\.\.\. in the file, \w{12}\.\.\. now"):
        extract(config)
    source.write_text(source.read_text().replace("manual_seed(1)", "manual_seed(0)"))
    extract(config).close()
    for path in photos.rglob("*.png"):
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    with pytest.raises(LayerprobeError, match="pixels_sha256"):
        extract(config)


def test_what_is_not_a_feature_file_is_kept(config: ExtractSettings) -> None:
    config.output.write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(LayerprobeError, match="f.h5 is not a file of features .*, and is not replaced; remove it"):
            extract(config.replaced(overwrite=overwrite))
    assert config.output.read_text() == "mine"
    config.output.write_bytes(b"\x89HDF\r\n\x1a\n cut off")
    with pytest.raises(LayerprobeError, match=r"f.h5 exists \(.* is cut off or damaged\); --overwrite replaces it"):
        extract(config)
    extract(config.replaced(overwrite=True)).close()
    with pytest.raises(LayerprobeError, match="is a folder; --output names the HDF5 file"):
        extract(config.replaced(output=config.output.parent))


def test_rows_that_a_power_failure_lost_are_computed_again(
    config: ExtractSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """Marks and checksums reached the disk, the features of two rows did not."""
    extract(config.replaced(output=config.output.with_name("whole.h5"))).close()
    with pytest.raises(KeyboardInterrupt):
        extract(config, stop_after(12))
    with h5py.File(config.output, "r+") as file:
        file["layers/000000"][5] = 0
        file["layers/000001"][9] = 0
    extract(config).close()
    assert "2 rows of" in caplog.text and "did not reach the disk whole: computed again" in caplog.text
    assert contents(config.output) == contents(config.output.with_name("whole.h5"))


def test_an_image_that_cannot_be_read_stops_the_run_and_no_more(config: ExtractSettings, photos: Path) -> None:
    config = config.replaced(samples="all", batch_size=1)
    path = photos / "train" / "cat" / "01.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:200])
    with pytest.raises(LayerprobeError, match="01.png is not a readable image"):
        extract(config)
    path.write_bytes(whole)
    with extract(config) as file:
        assert file.complete


@pytest.mark.slow
def test_four_kills(config: ExtractSettings, tmp_path: Path) -> None:
    """SIGKILL at four random moments of a real process; the last run finishes the file."""
    count = 1200
    for row, pixels in enumerate(np.random.default_rng(0).integers(0, 255, (count, 8, 8, 3), np.uint8)):
        folder = tmp_path / "many" / "train" / "ab"[row % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{row}.bmp")
    command = (
        sys.executable, "-m", "layerprobe", "extract", "--model", config.model.name, "--data", tmp_path / "many",
        "--samples", "all", "--batch-size", "1", "--device", "cpu", "--output",
    )  # fmt: skip
    whole, path = tmp_path / "whole.h5", tmp_path / "f.h5"
    subprocess.run([*command, whole], env=TWO_LANES, check=True, capture_output=True)
    done, moments = 0, random.Random(0)
    for _ in range(4):
        process = subprocess.Popen(
            [*command, path], env=TWO_LANES, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for_more_rows(path, done, process)
        time.sleep(moments.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        with FeatureFile(path, unfinished=True) as file:
            assert int(file.written.sum()) > done and not file.complete and not file.damaged().any()
            done = int(file.written.sum())
    assert done < count
    result = subprocess.run([*command, path], env=TWO_LANES, check=True, capture_output=True, text=True)
    assert f"going on: {done} of {count} rows" in result.stderr
    assert contents(path) == contents(whole)


def test_a_run_can_begin_right_after_a_kill(config: ExtractSettings, tmp_path: Path) -> None:
    """Workers that decode images live on for seconds; they must not hold the killed run's lock."""
    (tmp_path / "slow.py").write_text(SLOW_IMAGES)
    command = (
        sys.executable, tmp_path / "slow.py", "extract", "--model", config.model.name, "--data", config.data.name,
        "--samples", "all", "--batch-size", "1", "--device", "cpu", "--output", config.output,
    )  # fmt: skip
    process = subprocess.Popen([*command, "--workers", "2"], env=ONE_THREAD, start_new_session=True)
    wait_for_more_rows(config.output, 0, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    try:
        with FeatureFileWriter(config.output):
            os.killpg(process.pid, 0)  # the workers are there still
    finally:
        os.killpg(process.pid, signal.SIGKILL)


SLOW_IMAGES = """
import time
from layerprobe.cli.main import app
from layerprobe.data import loading
to_pixels = loading.to_pixels
def slow(*arguments):
    time.sleep(0.5)
    return to_pixels(*arguments)
loading.to_pixels = slow
app()
"""


def wait_for_more_rows(path: Path, done: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if path.exists():
            with FeatureFile(path, unfinished=True) as file:
                if int(file.written.sum()) > done:
                    return
        time.sleep(0.005)
    raise AssertionError(f"no more than {done} rows; exit code {process.poll()}")


TWO_PROCESSES = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def test_two_processes_write_what_one_writes(tmp_path: Path) -> None:
    options = (*COMMAND, "--samples", "130", "--batch-size", "16", "--output")
    invoke(*options[1:], tmp_path / "one.h5")
    result = subprocess.run(
        [sys.executable, "-m", *TWO_PROCESSES, "-m", *options, tmp_path / "two.h5"],
        env=ONE_THREAD, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("wrote ") == 1
    assert contents(tmp_path / "one.h5") == contents(tmp_path / "two.h5")


ONE_IS_LATE = f"""
import os, sys, time
from layerprobe.cli.main import app
from layerprobe.features.hdf5.writer import FeatureFileWriter
read = FeatureFileWriter.written.fget
def read_late(writer):
    if os.environ["RANK"] == "1" and not hasattr(writer, "late"):
        writer.late = True
        time.sleep(2)
    return read(writer)
FeatureFileWriter.written = property(read_late)
app({COMMAND[1:]!r} + ("--samples", "40", "--batch-size", "4", "--output", sys.argv[1]))
"""


@pytest.mark.slow
def test_a_process_that_is_late_divides_the_same_rows(tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text(ONE_IS_LATE)
    result = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         tmp_path / "late.py", tmp_path / "f.h5"],
        env=ONE_THREAD, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert file_is_complete(tmp_path / "f.h5")


def test_processes_wait_for_days(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    class State:
        process_index, num_processes = 1, 2

        def __init__(self, **options: object) -> None:
            asked.update(options)

    monkeypatch.setattr(processes, "PartialState", State)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert processes.join_processes("cpu") == Processes(1, 2)
    assert asked["timeout"] >= timedelta(days=1)


FULL_DISK = """
set -e
mount -t tmpfs -o size=2m tmpfs "$1"
code=0
"$2" -c "$4" "$1/f.h5" || code=$?
test $code = 2
cp "$1/f.h5" "$3/stopped.h5"
mount -o remount,size=300m "$1"
"$2" -c "$4" "$1/f.h5"
cp "$1/f.h5" "$3/finished.h5"
"""
# The disk that was large enough when the run began is filled by others meanwhile.
IN_FULL_DISK = f"""
import shutil, sys
from layerprobe.cli.main import app
usage = shutil.disk_usage("/")
shutil.disk_usage = lambda path: usage._replace(free=10**12)
app({COMMAND[1:]!r} + ("--samples", "100", "--batch-size", "4", "--output", sys.argv[1]))
"""


def can_mount() -> bool:
    unshare = shutil.which("unshare")
    mount = ("--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/tmp")
    return bool(unshare) and subprocess.run([unshare, *mount], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="needs a user namespace that may mount a tmpfs")
def test_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    result = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", FULL_DISK, "sh",
         tmp_path / "disk", sys.executable, tmp_path, IN_FULL_DISK],
        env=ONE_THREAD, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    with FeatureFile(tmp_path / "stopped.h5", unfinished=True) as file:
        done = int(file.written.sum())
    assert 0 < done < 100
    assert f"error: the disk is full: {done} of 100 rows are in" in result.stderr
    assert "make room and run the same command again" in result.stderr
    whole = extract(
        ExtractSettings(
            model=ModelSettings(name="cifar:resnet20", weights="random"),
            data=DataSettings(name="digits"),
            output=tmp_path / "whole.h5",
            samples=100,
            batch_size=4,
            device="cpu",
        )
    )
    with whole, FeatureFile(tmp_path / "finished.h5") as file:
        assert not file.damaged().any()
        for stored in whole.layers:
            assert np.allclose(
                file.features(stored.layer.index), whole.features(stored.layer.index), rtol=1e-4, atol=1e-5
            )
