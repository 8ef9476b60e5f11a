"""An image file of any kind as pixels: one way for data sets and for the pictures that a network shall classify."""

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pipeline.params.datasets import MOST_PIXELS
from pipeline.text import one_line

Pixels = NDArray[np.uint8]
"""One image: H×W where it is grey, H×W×3 where it has colour."""

Picture = Pixels | str
"""An image, or what is wrong with the file."""

Image.MAX_IMAGE_PIXELS = None
"""Pillow's own limit, under which `max_pixels` of a data set could not be raised."""

ORIENTATION = 0x0112
"""The tag of EXIF that says how a camera was held."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings an image upright, by its orientation."""

SIDEWAYS = [TURNS[orientation] for orientation in (5, 6, 7, 8)]

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "JPEG2000")
"""Not all that Pillow knows: some of its formats start other programs, and some take any bytes for an image."""


def decode(data: bytes, size: tuple[int, int] | None, grey: bool = False, most: int = MOST_PIXELS) -> Picture:
    """The pixels of an image file, upright, on white where it is transparent, 16 bits reduced to 8; or what is wrong.

    Args:
        data: content of the file.
        size: width and height to which it is brought, antialiased; None keeps its own.
        grey: whether colours become grey (ITU-R 601 luma); otherwise they stay, and grey stays grey.
        most: pixels of the file; more are not decoded.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if math.prod(image.size) > most:
                return (
                    f"{image.width:,}×{image.height:,} pixels; {most:,} at most are decoded (max_pixels of a data set)"
                )
            image.load()  # complains of broken bytes, which who asks for metadata first would not hear of
            turn = _turn(image)
            plain = _plain(image if turn is None else image.transpose(turn), image.format == "PPM")
            plain = plain.convert("L") if grey else plain
            return np.asarray(plain.resize(size, Image.Resampling.BILINEAR) if size else plain)
    except UnidentifiedImageError:
        return f"corrupt or no image; {', '.join(FORMATS)} are read"
    except Exception as error:  # Pillow's readers raise whatever their parsers meet in broken bytes
        return f"corrupt or no image ({one_line(error) or type(error).__name__})"


def upright(image: Image.Image) -> tuple[int, int]:
    """Width and height of an image once it is upright."""
    width, height = image.size
    if image.format == "TIFF":  # which Pillow turns itself
        return width, height
    return (height, width) if _turn(image) in SIDEWAYS else (width, height)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """How an image is brought upright; odd metadata, which Pillow may not read, say nothing of it."""
    try:
        return TURNS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:
        return None


def _plain(image: Image.Image, scaled: bool) -> Image.Image:
    """The image in mode L or RGB.

    Args:
        scaled: whether 32-bit pixels are known to be 16-bit ones.
    """
    if image.mode.startswith("I"):  # 16 bits; Pillow's own conversion would clip them
        pixels = np.asarray(image)
        if pixels.min() < 0 or pixels.max() >= 2**16:
            raise ValueError("pixels of more than 16 bits; 8 or 16 are right")
        wide = scaled or image.mode != "I" or pixels.max() >= 2**8  # 8 bits may come in 32
        return Image.fromarray((pixels >> 8 if wide else pixels).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("floating-point pixels; 8 or 16 bits are right")
    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    if "A" in image.getbands() or "transparency" in image.info:
        drawn = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn)
    return image.convert(mode)


def channels_first(picture: Pixels) -> Pixels:
    """C×H×W, with C=1 for a grey image."""
    return picture[None] if picture.ndim == 2 else picture.transpose(2, 0, 1)


@contextmanager
def hushed() -> Iterator[None]:
    """Pillow's remarks on odd metadata are not shown; what it cannot decode is an error. For the main thread."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield
