"""Write the summary tables of README.md and results/README.md from the records, so that no figure in them is typed.

python results/summary.py    # after new records; a test checks that it would change nothing

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``. A cell is the mean over three seeds in per cent
with the sample standard deviation; two seeds are said, and a single one has no deviation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import pandas as pd

from bench.config.tables import RunConfig
from bench.plugins.registry import methods
from bench.records.ledger import ledger, parts, rows
from bench.records.naming import flat
from bench.records.store import Store
from bench.report.comparing.claims import FILE, Claims, line, verdicts
from bench.report.comparing.results import Results
from bench.report.leaderboard.statistics import mean_and_std
from bench.schema.record import Record
from bench.scoring.metrics.catalogue import metric

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", *sorted(set((ROOT / "results").glob("*.md")) - {ROOT / "results" / "claims.md"}))

LONG, SHORT = 3600, 450
"""Steps of the two schedules of ``settled`` on Toyscapes."""
REGIMES = {"toyscapes": {"steps": LONG, "batch_size": 4}, "camvid": {"steps": SHORT, "batch_size": 4}}
"""What the tables show of each data set if they do not say otherwise."""

NOT_OF_THE_FIGURE = ("hidden", "heads", "samples")
"""Settings of GSS that a recipe makes small, and the draws of an anomaly score that no table here shows."""


class Row(NamedTuple):
    """The runs of a row: a method with the settings in which they differ from its defaults."""

    title: str
    method: str
    settings: Mapping[str, Any]
    reading: str = ""
    """Of its predictions; empty is the method's own."""
    features: Row | None = None
    """The runs on the networks of which these are fitted."""


SEGSORT = {"clusters": 64, "inference_clusters": 256}
PATCH = {"codec": "patch"}

MAJORITY_ROW = Row("majority", "majority", {})
SOFTMAX_ROW = Row("softmax", "softmax", {})
SEGSORT_ROW = Row("segsort", "segsort", SEGSORT)
GMMSEG_ROW = Row("gmmseg", "gmmseg", {})
PAPERS_GMMSEG_ROW = Row("gmmseg-paper", "gmmseg", {"preset": "paper"})
AGMM_ROW = Row("agmm", "agmm", {})
PATCHES_ROW = Row("gss-patch", "gss", PATCH)
TRAINED = (SOFTMAX_ROW, GMMSEG_ROW, SEGSORT_ROW, AGMM_ROW, PATCHES_ROW)
FROM_DENSE = (MAJORITY_ROW, SOFTMAX_ROW, GMMSEG_ROW, PAPERS_GMMSEG_ROW, SEGSORT_ROW, AGMM_ROW, PATCHES_ROW)
"""Every method once, and GMMSeg as its paper writes it."""
READ_OUTS = ("linear", "gaussian", "mixture", "neighbours", "temperature")

COSINES = {"class_norm": "temperature"}
PROTOTYPES = {**COSINES, "estimate": "nothing"}
LADDER = (
    SOFTMAX_ROW,
    Row("+ projection", "softmax", {"projection": 64}),
    Row("+ unit features, one prototype a class", "gmmseg", {**PROTOTYPES, "aux_weight": 0.0, "components": 1}),
    Row("+ five prototypes a class", "gmmseg", {**PROTOTYPES, "aux_weight": 0.0}),
    Row("+ loss over components", "gmmseg", PROTOTYPES),
    Row("+ estimated means", "gmmseg", {**COSINES, "estimate": "means"}),
    Row("+ variances", "gmmseg", COSINES),
    Row("+ LayerNorm over classes: gmmseg", "gmmseg", {}),
)
"""The runs of ``ladder.sh``."""
FEW_LABELS = ("scribbles", "points", "clicks-20")

SEEDS = re.compile(r" \(n = 2\)|, n = 2")
"""What ``cell`` says of two seeds."""

Select = Callable[..., pd.DataFrame]
"""``select(dataset, row, supervision="dense", **recipe)``: the ledger's rows of the runs of a row, one a seed."""


