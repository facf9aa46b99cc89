"""What is said above and below a table: what all rows share, how to read the numbers, what to beware of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from bench.records.ledger import rows
from bench.records.naming import PARTIAL, Variant
from bench.report.leaderboard.labels import BASELINE, Labels, labels_of
from bench.report.leaderboard.model import Cell, Column, Table
from bench.report.leaderboard.selection import sentence
from bench.report.leaderboard.statistics import MIN_IMAGES
from bench.report.leaderboard.views import recipe_in_words
from bench.scoring.described import shown

_SEEDED = "Derived labels are drawn from each run's seed, so the spread over seeds is also that of the labels."
_OF_TARGETS = ["target", "data", "notes", "method"]


def facts_of(runs: pd.DataFrame, protocol: str) -> dict[str, str]:
    """The facts of a group's ``runs`` in the order of a caption; ``protocol`` with its version. Empty ones go."""
    group = runs.iloc[0]
    known = group["weights_hash"][:8] in group["weights"]
    files = f", files {group['training_content'][:8]}" if group["training_content"] else ""
    images = f"{group['training_images']} images ({group['training_fingerprint'][:8]}{files})"
    facts = {
        "data set": group["dataset"],
        "supervision": group["supervision"],
        "labels": labels_of(runs).text if group["supervision"] else "",
        "network": f"{group['architecture']}/{group['encoder']}",
        "encoder weights": group["weights"] if known else f"{group['weights']} ({group['weights_hash'][:8]})",
        "recipe": f"{recipe_in_words(group['config'])} ({group['recipe_hash']})",
        "inference": group["inference"],
        "protocol": protocol,
        "ranks": str(group["ranks"]) if group["ranks"] != 1 else "",
        "training data": images if group["training_fingerprint"] else "",
        "hardware": _few({*runs["hardware"].where(runs["hardware"] != "", runs["device"])}),
        "commits": _few({*runs["commit"], *runs["scoring_commit"]} - {""}),
    }
    return {name: text for name, text in facts.items() if text}


def _few(values: set[str]) -> str:
    more = f" and {len(values) - 4} more" if len(values) > 4 else ""
    return ", ".join(sorted(values)[:4]) + more


# How to read the numbers


def legend(runs: pd.DataFrame) -> list[str]:
    """What the short names among the labels of ``runs`` stand for."""
    named = zip(runs["label"], runs["configuration"], runs["variant"])
    found = {label: configuration for label, configuration, variant in named if variant.words}
    told = "; ".join(f"{label} is {configuration}" for label, configuration in sorted(found.items()))
    return [f"Short names: {told}."] if told else []


def common_rules(tables: Sequence[Table], resamples: int) -> list[str]:
    """Of all tables of protocols: how numbers are made and marked."""
    rows = [row for table in tables for row in table.rows]
    if not rows:
        return []
    rules = [
        "Mean ± sample standard deviation (ddof = 1) over n seeds; one seed has no spread. Shares are in per "
        "cent. Best in bold, second underlined, by the printed digits; arrows point to the better values.",
        "Runs that are not complete are listed and never averaged. A number that is undefined for some seeds "
        "shows its own n and does not compete.",
    ]
    if any(table.on_one_seed(row) for table in tables for row in table.rows):
        rules.append("A place in brackets rests on one seed, above rows with several.")
    cells = [cell for row in rows for cell in row.cells.values()]
    marks = {mark for cell in cells for mark in cell.marks}
    if any(cell.p_bootstrap is not None for cell in cells):
        rules.append(
            "† not significantly different from the column's best: paired bootstrap over images "
            f"({resamples} samples, the same for all rows, mean over seeds), p ≥ 0.05 after Westfall and Young's "
            "step-down correction within the column. It covers the choice of images, not that of training runs; "
            "columns without per-image statistics carry no mark."
        )
    if "§" in marks:
        rules.append(
            "§ too few images to tell: not significant either, but the 95 % interval of the difference holds a fifth "
            f"of the larger number or more, or there are fewer than {MIN_IMAGES} images."
        )
    if "=" in marks:
        rules.append("= the same number as the column's best in every seed: a tie, not a finding.")
    if any(cell.p_wilcoxon is not None for cell in cells):
        rules.append(
            "‡ not significantly different from the column's best over training runs: Wilcoxon signed-rank "
            "test over common seeds, p ≥ 0.05 after Holm's correction."
        )
    return rules


