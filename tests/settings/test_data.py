"""Settings of images: what earlier versions would have said, and what another network has seen."""

from layerprobe.data.datasets import open_dataset
from layerprobe.data.preprocessing import choose_preprocessing
from layerprobe.records import Preprocessing
from layerprobe.settings.data import DataSettings


def test_what_earlier_versions_had_not_counts_where_it_is_used() -> None:
    plain = DataSettings(name="photos")
    assert list(plain.identity()) == ["name", "data_root", "download", "image_size", "mean", "std"]
    used = plain.replaced(crop=0.9, upright=False, skip_damaged=True)
    assert used.identity() == {**plain.identity(), "crop": 0.9, "upright": False, "skip_damaged": True}


def test_a_second_network_sees_what_the_first_does(photos: object) -> None:
    dataset = open_dataset(str(photos))
    data = DataSettings(name=str(photos), skip_damaged=True)
    for seen in (
        Preprocessing((24, 24), (0.1, 0.2, 0.3), (0.5,) * 3, 30, "lanczos", upright=True),
        Preprocessing((24, 24), (0.1, 0.2, 0.3), (0.5,) * 3, None, "box"),
    ):
        asked = data.seen_as(seen)
        found = choose_preprocessing(
            dataset, image_size=(64, 64), resize=70, interpolation="nearest", upright=True, asked=asked
        )
        assert {**found.to_dict(), "source": ""} == seen.to_dict() and asked.skip_damaged
