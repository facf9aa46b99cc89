"""``bench list`` and ``bench show``: names, documentation and fields, read from the classes, and runs from records.

Each kind has two functions: its page for people, and its facts for programs.
"""

from __future__ import annotations

import inspect
import json
import math
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from bench.common.console import note
from bench.common.errors import UserError, near
from bench.common.text import filled, visible
from bench.config import tables as config
from bench.config.command import command
from bench.plugins import registry
from bench.records.store import Store
from bench.report.circumstances import costs, surroundings
from bench.schema.record import Record

if TYPE_CHECKING:
    from bench.scoring.protocols.base import Protocol
    from datasets.base import Dataset

INDENT = " " * 6


def first_line(thing: Any) -> str:
    """The first line of a docstring."""
    return (inspect.getdoc(thing) or "").split("\n")[0]


def listing(kind: str) -> list[dict[str, str]]:
    """Name and summary of everything of a kind."""
    if kind == "methods":
        return [{"name": n, "summary": registry.methods.summary(n)} for n in registry.methods.names()]
    if kind == "datasets":
        return [{"name": d.name, "summary": f"{d.title}; splits {', '.join(d.splits)}"} for d in registry.datasets]
    if kind == "protocols":
        return [{"name": p.name, "summary": f"version {p.version}: {first_line(p)}"} for p in registry.protocols]
    if kind == "recipes":
        tables = {n: config.recipe_tables(n, "") for n in config.recipe_names()}
        return [{"name": n, "summary": t["recipe"].get("description", "")} for n, t in tables.items()]
    from bench.model.network import architectures

    return [{"name": n, "summary": _first_sentence(_paragraphs(c)[0])} for n, c in architectures().items()]


class Entry(NamedTuple):
    """What there is to know of one name."""

    page: Callable[[], str]
    facts: Callable[[], Any]


def page(name: str, store: Store | None = None) -> str:
    """Everything there is to know of what has that name, a run of ``store`` too. Raises UserError if nothing has."""
    return entry(name, store).page()


def facts(name: str, store: Store | None = None) -> Any:
    """What ``page`` tells as JSON has it: an object, or of unfinished runs a list. Raises UserError as it does."""
    return entry(name, store).facts()


def entry(name: str, store: Store | None = None) -> Entry:
    """The method, data set, protocol, recipe, architecture or run of that name. Raises UserError if there is none."""
    if name in config.recipe_names():
        return Entry(partial(_recipe, name), partial(_recipe_facts, name))
    if name in registry.protocols.names():
        protocol = registry.protocols.get(name)
        return Entry(partial(_protocol, protocol), partial(_protocol_facts, protocol))
    if name in registry.methods.names():
        return Entry(partial(_method, name), partial(_method_facts, name))
    if name in registry.datasets.names():
        dataset = registry.datasets.get(name)
        return Entry(partial(dataset_page, dataset), partial(dataset_facts, dataset))
    if store is not None and store.matching(name):
        record = store.find(name)
        try:
            store.require_sound(record)
        except UserError as error:  # it is shown all the same
            note(str(error))
        return Entry(partial(_run, record), partial(_run_facts, record))
    unfinished = [] if store is None else [record for record in store.unfinished() if record.run_id.startswith(name)]
    if unfinished:
        return Entry(lambda: "\n\n".join(map(_run, unfinished)), lambda: [*map(_run_facts, unfinished)])
    from bench.model.network import architectures

    if name in (classes := architectures()):
        return Entry(partial(_architecture, name, classes[name]), partial(_architecture_facts, name, classes[name]))
    known = [*(name for kind in registry.KINDS for name in kind.names()), *config.recipe_names(), *classes]
    raise UserError(
        f"there is no method, data set, protocol, recipe, architecture or run {name!r}: {near(name, known)}; "
        f"{registry.FROM_A_FILE}"
    )


