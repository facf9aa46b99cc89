"""Whatever lies in a records folder, its numbers are right in a table, or it is named and in none."""

from __future__ import annotations

import copy
import io
import json
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.common.errors import UserError
from bench.records import store as records
from bench.records.store import Store
from bench.records.verification import problem
from bench.report import leaderboard
from bench.report.leaderboard import curves
from bench.schema.record import ProtocolResult, Record, Scores
from bench.scoring.metrics import catalogue
from bench.scoring.metrics.boundary import BoundaryMeter
from bench.scoring.metrics.calibration import CalibrationMeter
from bench.scoring.metrics.components import ComponentMeter, component_metrics
from bench.scoring.metrics.confusion import class_iou
from bench.scoring.metrics.ranking import NegativeCounts, PositiveScores
from bench.scoring.protocols import Boundary, Calibration, ClosedSet
from bench.scoring.protocols.base import numbers
from tests.bench.report.leaderboard.conftest import Bench, confusions, info

CLASSES = ("road", "sky", "car")


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "results")
    made.require_writable()
    return made


@pytest.fixture
def notes(monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(records, "note", said.append)
    return said


def ids(count):
    return np.array([f"image {i}" for i in range(count)])


def of(protocol, **counts):
    """The numbers of a protocol from summed counts."""
    return numbers(protocol.metrics(protocol.condensed(counts)))


def believable() -> tuple[Record, dict[str, np.ndarray]]:
    """A record with every protocol, and the statistics that its numbers follow from."""
    generator = torch.Generator().manual_seed(0)
    arrays: dict[str, np.ndarray] = {}
    confusion = confusions(0.7, images=12)
    total = confusion.sum(0)
    own = of(ClosedSet, confusion=total)
    iou = dict(zip(CLASSES, class_iou(total).tolist(), strict=True))
    arrays |= {"closed-set/test/confusion": confusion, "closed-set/test/ids": ids(12)}
    arrays |= {"cross-domain/toyscapes/night/confusion": confusion, "cross-domain/toyscapes/night/ids": ids(12)}
    far = {"miou": own["miou"], "pixel_accuracy": own["pixel_accuracy"], "source_miou": 0.9, "unmapped_mass": 0.0}
    far["drop"] = far["source_miou"] - far["miou"]
    calibration, boundary = CalibrationMeter(), BoundaryMeter(3)
    first, labelled = PositiveScores(), []
    for i, name in enumerate(ids(12)):
        label = torch.randint(0, 3, (6, 8), generator=generator)
        logits = torch.randn(3, 6, 8, generator=generator) + 2 * torch.nn.functional.one_hot(label, 3).permute(2, 0, 1)
        calibration.update(name, logits.softmax(0), label)
        boundary.update(name, logits.argmax(0), label)
        odd = (torch.rand(20, 30, generator=generator) < 0.1).int()
        labelled.append((name, torch.randn(20, 30, generator=generator) + odd, odd))
        first.update(*labelled[i])
    second, third = NegativeCounts(first.finish()), ComponentMeter(1.5, 1, 1)
    for image in labelled:
        second.update(*image)
        third.update(*image)
    outcome, at, matched = second.result(), "anomaly/toyscapes/anomaly", third.of_images(ids(12))
    arrays |= {f"{at}/ids": ids(12), f"{at}/msp/histogram": second.histogram.counts}
    arrays |= {f"{at}/msp/edges": second.histogram.edges}
    arrays |= {f"{at}/msp/{kind}": array for kind, array in matched.items()}
    arrays |= {"calibration/test/bins": calibration.bin_sums, "calibration/test/losses": calibration.losses}
    arrays |= {
        "calibration/test/ids": ids(12),
        "boundary/test/ids": ids(12),
        "boundary/test/contours": boundary.per_image,
    }
    ranked = {"auroc": outcome.auroc, "ap": outcome.ap, "fpr95": outcome.fpr95, "best_f1_oracle": outcome.best_f1}
    ranked |= numbers(component_metrics(*(array.sum(0) for array in matched.values())))
    described = {key: float(getattr(outcome, key)) for key in ("prevalence", "positives", "negatives")}
    calibrated = of(Calibration, bins=calibration.bin_sums.sum(0), losses=calibration.losses.sum(0))
    along = of(Boundary, contours=boundary.per_image.sum(0))
    results = {
        "closed-set": ("test", {"metrics": own, "per_class": {"iou": iou}}, {"miou": own["miou"]}),
        "cross-domain": (
            "toyscapes/night",
            {"metrics": far, "per_class": {"iou": iou}},
            {"harmonic_mean": far["miou"], "mean_drop": far["drop"]},
        ),
        "anomaly": ("toyscapes/anomaly", {"metrics": described, "by_score": {"msp": ranked}}, {}),
        "calibration": ("test", {"metrics": calibrated}, {"ece": calibrated["ece"]}),
        "boundary": (
            "test",
            {
                "metrics": along,
                "per_class": {
                    "boundary_iou": dict(zip(CLASSES, boundary.iou.tolist(), strict=True)),
                    "boundary_f1": dict(zip(CLASSES, boundary.f1.tolist(), strict=True)),
                },
            },
            {"boundary_iou": along["boundary_iou"]},
        ),
    }
    protocols = {
        name: ProtocolResult(
            version="1",
            headline=target if target == "test" else None,
            targets={target: Scores(dataset=info(), **scores)},
            summary=summary,
        )
        for name, (target, scores, summary) in results.items()
    }
    return Bench().record("honest", protocols=protocols, run_id="honest"), arrays


HONEST, STATISTICS = believable()
CONTENT = HONEST.model_dump(mode="json")


def put(store: Store, content: object, name: str = "doubtful", arrays: dict | None = None) -> Path:
    """Write a record as it is, and beside it an honest one, which must stay in the tables."""
    store.write(HONEST)
    path = store.record_path(name)
    path.write_text(json.dumps(content))
    if arrays is not None:
        store.write_statistics(name, arrays)
    return path


def altered(*keys: str, to: object) -> dict:
    """The honest record under another id, with one number of it changed."""
    content = copy.deepcopy(CONTENT)
    content["run_id"] = "doubtful"
    *way, last = keys
    place = content
    for key in way:
        place = place[key]
    place[last] = to
    return content


def test_honest_record_is_believed(store, notes):
    store.write(HONEST)
    store.write_statistics(HONEST.run_id, STATISTICS)
    assert store.records() == [HONEST]
    assert problem(HONEST, STATISTICS) is None
    assert not notes


# Ranges


@pytest.mark.parametrize("value", ["below", "above", float("nan"), float("inf"), -float("inf"), 1e308, -5.0])
@pytest.mark.parametrize("known", catalogue.metrics().values(), ids=lambda m: m.key)
def test_numbers_that_a_metric_cannot_have_are_named_and_in_no_table(store, notes, known, value):
    value = {"below": known.low - 0.001, "above": known.high + 0.001}.get(value, value)
    if known.allows(value):
        return
    content = altered("protocols", "closed-set", "targets", "test", "metrics", known.key, to=value)
    path = put(store, content)
    assert [record.run_id for record in store.records()] == ["honest"]
    (said,) = notes
    assert str(path) in said
    assert known.label in said
    with pytest.raises(UserError, match="not to be believed"):
        store.read("doubtful")


PLACES = [
    ("protocols", "closed-set", "summary", "miou"),
    ("protocols", "closed-set", "targets", "test", "per_class", "iou", "sky"),
    ("protocols", "closed-set", "targets", "test", "by_reading"),
    ("protocols", "closed-set", "targets", "test", "decomposition"),
    ("protocols", "closed-set", "summary_by_reading"),
    ("protocols", "anomaly", "targets", "toyscapes/anomaly", "by_score", "msp", "ap"),
    ("protocols", "anomaly", "summary", "closed_set_miou"),
    ("protocols", "cross-domain", "summary", "mean_drop"),
]


@pytest.mark.parametrize("place", PLACES, ids="/".join)
def test_no_place_of_a_record_holds_a_number_that_cannot_be(store, notes, place):
    tables = {
        "by_reading": {"swap": {"miou": -5.0}},
        "summary_by_reading": {"swap": {"miou": -5.0}},
        "decomposition": {"miou": {"bound": -5.0}},
    }
    put(store, altered(*place, to=tables.get(place[-1], -5.0)))
    assert [record.run_id for record in store.records()] == ["honest"]
    assert len(notes) == 1


TRAINING = {"steps": 1, "seconds": 1.0, "images_per_second": 1.0, "parameters": 1, "peak_memory_mb": 1.0}


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("training",), {**TRAINING, "seconds": float("nan")}),
        (("training",), {**TRAINING, "parameters": -1}),
        (("supervision",), {"labelled_fraction": "half"}),
        (("supervision",), {"labelled_fraction": [1]}),
        (("supervision",), {"labelled_fraction": 1.5}),
        (("supervision",), {"labelled_pixels_per_image": float("inf")}),
        (("supervision",), {"source": ["official"]}),
        (("supervision",), {"without_labels": "all"}),
        (("config", "method_files"), {"nothing": "0" * 64}),
    ],
    ids=str,
)
def test_what_no_run_writes_is_named_and_in_no_table(store, notes, keys, value):
    put(store, altered(*keys, to=value))
    assert [record.run_id for record in store.records()] == ["honest"]
    assert len(notes) == 1


