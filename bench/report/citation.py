"""BibTeX of methods and data sets from the one-line citations that they carry."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bench.common.errors import UserError, near
from bench.plugins import registry

SUITE = """@software{genseg-bench,
  author = {{The genseg-bench authors}},
  title = {genseg-bench: a comparative benchmark suite for generative semantic segmentation},
}"""

_FORMS = (
    re.compile(r"(?P<authors>[^:]+): (?P<title>.+)\. (?P<venue>[^.]+?),? (?P<year>\d{4})"),
    re.compile(r"(?P<authors>[^,]+), (?P<title>.+), (?P<venue>[^,]+?) (?P<year>\d{4})"),
)
"""How citations are written: ``A, B: Title. Venue year``; the second cannot tell several authors from the title."""


def entries(name: str) -> Iterator[str]:
    """The entries of a method or a data set. Raises UserError if there is none of that name."""
    if name in registry.methods.names():
        with registry.methods.to_read(name) as method:
            text = method.reference
    elif name in registry.datasets.names():
        text = registry.datasets.get(name).citation
    else:
        known = registry.methods.names() + registry.datasets.names()
        raise UserError(f"there is no method or data set {name!r}: {near(name, known)}; {registry.FROM_A_FILE}")
    cited = [part for part in text.split("; ") if part]
    for number, part in enumerate(cited, start=1):
        yield entry(name if number == 1 else f"{name}-{number}", part)


def entry(key: str, text: str) -> str:
    """One citation as BibTeX; as a note where it is in no known form."""
    found = next(filter(None, (form.fullmatch(text) for form in _FORMS)), None)
    if found is None:
        return _formatted("misc", key, {"note": text})
    authors = found["authors"].removesuffix(" et al.")
    others = " and others" if authors != found["authors"] else ""
    names = authors.split(", ")
    if not all(" " in name for name in names):  # surnames alone; BibTeX would take the Van of Van Gool for a first name
        names = [f"{{{name}}}" if " " in name else name for name in names]
    kind, place = ("article", "journal") if re.search(r"\d", found["venue"]) else ("inproceedings", "booktitle")
    # Braces keep the capitals of names that BibTeX styles would lower.
    title = re.sub(r"\b\w*[A-Z]\w*[A-Z]\w*\b", r"{\g<0>}", found["title"])
    fields = {"author": " and ".join(names) + others, "title": title, place: found["venue"]}
    return _formatted(kind, key, fields | {"year": found["year"]})


def _formatted(kind: str, key: str, fields: dict[str, str]) -> str:
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
    return f"@{kind}{{{key},\n{lines}}}"
