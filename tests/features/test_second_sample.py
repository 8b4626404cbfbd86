"""Spectra of a second sample: against the formulas on real features, after kills, and without a feature kept."""

import math
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from layerprobe.errors import LayerprobeError
from layerprobe.features.extraction import class_blocks as module
from layerprobe.features.extraction.extract import extract
from layerprobe.features.extraction.memory import MemoryRows
from layerprobe.features.hdf5.gram_file import GramFile
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.ranking.grams import extract_grams
from layerprobe.ranking.rank import rank
from layerprobe.records import Gram, Progress
from layerprobe.settings.data import DataSettings
from layerprobe.settings.extract import ExtractSettings
from layerprobe.settings.model import ModelSettings
from tests.features.hdf5.test_resume import ONE_THREAD, TWO_PROCESSES, contents
from tests.helpers.geometry_oracle import statistics
from tests.helpers.malformed import refused


@pytest.fixture
def digits(tmp_path: Path) -> ExtractSettings:
    """5 images of every class, and 50 of every class for the spectra."""
    return ExtractSettings(
        model=ModelSettings(name="cifar:resnet20", weights="random"),
        data=DataSettings(name="digits"),
        output=tmp_path / "f.h5",
        samples=50,
        spectrum_samples=50,
        layers=("layer1.0", "layer3.1", "-1"),
        device="cpu",
    )


def by_layer(source: FeatureFile | GramFile) -> dict[str, dict[str, float]]:
    """What is measured of each layer by its name."""
    found = {one.layer.name: dict(one.statistics) for one in rank(source, 1, resamples=0).geometries}
    return {name: {key: value for key, value in values.items() if key != "depth"} for name, values in found.items()}


def test_against_the_formulas_on_features_of_a_network(digits: ExtractSettings) -> None:
    """The features of all images from another run; the last layer has 64 of them, fewer than there are pairs."""
    every = digits.replaced(samples="all", spectrum_samples=None, output=digits.output.with_name("all.h5"))
    grams = digits.replaced(output=digits.output.with_name("g.h5"))
    with extract(every) as whole, extract(digits) as file, extract_grams(grams) as stats_only:
        assert file.spectra is not None and torch.equal(whole.image_rows, torch.arange(len(whole.labels)))
        labels, rows = file.spectra.labels.numpy(), file.spectra.image_rows.numpy()
        assert np.bincount(labels).tolist() == [50] * 10 and len(np.unique(rows)) == 500
        assert np.array_equal(whole.labels.numpy()[rows], labels)
        assert not set(file.image_rows.tolist()) <= set(rows.tolist())  # drawn apart
        found, again = by_layer(file), by_layer(stats_only)
        for stored in file.layers:
            name = stored.layer.name
            features = whole.features(name).flatten(1).double().numpy()
            first = statistics(features[file.image_rows], file.labels.numpy(), len(features))
            expected = first | _of_second_sample(features[rows], labels, first)
            assert found[name] == pytest.approx(expected, rel=2e-4, abs=1e-6)
            assert again[name] == pytest.approx(expected, rel=2e-4, abs=1e-6)
            assert abs(first["information"] - expected["information"]) > 0.05 * expected["information"]


def _of_second_sample(features: np.ndarray, labels: np.ndarray, first: dict[str, float]) -> dict[str, float]:
    """H from its own images; S, the least cosines and E from those of the first sample."""
    entropies, shares = [], []
    for label in np.unique(labels):
        of_class = features[labels == label]
        values = np.linalg.svd(of_class - of_class.mean(axis=0), compute_uv=False) ** 2
        p = values[values > 1e-14 * values.max()] / values.sum()
        entropies.append(-np.sum(p * np.log(p)))
        shares.append(entropies[-1] / math.log(min(len(of_class) - 1, of_class.shape[1])))
    information = (1 - first["min-intra-cosine"]) * np.mean(entropies) / math.log(5)
    normalised = (1 - first["min-intra-cosine"]) * np.mean(shares)
    return {
        "spectral-entropy": np.mean(entropies),
        "relative-entropy": np.mean(shares),
        "information": information,
        "information-normalised": normalised,
        "sqrt-ie": math.sqrt(information * first["efficiency"]),
        "quality": first["separation"] + math.sqrt(information * first["efficiency"]),
        "quality-normalised": first["separation"] + math.sqrt(normalised * first["efficiency"]),
    }


def test_a_second_sample_of_the_same_images_changes_nothing(config: ExtractSettings) -> None:
    """Every image in both samples: the scores are those of one sample."""
    one = config.replaced(samples="all", output=config.output.with_name("one.h5"))
    with extract(one) as first, extract(config.replaced(samples="all", spectrum_samples=99)) as both:
        assert both.spectra is not None and sorted(both.spectra.image_rows.tolist()) == first.image_rows.tolist()
        assert both.spectra.image_paths is not None and first.image_paths is not None
        assert set(both.spectra.image_paths) == set(first.image_paths)
        expected, found = by_layer(first), by_layer(both)
        for name, values in expected.items():
            assert found[name] == pytest.approx(values, rel=1e-5)
        assert both.fingerprint != first.fingerprint


def test_a_file_without_a_second_sample_is_what_it_was(config: ExtractSettings) -> None:
    extract(config).close()
    extract_grams(config.replaced(output=config.output.with_name("g.h5"))).close()
    for path, version in ((config.output, 2), (config.output.with_name("g.h5"), 1)):
        with h5py.File(path) as file:
            assert file.attrs["format_version"] == version and "spectrum_sample" not in file.attrs
            assert "spectra" not in file
    extract(config.replaced(spectrum_samples=5, overwrite=True)).close()
    with h5py.File(config.output) as file:
        assert file.attrs["format_version"] == 3


def test_only_class_blocks_are_computed_and_kept(digits: ExtractSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither on the disk nor in memory is there anything of all images of the second sample but their labels."""
    products, rows = [], []
    multiply, made = module.gram_matrix, MemoryRows.__init__

    def gram_matrix(columns: Iterator[torch.Tensor], labels: torch.Tensor | None, *others: object) -> Gram:
        found = multiply(columns, labels, *others)
        products.append(found.images)
        return found

    def count_rows(self: MemoryRows, layers: object, count: int, dtype: str) -> None:
        rows.append(count)
        made(self, layers, count, dtype)

    monkeypatch.setattr(module, "gram_matrix", gram_matrix)
    monkeypatch.setattr(MemoryRows, "__init__", count_rows)
    with extract(digits) as file:
        sizes = sum(stored.dimension for stored in file.layers) * 50 * 4
    assert products == [50] * 30 and rows == [50] * 10
    with h5py.File(digits.output) as opened:
        names = list(opened["spectra/blocks"])
        assert [opened[f"spectra/blocks/{name}"].shape for name in names] == [(10 * 50 * 51 // 2,)] * 3
    blocks = 3 * 10 * (50 * 51 // 2) * 4
    assert sizes + blocks < digits.output.stat().st_size < sizes + blocks + 40_000


def stop_at(classes: int) -> Progress:
    def progress(what: str, done: int, total: int) -> None:
        if what == "spectra of classes" and done >= classes:
            raise KeyboardInterrupt

    return progress


def test_an_interrupted_run_goes_on(config: ExtractSettings, caplog: pytest.LogCaptureFixture) -> None:
    config = config.replaced(spectrum_samples=8)
    extract(config.replaced(output=config.output.with_name("whole.h5"))).close()
    caplog.set_level("INFO", "layerprobe")
    for classes in (0, 2):
        with pytest.raises(KeyboardInterrupt):
            extract(config, stop_at(classes))
        state = f"15 of 15 rows and {2 * classes} of 6 class blocks"
        assert f"stopped: {state} are in {config.output}; the same command goes on from there" in caplog.text
        with pytest.raises(LayerprobeError, match=f"is unfinished: {state}; the same .* goes on from there"):
            FeatureFile(config.output)
    extract(config).close()
    assert f"going on: {state} are in" in caplog.text
    assert contents(config.output) == contents(config.output.with_name("whole.h5"))


def test_blocks_that_a_power_failure_lost_are_computed_again(
    config: ExtractSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """Marks and checksums reached the disk, a block of one layer did not; the other layer's is not computed again."""
    config = config.replaced(spectrum_samples=8)
    extract(config.replaced(output=config.output.with_name("whole.h5"))).close()
    with pytest.raises(KeyboardInterrupt):
        extract(config, stop_at(2))
    with h5py.File(config.output, "r+") as file:
        file["spectra/blocks/000001"][40] = 0
    extract(config).close()
    assert "1 class blocks of" in caplog.text and "did not reach the disk whole: computed again" in caplog.text
    assert contents(config.output) == contents(config.output.with_name("whole.h5"))


DAMAGED = r"f.h5 is damaged: 1 class blocks of head.input are not what was written; extract it again with --overwrite"


def test_a_damaged_block_is_found(config: ExtractSettings) -> None:
    with extract(config.replaced(spectrum_samples=8)) as file:
        assert file.damaged_layers() == {}
    with h5py.File(config.output, "r+") as opened:
        opened["spectra/blocks/000001"][3] += 1
    with FeatureFile(config.output) as file:
        assert file.damaged_layers() == {file.layers[1].layer.name: 1}
        with pytest.raises(LayerprobeError, match=DAMAGED):
            rank(file, 1)


@pytest.mark.parametrize("part", ["blocks/000001", "written"])
def test_a_damaged_block_of_a_gram_file_is_found(config: ExtractSettings, part: str) -> None:
    extract_grams(config.replaced(spectrum_samples=8)).close()
    with h5py.File(config.output, "r+") as opened:
        if part == "written":
            opened["spectra/written"][0, 1] = 0
        else:
            opened["spectra/blocks/000001"][3] += 1
    with GramFile(config.output) as file, pytest.raises(LayerprobeError, match=DAMAGED):
        rank(file, 1)


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"spectrum_samples": 9}, "spectrum_sample fewest_per_class|spectrum_sample how: up to 8 o"),
        ({"spectrum_samples": None}, r"spectrum_sample: \{.* in the file, None now"),
    ],
)
def test_another_second_sample_is_another_extraction(
    config: ExtractSettings, change: dict[str, int | None], difference: str
) -> None:
    extract(config.replaced(spectrum_samples=8)).close()
    before = config.output.read_bytes()
    with pytest.raises(LayerprobeError, match=rf"f.h5 exists, and is another extraction \(.*({difference})"):
        extract(config.replaced(**change))
    assert config.output.read_bytes() == before
    extract(config.replaced(spectrum_samples=None, overwrite=True)).close()
    with pytest.raises(LayerprobeError, match=r"spectrum_sample: None in the file, \{.* now"):
        extract(config.replaced(spectrum_samples=8))