# Numbers that contradict their own statistics


def shifted(table: dict, by: float) -> list[tuple[str, float]]:
    return [(key, value + by if value < 0.5 else value - by) for key, value in table.items() if value is not None]


CONTRADICTIONS = [
    (("protocols", name, "targets", target, part, *inner, key), value)
    for name, result in CONTENT["protocols"].items()
    for target, scores in result["targets"].items()
    for part in ("metrics", "per_class", "by_score")
    for inner, table in (
        [((), scores[part])] if part == "metrics" else [((kind,), values) for kind, values in scores[part].items()]
    )
    for key, value in shifted(table, 0.05)
    # What the statistics do not tell: they hold neither the best threshold nor the source, nor what is unmapped.
    if key not in ("best_f1_oracle", "unmapped_mass")
]


@pytest.mark.parametrize(("keys", "value"), CONTRADICTIONS, ids=str)
def test_a_number_that_its_statistics_contradict_is_named_and_in_no_table(store, notes, keys, value):
    put(store, altered(*keys, to=value), arrays=STATISTICS)
    assert [record.run_id for record in store.records()] == ["honest"]
    (said,) = notes
    assert "doubtful.json" in said
    assert "\n" not in said


@pytest.mark.parametrize("summary", [("closed-set", "miou"), ("calibration", "ece"), ("boundary", "boundary_iou"),
                                     ("cross-domain", "harmonic_mean"), ("cross-domain", "mean_drop")])  # fmt: skip
