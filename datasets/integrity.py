"""Is an image file whole? Answered from its header and its last bytes, without decoding a pixel.

A download that stopped half-way leaves files that are cut off, or padded with zeros to their full size; both
lack the marker that ends their format. Reading it takes microseconds, so that a whole data set is checked
before training.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from datasets.archives import ArchivedPath

DECODING_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow and SciPy raise on a damaged file."""

JPEG_END = b"\xff\xd9"
JPEG_SCAN = b"\xff\xda"
PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"


def reason(error: Exception) -> str:
    """What went wrong, in words that fit within a sentence."""
    if isinstance(error, UnidentifiedImageError):
        return "it is no image"
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".!") if lines else type(error).__name__


def check_image(path: Path) -> tuple[int, int]:
    """Width and height of an image that has a header and an end.

    Raises one of ``DECODING_ERRORS`` if the file is absent, empty, no image or cut off. What lies between
    header and end is not read, so damage there only shows on decoding.
    """
    if isinstance(path, ArchivedPath) and (stream := path.stream()) is not None:
        with stream, Image.open(stream) as image:
            return image.size  # a zip is read from its end, and what is in it has hashes, compared on decoding
    with path.open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        if length == 0:
            raise ValueError("the file is empty")
        file.seek(0)
        with Image.open(file) as image:
            size, kind = image.size, image.format
        if not _is_whole(file, kind, length):
            raise ValueError("the file is cut off")
    return size


def _is_whole(file: BinaryIO, kind: str | None, length: int) -> bool:
    if kind == "JPEG":
        return _ends_with(file, length, JPEG_END) or _jpeg_ends_within(_read(file))
    if kind == "PNG":
        return _ends_with(file, length, PNG_END) or PNG_END in _read(file)
    if kind == "WEBP":
        file.seek(4)
        return int.from_bytes(file.read(4), "little") + 8 <= length
    return True


def _ends_with(file: BinaryIO, length: int, marker: bytes) -> bool:
    file.seek(max(0, length - len(marker)))
    return file.read() == marker


def _read(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def _jpeg_ends_within(data: bytes) -> bool:
    # Bytes after the end are legal. An end before the last scan is that of a thumbnail in the header.
    return data.rfind(JPEG_END) > data.rfind(JPEG_SCAN)
