"""A metric against a swept setting: from records to points, a picture, a table in the terminal and a CSV file.

Runs share a panel if they were scored on the same images and classes by the same version of the protocol, after
training on the same images; they share a line if nothing differs but the swept setting, what follows from it, and the
seed. A method's preset fills other settings of it, and training without labels asks for some: left at what the swept
value gives them, these are no further difference.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from bench.common import files
from bench.common.console import styled
from bench.common.errors import UserError, near
from bench.common.text import cell, drawn, visible
from bench.config.tables import NOT_OF_THE_RESULT
from bench.plugins import registry
from bench.records.ledger import ledger, parts, rows
from bench.records.naming import NAMED_SETTINGS, PARTIAL, canonical, fewest_that_tell, flat, with_defaults
from bench.report.leaderboard import figures, layout
from bench.report.leaderboard.model import Cell, Column
from bench.report.leaderboard.views import declared_score
from bench.report.palette import style
from bench.schema.record import Record
from bench.scoring.metrics.catalogue import Metric, metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DECADE = 10
"""Values that span more than this factor stand on a logarithmic axis."""
_MOST_TICKS = 12
"""With more values than these, the ticks are matplotlib's."""
_ASIDE = 5
"""Points of print between the marks of two lines."""
_LABELS = "labels"
"""Where sparse labels come from, beside the settings."""
_INSIDE = 40
"""Letters of a line's name that fit among the lines; the legend of longer ones stands below."""
_PRESET = "method.preset"
_TABLES = ("method.", "recipe.", "network.", "data.")
_DATA = ["data", "training_images", "training_fingerprint", "training_content"]
"""What was scored, and what training saw."""
_PLACE = ["dataset", "protocol", "target", "version", "place"]
_ALSO = "differing from other runs also in"


@dataclass(frozen=True)
class Point:
    """One value of the setting on a line."""

    x: Any
    cell: Cell
    run_ids: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """Runs that differ in the swept setting and the seed alone."""

    label: str
    method: str
    points: tuple[Point, ...]
    """At least two, in the order of an axis."""


class Place(NamedTuple):
    """What the runs of a panel share."""

    dataset: str
    protocol: str
    target: str
    """Empty for a number over all targets of the protocol."""
    version: str
    data: str
    """What was scored, and what training saw."""


@dataclass(frozen=True)
class Panel:
    """Lines that may be compared."""

    setting: str
    metric: Metric
    place: Place
    title: str
    lines: tuple[Line, ...]
    left_out: tuple[str, ...] = ()
    """A sentence for each set of runs of this place that is on no line, and why."""


def build(records: Sequence[Record], setting: str, measure: str = "miou", protocol: str = "closed-set") -> list[Panel]:
    """``measure`` of ``protocol`` against ``setting`` (a key of ``--set``), a panel for each target.

    Of a protocol that is judged on one target it is that target alone; of anomaly scores each method's headline score.
    Raises UserError if no record has one of the two, or if no line has two values.
    """
    if not records:
        raise UserError("there is no record to draw; make some with `bench run`")
    return build_of(ledger(records), setting, measure, protocol)


def build_of(frame: pd.DataFrame, setting: str, measure: str = "miou", protocol: str = "closed-set") -> list[Panel]:
    """``build`` of a ledger that is not empty."""
    runs = frame.drop_duplicates("run")
    following = _following(runs, setting)
    settings = {run.run: _settings(run, setting, following) for run in rows(runs)}
    having = runs[[setting in settings[run] for run in runs["run"]]]
    if setting in {f"recipe.{key}" for key in NOT_OF_THE_RESULT}:
        raise UserError(f"{setting} cannot change a result; draw a curve of another setting")
    if having.empty:
        known = {key for own in settings.values() for key in own if key.startswith(_TABLES)}
        raise UserError(f"no record has a setting {setting!r}: {near(setting, known)}")
    scored = _scored(frame[frame["run"].isin(having["run"])], protocol)
    measures = {*scored["metric"]}
    if measures and measure not in measures:
        raise UserError(f"no record has a metric {measure!r} of protocol {protocol}: {near(measure, measures)}")
    incomplete = having[~having["run"].isin(scored["run"])].sort_values("run")
    measured = scored[(scored["metric"] == measure) & scored["value"].notna()].sort_values(["created", "run"])
    # Other supervision is other labels: their source is no further difference then.
    aside = {setting, _LABELS} if setting == "data.supervision" else {setting}
    measured = measured.assign(
        line=[canonical({k: v for k, v in settings[run].items() if k not in aside}) for run in measured["run"]],
        x=[canonical(settings[run][setting]) for run in measured["run"]],
        place=[" ".join(map(str, key)) for key in rows(measured[_DATA])],
    )
    # A later run with the same seed replaces an earlier one.
    measured = measured.drop_duplicates([*_PLACE, "line", "x", "seed"], keep="last").sort_values("seed", kind="stable")
    panels = [
        _panel(setting, metric(measure, protocol), Place(*key), found, incomplete)
        for key, found in parts(measured, _PLACE)
    ]
    drawn = sorted((panel for panel in panels if panel.lines), key=lambda panel: panel.place)
    if not drawn:
        values = ", ".join(sorted({_text(settings[run][setting]) for run in having["run"]}))
        why = [text for panel in panels for text in panel.left_out if _ALSO in text]
        remedy = f"the nearest is {why[0]}" if why else f"sweep it with `bench run --set {setting}=A,B,C`"
        raise UserError(
            f"there is nothing to draw: no two complete runs differ in {setting} alone; its values are {values}; "
            + remedy
        )
    return drawn


