"""An extraction that was stopped at an image goes on without it, and keeps what it has of the others."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from layerprobe.data.datasets import open_dataset
from layerprobe.data.fingerprint import probes
from layerprobe.data.sampling import balanced_sample
from layerprobe.errors import LayerprobeError
from layerprobe.features.extraction import forward
from layerprobe.features.extraction.extract import extract
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.networks import load_network
from layerprobe.settings.extract import ExtractSettings


def damage(photos: Path, *names: str) -> None:
    for name in names:
        path = photos / name
        path.write_bytes(path.read_bytes()[:200])


def skipping(config: ExtractSettings) -> ExtractSettings:
    return config.replaced(data=config.data.replaced(skip_damaged=True))


def stop_at(photos: Path, config: ExtractSettings, name: str) -> dict[str, torch.Tensor]:
    """Damage an image at which an extraction stops; what the file has of the others by then, by their paths."""
    damage(photos, name)
    with pytest.raises(LayerprobeError, match=rf"{name} is not a readable image .*; repair it, or leave it out"):
        extract(config)
    with FeatureFile(config.output, unfinished=True) as file:
        assert 0 < file.counts.rows_done < 36 and file.image_paths is not None
        return {
            path: file.features(0, row, row + 1)[0] for row, path in enumerate(file.image_paths) if file.written[row]
        }


def late_image(config: ExtractSettings) -> str:
    """An image of the second class that the sample has, and whose pixels are not hashed, far behind."""
    dataset = open_dataset(config.data.name)
    rows = balanced_sample(dataset.labels, config.samples, config.seed, len(dataset.classes)).rows
    hashed = set(rows[probes(len(rows))].tolist())
    row = max(row for row in rows.tolist() if dataset.labels[row] == 1 and row not in hashed)
    return (dataset.paths or ())[row]


def check(file: FeatureFile, config: ExtractSettings, kept: dict[str, torch.Tensor]) -> None:
    """Every row is its image's, and those that were there before are unchanged."""
    dataset = open_dataset(config.data.name)
    network = load_network(config.model, config.data, dataset)
    assert file.complete and file.image_paths is not None and dataset.paths is not None
    assert [dataset.paths[row] for row in file.image_rows.tolist()] == list(file.image_paths)
    assert dataset.labels[file.image_rows.numpy()].tolist() == file.labels.tolist()
    for row, path in enumerate(file.image_paths):
        features = file.features(0, row, row + 1)[0]
        if path in kept:
            assert torch.allclose(features, kept[path], atol=1e-6)  # of an unfinished batch it is computed again
        pixels = torch.from_numpy(np.array(dataset.image(dataset.paths.index(path)))).permute(2, 0, 1).float() / 255
        mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        with torch.no_grad():
            expected = network.module.conv(((pixels - mean) / std)[None]).relu()[0]
        assert torch.allclose(features, expected, atol=1e-5), path


