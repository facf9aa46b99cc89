"""Ways in which a file comes to hold other bytes than were written."""

from __future__ import annotations

from collections.abc import Iterator

SPACING = 64 * 1024
"""Between flipped bytes."""


def damages(content: bytes) -> list[tuple[str, bytes]]:
    """Name and bytes of every damage: cut off, a byte flipped at every 64 KiB and in the first lines, foreign, older.

    A file without a seal has no version.
    """
    return [(name, damaged) for name, damaged in _candidates(content) if damaged != content]


def _candidates(content: bytes) -> Iterator[tuple[str, bytes]]:
    yield "empty", b""
    yield "cut in half", content[: len(content) // 2]
    yield "last byte lost", content[:-1]
    yield "a byte more", content + b"\0"
    yield "text", b"half a file"
    yield "three lines", b"\n\n\n"
    yield "zeros", bytes(len(content))
    yield "picture", b"\x89PNG\r\n\x1a\n" + content[8:]
    if content.startswith(b"genseg-bench file 1\n"):
        yield "other version", content.replace(b"file 1\n", b"file 2\n", 1)
        yield "unsealed, of before there were seals", content.split(b"\n", 3)[3]
    lines = content[:400].split(b"\n")[:3]
    header = [sum(len(line) + 1 for line in lines[:i]) + len(line) // 2 for i, line in enumerate(lines)]
    spots = {*range(0, len(content), SPACING), *header, len(content) // 2, len(content) - 1}
    for spot in sorted(spot for spot in spots if spot < len(content)):
        yield f"byte {spot} flipped", content[:spot] + bytes([content[spot] ^ 1]) + content[spot + 1 :]