def fields(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """One line for each configuration field: key, type, bound, default, meaning; tables are entered."""
    for name, field in model.model_fields.items():
        key = f"{prefix}.{name}"
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from fields(annotation, key)
            continue
        kind, bounds = _kind(annotation), _bounds(field.metadata)
        default = "required" if field.default is PydanticUndefined else f"default {field.default!r}"
        meaning = textwrap.fill(
            " ".join((field.description or "").split()), 110, initial_indent=INDENT, subsequent_indent=INDENT
        )
        yield f"  {key}: {kind}{bounds}, {default}" + (f"\n{meaning}" if meaning else "")


def _kind(annotation: Any) -> str:
    """A type as its reader names it, with the bounds of its parts."""
    if get_origin(annotation) is Annotated:
        kind, *fields_ = get_args(annotation)
        return _kind(kind) + _bounds([m for field in fields_ for m in getattr(field, "metadata", ())])
    if get_origin(annotation) is tuple:
        return f"tuple[{', '.join('...' if part is ... else _kind(part) for part in get_args(annotation))}]"
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def _bounds(metadata: Sequence[Any]) -> str:
    bounds = ", ".join(filter(None, map(_bound, metadata)))
    return f" ({bounds})" if bounds else ""


def _bound(metadata: Any) -> str:
    signs = {
        "ge": ">=",
        "gt": ">",
        "le": "<=",
        "lt": "<",
        "multiple_of": "multiple of",
        "min_length": "length >=",
        "max_length": "length <=",
    }
    return " ".join(
        f"{sign} {getattr(metadata, n)}" for n, sign in signs.items() if getattr(metadata, n, None) is not None
    )


def _method(name: str) -> str:
    with registry.methods.to_read(name) as method:
        from methods.base import Method
        from methods.capabilities import Ability, LearnsWithoutLabels

        lines = [f"method {name}, version {method.version}", "", inspect.getdoc(method) or ""]
        if method.reference:
            lines += ["", filled(f"Reference: {method.reference}")]
        if issubclass(method, LearnsWithoutLabels):
            settings = ", ".join(f"method.{key}={value}" for key, value in method.without_labels.items())
            lines += ["", f"Learns without labels (--supervision none){f', with {settings}' if settings else ''}."]
        own = [a for a in method.__mro__ if issubclass(a, Ability) and a is not Ability and not issubclass(a, Method)]
        if own:
            lines += ["", *(f"{ability.__name__}: {first_line(ability)}" for ability in own)]
        lines += ["", "Configuration (--set KEY=VALUE):", *(list(fields(method.Config, "method")) or ["  none"])]
        if inspect.getdoc(method.Config):
            lines += ["", inspect.getdoc(method.Config) or ""]
    return "\n".join(lines)


def _method_facts(name: str) -> dict[str, Any]:
    with registry.methods.to_read(name) as method:
        return {
            "kind": "method",
            "name": name,
            "version": method.version,
            "documentation": inspect.getdoc(method),
            "reference": method.reference,
            "configuration": method.Config.model_json_schema(),
        }


def _protocol(protocol: type[Protocol]) -> str:
    name = protocol.name
    lines = [f"protocol {name}, version {protocol.version}", "", inspect.getdoc(protocol) or "", "", "Columns:"]
    for column in protocol.columns:
        better = f", {column.better} is better" if column.better else ""
        scale = " (shares, printed in %)" if column.percent else f" {column.unit}".rstrip()
        lines.append(f"  {column.key}: {column.label}, {column.low:g} to {column.high:g}{scale}{better}")
    lines += ["", "Scored by default." if protocol.by_default else f"Scored where --protocol {name} asks for it."]
    return "\n".join(lines)


def _protocol_facts(protocol: type[Protocol]) -> dict[str, Any]:
    return {
        "kind": "protocol",
        "name": protocol.name,
        "version": protocol.version,
        "documentation": inspect.getdoc(protocol),
        "columns": [{key: _finite(value) for key, value in asdict(column).items()} for column in protocol.columns],
        "by_default": protocol.by_default,
    }


def _finite(value: Any) -> Any:
    """``value``, or None for a bound at infinity, which JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def dataset_page(dataset: type[Dataset]) -> str:
    """Everything there is to know of a data set."""
    lines = [f"data set {dataset.name}: {dataset.title}", "", inspect.getdoc(dataset) or "", ""]
    for heading, told in _card(dataset).items():
        lines += [filled(f"{heading.capitalize()}: {told}"), ""]
    lines.append("Splits:")
    for split, facts in dataset.splits.items():
        count = "any number of" if facts.count is None else str(facts.count)
        note = f"; {facts.note}" if facts.note else ""
        lines.append(filled(f"  {split}: {count} images, {facts.task}{note}", INDENT))
    lines += ["", filled(f"Classes ({len(dataset.classes)}): {', '.join(dataset.classes.names)}")]
    for protocol in registry.protocols:
        if not protocol.on_source and (targets := protocol.targets(dataset)):
            lines.append(filled(f"{protocol.name.capitalize()} targets: {', '.join(map('/'.join, targets))}"))
    if dataset.target_of:
        lines.append(filled(f"Target of: {', '.join(dataset.target_of)}"))
    for label in ("home", "licence", "layout", "citation"):
        if getattr(dataset, label):
            lines += ["", filled(f"{label.capitalize()}: {getattr(dataset, label)}")]
    if dataset.archives:
        lines += ["", "MD5 of archives:", *(f"  {name}: {md5}" for name, md5 in dataset.archives.items())]
    return "\n".join(lines)


def _card(dataset: type[Dataset]) -> dict[str, str]:
    """What the docstring of a data set's file says of labels and pitfalls, below these headings."""
    text = inspect.getdoc(inspect.getmodule(dataset)) or ""
    found = re.findall(r"^(Labels|Pitfalls): (.*(?:\n(?![A-Z]\w+: |\n).+)*)", text, re.MULTILINE)
    return {heading.lower(): plain(" ".join(told.split())) for heading, told in found}


def dataset_facts(dataset: type[Dataset]) -> dict[str, Any]:
    """What ``dataset_page`` tells, as JSON has it."""
    targets = {p.name: ["/".join(t) for t in p.targets(dataset)] for p in registry.protocols if not p.on_source}
    return {
        "kind": "dataset",
        "name": dataset.name,
        "documentation": inspect.getdoc(dataset),
        **_card(dataset),
        "splits": {split: asdict(found) for split, found in dataset.splits.items()},
        "classes": list(dataset.classes.names),
        "targets": targets,
        "target_of": list(dataset.target_of),
        **{key: getattr(dataset, key) for key in ("title", "home", "licence", "layout", "citation", "archives")},
    }


def _architecture(name: str, architecture: type) -> str:
    found = _architecture_facts(name, architecture)
    lines = [f"architecture {name}", "", found["documentation"], "", "Options (--set network.decoder.KEY=VALUE):"]
    for key, option in found["options"].items():
        lines.append(f"  network.decoder.{key}: {option['type']}, default {option['default']!r}")
        lines += textwrap.wrap(option["description"], 110, initial_indent=INDENT, subsequent_indent=INDENT)
    return "\n".join([*lines, "", f"Paper: {found['paper']}"] if found["paper"] else lines)


def _architecture_facts(name: str, architecture: type) -> dict[str, Any]:
    from bench.model.network import decoder_options

    text = inspect.getdoc(architecture) or ""
    paper = re.search(r"^\.\. \w+: (http\S+)", text, re.MULTILINE)
    return {
        "kind": "architecture",
        "name": name,
        "documentation": "\n\n".join(map(filled, _paragraphs(architecture))),
        "paper": paper and paper[1],
        "options": {
            key: {"type": _kind(p.annotation), "default": p.default, "description": _of_argument(key, text)}
            for key, p in decoder_options(architecture).items()
        },
    }


def _paragraphs(thing: Any) -> list[str]:
    """What a docstring of Google's style says before its arguments, a line each."""
    text = (inspect.getdoc(thing) or "").partition("\nArgs:")[0]
    return [plain(" ".join(part.split())) for part in text.split("\n\n")]


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.]) ", text)[0]