def selector(records: Iterable[Record]) -> Select:
    """How the tables find their numbers among those of ``records``."""
    frame = ledger(records)
    runs = frame[frame["run_status"] == "complete"].drop_duplicates("run")
    known = [(run, _settings(run.config)) for run in rows(runs)]

    def found(dataset: str, row: Row, supervision: str = "dense", **recipe: Any) -> list[str]:
        wanted = {"name": "settled", "class_balanced": False, **REGIMES[dataset], **recipe}
        settings = {**row.settings, **({"variant": "unsupervised"} if supervision == "none" else {})}
        lenders = [] if row.features is None else found(dataset, row.features, supervision, **recipe)
        return [
            run.run
            for run, own in known
            if (run.dataset, run.supervision, run.method, own) == (dataset, supervision, row.method, settings)
            and ((row.features is None) if run.config.features is None else run.config.features.run in lenders)
            and all(getattr(run.config.recipe, key) == value for key, value in wanted.items())
        ]

    def select(dataset: str, row: Row, supervision: str = "dense", **recipe: Any) -> pd.DataFrame:
        runs = found(dataset, row, supervision, **recipe)
        numbers = frame[frame["run"].isin(runs)]
        if numbers["seed"].nunique() < len(runs):
            raise ValueError(f"{dataset}, {row.title}: two records of one seed: {runs}")
        return numbers

    return select


def _settings(config: RunConfig) -> dict[str, Any]:
    """The method's settings that are not its defaults, but for those that follow from a preset."""
    defaults = methods.get(config.method_name).Config
    own = flat(config.method)
    preset = {"preset": own["preset"]} if "preset" in own else {}
    usual = flat(defaults.model_validate(preset).model_dump(mode="json"))
    usual |= {"preset": flat(defaults().model_dump(mode="json"))["preset"]} if preset else {}
    return {k: v for k, v in own.items() if (k not in usual or usual[k] != v) and k not in NOT_OF_THE_FIGURE}


def values(
    numbers: pd.DataFrame, protocol: str, target: str, metric: str, reading: str = "", part: str = ""
) -> list[float]:
    """One number of every run, where it is defined."""
    wanted = {"protocol": protocol, "target": target, "metric": metric, "reading": reading, "part": part}
    found = numbers[(numbers[[*wanted]] == pd.Series(wanted)).all(axis=1)]
    return found["value"].dropna().tolist()


def figure(values: Iterable[float | None], unit: float = 0.01, decimals: int = 1) -> str:
    """Mean and deviation of the seeds' ``values`` in units, per cent if not said; nothing without values."""
    known = [value / unit for value in values if value is not None]
    if not known:
        return ""
    mean, std = mean_and_std(known)
    return f"{mean:.{decimals}f} ± {std:.{decimals}f}" if std else f"{mean:.{decimals}f}"


def cell(shown: str, numbers: pd.DataFrame, name: str = "") -> str:
    """A figure with the ``name`` of what it is and the number of seeds where it is two."""
    said = ", ".join(text for text in (name, "n = 2" if numbers["run"].nunique() == 2 else "") if text)
    return f"{shown} ({said})" if shown and said else shown


def miou(numbers: pd.DataFrame, reading: str = "") -> str:
    """Closed-set mIoU of a reading."""
    return cell(figure(values(numbers, "closed-set", "test", "miou", reading)), numbers)


def across(numbers: pd.DataFrame, target: str, metric: str) -> str:
    """A number across domains: of another data set, or, without a target, of all domains."""
    found = numbers[numbers["protocol"] == "cross-domain"]
    return cell(figure(values(found, "cross-domain", target, metric)), found)


def best_score(numbers: pd.DataFrame, target: str, metric: str) -> str:
    """The anomaly score with the highest mean of ``metric``, and its name."""
    found = numbers[(numbers["target"] == target) & (numbers["metric"] == metric)]
    if found.empty:
        return ""
    figures = {name: list(of_score["value"]) for name, of_score in parts(found, "reading")}
    method = found["method"].iloc[0]
    # Of scores that print alike the method's own is named.
    best = max(figures, key=lambda name: (round(fmean(figures[name]), 3), name.startswith(method)))
    return cell(figure(figures[best]), found, best)


