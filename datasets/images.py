"""Image files as RGB of 8 bits a channel: one opener for data sets and for the images that a user names."""

from __future__ import annotations

import warnings
from pathlib import Path
from threading import Lock
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""What is decoded. For others Pillow may start programs, such as Ghostscript."""

_CORRUPT = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    TypeError,
)
"""What Pillow's decoders raise on damaged files beside ``integrity.DECODING_ERRORS``."""

_CATCHING = Lock()
"""Held while warnings are caught: threads share the filters, and would leave each other's behind."""

_BITS, _INVERTED, _SIGN = 258, 262, 339
"""Tags of TIFF."""


def read_rgb(path: Path, *, as_seen: bool = False) -> np.ndarray:
    """Decode to RGB uint8 (H, W, 3), the first frame of several.

    Grey of 12 or 16 bits is scaled to 8; numbers without a known range are refused. Data sets take pixels where and as
    the file has them, since label maps are drawn over these: transparency and EXIF orientation are not looked at.
    ``as_seen`` is for images that a user names: turned as their EXIF orientation says, and refused if they are
    transparent, under which viewers show one colour and files hold another.

    Raises one of ``integrity.DECODING_ERRORS`` for what is damaged, refused, no regular file, or larger than Pillow's
    limit for decompression bombs.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is no regular file")
    try:
        with path.open("rb") as file, _opened(file) as image:
            return _rgb(ImageOps.exif_transpose(image), image, opaque=True) if as_seen else _rgb(image, image)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise ValueError(f"it has over {Image.MAX_IMAGE_PIXELS} pixels, as decompression bombs have") from None
    except _CORRUPT as error:
        raise ValueError(f"it is damaged: {type(error).__name__}") from error


def _opened(file: BinaryIO) -> Image.Image:
    """The image before it is decoded; what Pillow warns of is an error."""
    with _CATCHING, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(file, formats=FORMATS)


def _rgb(image: Image.Image, file: Image.Image, opaque: bool = False) -> np.ndarray:
    """The pixels of ``image``, which was read from ``file`` and may have to be ``opaque``."""
    if image.mode == "F" or image.mode.startswith("I"):
        bits = _depth(file)
        if bits is None:
            raise ValueError("its numbers have no known range; save it with 8 or 16 bits a channel")
        largest = 2**bits - 1
        grey = (np.asarray(image).astype(np.int64) * 255 + largest // 2) // largest
        return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    if opaque and image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
        raise ValueError("it is transparent in places; save it on a background")
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _depth(file: Image.Image) -> int | None:
    """Bits of the grey levels of an image of mode I, I;16 or F, None where their range is not known."""
    if file.mode == "F":
        return None
    if file.format in ("PNG", "PPM"):  # Pillow brings what PPM calls white to 65535
        return 16
    if file.format != "TIFF":
        return None
    tags = file.tag_v2  # type: ignore[attr-defined]
    bits = tags.get(_BITS, (0,))
    known = bits in ((12,), (16,)) and tags.get(_SIGN, (1,)) == (1,) and tags.get(_INVERTED) == 1
    return bits[0] if known else None