@pytest.fixture
def every(config: ExtractSettings) -> ExtractSettings:
    """All 36 images. Pixels are hashed of every second or third of them, dog/10 not among these."""
    return config.replaced(samples="all")


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each pass computes."""
    counts: list[int] = []
    write_rows = forward.write_rows

    def counted(job: object, rows: Sequence[int], *others: object) -> None:
        counts.append(len(rows))
        write_rows(job, rows, *others)  # type: ignore[arg-type]

    monkeypatch.setattr("layerprobe.features.extraction.extract.write_rows", counted)
    return counts


def test_it_goes_on_with_skip_damaged(
    photos: Path, every: ExtractSettings, computed: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    kept = stop_at(photos, every, "train/dog/10.png")
    caplog.clear()
    with extract(skipping(every)) as file:
        check(file, every, kept)
        assert len(file.labels) == 35 and file.header.population == 36
        assert file.provenance["sample"] == {"how": "every image", "images": 35, "left_out": 1}
        assert "train/dog/10.png" not in (file.image_paths or ())
    assert computed[1] <= 36 - len(kept) + 3  # whole batches of four
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    begin = f"1 of 36 images of {photos} (train) can't be read and are left out: {photos}/train/dog/10.png is not a "
    assert said[0].startswith(begin)
    assert said[1] == f"{every.output} goes on without 1 of its 36 images: {len(kept)} rows are kept"
    caplog.set_level("INFO")
    extract(skipping(every)).close()
    assert "is complete: nothing to do" in caplog.text and len(computed) == 2


def test_removing_the_image_is_no_other_extraction(
    photos: Path, config: ExtractSettings, caplog: pytest.LogCaptureFixture
) -> None:
    config = config.replaced(samples=33, spectrum_samples=6)
    kept = stop_at(photos, config, name := late_image(config))
    (photos / name).unlink()
    (photos / "train/cat/01.png").unlink()
    with extract(config) as file:
        check(file, config, kept)
        gone = 33 - len(file.labels)
        assert gone >= 1 and file.header.population == 34 and len(kept) > 4
        told = file.provenance["sample"]
        assert (told["drawn_from"], told["left_out"], told["requested"]) == (36, gone, 33)
        assert file.spectra is not None and file.spectra.written.all()
        left = {*(file.image_paths or ()), *(file.spectra.image_paths or ())}
        assert not {name, "train/cat/01.png"} & left
        assert f"goes on without {gone} of its 33 images" in caplog.text
    caplog.set_level("INFO")
    extract(config).close()
    assert "is complete: nothing to do" in caplog.text
    with pytest.raises(LayerprobeError, match="another extraction"):
        extract(config.replaced(seed=1))


def test_an_image_that_no_row_needs_may_go_too(photos: Path, config: ExtractSettings) -> None:
    config = config.replaced(samples=30)
    with extract(config.replaced(output=config.output.with_name("whole.h5"))) as whole:
        drawn = set(whole.image_paths or ())
    kept = stop_at(photos, config, late_image(config))
    for path in (photos / "train").glob("*/*.png"):
        if path.relative_to(photos).as_posix() not in drawn:
            path.unlink()
    with extract(skipping(config)) as file:
        check(file, config, kept)
        assert len(file.labels) == 29 and file.header.population == 30


def test_where_removing_moves_other_images_it_says_what_to_do(photos: Path, every: ExtractSettings) -> None:
    config = every.replaced(data=every.data.replaced(name=str(photos / "train")))
    kept = stop_at(photos / "train", config, "dog/07.png")
    path = photos / "train/dog/07.png"
    path.unlink()
    with pytest.raises(LayerprobeError, match="others are every fifth of their class. Put files of the removed names"):
        extract(config)
    path.touch()
    with extract(skipping(config)) as file:
        assert set(kept) <= set(file.image_paths or ()) and "dog/07.png" not in (file.image_paths or ())


def test_other_images_are_another_extraction(photos: Path, every: ExtractSettings) -> None:
    stop_at(photos, every, "train/dog/10.png")
    (photos / "train/eel/11.png").replace(photos / "train/cat/00.png")  # removed, and another changed
    (photos / "train/dog/10.png").unlink()
    with pytest.raises(LayerprobeError, match="another extraction .*population: 36 in the file, 34 now"):
        extract(every)


def test_a_complete_file_is_left_alone(photos: Path, every: ExtractSettings) -> None:
    extract(every).close()
    (photos / "train/dog/10.png").unlink()
    before = every.output.read_bytes()
    with pytest.raises(LayerprobeError, match="exists, and is another extraction .*population: 36 in the file, 35 now"):
        extract(every)
    assert every.output.read_bytes() == before


def test_a_class_without_an_image_is_refused(photos: Path, every: ExtractSettings) -> None:
    damage(photos, *(f"train/dog/{number:02d}.png" for number in range(12)))
    with pytest.raises(LayerprobeError, match=r"class 'dog' of .* \(train\) has no image that can be read"):
        extract(skipping(every))