def test_little_memory_takes_several_passes(config: ExtractSettings, tmp_path: Path) -> None:
    """With memory for one layer of one class at a time the blocks are the same."""
    config = config.replaced(spectrum_samples=8)
    extract(config).close()
    one = config.replaced(output=tmp_path / "one.h5")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "features_memory", lambda settings: 8 * 4 * 32 * 32 * 4)
        extract(one).close()
        patched.setattr(module, "features_memory", lambda settings: 1000)
        with pytest.raises(LayerprobeError, match="of memory that features may take; take fewer --spectrum-samples"):
            extract(one.replaced(output=tmp_path / "none.h5"))
    assert contents(tmp_path / "one.h5") == contents(config.output) and not (tmp_path / "none.h5").exists()


def test_classes_of_different_size(config: ExtractSettings, photos: Path) -> None:
    """A class that has fewer images than are asked for gives all it has."""
    for number in range(4, 12):
        (photos / "train" / "eel" / f"{number:02d}.png").unlink()
    for settings in (config, config.replaced(output=config.output.with_name("g.h5"))):
        settings = settings.replaced(samples=9, spectrum_samples=10)
        with extract(settings) if settings.output.name == "f.h5" else extract_grams(settings) as file:
            assert file.spectra is not None and file.spectra.places.sizes == (10, 10, 4)
            assert file.provenance["spectrum_sample"]["fewest_per_class"] == 4
            ranking = rank(file, 1)
            assert ranking.provenance["spectrum_sample"]["images"] == 24