def test_a_summary_that_its_targets_contradict_is_named_and_in_no_table(store, notes, summary):
    put(store, altered("protocols", summary[0], "summary", summary[1], to=0.123))
    assert [record.run_id for record in store.records()] == ["honest"]
    assert len(notes) == 1


@pytest.mark.parametrize(("protocol", "headline"), [("closed-set", "val"), ("closed-set", None), ("anomaly", "test")])
def test_a_headline_that_is_no_target_is_named_and_in_no_table(store, notes, protocol, headline):
    put(store, altered("protocols", protocol, "headline", to=headline))
    assert [record.run_id for record in store.records()] == ["honest"]
    assert len(notes) == 1


def older(content: dict) -> dict:
    """A record of today as schema 1 had it."""
    bare = {key: value for key, value in content.items() if key != "configuration"}
    protocols = {n: {k: v for k, v in r.items() if k != "headline"} for n, r in content["protocols"].items()}
    return {**bare, "schema_version": 1, "protocols": protocols}


def test_records_of_schema_1_are_believed_and_doubted_alike(store, notes):
    put(store, older(altered("run_id", to="doubtful")))
    assert store.read("doubtful").protocols == HONEST.protocols
    assert len(store.records()) == 2
    put(store, older(altered("protocols", "closed-set", "summary", "miou", to=0.123)))
    assert [record.run_id for record in store.records()] == ["honest"]
    assert len(notes) == 1


