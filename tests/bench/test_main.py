"""The entry of the command line, before any command."""

from __future__ import annotations

import io
import sys

import pytest

from bench import __main__ as entry


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_what_a_stream_cannot_encode_is_replaced(monkeypatch, name, encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding, errors="strict")
    monkeypatch.setattr(sys, name, stream)
    monkeypatch.setattr(entry, "_command_line", lambda: print("mIoU \u2191 \udc80", file=stream, flush=True))
    entry.main()
    shown = "\u2191" if encoding == "utf-8" else "?"
    assert stream.buffer.getvalue().decode(encoding) == f"mIoU {shown} ?\n"


def test_a_program_without_streams_begins_all_the_same(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(entry, "_command_line", lambda: None)
    entry.main()