def labelled(numbers: pd.DataFrame, kind: str) -> str:
    """A column's title: the kind of labels, and the share of the pixels that they label."""
    share = fmean(numbers.drop_duplicates("run")["labelled_share"])
    return f"{kind} ({100 * share:.2g} %)"


def settled(select: Select) -> list[list[str]]:
    """Toyscapes after the longer schedule, all protocols."""
    return _under_settled(select, FROM_DENSE)


def fitted(select: Select, trained: Row, steps: int) -> list[Row]:
    """The read-outs of which there are runs on the features of ``trained`` after so many ``steps`` of ``settled``."""
    rows = [Row(f"{name} on {trained.title}", name, {}, features=trained) for name in READ_OUTS]
    return [row for row in rows if not select("toyscapes", row, steps=steps).empty]


def readouts(select: Select, steps: int = LONG) -> list[list[str]]:
    """Read-outs fitted to the features of methods' runs under ``settled``, beside the methods themselves."""
    groups = [[trained, *fitted(select, trained, steps)] for trained in TRAINED]
    return _under_settled(select, [row for group in groups if len(group) > 1 for row in group], steps)


def readouts_short(select: Select) -> list[list[str]]:
    """The same after an eighth of the steps."""
    return readouts(select, steps=SHORT)


def ladder(select: Select) -> list[list[str]]:
    """From softmax to GMMSeg, one ingredient a rung, as far as it has been run; nothing while only its ends have."""
    measured = [row for row in LADDER if not select("toyscapes", row, steps=SHORT).empty]
    return [line[:-2] for line in _under_settled(select, measured if len(measured) > 2 else [], steps=SHORT)]


def official(select: Select) -> list[list[str]]:
    """GMMSeg as it is here, as released and as its paper writes it, by the density and at two budgets."""
    released = Row("gmmseg-official", "gmmseg", {"preset": "official"})
    lines = [["", "seeds", "450 steps, mIoU", "AUROC", "AP", "seeds", "3,600 steps, mIoU", "AUROC", "AP"]]
    for row in (SOFTMAX_ROW, GMMSEG_ROW, released, PAPERS_GMMSEG_ROW):
        line = [row.title]
        for steps in (SHORT, LONG):
            runs = select("toyscapes", row, steps=steps)
            score = "max_logit" if row is SOFTMAX_ROW else "gmm_nll"
            of_score = [figure(values(runs, "anomaly", "toyscapes/anomaly", key, score)) for key in ("auroc", "ap")]
            line += [str(runs["run"].nunique()), SEEDS.sub("", miou(runs)), *of_score]
        lines.append(line)
    return lines


def budgets(select: Select) -> list[list[str]]:
    """All methods at two budgets."""
    lines = [["", "450 steps, mIoU", "3,600 steps, mIoU"]]
    for row in TRAINED:
        lines.append([row.title, *(miou(select("toyscapes", row, steps=steps)) for steps in (SHORT, LONG))])
    return lines


def demo(select: Select) -> list[list[str]]:
    """What `make demo` trains, with three seeds."""
    return [line[:-2] for line in _under_settled(select, [SOFTMAX_ROW, GMMSEG_ROW], steps=SHORT)]


def _under_settled(select: Select, rows: Iterable[Row], steps: int = LONG) -> list[list[str]]:
    lines = [["", "seeds", "mIoU", "four shifted domains, harmonic mean", "anomalies, best AUROC", "the same, best AP"]]
    lines[0] += ["ECE", "boundary IoU"]
    for row in rows:
        runs = select("toyscapes", row, steps=steps)
        cells = [str(runs["run"].nunique()), miou(runs), across(runs, "", "harmonic_mean")]
        cells += [best_score(runs, "toyscapes/anomaly", key) for key in ("auroc", "ap")]
        shown = (("calibration", "ece"), ("boundary", "boundary_iou"))
        cells += [cell(figure(values(runs, protocol, "test", key)), runs) for protocol, key in shown]
        lines.append([row.title, *(SEEDS.sub("", text) for text in cells)])  # a column says how many
    return lines


