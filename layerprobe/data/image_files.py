"""Image files: which are taken for images, how one is decoded, and what the headers of many say."""

from __future__ import annotations

import io
import os
import struct
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from layerprobe.errors import LayerprobeError
from layerprobe.files import special_file

try:
    from PIL.AvifImagePlugin import SUPPORTED as _READS_AVIF
except ImportError:  # Pillow before 11.3
    _READS_AVIF = False

_OF_JPEG = {".jpg", ".jpeg", ".jpe", ".jfif"}
_OTHERS = {".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".gif"}
SUFFIXES = {*_OF_JPEG, *_OTHERS, *((".avif",) if _READS_AVIF else ())}
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM", "GIF", *(("AVIF",) if _READS_AVIF else ()))
"""What Pillow may take a file for, by its content: among its other formats are such that start other programs."""
LARGEST_NATIVE_SIZE = 64
MOST_HEADERS = 2000
"""Files of a folder whose headers are looked at; on a network disk each takes some milliseconds."""

_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, Image.DecompressionBombError)
"""What Pillow's decoders raise on damaged files: a broken header may even claim a size that looks like an attack."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns an image upright, by its EXIF orientation; 1 is upright."""
_ON_ITS_SIDE = range(5, 9)
"""EXIF orientations whose images are stored with height and width exchanged."""
SKIP = "--skip-damaged, in YAML data.skip_damaged"
_WITH_ALPHA = ("LA", "PA", "RGBA", "RGBa", "La")


class UnreadableImageError(LayerprobeError):
    """An image file that can't be decoded; ``--skip-damaged`` leaves it out.

    Args:
        path: of the file.
        what: it is, in words.
        remedy: beside leaving it out.
    """

    def __init__(self, path: Path, what: str, remedy: str) -> None:
        self.path, self.what, self.remedy = path, what, remedy
        super().__init__(f"{path} is {what}; {remedy}, or leave it out ({SKIP})")

    def __reduce__(self) -> tuple[type[UnreadableImageError], tuple[Path, str, str]]:
        """How a worker process sends the error to the one that it works for."""
        return type(self), (self.path, self.what, self.remedy)


def is_image(name: str) -> bool:
    """Whether a file of this name is taken for an image."""
    return not name.startswith(".") and suffix_of(name) in SUFFIXES


def suffix_of(name: str) -> str:
    """The ending of a file's name with its dot, in lower case; empty: it has none."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 (speed)


def read_image(path: Path, upright: bool = False, content: bytes | None = None) -> Image.Image:
    """Decode a file into RGB. Transparency is dropped: the colours are those that the file has below it.

    Args:
        path: of the file; of several images in it the first is taken.
        content: of the file, where it lies in another one; ``path`` is what messages call it then.
        upright: whether to turn the image as its EXIF orientation says. Of TIFF files Pillow turns every one.

    Raises:
        UnreadableImageError: if it is truncated, or no image.
        LayerprobeError: if it has more than 8 bits per channel.
    """
    try:
        if content is None and (found := special_file(path)):
            raise UnreadableImageError(path, f"{found}, not an image", "put an image in its place")
        with _without_warnings(), Image.open(_source(path, content), formats=FORMATS) as image:
            # Pillow clips these at 255 instead of scaling them: nearly every pixel would turn white.
            deep = image.mode == "F" or image.mode.startswith("I")
            pixels = _in_rgb(_turned(image) if upright else image)
    except UnidentifiedImageError:
        reason = "no known format"
    except _DAMAGED as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
    else:
        if deep:
            raise LayerprobeError(f"{path} has more than 8 bits per channel; convert the images to 8 bits")
        return pixels
    raise UnreadableImageError(path, f"not a readable image ({reason})", "repair it")


def _source(path: Path, content: bytes | None) -> Path | io.BytesIO:
    return path if content is None else io.BytesIO(content)


def _in_rgb(image: Image.Image) -> Image.Image:
    # Of a palette with transparency Pillow wants this detour; the colours are those of the palette either way.
    detour = image.mode == "P" and isinstance(image.info.get("transparency"), bytes)
    return (image.convert("RGBA") if detour else image).convert("RGB")


def _turned(image: Image.Image) -> Image.Image:
    image.load()  # of a TIFF file Pillow turns the image here, and forgets the orientation
    turn = _TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    """EXIF's number, 1 to 8; 1, upright, also where there is none, or nothing that can be read."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # metadata that are damaged in any way leave the pixels as they are
        return 1
    return found if found in _TURNS else 1


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep Pillow from warning of large images, palettes and damaged metadata: an image is decoded or refused."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


