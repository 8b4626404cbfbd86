"""Run folders and checkpoints that can't be read or written."""

import errno
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from layerprobe.data.datasets import open_dataset
from layerprobe.distill.engine.checkpoints import Checkpoints
from layerprobe.distill.engine.images import load_images
from layerprobe.distill.folder import RunFolder, read_run
from layerprobe.distill.run import distill_student
from layerprobe.errors import LayerprobeError
from layerprobe.locks import HeldError
from layerprobe.records import Preprocessing, Run
from layerprobe.runtime.interruption import Interruption, interruptible
from layerprobe.settings.recipe import TrainingSettings
from layerprobe.settings.run import DistillSettings


def test_a_run_comes_back_from_its_folder(digits_teacher: Run) -> None:
    again = read_run(digits_teacher.folder)
    assert (again.epochs, again.weights, again.files) == (
        digits_teacher.epochs,
        digits_teacher.weights,
        digits_teacher.files,
    )
    assert again.to_dict() == digits_teacher.to_dict()


def test_unfinished_and_damaged_runs(small: DistillSettings, tmp_path: Path) -> None:
    run = distill_student(small)
    text = (run.folder / "result.json").read_text()
    (run.folder / "result.json").write_text(text[:-20])
    with pytest.raises(LayerprobeError, match=r"run/result.json is not JSON \(.*\); run it again"):
        read_run(run.folder)
    (run.folder / "result.json").unlink()
    with pytest.raises(LayerprobeError, match=r"run is no finished run: it has no result.json; .*--resume finishes it"):
        read_run(run.folder)
    assert distill_student(small.replaced(resume=True)).epochs == run.epochs


def test_overwriting_leaves_nothing_of_the_older_run_and_everything_else(small: DistillSettings) -> None:
    class Stop(Exception):
        pass

    def stop(_: object) -> None:
        raise Stop

    run = distill_student(small)
    for name in (
        "curves.pdf",
        "confusion.csv",
        "confusion-photos-best.pdf",
        "confusions.pdf",
        "evaluation.json",
        "evaluation-photos.json",
        "evaluations.json",
        "head.safetensors",
        "mine.csv",
        "tensorboard/events",
    ):
        (run.folder / name).parent.mkdir(exist_ok=True)
        (run.folder / name).write_text("")
    with pytest.raises(Stop):
        distill_student(small.replaced(overwrite=True), on_epoch=stop)
    left = {"checkpoints", "config.yaml", "metrics.csv", "mine.csv", "confusions.pdf", "evaluations.json"}
    assert {path.name for path in run.folder.iterdir()} == left


def test_a_folder_is_written_by_one_run(small: DistillSettings) -> None:
    seen: list[str] = []

    def another(_: object) -> None:
        for how in ({"overwrite": True}, {"resume": True}):
            with pytest.raises(HeldError) as told:
                distill_student(small.replaced(**how))
            seen.append(str(told.value))

    run = distill_student(small, on_epoch=another)
    assert set(seen) == {f"{small.output} is being written by another process; wait for it, or name another --output"}
    assert len(seen) == 4 and read_run(run.folder).epochs == run.epochs


def test_a_run_that_ended_since_the_folder_was_looked_at_is_not_written_over(small: DistillSettings) -> None:
    late = RunFolder(small.output)
    distill_student(small)
    with pytest.raises(HeldError), late.held():
        pass


def test_what_fails_before_its_first_step_leaves_the_older_run(small: DistillSettings, tmp_path: Path) -> None:
    distill_student(small)
    before = {path: path.read_bytes() for path in sorted(small.output.rglob("*")) if path.is_file()}
    (tmp_path / "bad.py").write_text("def loss(student, teacher):\n    return student.sum() / 0 if False else [1][2]\n")
    teacher = small.teacher.replaced(weights=str(tmp_path / "nowhere.safetensors"))
    alignment = small.alignment.replaced(feature_loss=f"{tmp_path / 'bad.py'}:loss")
    for change in ({"teacher": teacher}, {"alignment": alignment}):
        training = small.training.replaced(check=False)
        with pytest.raises(LayerprobeError, match=r"nowhere.safetensors does not exist|bad.py:loss fails"):
            distill_student(small.replaced(overwrite=True, training=training, **change))
        assert {path: path.read_bytes() for path in sorted(small.output.rglob("*")) if path.is_file()} == before
        with pytest.raises(LayerprobeError):
            distill_student(small.replaced(output=tmp_path / "new", training=training, **change))
        assert not (tmp_path / "new").exists()


def test_a_run_that_was_killed_while_its_first_file_was_written_begins_anew(tmp_path: Path) -> None:
    (tmp_path / ".config.yaml.partial").write_text("command: dis")
    assert not RunFolder(tmp_path, resume=True).goes_on and not RunFolder(tmp_path).goes_on
    (tmp_path / "mine.csv").touch()
    with pytest.raises(LayerprobeError, match="holds no run: it has no config.yaml"):
        RunFolder(tmp_path, resume=True)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(LayerprobeError, match="run is a file; output names the run folder to make"):
        RunFolder(tmp_path / "run")


def test_a_full_disk_leaves_the_state_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints, student = Checkpoints(tmp_path / "checkpoints", {}), nn.Linear(2, 2)
    checkpoints.save("latest", student, {"epoch": 1})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        with pytest.raises(
            LayerprobeError, match=r"can't write the checkpoint .*latest: No space left on device; make"
        ):
            checkpoints.save("latest", student, {"epoch": 2})
    saved = checkpoints.load("latest")
    assert saved and saved.state == {"epoch": 1} and checkpoints.load("best") is None
    checkpoints.save("latest", student, {"epoch": 3})
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["latest"]
    checkpoints.remove()
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.filterwarnings("ignore:.*unclosed file:ResourceWarning")  # Python closes what an interruption leaves open
@pytest.mark.filterwarnings("ignore:.*unclosed file:pytest.PytestUnraisableExceptionWarning")
def test_a_checkpoint_that_is_interrupted_is_interrupted(tmp_path: Path) -> None:
    """At whatever moment: torch's C++ must not turn the interruption into an error of its own."""
    checkpoints, student = Checkpoints(tmp_path, {}), nn.Linear(200, 200)
    state = {"values": [torch.rand(30_000) for _ in range(20)]}
    checkpoints.save("latest", student, state)
    started = time.perf_counter()
    checkpoints.save("latest", student, state)
    whole = time.perf_counter() - started
    stopped = 0
    before = signal.getsignal(signal.SIGALRM)
    for moment in np.random.default_rng(0).uniform(0, 1.2 * whole, 30):
        try:
            with interruptible():
                signal.signal(signal.SIGALRM, signal.getsignal(signal.SIGTERM))
                signal.setitimer(signal.ITIMER_REAL, max(moment, 1e-4))
                checkpoints.save("latest", student, state)
                signal.setitimer(signal.ITIMER_REAL, 0)
        except Interruption:
            stopped += 1
        finally:
            signal.signal(signal.SIGALRM, before)
        saved = checkpoints.load("latest")
        assert saved and torch.equal(saved.state["values"][-1], state["values"][-1])
    assert stopped >= 5


def test_fewer_images_than_processes() -> None:
    splits = [open_dataset("digits", split=split) for split in ("train", "test")]
    preprocessing = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(LayerprobeError, match="10 training images for 16 processes; start fewer processes"):
        load_images(*splits, preprocessing, TrainingSettings(train_samples=10, test_samples=10), share=(0, 16))