def _panel(setting: str, measure: Metric, place: Place, found: pd.DataFrame, incomplete: pd.DataFrame) -> Panel:
    """The lines of two values and more among what was ``found`` at a ``place``, by seed; the others are left out."""
    runs = {line: dict(parts(of_line, "x")) for line, of_line in parts(found, "line")}
    settings = {line: json.loads(line) for line in runs}
    drawn = [line for line, by_x in runs.items() if len(by_x) > 1]
    short = {line: _short_name(by_x.values()) for line, by_x in runs.items()}
    title, labels = _words(place, {line: settings[line] for line in drawn or runs}, short)
    lines = [Line(labels[line], settings[line]["method_name"], _points(runs[line])) for line in drawn]
    left_out = []
    for line, by_x in sorted(runs.items()):
        if len(by_x) == 1:
            ((value, alike),) = by_x.items()
            others = [settings[other] for other in drawn or runs if {*runs[other]} != {value}]
            told = f"{', '.join(alike['run'])} with {setting}={_text(json.loads(value))}"
            left_out.append(f"{told}, {_why_alone(settings[line], others)}")
    kin = incomplete[(incomplete["dataset"] == place.dataset) & incomplete["method"].isin([x.method for x in lines])]
    for run in rows(kin):
        reason = f" ({run.run_reason})" if run.run_reason else ""
        left_out.append(f"{run.run}, without complete {place.protocol} scores{reason}")
    lines.sort(key=lambda line: _natural(line.label))
    return Panel(setting, measure, place, title, tuple(lines), tuple(left_out))


