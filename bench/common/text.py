"""Text of unknown origin, from records, file names or plugins, made safe for where it is shown."""

from __future__ import annotations

import re
import shutil
import textwrap

WIDTH = 116
"""Columns of running text where no terminal says how many it has, and at most."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_FORMULA = tuple("=+-@＝＋－＠")


def visible(text: str) -> str:
    r"""``text`` with every character that has no glyph as an escape sequence, such as ``\x1b`` or ``\u202e``.

    Those are control characters (line breaks among them), what changes the direction of text, other format characters,
    separators other than the space, halves of surrogate pairs, and what is unassigned.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def filled(text: str, indent: str = "") -> str:
    """``text`` in lines that fit the terminal, all but the first after ``indent``; longer words have a line each."""
    width = min(shutil.get_terminal_size((WIDTH + 1, 0)).columns - 1, WIDTH)
    return textwrap.fill(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def fitted(row: str) -> str:
    """``row`` of a list, one line where it fits the terminal, or where there is none; longer words have a line each."""
    width = shutil.get_terminal_size((0, 0)).columns - 1
    if not 0 < width < len(row):
        return row
    return textwrap.fill(row, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def lines(text: str) -> str:
    """``text`` of several lines, each ``visible``."""
    return "\n".join(map(visible, text.split("\n")))


def in_html(value: object) -> object:
    """``value`` for a template: text is ``visible``, what is markup already stays as it is."""
    return visible(value) if type(value) is str else value


def in_markdown(text: str, stars: bool = False) -> str:
    """``text`` for a Markdown table: nothing in it is markup, unless its ``stars`` may be."""
    text = re.sub(r"([|`\[\]])", r"\\\1", visible(text.replace("\n", " ")).replace("\\", "\\\\"))
    text = re.sub(r"&(?=#?\w+;)", "&amp;", text).replace("<", "&lt;").replace(">", "&gt;")
    return text if stars else text.replace("*", r"\*")


def drawn(text: str) -> str:
    """``text`` for a picture of matplotlib, which takes what stands between dollar signs for mathematics."""
    return visible(text).replace("$", r"\$")


def cell(value: object) -> str:
    """``value`` for a CSV file: a number as it is, and no text that a spreadsheet would take for a formula."""
    text = visible(str(value))
    is_formula = text.lstrip().startswith(_FORMULA) and not _NUMBER.fullmatch(text)
    return f"'{text}" if is_formula else text