def test_undefined_where_statistics_define_is_a_contradiction(store, notes):
    put(
        store,
        altered("protocols", "closed-set", "targets", "test", "metrics", "mean_accuracy", to=None),
        arrays=STATISTICS,
    )
    assert [record.run_id for record in store.records()] == ["honest"]
    assert len(notes) == 1


def negative(array):
    array = array.copy()
    array.flat[0] = -1
    return array


def without_number(array):
    array = array.astype(np.float64)
    array.flat[0] = np.nan
    return array


FAULTS = {
    "float": lambda array: array.astype(np.float16) if array.dtype.kind in "iu" else array.astype("U"),
    "complex": lambda array: np.zeros(array.shape, np.complex64),
    "bytes": lambda array: np.zeros(array.shape, "S3"),
    "flat": lambda array: array.reshape(-1)[:, None, None, None],
    "scalar": lambda array: array.reshape(-1)[0],
    "one image less": lambda array: array[:-1],
    "nothing": lambda array: array[:0],
    "negative": negative,
    "not a number": without_number,
    "twice": lambda array: np.concatenate([array, array]),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("key", STATISTICS)
def test_statistics_that_no_protocol_writes_are_named_and_their_record_is_in_no_table(store, notes, key, fault):
    if key.endswith("ids") and fault in ("float", "negative", "not a number"):
        return  # names have no such faults
    if key.endswith(("edges", "losses")) and fault == "negative":
        return  # an edge may be negative, and so may a loss by rounding
    if key.endswith("edges") and fault in ("one image less", "nothing"):
        return  # then no bin is known to be a tie, and its bounds are wider
    put(store, altered("status", to="complete"), arrays={**STATISTICS, key: FAULTS[fault](STATISTICS[key])})
    if fault in ("complex", "bytes"):  # kinds of numbers that no statistics have do not get as far
        with pytest.raises(UserError, match=r"doubtful\.npz is damaged"):
            store.records()
    else:
        assert [record.run_id for record in store.records()] == ["honest"]
        assert len(notes) == 1


# Files that are no records


def fifo(path: Path) -> None:
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.symlink_to(path)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


def unreadable(path: Path) -> None:
    path.write_text("{}")
    path.chmod(0)
    if os.access(path, os.R_OK):
        path.unlink()
        path.symlink_to("/proc/self/mem")  # what even the superuser cannot read


NO_FILES = {
    "a pipe": fifo,
    "a folder": Path.mkdir,
    "a link to itself": loop,
    "a link to nothing": lambda path: path.symlink_to(path.with_name("gone")),
    "a device without end": lambda path: path.symlink_to("/dev/zero"),
    "a terabyte": sparse,
    "unreadable": unreadable,
}


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_named_and_never_waited_for(store, kind):
    store.write(HONEST)
    path = store.record_path("odd")
    NO_FILES[kind](path)
    with pytest.raises(UserError, match=r"odd\.json is damaged") as caught:
        store.records()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", sorted(NO_FILES.keys() - {"a link to nothing"}))
def test_statistics_that_are_no_file_are_named_and_never_waited_for(store, kind):
    store.write(HONEST)
    NO_FILES[kind](store.statistics_path("honest"))
    for read in (store.records, lambda: store.read_statistics("honest")):
        with pytest.raises(UserError, match=r"honest\.npz is damaged"):
            read()


WHOLE = json.dumps(CONTENT)
TEXTS = {
    "nested lists": "[" * 100_000,
    "nested lists, closed": "[" * 100_000 + "]" * 100_000,
    "nested tables": '{"a":' * 100_000,
    "nested facts": WHOLE.replace('"method_facts": {}', '"method_facts": ' + '{"a":' * 900 + "1" + "}" * 901),
    "forty deep": WHOLE.replace('"method_facts": {}', '"method_facts": ' + '{"a":' * 40 + "1" + "}" * 40),
    "an integer of 5,000 digits": WHOLE.replace('"seed": 0', '"seed": ' + "9" * 5000),
    "an integer of 4,000 digits": WHOLE.replace('"images": 20', '"images": ' + "9" * 4000),
    "an integer of 20 digits": WHOLE.replace('"images": 20', '"images": ' + "9" * 20),
    "a number of 5,000 digits as a version": '{"schema_version": ' + "1" * 5000 + "}",
    "half a pair": WHOLE.replace("honest", "\\ud800"),
    "the other half as a key": WHOLE.replace('"method_facts": {', '"method_facts": {"\\udfff": 1'),
    "half a pair in a setting": WHOLE.replace('"dim": 64', '"dim": "\\udc80"'),
    "a key twice": WHOLE.replace('"status":', '"status": "failed", "status":'),
    "a metric twice": WHOLE.replace('"miou":', '"miou": 0.9, "miou":'),
    "an empty file": "",
    "a null": "null",
    "a number": "1e999",
    "nothing but a constant": "NaN",
    "a byte order mark": "\ufeff" + WHOLE,
    "two records": WHOLE + WHOLE,
    "a comma too many": WHOLE[:-1] + ",}",
    "single quotes": WHOLE.replace('"', "'"),
    "a NUL": WHOLE + "\0",
    "an unknown field": WHOLE[:-1] + ', "extra": 1}',
    "a comment": "// a record\n" + WHOLE,
    "the status of no run": WHOLE.replace('"complete"', '"finished"'),
    "a table for a number": WHOLE.replace('"seed": 0', '"seed": {}'),
    "a text for a table": WHOLE.replace('"method": {"dim": 64}', '"method": "dim"'),
    "a boolean for a version": WHOLE.replace('"schema_version": 2', '"schema_version": [2]'),
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_that_is_no_record_is_one_sentence(store, name):
    assert TEXTS[name] != WHOLE
    store.write(HONEST)
    store.record_path("odd").write_text(TEXTS[name])
    with pytest.raises(UserError, match=r"odd\.json") as caught:
        store.records()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("content", [b"\xff\xfe", WHOLE.encode("utf-16"), WHOLE.encode()[:-1] + b"\xc3}", b"\x80" * 9])
def test_bytes_that_are_no_text_are_one_sentence(store, content):
    store.record_path("odd").write_bytes(content)
    with pytest.raises(UserError, match=r"odd\.json is damaged"):
        store.records()


# Archives that claim what they do not hold


def npy(shape: str, descr: str = "'<i4'", order: str = "False") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


def archive(content: bytes, name: str = "closed-set/test/confusion.npy", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        file.writestr(name, content)
    return buffer.getvalue()


def claiming(size: int) -> bytes:
    """A small archive with a directory that gives one member ``size`` bytes."""
    whole = bytearray(archive(npy("(2, 2)") + bytes(16), method=zipfile.ZIP_STORED))
    directory = whole.index(b"PK\x01\x02")
    whole[directory + 24 : directory + 28] = struct.pack("<I", size)
    return bytes(whole)


ARCHIVES = {
    "745 GiB": lambda: archive(npy("(200000, 1000000)")),
    "more than there are bytes": lambda: archive(npy(f"({10**30},)")),
    "less than nothing": lambda: archive(npy("(-1, -4)") + bytes(16)),
    "a hundred axes": lambda: archive(npy("(" + "1," * 100 + ")") + bytes(4)),
    "names without letters": lambda: archive(npy(f"({10**15},)", "'<U0'")),
    "letters without end": lambda: archive(npy("(1,)", f"'<U{10**9}'")),
    "objects": lambda: archive(npy("(1,)", "'|O'") + b"cos\nsystem\n(S'true'\ntR."),
    "fields": lambda: archive(npy("(1,)", "[('a', '<i4'), ('b', '|O')]") + bytes(12)),
    "a header without end": lambda: archive(b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b"{"),
    "a header that is code": lambda: archive(npy("__import__('os').getpid()")),
    "a nested header": lambda: archive(npy("(" * 500 + ")" * 500)),
    "no array": lambda: archive(b"text"),
    "three bytes": lambda: archive(b"\x93NU"),
    "another version": lambda: archive(b"\x93NUMPY\x09\x00" + bytes(100)),
    "four gigabytes in the directory": lambda: claiming(2**32 - 2),
    "a bomb": lambda: archive(npy("(16000, 16000)") + bytes(2**24)),
    "a spare directory": lambda: archive(npy("(2,)") + bytes(8)) + b"PK\x05\x06" + bytes(18),
    "a pickle": lambda: b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "an array alone": lambda: npy("(200000, 1000000)"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_archive_that_claims_what_it_does_not_hold_is_one_sentence(store, name):
    store.write(HONEST)
    store.statistics_path("honest").write_bytes(ARCHIVES[name]())
    if name == "a spare directory":
        assert store.read_statistics("honest").keys() <= {"closed-set/test/confusion"}
        return
    with pytest.raises(UserError, match=r"honest\.npz is damaged") as caught:
        store.read_statistics("honest")
    assert "\n" not in str(caught.value)


def test_a_bomb_of_a_thousand_to_one_is_refused_before_it_is_unpacked(store, monkeypatch):
    monkeypatch.setattr(records, "ARRAYS_BYTES", 2**20)
    store.write(HONEST)
    store.statistics_path("honest").write_bytes(archive(npy("(1024, 1025)") + bytes(4 * 1024 * 1025)))
    with pytest.raises(UserError, match="GiB of arrays"):
        store.read_statistics("honest")


# Anything at all


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["1", "complete"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUICK
@given(JSON)
def test_arbitrary_json_raises_only_the_readers_own_error(store, value):
    path = store.record_path("odd")
    table = value if isinstance(value, dict) else {}
    for content in (value, *({"schema_version": v, "status": value, "config": value, **table} for v in (1, 2))):
        path.write_text(json.dumps(content))
        with pytest.raises(UserError, match=r"odd\.json"):
            records.read_record(path)


@QUICK
@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_only_the_readers_own_error(store, content):
    path = store.record_path("odd")
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"odd\.json"):
        records.read_record(path)
    store.write(HONEST)
    store.statistics_path("honest").write_bytes(content)
    with pytest.raises(UserError, match=r"honest\.npz"):
        store.read_statistics("honest")


def leaves(value: object, way: tuple = ()) -> list[tuple]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way] + [leaf for key, part in inner for leaf in leaves(part, (*way, key))]


EVERYWHERE = leaves(CONTENT)[1:]


@settings(QUICK, max_examples=250)
@given(st.sampled_from(EVERYWHERE), JSON)
def test_a_record_with_anything_anywhere_is_refused_left_out_or_makes_tables(store, place, value):
    put(store, altered(*place, to=value))
    try:
        found = store.records()
    except UserError:
        return
    tables = leaderboard.build(found, lambda run_id: {}, resamples=0)
    for kind in ("md", "csv", "tex", "html"):
        for table in tables:
            leaderboard.render(table, kind)
    try:
        curves.build(found, "method.dim")
    except UserError:
        return