def _why_alone(own: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> str:
    """In what a run differs from the nearest of the ``others`` of its method."""
    told = [
        [key for key in sorted(own.keys() | other.keys()) if own.get(key) != other.get(key)]
        for other in others
        if other["method_name"] == own["method_name"]
    ]
    if not told:
        return f"the only value of {own['method_name']} in its line"
    said = ", ".join(f"{key}={_text(own[key]) if key in own else 'not set'}" for key in min(told, key=len))
    return f"{_ALSO} {said}; give all runs of a line the same"


def _following(runs: pd.DataFrame, setting: str) -> dict[str, set[str]]:
    """Settings of each method that ``setting`` decides where they are not given."""
    found: dict[str, set[str]] = defaultdict(set)
    values: dict[str, dict[str, Any]] = defaultdict(dict)
    for run in rows(runs):
        if setting == "data.supervision":
            found[run.method] |= set(run.without_labels)
        elif setting.startswith("method."):
            key = setting.split(".")[1]
            if key in run.config.method:
                values[run.method][canonical(run.config.method[key])] = {key: run.config.method[key]}
    for method, given in values.items():
        filled = [table for table in (with_defaults(method, one) for one in given.values()) if table]
        keys = {key for table in filled for key in table} - {setting.split(".")[1]}
        found[method] = {key for key in keys if len({canonical(table.get(key)) for table in filled}) > 1}
    return found


def _settings(run: Any, swept: str, following: Mapping[str, set[str]]) -> dict[str, Any]:
    """Everything that makes the result of ``run``, a row of the ledger, but its seed, by dotted key.

    Settings that are as the ``swept`` one makes them where they are not given say so in place of their value.
    """
    content = run.config.content()
    method: dict[str, Any] = content["method"]
    keys = following.get(run.method, set()) & method.keys()
    if keys:
        filled = with_defaults(run.method, {k: v for k, v in method.items() if k not in keys})
        if swept == "data.supervision":
            filled |= run.without_labels
        content["method"] = method | {k: f"by {swept}" for k in keys if k in filled and method[k] == filled[k]}
    settings = {key: value for key, value in flat(content).items() if key != "seed" and value != {}}
    if run.supervision != "dense":
        settings[_LABELS] = run.labels
    return settings


def _scored(frame: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """The numbers under ``protocol`` of every complete run: its own prediction, or its headline anomaly score."""
    complete = (frame["run_status"] == "complete") & (frame["status"] == "complete")
    found = frame[(frame["protocol"] == protocol) & complete & (frame["part"] == "")]
    if registry.protocols.get(protocol).rows == "Score":
        declared = {name: declared_score(name) or "" for name in found["method"].unique()}
        return found[found["reading"] == found["method"].map(declared)]
    found = found[found["reading"] == ""]
    if not registry.protocols.get(protocol).on_source:
        return found
    judged = found[found["headline"]].groupby("run")["target"].min().to_dict()
    return found[found["target"] == [judged.get(run, "test") for run in found["run"]]]


def _points(by_x: Mapping[str, pd.DataFrame]) -> tuple[Point, ...]:
    points = [
        Point(json.loads(text), Cell(dict(zip(found["seed"], found["value"]))), tuple(found["run"]))
        for text, found in by_x.items()
    ]
    return tuple(sorted(points, key=lambda point: _order(point.x)))


def _short_name(frames: Iterable[pd.DataFrame]) -> tuple[str, ...]:
    """The words of the short name that all runs of a line share."""
    of_runs = [variant.words for found in frames for variant in found["variant"]]
    return tuple(word for word in of_runs[0] if all(word in words for words in of_runs))


def _words(
    place: Place, lines: Mapping[str, Mapping[str, Any]], short: Mapping[str, tuple[str, ...]]
) -> tuple[str, dict[str, str]]:
    """A title of what all lines share, and for each line its ``short`` name and what tells it from the others."""

    texts = {name: {key: canonical(value) for key, value in own.items()} for name, own in lines.items()}

    def varies(key: str, among: Iterable[str]) -> bool:
        return len({texts[name].get(key, "null") for name in among}) > 1

    labels = {}
    for name, own in lines.items():
        called = (own["method_name"], *short[name])
        kin = [other for other, line in lines.items() if (line["method_name"], *short[other]) == called]
        of_method = ("method.", "method_version")
        # A preset first: where it tells lines apart, the settings that it makes need not be named.
        keys = sorted({key for other in kin for key in lines[other]} - {"method_name"}, key=lambda k: (k != _PRESET, k))
        telling = [key for key in keys if varies(key, kin if key.startswith(of_method) else lines)]
        if len(telling) > NAMED_SETTINGS:
            telling = fewest_that_tell([lines[other] for other in kin], telling)
        parts = [f"{key.removeprefix('method.')}={_text(own[key])}" for key in telling if key in own]
        labels[name] = "-".join(called) + (f" ({', '.join(parts)})" if parts else "")
    first = next(iter(lines.values()))
    named = ("data.supervision", "network.architecture", "network.encoder", "recipe.name")
    shared = [_text(first[key]) for key in named if key in first and not varies(key, lines)]
    if first["data.allow_partial"] and not varies("data.allow_partial", lines):
        shared.append(PARTIAL.strip())
    return ", ".join([place.dataset, *shared]), labels


def show(panels: Sequence[Panel], console: Console) -> None:
    """Print the numbers of ``panels``."""
    for panel in panels:
        table = RichTable(title=styled(panel.title), box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
        table.add_column("method")
        for heading in (panel.setting, "n", f"{panel.metric.heading} on {panel.place.target or 'all targets'}"):
            table.add_column(styled(heading), justify="right")
        column = Column(("", "", panel.metric.key), "", "", panel.metric)
        for line in panel.lines:
            for point in line.points:
                text = layout.styled(column, point.cell, point.cell.n).text
                table.add_row(*map(styled, (line.label, _text(point.x), str(point.cell.n), text)))
        console.print(table)
        for sentence in panel.left_out:
            console.print(visible(f"left out: {sentence}"), soft_wrap=True, markup=False, highlight=False)


def write(panels: Sequence[Panel], path: Path) -> list[Path]:
    """Draw ``panels`` below each other into ``path`` (its suffix is the format) and write their numbers beside it.

    Returns picture and CSV file. Raises UserError for a format that matplotlib cannot write, or a folder that cannot
    be written.
    """
    figures.write(drawing(panels), path)
    numbers = path.with_suffix(".csv")
    with figures.writing(numbers):
        files.write(numbers, pd.DataFrame(_rows(panels)).map(cell).to_csv(index=False, lineterminator="\n"))
    return [path, numbers]


def drawing(panels: Sequence[Panel]) -> Figure:
    """``panels`` below each other."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"font.size": 9}):
        figure = Figure(figsize=(6.4, 4.4 * len(panels)), dpi=150, layout="constrained")
        for axes, panel in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels):
            _draw(axes, panel)
    return figure


def _draw(axes: Axes, panel: Panel) -> None:
    """One panel: means with their deviation, every seed as a dot."""
    from matplotlib.transforms import ScaledTranslation

    scale = 100 if panel.metric.percent else 1
    values = {canonical(point.x): point.x for line in panel.lines for point in line.points}
    ordered = sorted(values.values(), key=_order)
    numeric = all(map(_is_number, ordered))
    position = {canonical(x): float(x) if numeric else i for i, x in enumerate(ordered)}
    of_method: Counter[str] = Counter()
    for i, line in enumerate(panel.lines):
        colour, dashes = style(line.method).colour, ("-", "--", ":", "-.")[of_method[line.method] % 4]
        of_method[line.method] += 1
        xs = [position[canonical(point.x)] for point in line.points]
        cells = [point.cell for point in line.points]
        bars = axes.errorbar(
            xs,
            [scale * cell.mean for cell in cells],
            yerr=[scale * (cell.std or 0.0) for cell in cells],
            color=colour,
            linestyle=dashes,
            marker="so^Dv"[i % 5],
            markersize=5,
            linewidth=1.2,
            elinewidth=1,
            capsize=2,
            label=drawn(line.label),
        )
        seeds = [(x, scale * value) for x, cell in zip(xs, cells) if cell.n > 1 for value in cell.values.values()]
        x_seeds, y_seeds = [x for x, _ in seeds], [y for _, y in seeds]
        dots = axes.plot(x_seeds, y_seeds, "o", color=colour, markersize=4, markerfacecolor="white", zorder=3)
        # Side by side by a few points of print, whatever the axis: bars upon each other hide each other.
        shift = _ASIDE * (i - (len(panel.lines) - 1) / 2) / 72
        for artist in (*bars.get_children(), *dots):
            artist.set_transform(axes.transData + ScaledTranslation(shift, 0, axes.figure.dpi_scale_trans))
    if numeric and ordered[0] > 0 and ordered[-1] > DECADE * ordered[0]:
        axes.set_xscale("log")
    if not numeric or len(ordered) <= _MOST_TICKS:
        axes.set_xticks([position[canonical(x)] for x in ordered], [drawn(_text(x)) for x in ordered])
        axes.minorticks_off()
    if not numeric:
        axes.margins(x=0.1)
    unit = " (%)" if panel.metric.percent else ""
    axes.set_xlabel(drawn(panel.setting))
    place = panel.place
    target = place.target if "/" in place.target else f"{place.dataset}/{place.target or 'all targets'}"
    where = drawn(f"{panel.metric.label}{unit} on {target}")
    axes.set_ylabel(f"{where}\n{drawn(f'{place.protocol} version {place.version}')}")
    legend = "mean ± standard deviation over seeds, white dots are seeds"
    axes.set_title(f"{drawn(panel.title)}\n{legend}", fontsize=9, loc="left")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    longest = max(len(line.label) for line in panel.lines)
    if longest > _INSIDE:
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0.0, -0.16))
    else:
        axes.legend(frameon=False, fontsize=8)


def _rows(panels: Sequence[Panel]) -> Iterator[dict[str, Any]]:
    for panel in panels:
        for line in panel.lines:
            for point in line.points:
                yield {
                    "data_set": panel.place.dataset,
                    "protocol": f"{panel.place.protocol} version {panel.place.version}",
                    "target": panel.place.target,
                    "setting": panel.setting,
                    "value": _text(point.x),
                    "line": line.label,
                    "method": line.method,
                    "metric": panel.metric.key,
                    "mean": repr(point.cell.mean),
                    "std": "" if point.cell.std is None else repr(point.cell.std),
                    "n": point.cell.n,
                    "values": " ".join(f"{seed}={value!r}" for seed, value in point.cell.values.items()),
                    "runs": " ".join(point.run_ids),
                }


def _text(value: Any) -> str:
    return "none" if value is None else value if isinstance(value, str) else canonical(value)


def _natural(text: str) -> list[tuple[bool, float, str]]:
    """Sort key: the numbers in a text by size."""
    parts = re.split(r"(\d+(?:\.\d+)?)", text)
    return [(True, float(part), "") if i % 2 else (False, 0.0, part) for i, part in enumerate(parts)]


def _order(value: Any) -> tuple[bool, float, str]:
    """Sort key: numbers by size, then everything else by its text."""
    return (False, value, "") if _is_number(value) else (True, 0.0, _text(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