@dataclass(frozen=True)
class ImageHeaders:
    """What the headers of some image files say; those that can't be read are left out.

    Attributes:
        sizes: how many images have which width and height in pixels, as they are seen upright.
        turned: images with an EXIF orientation other than upright.
        transparent: images with transparency.
    """

    sizes: Mapping[tuple[int, int], int]
    turned: int = 0
    transparent: int = 0

    @property
    def count(self) -> int:
        """How many headers were read."""
        return sum(self.sizes.values())

    @property
    def native_size(self) -> int | None:
        """Height and width that more than half of the images have, where these are small squares."""
        (width, height), number = max(self.sizes.items(), key=lambda item: item[1], default=((0, 1), 0))
        common = width == height <= LARGEST_NATIVE_SIZE and 2 * number > self.count
        return width if common else None

    @property
    def squares(self) -> bool:
        """Whether there are images, and all of them are squares."""
        return bool(self.sizes) and all(width == height for width, height in self.sizes)

    def notes(self, of: str) -> Iterator[str]:
        """What a person must be told, each in one line.

        Args:
            of: how many images are meant, for people.
        """
        if len(self.sizes) > 1:
            (width, height), number = max(self.sizes.items(), key=lambda item: item[1])
            low, high = (pick(self.sizes, key=lambda size: (size[0] * size[1], size)) for pick in (min, max))
            kind = f"images of {width}x{height}" if self.native_size else "squares" if self.squares else "photographs"
            yield (
                f"{of} have {len(self.sizes)} sizes, from {low[0]}x{low[1]} to {high[0]}x{high[1]} pixels, {number} of "
                f"them {width}x{height}: taken for {kind}"
            )
        if self.turned:
            yield f"{self.turned} of {of} {_has(self.turned)} an EXIF orientation that is not upright"
        if self.transparent:
            yield f"{self.transparent} of {of} {_has(self.transparent)} transparency, which is dropped"


def _has(count: int) -> str:
    return "has" if count == 1 else "have"


def read_headers(
    root: Path, paths: Sequence[str], content: Callable[[int], bytes | Path] | None = None
) -> ImageHeaders:
    """Look at the headers of files, of more than ``MOST_HEADERS`` at so many, evenly spread.

    Args:
        root: folder of the files.
        paths: of each file below it.
        content: gives what is in the file at a place, or its path, where it lies in another file.
    """
    places = np.unique(np.linspace(0, len(paths) - 1, min(len(paths), MOST_HEADERS)).round().astype(int))
    sizes: Counter[tuple[int, int]] = Counter()
    turned = transparent = 0
    for place in places:
        try:
            found = root / paths[place] if content is None else content(int(place))
            if isinstance(found, Path) and special_file(found):
                continue
            source = found if isinstance(found, Path) else io.BytesIO(found)
            with _without_warnings(), Image.open(source, formats=FORMATS) as image:
                # A PNG file may have EXIF behind its pixels, which would all be decoded for it.
                orientation = _orientation(image) if image.info.keys() & {"exif", "xmp"} else 1
                size = image.size[::-1] if orientation in _ON_ITS_SIDE else image.size
                alpha = image.mode in _WITH_ALPHA or "transparency" in image.info
        except (*_DAMAGED, LayerprobeError):  # whoever reads the image says so
            continue
        sizes[size[0], size[1]] += 1
        turned += orientation != 1
        transparent += alpha
    return ImageHeaders(sizes, turned, transparent)