def _of_argument(name: str, docstring: str) -> str:
    """What a docstring of Google's style says of an argument, on one line."""
    found = re.search(rf"^    {name}:(.*(?:\n+ {{5,}}.*)*)", docstring, re.MULTILINE)
    return plain(" ".join(found[1].split())) if found else ""


def plain(text: str) -> str:
    """reStructuredText without its marks: stars, backticks, and the underscores behind what is linked."""
    return re.sub(r"`__?|[*`]+|(?<=[^\W_])_(?!\w)", "", text)


def _recipe_facts(name: str) -> dict[str, Any]:
    told, tables = config.recipe_file(name)
    changes = {dataset: config.recipe_tables(name, dataset) for dataset in tables.get("datasets", {})}
    facts = {"kind": "recipe", "name": name, "documentation": told, "tables": config.recipe_tables(name, "")}
    return {**facts, "datasets": changes}


def _recipe(name: str) -> str:
    told, tables = config.recipe_file(name)
    lines = [f"recipe {name}", "", filled(told), "", "As it stands (data sets may change it, see below):"]
    lines += _flat(config.recipe_tables(name, ""))
    for dataset, table in tables.get("datasets", {}).items():
        lines += ["", f"On {dataset}:", *_flat(table)]
    lines += ["", "Every key of a recipe (--set KEY=VALUE):", *fields(config.Recipe, "recipe")]
    lines += ["", "Of the network:", *fields(config.NetworkConfig, "network")]
    lines += ["", "Of the data:", *fields(config.DataConfig, "data")]
    return "\n".join(lines)