def rules_of(table: Table, primary: Sequence[Column], labels: Labels, numbers: pd.DataFrame) -> list[str]:
    """Of a table of one protocol. ``primary``: the columns that order its rows; ``numbers``: what they were made of."""
    common = [_SEEDED] * labels.seeded + _partial(numbers)
    if not table.rows:
        return common
    rules = []
    if primary:
        where = ", ".join(dict.fromkeys(c.target for c in primary if c.target))
        how = "in the order of their mean rank by" if len(primary) > 1 else "ordered by"
        rules.append(f"Rows are {how} {primary[0].metric.label}" + (f" on {where}." if where else "."))
    if any(column.metric.key.endswith("_oracle") for column in table.shown):
        rules.append("Oracle columns choose their threshold on the evaluation labels: an upper bound.")
    if any(column.metric.key == "retention" for column in table.shown):
        rules.append(
            "Retention is the target's share of the source's mIoU under the same map. It is not ranked: a method that "
            "is worse at home has less to lose."
        )
    described = shown(table.protocol)
    if described.rows == "Reading" and table.has_scores:
        rules.append(
            "A row with a reading is the checkpoint of the method's own row, its class scores taken in another way."
        )
    return [*rules, *described.rules, *common]


def rules_by_supervision(
    labels: Sequence[Labels], primary: Column | None, upper: Mapping[str, Cell], numbers: pd.DataFrame
) -> list[str]:
    """Of a table across supervisions. ``upper``: the upper line by data, in the order of the columns."""
    rules = [
        f"mIoU on {', '.join(sorted({*numbers['target']}))}: mean ± sample standard deviation (ddof = 1) over n "
        "seeds, in per cent; a mIoU of fewer seeds than its row's shows its own n. Best of each supervision in bold, "
        "second underlined, by the printed digits; which differences are significant is marked in its own table.",
        "Shares are of mean mIoU: of the same row's from dense labels, and of the upper line. Their ± is that of the "
        "runs from these labels alone.",
    ]
    for _, cell in sorted(upper.items()):
        spread = "" if cell.std is None else f" ± {100 * cell.std:.2f}"
        seeds = f"{cell.n} seed{'s' if cell.n > 1 else ''}"
        rules.append(f"Upper line: {BASELINE} from dense labels, {100 * cell.mean:.2f}{spread} ({seeds}).")
    if primary is not None and primary.labels is not None:
        rules.append(f"By supervision, rows are ordered by mIoU from {primary.labels.kind} labels.")
    rules += [f"{seen.kind}: {seen.text}." for seen in labels if seen.text]
    return rules + [_SEEDED] * any(seen.seeded for seen in labels) + _partial(numbers)


def _partial(numbers: pd.DataFrame) -> list[str]:
    """What to say of rows on partial data, with the number of images that each target had; nothing without them."""
    found = numbers[numbers["partial"] & (numbers["target"] != "")]
    if found.empty:
        return []
    targets = found.groupby(["target", "images"]).size().index
    had = ", ".join(f"{target} {images} images" for target, images in targets)
    return [f"Rows{PARTIAL}: data.allow_partial accepted fewer images than a release has. Scored here: {had}."]


# What to beware of


def notes_on_seeds(superseded: pd.DataFrame, labels: Mapping[Variant, str]) -> list[str]:
    """Which runs a newer one of the same seed replaces."""
    return [
        f"{labels[earlier.variant]}: seed {earlier.seed} was run more than once; {earlier.newest} is the newest and "
        f"counts, {earlier.run} does not"
        for earlier in rows(superseded)
    ]


def notes_on_versions(variants: Iterable[Variant]) -> list[str]:
    """Which methods were run at several versions."""
    versions: dict[str, set[str]] = defaultdict(set)
    for variant in variants:
        versions[variant.method].add(variant.version)
    return [
        f"mixed versions: {method} was run at versions {', '.join(sorted(found))}; they are separate rows"
        for method, found in sorted(versions.items())
        if len(found) > 1
    ]


def notes_on_targets(numbers: pd.DataFrame) -> list[str]:
    """What records say of the targets, and which targets were not the same for all runs."""
    methods: dict[str, set[str]] = defaultdict(set)
    datas: dict[str, set[str]] = defaultdict(set)
    for target, data, text, method in {*rows(numbers.loc[numbers["target"] != "", _OF_TARGETS])}:
        datas[target].add(data)
        for note in filter(None, text.split("\n")):
            methods[f"{target}: {sentence(note)}"].add(method)
    everyone = {*numbers["method"]}
    notes = [
        note if found == everyone else f"{note} ({', '.join(sorted(found))})" for note, found in sorted(methods.items())
    ]
    return notes + [
        f"{target} was not the same images or classes in all runs: columns for each, not comparable"
        for target, found in sorted(datas.items())
        if len(found) > 1
    ]
