"""A run that was killed and goes on is the run that was not killed."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from layerprobe.distill.engine.checkpoints import Checkpoints
from layerprobe.distill.run import distill_student
from layerprobe.errors import LayerprobeError
from layerprobe.locks import FOLDER_LOCK
from layerprobe.settings.run import DistillSettings
from tests.helpers.killed import run_until_killed


@pytest.fixture
def config(small: DistillSettings) -> DistillSettings:
    """Dropout, augmentation, held-out images, accumulation: everything that draws or that has a state."""
    training = small.training.replaced(
        epochs=3,
        train_samples=200,
        batch_size=32,
        accumulate=2,
        augment="trivial",
        holdout=0.2,
        clip=1.0,
        channels_last=True,
    )
    return small.replaced(layers="3,6", training=training)


def content(folder: Path) -> dict[str, object]:
    """All that must be the same, bit by bit. (The order of a weights file's header is not.)"""
    files = {name: (folder / name).read_bytes() for name in ("metrics.csv", "config.yaml")}
    weights = [folder / "student.safetensors", *folder.glob("checkpoints/*/weights.safetensors")]
    bits = {
        f"{path.relative_to(folder)} {name}": tensor.numpy().tobytes()
        for path in weights
        for name, tensor in load_file(path).items()
    }
    result = json.loads((folder / "result.json").read_text())
    return {**files, **bits, **{key: value for key, value in result.items() if "accuracy" in key}}


NET = """
from torch import nn

def make_net():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10)
    )
"""


@pytest.mark.parametrize(
    ("student", "cached", "form", "moments"),
    [
        ("net", True, {}, [("epoch", 1)]),
        ("net", True, {"name": "geometry-flattened", "by_class": True}, [("epoch", 1)]),
        ("cifar:resnet20", False, {}, [("epoch", 2)]),
        pytest.param(
            "cifar:resnet20",
            False,
            {},
            [("step", 2), ("before rename", 4), ("after rename", 4)],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_killed_runs_go_on_to_the_same_end(
    config: DistillSettings,
    tmp_path: Path,
    student: str,
    cached: bool,
    form: dict[str, object],
    moments: list[tuple[str, int]],
) -> None:
    """160 images make 3 steps an epoch; the second epoch's end is renames 3 (best), 4 and 5 or so."""
    (tmp_path / "net.py").write_text(NET)
    name = f"{tmp_path / 'net.py'}:make_net" if student == "net" else student
    training = config.training.replaced(cache_teacher=cached, augment="none" if cached else "trivial")
    alignment = config.alignment.replaced(**form)
    config = config.replaced(student=config.student.replaced(name=name), training=training, alignment=alignment)
    whole = content(distill_student(config).folder)
    for number, (moment, when) in enumerate(moments):
        broken = config.replaced(output=tmp_path / str(number))
        assert run_until_killed(broken, moment, when) == -9
        assert not (broken.output / "result.json").exists()
        run = distill_student(broken.replaced(resume=True))
        assert content(broken.output) == whole, (moment, when)
        assert len(run.resumed_after) == int((moment, when) != ("step", 2))


def test_the_same_seed_gives_the_same_run_and_another_seed_another(small: DistillSettings, tmp_path: Path) -> None:
    runs = [distill_student(small.replaced(output=tmp_path / name)) for name in ("a", "b")]
    assert content(runs[0].folder) == content(runs[1].folder)
    other = distill_student(small.replaced(output=tmp_path / "c", training=small.training.replaced(seed=1)))
    assert not torch.equal(load_file(other.weights)["conv1.weight"], load_file(runs[0].weights)["conv1.weight"])


def test_the_best_checkpoint_is_chosen_on_held_out_images(config: DistillSettings) -> None:
    run = distill_student(config.replaced(student=config.student.replaced(name="cifar:resnet20")))
    checkpoints = Checkpoints(run.folder / "checkpoints", {})
    best, latest = checkpoints.load("best"), checkpoints.load("latest")
    assert best and latest and run.chosen
    assert len(best.state["history"]) == run.chosen.epoch and len(latest.state["history"]) == 3
    assert run.chosen.holdout_accuracy == max(epoch.holdout_accuracy or 0 for epoch in run.epochs)
    assert all(torch.equal(value, load_file(run.weights)[name]) for name, value in latest.weights.items())


def test_without_held_out_images_there_is_no_best(small: DistillSettings) -> None:
    run = distill_student(small)
    assert [path.name for path in (run.folder / "checkpoints").iterdir()] == ["latest"]


def test_a_finished_run_has_nothing_left_to_do(small: DistillSettings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    run = distill_student(small)
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")}
    (run.folder / FOLDER_LOCK).touch()  # of a process that was killed at its very end
    again = distill_student(small.replaced(resume=True))
    assert "is finished: nothing to do" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")} == before
    assert (again.epochs, again.to_dict(), again.files) == (run.epochs, run.to_dict(), run.files)
    indices = small.replaced(resume=True, layers="0,-1")  # which layers these are, only the network tells
    assert distill_student(indices).epochs == run.epochs
    other = {"training": small.training.replaced(epochs=9), "layers": "layer1.0,layer3.1"}
    with pytest.raises(LayerprobeError, match="finished run with .*; another run takes another output") as told:
        distill_student(small.replaced(resume=True, **other))
    assert "training.epochs 2, not 9" in str(told.value)
    assert "layers 'layer2.0,layer3.1', not 'layer1.0,layer3.1'" in str(told.value)


def test_another_run_is_not_gone_on_with(small: DistillSettings, tmp_path: Path) -> None:
    assert run_until_killed(small, "epoch", 1) == -9
    going_on = small.replaced(resume=True)

    def refuse(message: str, **changes: object) -> None:
        with pytest.raises(LayerprobeError, match=message):
            distill_student(going_on.replaced(**changes))

    refuse("as it was, but .* has training.epochs 2, not 4", training=small.training.replaced(epochs=4))
    refuse("as it was, but .* has method 'feature-only', not 'kd'", method="kd", layers=None)
    refuse("resume continues a run and overwrite replaces it", overwrite=True)
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "mine.txt").write_text("")
    refuse("else holds no run: it has no config.yaml", output=tmp_path / "else")
    with pytest.raises(LayerprobeError, match="overwrite replaces the run in it, resume goes on with it"):
        distill_student(small)
    state = small.output / "checkpoints" / "latest" / "state.pt"
    state.write_bytes(state.read_bytes()[:-100])
    refuse("checkpoint .*latest can't be read .*; start anew with --overwrite")


def test_going_on_where_nothing_is_starts(small: DistillSettings) -> None:
    assert len(distill_student(small.replaced(resume=True)).epochs) == 2


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, small: DistillSettings) -> None:
    class Bomb:
        def __reduce__(self) -> object:
            return Path.touch, (tmp_path / "ran",)

    assert run_until_killed(small, "epoch", 1) == -9
    torch.save({"history": [Bomb()]}, small.output / "checkpoints" / "latest" / "state.pt")
    with pytest.raises(LayerprobeError, match="can't be read"):
        distill_student(small.replaced(resume=True))
    assert not (tmp_path / "ran").exists()


def test_a_loss_that_is_lost_stops_with_its_state_saved(small: DistillSettings) -> None:
    with pytest.raises(
        LayerprobeError, match=r"not finite in epoch 1 \(.*diverged; try a smaller --lr, --clip 1, with --overwrite$"
    ):
        distill_student(small.replaced(training=small.training.replaced(lr=1e12)))
    assert [path.name for path in (small.output / "checkpoints").iterdir()] == ["diverged"]
    assert not (small.output / "result.json").exists()


def test_a_student_that_its_last_step_spoils_is_no_result(small: DistillSettings) -> None:
    """The loss of one step is that of the weights before it."""
    training = small.training.replaced(lr=1e12, epochs=1, train_samples=60)
    with pytest.raises(LayerprobeError, match=r"after epoch 1.*; the state is in .*diverged; try a smaller --lr"):
        distill_student(small.replaced(training=training))
    assert not (small.output / "result.json").exists() and not (small.output / "student.safetensors").exists()


def test_a_loss_that_diverges_stops(small: DistillSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layerprobe.distill.engine.loop.DIVERGENCE", 0.01)
    with pytest.raises(LayerprobeError, match=r"diverges: in epoch 2 .* in .*diverged, that of epoch 1 in latest; try"):
        distill_student(small)
    assert {path.name for path in (small.output / "checkpoints").iterdir()} == {"diverged", "latest"}