def _run(record: Record) -> str:
    config = record.config
    lines = [f"run {record.run_id}, {record.status}" + (f": {record.reason}" if record.reason else "")]
    lines += [f"{record.configuration} on {config.data.name} ({config.data.supervision}), seed {config.seed}"]
    lines += [f"  {fact}" for fact in _circumstances(record)]
    if record.method_facts:
        lines += ["", f"Of {config.method_name}:", *_flat(record.method_facts)]
    for name, result in record.protocols.items():
        lines += ["", f"{name}: {result.reason or result.status}"]
        for target, scores in result.targets.items():
            lines += [f"  {target}", *_table({"": scores.metrics})]
            lines += _table(scores.by_score)
            lines += _table({f"reading {reading}": values for reading, values in scores.by_reading.items()})
            for name, by_class in scores.per_class.items() if target == result.headline else ():
                lines += _per_class(name, by_class)
            if scores.decomposition:
                lines += ["    decomposition", *_table(scores.decomposition)]
    lines += ["", "Configuration of the method:", *_flat(config.method)]
    return "\n".join(map(visible, lines))  # a line break in a record makes no line here


def _run_facts(record: Record) -> dict[str, Any]:
    return {"kind": "run", **record.model_dump(mode="json")}


def _circumstances(record: Record) -> Iterator[str]:
    """When, where, for how long and by which command a run was made."""
    made = surroundings(record.environment)
    yield f"{record.created}, commit {made['commit']}, {made['hardware']}"
    yield from dict(costs(record)).values()
    # Nothing of a method that is not installed, or that refuses its settings of then.
    with suppress(UserError), registry.methods.to_read(record.config.method_name) as method:
        yield command(record.config, method)


def _per_class(name: str, values: Mapping[str, float | None]) -> Iterator[str]:
    """Three classes a line."""
    texts = [f"{key:<18}{_text(value):>8}" for key, value in values.items()]
    yield f"    {name} by class"
    for start in range(0, len(texts), 3):
        yield "      " + "    ".join(texts[start : start + 3])


def _text(value: float | None) -> str:
    """A share, or a count of pixels."""
    if value is None:
        return "n/a"
    return f"{value:.0f}" if value > 1 and value.is_integer() else f"{value:.4f}"


def _table(rows: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """One line for each row of named values."""
    return [
        f"    {name:<18}" + "  ".join(f"{key} {_text(value)}" for key, value in values.items())
        for name, values in rows.items()
        if values
    ]


def _flat(table: dict[str, Any], prefix: str = "") -> list[str]:
    lines = []
    for key, value in table.items():
        path = f"{prefix}.{key}" if prefix else key
        lines += _flat(value, path) if isinstance(value, dict) else [f"  {path} = {json.dumps(value)}"]
    return lines