def few_labels(select: Select) -> list[list[str]]:
    """Toyscapes from few labels and from none, beside dense ones, all after the shorter schedule."""
    kinds = ("dense", *FEW_LABELS, "none")
    titles = [labelled(select("toyscapes", SOFTMAX_ROW, kind, steps=SHORT), kind) for kind in FEW_LABELS]
    lines = [["", "dense", *titles, "none"]]
    for row in TRAINED[:-1]:
        lines.append([row.title, *(miou(select("toyscapes", row, kind, steps=SHORT)) for kind in kinds)])
    return lines


def agmm_terms(select: Select) -> list[list[str]]:
    """What AGMM's terms for pixels without a label give and cost, after the shorter schedule."""
    rows = (
        SOFTMAX_ROW,
        AGMM_ROW,
        Row("agmm-released", "agmm", {"preset": "released"}),
        Row("agmm without self-training", "agmm", {"self_weight": 0.0}),
        Row("the same without suppression of absent classes", "agmm", {"self_weight": 0.0, "cls_weight": 0.0}),
    )
    kinds = ("scribbles", "points")
    lines = [["", *kinds]]
    for row in rows:
        lines.append([row.title, *(miou(select("toyscapes", row, kind, steps=SHORT)) for kind in kinds)])
    return lines


def photographs(select: Select) -> list[list[str]]:
    """Trained on CamVid."""
    lines = [["", "seeds", "mIoU", "drive that is not in training", "on IDD-Lite, mIoU"]]
    lines[0] += [f"{name}, best AP" for name in ("RoadAnomaly", "RoadObstacle21", "Fishyscapes Lost & Found")]
    targets = ("road_anomaly/test", "road_obstacle_21/val", "fishyscapes_lost_and_found/val")
    for row in FROM_DENSE:
        runs = select("camvid", row)
        if not runs.empty:
            drive = figure(values(runs, "closed-set", "test-seq05vd", "miou"))
            cells = [str(runs["run"].nunique()), miou(runs), drive, across(runs, "idd_lite/val", "miou")]
            cells += [best_score(runs, target, "ap") for target in targets]
            lines.append([row.title, *(SEEDS.sub("", text) for text in cells)])
    return lines


def decomposition(select: Select) -> list[list[str]]:
    """What the errors of GSS are made of."""
    rows = [
        (SHORT, Row("gss", "gss", {})),
        (SHORT, Row("gss-ft-w", "gss", {"variant": "ft-w", "window_depth": 1})),
        (SHORT, PATCHES_ROW),
        (LONG, Row("gss-patch, 3,600 steps", "gss", PATCH)),
    ]
    lines = [
        ["", "bound", "tokens right", "pixels decoded to the label's class", "mIoU", "soft decode", "auxiliary head"]
    ]
    parts = [("miou", "codec_bound"), ("share", "token_accuracy"), ("share", "decoded_accuracy")]
    for steps, row in rows:
        runs = select("toyscapes", row, steps=steps)
        found = [values(runs, "closed-set", "test", f"decomposition/{kind}", part=part) for kind, part in parts]
        parts_of = [cell(figure(of_part), runs) for of_part in found]
        lines.append([row.title, *parts_of, *(miou(runs, reading) for reading in ("", "soft", "auxiliary"))])
    return lines