@pytest.mark.slow
def test_two_kills(digits: ExtractSettings, tmp_path: Path) -> None:
    """SIGKILL at random moments while class blocks are written; the last run finishes the file."""
    command = (
        sys.executable, "-m", "layerprobe", "extract", "--model", "cifar:resnet20", "--weights", "random", "--data",
        "digits", "--samples", "50", "--spectrum-samples", "100", "--device", "cpu", "--output",
    )  # fmt: skip
    whole, path = tmp_path / "whole.h5", tmp_path / "f.h5"
    subprocess.run([*command, whole], env=ONE_THREAD, check=True, capture_output=True)
    done, moments = 0, random.Random(0)
    for _ in range(2):
        process = subprocess.Popen(
            [*command, path], env=ONE_THREAD, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _wait_for_more_blocks(path, done, process)
        time.sleep(moments.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        with FeatureFile(path, unfinished=True) as file:
            assert file.spectra is not None and not file.complete and not file.spectra.damaged().any()
            assert file.counts.blocks_done > done
            done = file.counts.blocks_done
    result = subprocess.run([*command, path], env=ONE_THREAD, check=True, capture_output=True, text=True)
    assert f"going on: 50 of 50 rows and {done} of 110 class blocks" in result.stderr
    assert contents(path) == contents(whole)


def _wait_for_more_blocks(path: Path, done: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < deadline:
        if path.exists():
            with FeatureFile(path, unfinished=True) as file:
                if file.counts.blocks_done > done:
                    return
        time.sleep(0.005)
    raise AssertionError(f"no more than {done} blocks; exit code {process.poll()}")


@pytest.mark.slow
def test_two_processes_write_what_one_writes(tmp_path: Path) -> None:
    options = (
        "-m", "layerprobe", "extract", "--model", "cifar:resnet20", "--weights", "random", "--data", "digits",
        "--samples", "30", "--spectrum-samples", "20", "--device", "cpu", "--output",
    )  # fmt: skip
    subprocess.run([sys.executable, *options, tmp_path / "one.h5"], env=ONE_THREAD, check=True, capture_output=True)
    two = [sys.executable, "-m", *TWO_PROCESSES, *options, tmp_path / "two.h5"]
    subprocess.run(two, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, capture_output=True)
    assert contents(tmp_path / "one.h5") == contents(tmp_path / "two.h5")


@pytest.mark.parametrize("change", ["no attribute", "no blocks", "a label of no class", "unsorted labels"])
@pytest.mark.parametrize("kind", [FeatureFile, GramFile])
def test_what_is_malformed_is_one_line(
    config: ExtractSettings, change: str, kind: type[FeatureFile] | type[GramFile]
) -> None:
    make = extract if kind is FeatureFile else extract_grams
    make(config.replaced(spectrum_samples=8)).close()
    with h5py.File(config.output, "r+") as file:
        if change == "no attribute":
            del file.attrs["spectrum_sample"]
        elif change == "no blocks":
            del file["spectra/blocks/000001"]
        else:
            file["spectra/label"][0] = 9 if change == "a label of no class" else 1
            file["spectra/label"][-1] = 9 if change == "a label of no class" else 2
    said = {
        "no attribute": "needs an attribute spectrum_sample",
        "no blocks": "it has no data set spectra/blocks/000001",
        "a label of no class": "spectra/label must have labels below 3 in ascending order",
        "unsorted labels": "spectra/label must have labels below 3 in ascending order",
    }[change]
    with pytest.raises(LayerprobeError, match=f"f.h5 is damaged: .*{said}; extract it again with --overwrite"):
        kind(config.output)


@pytest.mark.parametrize("kind", [FeatureFile, GramFile])
def test_bytes_that_flip_are_never_another_error(
    config: ExtractSettings, kind: type[FeatureFile] | type[GramFile], tmp_path: Path
) -> None:
    make = extract if kind is FeatureFile else extract_grams
    make(config.replaced(spectrum_samples=3, pool="avg:4", samples=6)).close()
    whole, generator, path = config.output.read_bytes(), np.random.default_rng(0), tmp_path / "flipped.h5"
    # Of texts whose length flips HDF5 reads gigabytes: their collections of 4096 bytes are left as they are.
    texts = [found.start() for found in re.finditer(b"GCOL", whole)]
    for place in generator.integers(0, len(whole), 60):
        if any(start <= place < start + 4096 for start in texts):
            continue
        path.write_bytes(whole[:place] + bytes([whole[place] ^ int(generator.integers(1, 256))]) + whole[place + 1 :])

        def look(folder: Path) -> None:
            with kind(path) as file:
                assert file.fingerprint and file.spectra and len(file.spectra.labels) == 9
                for stored in file.layers:
                    file.gram(stored) if isinstance(file, GramFile) else file.class_blocks(stored.layer.index)

        refused(look, tmp_path, path)