def calibration(select: Select) -> list[list[str]]:
    """Probabilities and contours on Toyscapes, with the readings that were not chosen."""
    rows = [
        SOFTMAX_ROW,
        GMMSEG_ROW,
        SEGSORT_ROW,
        Row("the same, class-balanced votes", "segsort", SEGSORT, "balanced vote"),
        Row("the same, dense scores", "segsort", SEGSORT, "dense"),
        AGMM_ROW,
        PATCHES_ROW,
        Row("the same, soft decode", "gss", PATCH, "soft"),
        Row("its auxiliary head", "gss", PATCH, "auxiliary"),
    ]
    shown = [("calibration", metric(key)) for key in ("ece", "nll", "brier")]
    shown += [("boundary", metric(key)) for key in ("boundary_iou", "boundary_f1")]
    lines = [["", "mIoU", *(known.label for _, known in shown)]]
    for row in rows:
        runs = select("toyscapes", row)
        cells = [miou(runs, row.reading)]
        for protocol, known in shown:
            found = values(runs, protocol, "test", known.key, row.reading)
            text = figure(found) if known.percent else figure(found, unit=1, decimals=known.decimals)
            cells.append(cell(text, runs))
        lines.append([row.title, *cells])
    return lines


def bounds(dataset: str) -> list[str]:
    """The table that ``benchmarks/gss_codecs.py --bounds`` left."""
    text = (ROOT / "results" / "codec-bounds" / f"{dataset}.md").read_text()
    return [line for line in text.splitlines() if line.startswith("|")]


CLAIMS = {
    ("gmmseg-closed-set", "miou"),
    ("gmmseg-closed-set-density", "miou"),
    ("gmmseg-anomaly", "ap"),
    ("gmmseg-anomaly-density", "ap"),
    ("gmmseg-anomaly-density", "fpr95"),
    ("segsort-closed-set", "miou"),
    ("segsort-boundaries", "boundary_iou"),
    ("agmm-sparse", "miou"),
    ("gss-closed-set", "miou"),
    ("gss-cross-domain", "harmonic_mean"),
}
"""Claims and metrics that the first page shows on Toyscapes."""


@cache
def claims() -> list[list[str]]:
    """What became of the ``CLAIMS``; of few labels, from points and from scribbles."""
    lines = [["claim", "gain", "95 % interval", "seeds", "verdict"]]
    for row in verdicts(Claims.read(ROOT / "results" / FILE), Results.of(Store(ROOT / "results"))):
        key = None if row.found is None else row.found.metric.key
        on_toyscapes = row.pair is not None and row.pair.group["dataset"] == "toyscapes"
        if on_toyscapes and (row.claim.id, key) in CLAIMS and row.supervision in ("dense", "points", "scribbles"):
            told = line(row)
            paper = row.claim.paper.partition(" ")[0]
            labels = "" if row.supervision == "dense" else f", from {row.supervision}"
            statement = f"{paper}: {row.claim.statement.rstrip('.')} ({told.metric}{labels})"
            lines.append([statement, told.gain, told.interval, told.seeds, told.verdict])
    return lines


def markdown(lines: list[list[str]]) -> list[str]:
    """A table with the first line as its head, numbers on the right."""
    head, *rows = [f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |") for cells in lines]
    return [head, f"|---|{'--:|' * (len(lines[0]) - 1)}", *rows]


TABLES = (
    demo,
    settled,
    official,
    ladder,
    budgets,
    few_labels,
    agmm_terms,
    calibration,
    readouts,
    readouts_short,
    decomposition,
    photographs,
)


def tables(records: Iterable[Record]) -> dict[str, list[str]]:
    """The lines of every table by name, but of those without a row."""
    select = selector(records)
    lines = {table.__name__: table(select) for table in TABLES}
    made = {name: markdown(table) for name, table in lines.items() if len(table) > 1}
    made["claims"] = markdown(claims())
    return made | {f"bounds {dataset}": bounds(dataset) for dataset in REGIMES}


def filled(page: str, made: Mapping[str, list[str]]) -> str:
    """``page`` with every table between markers as ``made`` has it."""

    def fill(match: re.Match[str]) -> str:
        return "\n".join([match[1], *made[match[2]], match[3]])

    return re.sub(r"(<!-- table: (.+?) -->)\n.*?(<!-- end -->)", fill, page, flags=re.DOTALL)


def main() -> None:
    """Fill all tables of all pages."""
    made = tables(Store(ROOT / "results").records())
    for page in PAGES:
        text = page.read_text()
        page.write_text(filled(text, made))


if __name__ == "__main__":
    main()
