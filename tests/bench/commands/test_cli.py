"""The command line as its user meets it: what it leaves behind, and what it says when it is used wrongly."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from bench.common.claims import claimed
from bench.config import tables as config
from bench.plugins import registry
from bench.records.store import Store
from bench.schema.record import DatasetInfo, Environment, ProtocolResult, Record, Scores, Training
from datasets.base import Submission
from tests.command_line import call
from tests.faults import injection

QUICK = ("--dataset", "toyscapes_mini", "--encoder", "resnet18", "--set", "recipe.steps=2")


@pytest.fixture(scope="module")
def finished(finish):
    """A results folder with one finished run of softmax and one of gmmseg."""
    return finish("run", "--method", "softmax", "--method", "gmmseg", *QUICK)


def records(results: Path) -> list[dict]:
    return [json.loads(p.read_text()) for p in sorted((results / "records").glob("*.json"))]


def assert_sentence(outcome, *words, code=2):
    assert outcome.exit_code == code, outcome.output
    message = outcome.stderr.strip().splitlines()[-1]
    assert message.startswith(("error: ", "Error: ")), outcome.output
    assert "Traceback" not in outcome.output
    for word in words:
        assert word in message, message


def test_run_leaves_a_record_of_all_three_protocols(finished):
    made = records(finished)
    assert {r["config"]["method_name"] for r in made} == {"softmax", "gmmseg"}
    for record in made:
        assert record["status"] == "complete"
        assert {n: p["status"] for n, p in record["protocols"].items()} == {
            "closed-set": "complete", "cross-domain": "complete", "anomaly": "complete"
        }  # fmt: skip
        assert record["environment"]["packages"]["torch"]
        assert record["checkpoint_hash"]
        assert record["training"]["parameters"] > 0
        assert record["data"]["fingerprint"]
        headlines = {name: result["headline"] for name, result in record["protocols"].items()}
        assert headlines == {"closed-set": "test", "cross-domain": None, "anomaly": None}
        assert record["protocols"]["anomaly"]["summary"]["closed_set_miou"] == pytest.approx(
            record["protocols"]["closed-set"]["summary"]["miou"]
        )
    scores = {r["config"]["method_name"]: r["protocols"]["anomaly"]["targets"] for r in made}
    generic = {"msp", "max_logit", "entropy", "energy"}
    assert generic == set(next(iter(scores["softmax"].values()))["by_score"])
    assert generic | {"gmm_nll"} == set(next(iter(scores["gmmseg"].values()))["by_score"])


def test_side_file_re_sums_to_the_record(finished):
    softmax, gmmseg = records(finished)
    for record in (softmax, gmmseg):
        with np.load(finished / "records" / f"{record['run_id']}.npz") as arrays:
            matrix = arrays["closed-set/test/confusion"].sum(0)
        iou = np.diag(matrix) / np.maximum(matrix.sum(0) + matrix.sum(1) - np.diag(matrix), 1)
        present = (matrix.sum(0) + matrix.sum(1)) > 0
        measured = record["protocols"]["closed-set"]["targets"]["test"]["metrics"]["miou"]
        assert measured == pytest.approx(iou[present].mean())


def test_finished_run_is_not_repeated_and_force_repeats_it(bench, results):
    before = {p.name: p.stat().st_mtime_ns for p in (results / "records").iterdir()}
    outcome = bench("run", "--method", "softmax", *QUICK)
    assert outcome.exit_code == 0
    assert "finished already" in outcome.stderr
    assert {p.name: p.stat().st_mtime_ns for p in (results / "records").iterdir()} == before
    old = next(r for r in records(results) if r["config"]["method_name"] == "softmax")
    assert bench("run", "--method", "softmax", *QUICK, "--protocol", "closed-set", "--force").exit_code == 0
    new = next(r for r in records(results) if r["config"]["method_name"] == "softmax")
    assert new["checkpoint_hash"] == old["checkpoint_hash"]
    assert set(new["protocols"]) == {"closed-set"}


def test_missing_protocol_is_added_without_training_again(bench, tmp_path):
    assert bench("run", "--method", "softmax", *QUICK, "--protocol", "closed-set").exit_code == 0
    first = records(tmp_path / "results")[0]
    assert set(first["protocols"]) == {"closed-set"}
    outcome = bench("run", "--method", "softmax", *QUICK)
    assert outcome.exit_code == 0
    second = records(tmp_path / "results")[0]
    assert set(second["protocols"]) == {"closed-set", "cross-domain", "anomaly"}
    assert second["training"] == first["training"]


def test_protocols_on_request_are_added_by_name_and_stay(bench, tmp_path):
    assert bench("run", "--method", "softmax", *QUICK, "--protocol", "closed-set").exit_code == 0
    (first,) = records(tmp_path / "results")
    outcome = bench("run", "--method", "softmax", *QUICK, "--protocol", "calibration", "--protocol", "boundary")
    assert outcome.exit_code == 0
    assert "ECE" in outcome.output
    assert "Boundary IoU" in outcome.output
    (second,) = records(tmp_path / "results")
    assert list(second["protocols"]) == ["closed-set", "calibration", "boundary"]
    assert second["training"] == first["training"]
    assert second["protocols"]["closed-set"] == first["protocols"]["closed-set"]
    assert bench("run", "--method", "softmax", *QUICK).exit_code == 0
    (third,) = records(tmp_path / "results")
    assert list(third["protocols"]) == ["closed-set", "cross-domain", "anomaly", "calibration", "boundary"]
    assert third["protocols"]["calibration"] == second["protocols"]["calibration"]
    arguments = ("leaderboard", str(tmp_path / "results"), "--format", "md", "--out", str(tmp_path / "tables"))
    assert bench(*arguments).exit_code == 0
    overview = (tmp_path / "tables" / "leaderboard.md").read_text()
    assert re.search(r"mIoU.*ECE.*Boundary IoU", overview)
    assert bench(*arguments, "--protocol", "calibration", "--protocol", "boundary").exit_code == 0
    text = (tmp_path / "tables" / "leaderboard.md").read_text()
    assert "Calibration: toyscapes_mini" in text
    assert "Boundaries: toyscapes_mini" in text
    assert "Closed-set" not in text


def test_evaluation_renews_the_record_with_the_same_numbers(bench, results):
    old = next(r for r in records(results) if r["config"]["method_name"] == "gmmseg")
    assert bench("evaluate", old["run_id"][:26]).exit_code == 0
    new = next(r for r in records(results) if r["config"]["method_name"] == "gmmseg")
    assert new["training"] == old["training"]
    assert new["checkpoint_hash"] == old["checkpoint_hash"]
    assert new["environment"] == old["environment"]
    assert 0 < new["inference_seconds"] != old["inference_seconds"]
    assert old["scoring_environment"] is None
    assert new["scoring_environment"]["packages"]["torch"]
    for result in (*old["protocols"].values(), *new["protocols"].values()):
        del result["seconds"]
    assert new["protocols"] == old["protocols"]


def test_killed_run_ends_with_the_metrics_of_an_uninterrupted_one(data_root, bench, tmp_path):
    steps = ("--dataset", "toyscapes_mini", "--encoder", "resnet18", "--protocol", "closed-set")
    command = ["run", "--method", "gmmseg", *steps, "--set", "recipe.steps=6", "--set", "recipe.checkpoint_every=1"]
    command += ["--results", str(tmp_path / "killed"), "--data-root", str(data_root), "--device", "cpu"]
    kill = partial(injection.send, signal.SIGKILL)
    fourth_step = injection.At("bench.training.loop.schedule", 4)
    outcome = injection.forked(command, log=tmp_path / "log", at=fourth_step, action=kill)
    assert outcome.code == -signal.SIGKILL
    assert not records(tmp_path / "killed")
    outcome = bench("run", "--method", "gmmseg", *steps, "--set", "recipe.steps=6", results=tmp_path / "killed")
    assert outcome.exit_code == 0, outcome.output
    assert "at step 3 of 6" in outcome.stderr
    whole = bench("run", "--method", "gmmseg", *steps, "--set", "recipe.steps=6", results=tmp_path / "whole")
    assert whole.exit_code == 0, whole.output
    killed, whole = records(tmp_path / "killed")[0], records(tmp_path / "whole")[0]
    assert killed["protocols"]["closed-set"]["targets"] == whole["protocols"]["closed-set"]["targets"]
    assert killed["checkpoint_hash"] == whole["checkpoint_hash"]


def test_failed_run_leaves_a_row_and_the_grid_goes_on(bench, tmp_path):
    plugin = tmp_path / "diverging.py"
    plugin.write_text(
        "from methods.base import Losses\nfrom methods.softmax import Softmax\n"
        "class Diverging(Softmax):\n"
        "    name = 'diverging'\n"
        "    def losses(self, batch):\n"
        "        return Losses({'bad': super().losses(batch).terms['cross_entropy'] * float('nan')})\n"
        "class Crashing(Softmax):\n"
        "    name = 'crashing'\n"
        "    def losses(self, batch):\n"
        "        return Losses({'bad': self.nothing})\n"
    )
    methods = [a for m in ("diverging", "crashing", "majority") for a in ("--method", m)]
    outcome = bench("run", *methods, *QUICK, "--plugin", str(plugin), "--protocol", "closed-set")
    assert outcome.exit_code == 1
    rows = {r["config"]["method_name"]: r for r in records(tmp_path / "results")}
    assert {n: r["status"] for n, r in rows.items()} == {
        "diverging": "failed", "crashing": "failed", "majority": "complete"
    }  # fmt: skip
    assert "non-finite loss at step 1: bad = nan" in rows["diverging"]["reason"]
    assert "AttributeError" in rows["crashing"]["reason"]
    shown = bench("leaderboard", str(tmp_path / "results"), "--format", "md", "--out", str(tmp_path / "tables"))
    assert shown.exit_code == 0
    assert "non-finite loss" in (tmp_path / "tables" / "leaderboard.md").read_text()


def test_failed_run_is_tried_again(bench, tmp_path):
    plugin = tmp_path / "sometimes.py"
    plugin.write_text(
        "import os\nfrom methods.base import Losses\nfrom methods.softmax import Softmax\n"
        "class Sometimes(Softmax):\n"
        "    name = 'sometimes'\n"
        "    def losses(self, batch):\n"
        "        factor = float(os.environ.get('SOMETIMES', 'nan'))\n"
        "        return Losses({'loss': super().losses(batch).terms['cross_entropy'] * factor})\n"
    )
    arguments = ("run", "--method", "sometimes", *QUICK, "--plugin", str(plugin), "--protocol", "closed-set")
    assert bench(*arguments).exit_code == 1
    os.environ["SOMETIMES"] = "1"
    try:
        assert bench(*arguments).exit_code == 0
    finally:
        del os.environ["SOMETIMES"]
    assert [r["status"] for r in records(tmp_path / "results")] == ["complete"]


GMMSEG = "toyscapes_mini-dense-gmmseg"
"""How the id of a finished run begins."""


def save_street(path: Path) -> Path:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 90, 3), np.uint8)).save(path)
    return path


def test_predict_writes_ids_overlay_and_score(bench, finished, tmp_path, data_root):
    image = save_street(tmp_path / "street.png")
    outcome = bench("predict", GMMSEG, str(image), "--out", str(tmp_path / "out"), results=finished)
    assert outcome.exit_code == 0, outcome.output
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["street_classes.png", "street_gmm_nll.png", "street_overlay.png"]
    with Image.open(tmp_path / "out" / "street_classes.png") as ids:
        assert ids.size == (90, 50)


def test_predict_writes_arrays_for_other_evaluators(bench, finished, tmp_path):
    image = save_street(tmp_path / "street.png")
    out = ("--out", str(tmp_path / "out"))
    assert bench("predict", GMMSEG, str(image), "--format", "npz", *out, results=finished).exit_code == 0
    assert bench("predict", GMMSEG, str(image), *out, results=finished).exit_code == 0
    with np.load(tmp_path / "out" / "street.npz") as arrays:
        assert {"classes", "logits", "msp", "max_logit", "entropy", "energy", "gmm_nll"} <= {*arrays}
        logits, classes = arrays["logits"], arrays["classes"]
        np.testing.assert_array_equal(arrays["max_logit"], -logits.max(0))
        assert arrays["gmm_nll"].shape == (50, 90)
    np.testing.assert_array_equal(classes, logits.argmax(0))
    with Image.open(tmp_path / "out" / "street_classes.png") as ids:
        np.testing.assert_array_equal(classes, np.asarray(ids))


def test_predict_writes_scores_where_segment_me_if_you_can_reads_them(bench, finished, tmp_path):
    image = save_street(tmp_path / "01_Street_000000_000030_leftImg8bit.png")
    out = tmp_path / "anomaly_p"
    form = ("--format", "hdf5", "--dataset", "LostAndFound-test", "--out", str(out))
    outcome = bench("predict", GMMSEG, str(image), *form, results=finished)
    assert outcome.exit_code == 0, outcome.output
    scores = {"msp", "max_logit", "entropy", "energy", "gmm_nll"}
    written = {f"gmmseg@{score}/LostAndFound-test/01_Street_000000_000030.hdf5" for score in scores}
    assert {str(path.relative_to(out)) for path in out.rglob("*.hdf5")} == written
    assert set(outcome.stdout.split()) == {str(out / path) for path in written}
    assert bench("predict", GMMSEG, str(image), "--format", "npz", "--out", str(out), results=finished).exit_code == 0
    with np.load(out / f"{image.stem}.npz") as arrays:
        for score in scores:
            # As their loader reads it: the path from its pattern, all of the variable "value".
            path = f"{out}/{{method_name}}/{{dset_name}}/{{fid}}.hdf5".format(
                method_name=f"gmmseg@{score}", dset_name="LostAndFound-test", fid="01_Street_000000_000030"
            )
            with h5py.File(path, "r") as file:
                value = file["value"][:]
            np.testing.assert_array_equal(value, arrays[score])
            assert value.dtype == np.float32
            assert value.shape == (50, 90)


@pytest.mark.parametrize(
    ("images", "form", "said"),
    [
        (["a.png"], ["--format", "hdf5"], "--dataset NAME"),
        (["a.png"], ["--dataset", "AnomalyTrack-all"], "--format hdf5"),
        (["a.png"], ["--format", "hdf5", "--dataset", "../up"], "--dataset cannot be"),
        (["1/a.png", "2/a.png"], ["--format", "hdf5", "--dataset", "AnomalyTrack-all"], "another name"),
    ],
)
def test_predict_refuses_what_the_other_evaluator_would_not_find(bench, finished, tmp_path, images, form, said):
    paths = [str(tmp_path / image) for image in images]
    assert_sentence(bench("predict", GMMSEG, *paths, *form, "--out", str(tmp_path / "out"), results=finished), said)
    assert not (tmp_path / "out").exists()


def test_predict_writes_label_images_as_the_server_with_the_hidden_labels_takes_them(
    bench, finished, tmp_path, monkeypatch
):
    mini = registry.datasets.get("toyscapes_mini")
    monkeypatch.setattr(mini, "raw_ids", {3 * i: i for i in range(len(mini.classes))})
    monkeypatch.setattr(mini, "submission", Submission("{folder}/{name}_ids.png", palette=True))
    (tmp_path / "town").mkdir()
    image = save_street(tmp_path / "town" / "a_leftImg8bit.png")
    out = tmp_path / "out"
    form = ("--format", "server", "--dataset", "toyscapes_mini", "--out", str(out))
    outcome = bench("predict", GMMSEG, str(image), *form, results=finished)
    assert outcome.exit_code == 0, outcome.output
    assert outcome.stdout.split() == [str(out / "town" / "a_ids.png")]
    assert bench("predict", GMMSEG, str(image), "--out", str(out), results=finished).exit_code == 0
    with Image.open(out / "town" / "a_ids.png") as submitted, Image.open(out / "a_leftImg8bit_classes.png") as classes:
        np.testing.assert_array_equal(np.asarray(submitted), 3 * np.asarray(classes))
        assert submitted.mode == "P"
        assert tuple(submitted.getpalette()[9:12]) == mini.classes.colours[1]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (["--format", "server"], "--dataset NAME"),
        (["--format", "server", "--dataset", "camvid"], "no server that takes label images"),
        (["--format", "server", "--dataset", "ade20k"], "no class map leads from toyscapes_mini to ade20k"),
        (["--format", "server", "--dataset", "cityscapse"], "cityscapes"),
    ],
)
def test_predict_refuses_servers_that_would_not_take_it(bench, finished, tmp_path, form, said):
    assert_sentence(bench("predict", GMMSEG, "a.png", *form, "--out", str(tmp_path / "out"), results=finished), said)
    assert not (tmp_path / "out").exists()


def test_hdf5_files_without_h5py_are_one_sentence(bench, finished, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    form = ("--format", "hdf5", "--dataset", "AnomalyTrack-all", "--out", str(tmp_path))
    assert_sentence(bench("predict", GMMSEG, "a.png", *form, results=finished), "genseg-bench[hdf5]")


def test_pictures_show_every_target(bench, finished, tmp_path):
    outcome = bench("pictures", str(finished), "--out", str(tmp_path), "--count", "1")
    assert outcome.exit_code == 0, outcome.output
    names = {p.name for p in tmp_path.rglob("*.png")}
    assert {"toyscapes_mini-test.png", "toyscapes_mini-anomaly.png", "toyscapes_mini-night.png"} <= names


@pytest.mark.parametrize(
    "command", [("leaderboard",), ("pictures", "--count", "1"), ("curve", "--x", "recipe.steps")], ids=lambda c: c[0]
)
def test_results_are_an_argument_or_an_option_but_not_two_folders(bench, command, tmp_path):
    nowhere, elsewhere = str(tmp_path / "nowhere"), str(tmp_path / "elsewhere")
    by_argument, by_option = bench(*command, nowhere), bench(*command, "--results", nowhere)
    assert_sentence(by_option, "no")
    assert by_option.stderr == by_argument.stderr
    assert bench(*command, nowhere, "--results", nowhere).stderr == by_argument.stderr
    otherwise = str(tmp_path / "elsewhere" / ".." / "nowhere")
    assert bench(*command, nowhere, "--results", otherwise).stderr == by_argument.stderr
    assert_sentence(bench(*command, nowhere, "--results", elsewhere), "nowhere", "elsewhere", "give one of them")


def test_results_given_as_an_option_are_read(bench, finished, tmp_path):
    outcome = bench("leaderboard", "--results", str(finished), "--format", "csv", "--out", str(tmp_path))
    assert outcome.exit_code == 0, outcome.output
    assert "gmmseg" in (tmp_path / "leaderboard.csv").read_text()


def test_the_page_has_the_overview_each_protocol_and_how_the_runs_were_made(bench, finished, tmp_path):
    outcome = bench("leaderboard", str(finished), "--format", "html", "--out", str(tmp_path))
    assert outcome.exit_code == 0, outcome.output
    views = re.findall(r'<section class="view" id="view-([a-z-]+)"', (tmp_path / "report.html").read_text())
    assert {"overview", "closed-set", "anomaly", "runs"} <= {*views}
    assert views[0] == "overview"


def test_the_page_shows_what_pictures_drew_with_the_score_that_tables_rank_by(bench, results, tmp_path):
    made = bench("pictures", str(results), "--count", "3")
    assert made.exit_code == 0, made.output
    assert bench("leaderboard", str(results), "--format", "html", "--out", str(tmp_path)).exit_code == 0
    text = (tmp_path / "report.html").read_text()
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text)
    assert {"image", "truth"} < {*captions}
    for start in ("softmax: mIoU", "gmmseg: mIoU", "softmax, msp: AP", "gmmseg, gmm_nll: AP"):
        assert [caption for caption in captions if caption.startswith(start)], start
    headings = re.findall(r"<h4>(worst|median|best): ", text)
    assert headings[:3] == ["worst", "median", "best"]
    mious = [float(m) for m in re.findall(r"<figcaption>(?:softmax|gmmseg): mIoU ([\d.]+)", text)[:6]]
    means = [sum(mious[i : i + 2]) for i in (0, 2, 4)]
    assert means == sorted(means)


def renamed(results: Path, method: str, name: str) -> None:
    """Let the finished run of ``method`` be one of a plugin that is not passed."""
    for path in (results / "records").glob(f"*-{method}-*.json"):
        record = json.loads(path.read_text())
        record["config"]["method_name"] = name
        path.write_text(json.dumps(record))


def test_pictures_skip_the_run_of_an_unknown_plugin_and_draw_the_others(bench, results, tmp_path):
    renamed(results, "gmmseg", "proto")
    outcome = bench("pictures", str(results), "--out", str(tmp_path / "out"), "--count", "1")
    assert outcome.exit_code == 0, outcome.output
    assert "toyscapes_mini-test.png" in {p.name for p in (tmp_path / "out").rglob("*.png")}
    (line,) = [line for line in outcome.stderr.splitlines() if "proto" in line]
    assert line.startswith("skipped: ")
    assert "--plugin" in line
    renamed(results, "softmax", "proto")
    assert_sentence(bench("pictures", str(results), "--out", str(tmp_path / "out")), "proto", "--plugin")


@pytest.mark.parametrize("command", ["evaluate", "predict", "sample"])
def test_a_forgotten_plugin_is_named_as_the_remedy(bench, results, tmp_path, command):
    renamed(results, "gmmseg", "proto")
    (run,) = [r["run_id"] for r in records(results) if r["config"]["method_name"] == "proto"]
    image = tmp_path / "image.png"
    Image.new("RGB", (64, 64)).save(image)
    more = {"predict": [str(image), "--out", "out"], "sample": ["--image", str(image), "--out", "out"]}
    assert_sentence(bench(command, run, *more.get(command, [])), "unknown method 'proto'", "--plugin FILE")


@pytest.mark.parametrize("kind", ["methods", "datasets", "protocols", "recipes", "architectures"])
def test_list_names_what_there_is(bench, kind):
    rows = json.loads(bench("list", kind, "--json").stdout)
    assert rows
    assert all(row["name"] for row in rows)
    text = bench("list", kind).stdout
    assert all(row["name"] in text for row in rows)


def test_show_documents_every_field(bench):
    text = bench("show", "gmmseg").stdout
    from methods.gmmseg import GMMSeg

    for field in GMMSeg.Config.model_fields:
        assert f"method.{field}:" in text
    for name in ("camvid", "closed-set", "quick", "standard"):
        assert name in bench("show", name).stdout
    assert_sentence(bench("show", "camvit"), "camvid")


def test_show_says_what_differs_between_a_paper_and_its_recipe(bench):
    papers = [name for name in config.recipe_names() if name.startswith("paper-")]
    for name in papers:
        beginning, _, keys = bench("show", name).stdout.partition("As it stands")
        assert "What differs: " in " ".join(beginning.split()), name
        assert "What differs: " in json.loads(bench("show", name, "--json").stdout)["documentation"]
        assert keys
    assert papers
    assert "the library's, which has no dropout (0.1 there)" in " ".join(bench("show", papers[2]).stdout.split())


def test_show_names_the_abilities_of_a_method(bench):
    text = bench("show", "segsort").stdout
    assert "Explains: Predicts by retrieving segments of its training images" in text
    assert "LearnsWithoutLabels: " in text
    assert "Ability" not in text
    assert "NotTrained" not in bench("show", "softmax").stdout


def test_show_tells_what_a_run_found(bench, tmp_path):
    made = config.build(registry.methods.get("softmax"), "toyscapes_mini", "quick", 0)
    scores = Scores(
        dataset=DatasetInfo(name="toyscapes_mini", split="test", images=3, fingerprint="f"),
        metrics={"miou": 0.5, "empty": None, "positives": 14.0},
        decomposition={"miou": {"codec_bound": 0.875}},
        by_reading={"auxiliary": {"miou": 0.4375}},
        per_class={"iou": {"road": 0.625, "sky": None}},
    )
    record = Record(
        run_id=made.run_id(),
        fingerprint=made.fingerprint(),
        status="complete",
        created="2020-01-01",
        config=made,
        configuration="softmax",
        method_facts={"codec_miou": 0.75},
        protocols={"closed-set": ProtocolResult(version="1", headline="test", targets={"test": scores})},
        environment=Environment(commit="0123456789", hardware="a machine", threads=1),
        training=Training(steps=1500, seconds=90.0, images_per_second=1.0, parameters=2_500_000, peak_memory_mb=1.0),
    )
    store = Store(tmp_path)
    store.require_writable()
    store.write(record)
    text = bench("show", record.run_id[:25], "--results", str(tmp_path)).stdout
    pieces = (
        "codec_miou = 0.75",
        "miou 0.5000  empty n/a  positives 14",
        "miou              codec_bound 0.8750",
        "reading auxiliary ",
        "2020-01-01, commit 0123456789, a machine, 1 thread",
        "1,500 steps in 1.5 min, 2.50 M parameters",
        "bench run --method softmax --dataset toyscapes_mini --recipe quick --seed 0",
        "road                0.6250    sky                    n/a",
    )
    for piece in (record.run_id, *pieces):
        assert piece in text

    counts = {
        "closed-set/test/confusion": np.ones((3, 2, 2), np.int64),
        "closed-set/test/ids": np.array(["a", "b", "c"]),
    }
    record.statistics_hash = store.write_statistics(record.run_id, counts)
    store.write(record)
    shown = bench("show", record.run_id, "--results", str(tmp_path))
    assert "miou 0.5000" in shown.stdout
    assert "is not to be believed (its mIoU of closed-set/test is 0.5000" in " ".join(shown.stderr.split())


def test_new_data_set_is_written_checked_and_trained_on(bench, tmp_path):
    assert bench("new", "dataset", "my_town", "--out", str(tmp_path)).exit_code == 0
    plugin = ("--plugin", str(tmp_path / "my_town.py"), "--data-root", str(tmp_path))
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for i in range(count):
            for kind, array in (
                ("images", rng.integers(0, 255, (64, 64, 3), np.uint8)),
                ("labels", rng.integers(0, 5, (64, 64), np.uint8)),
            ):
                path = tmp_path / "my_town" / kind / split / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    checked = bench("check", "my_town", *plugin)
    assert checked.exit_code == 0, checked.output
    assert "FAIL" not in checked.stdout
    small = ("--set", "recipe.steps=1", "--set", "recipe.batch_size=2", "--set", "recipe.augmentation.crop=[32, 32]")
    outcome = bench("run", "--method", "softmax", "--dataset", "my_town", *small, "--encoder-weights", "none", *plugin)
    assert outcome.exit_code == 0, outcome.output
    assert_sentence(bench("new", "dataset", "camvid", "--out", str(tmp_path)), "already")
    assert_sentence(bench("new", "dataset", "my-town", "--out", str(tmp_path)), "lower-case")


def test_new_method_is_written_checked_and_run(bench, tmp_path):
    outcome = bench("new", "method", "my_idea", "--out", str(tmp_path))
    assert outcome.exit_code == 0
    plugin = ("--plugin", str(tmp_path / "my_idea.py"))
    checked = bench("check", "my_idea", *plugin)
    assert checked.exit_code == 0, checked.output
    assert "FAIL" not in checked.stdout
    assert bench("run", "--method", "my_idea", *QUICK, *plugin, "--protocol", "closed-set").exit_code == 0
    assert_sentence(bench("new", "method", "my_idea", "--out", str(tmp_path)), "exists already")
    assert_sentence(bench("new", "method", "Bad-Name", "--out", str(tmp_path)), "lower-case")
    assert_sentence(bench("new", "method", "softmax", "--out", str(tmp_path)), "softmax")


def test_check_fails_a_method_that_breaks_the_contract(bench, tmp_path):
    plugin = tmp_path / "broken.py"
    plugin.write_text(
        "from methods.base import Losses\nfrom methods.softmax import Softmax\n"
        "class Broken(Softmax):\n"
        "    name = 'broken_one'\n"
        "    def losses(self, batch):\n"
        "        return Losses({'loss': super().losses(batch).terms['cross_entropy'].detach()})\n"
    )
    outcome = bench("check", "broken_one", "--plugin", str(plugin))
    assert outcome.exit_code == 1
    assert "FAIL  gradients reach the network" in outcome.stdout
    assert "n/a   explanations name their evidence: it does not explain itself" in outcome.stdout


def test_check_takes_settings_of_the_method(bench):
    assert_sentence(bench("check", "majority", "--set", "method.smoothing=2"), "method.smoothing")
    assert_sentence(bench("check", "majority", "--set", "recipe.steps=2"), "recipe.steps", "method.KEY=VALUE")
    outcome = bench("check", "majority", "--set", "method.smoothing=0.5")
    assert outcome.exit_code == 0, outcome.output
    assert "n/a   training lowers the loss: it takes no gradient step" in outcome.stdout


MISTAKES = {
    "unknown method": (("run", "--method", "gmseg", *QUICK), ["gmseg", "gmmseg", "--plugin"]),
    "unknown data set": (("run", "--method", "softmax", "--dataset", "camvit"), ["camvit", "camvid", "--plugin"]),
    "nothing to show": (("show", "gmseg"), ["gmseg", "gmmseg", "--plugin"]),
    "unknown protocol": (
        ("run", "--method", "softmax", *QUICK, "--protocol", "closedset"),
        ["closedset", "closed-set"],
    ),
    "unknown protocol of a grid": (
        ("run", "--method", "softmax", "--method", "majority", *QUICK, "--protocol", "closedset"),
        ["closedset", "closed-set"],
    ),
    "unknown protocol of an evaluation": (("evaluate", "any", "--protocol", "closedset"), ["closedset", "closed-set"]),
    "learning rate that is not finite": (
        ("run", "--method", "softmax", *QUICK, "--set", "recipe.optimiser.lr=inf"),
        ["recipe.optimiser.lr", "finite"],
    ),
    "reading of published labels that are not there": (
        ("run", "--method", "softmax", *QUICK, "--supervision", "points", "--set", "data.void_is_unlabelled=true"),
        ["data.void_is_unlabelled", "derived"],
    ),
    "unknown recipe": (("run", "--method", "softmax", *QUICK, "--recipe", "quik"), ["quik", "quick"]),
    "unknown architecture": (("run", "--method", "softmax", *QUICK, "--architecture", "fpm"), ["fpm", "fpn"]),
    "unknown supervision": (("run", "--method", "softmax", *QUICK, "--supervision", "pionts"), ["pionts"]),
    "unknown key": (("run", "--method", "softmax", *QUICK, "--set", "recipe.step=1"), ["recipe.step", "recipe.steps"]),
    "no label to learn from": (
        ("run", "--method", "softmax", *QUICK, "--supervision", "none"),
        ["softmax", "no label"],
    ),
    "ill-typed value": (("run", "--method", "softmax", *QUICK, "--set", "recipe.steps=few"), ["recipe.steps", "few"]),
    "weights not there": (("run", "--method", "softmax", *QUICK, "--encoder-weights", "no.pth"), ["no.pth"]),
    "no such run": (("evaluate", "nothing"), ["nothing"]),
    "plugin not there": (("list", "methods", "--plugin", "no.py"), ["no.py"]),
    "no records": (("leaderboard", "nowhere"), ["nowhere"]),
    "claims without a page": (("leaderboard", "--claims", "claims.toml"), ["--format html"]),
    "config not there": (("run", "--method", "softmax", *QUICK, "--config", "no.toml"), ["no.toml"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_one_sentence_with_exit_code_2(bench, tmp_path, name):
    arguments, words = MISTAKES[name]
    outcome = bench(*arguments)
    assert_sentence(outcome, *words)
    assert "failed" not in outcome.stderr
    assert not list(tmp_path.glob("results/records/*"))


@pytest.mark.parametrize("content", [None, "folder", "empty set"])
def test_missing_data_is_one_sentence(bench, tmp_path, content):
    root = tmp_path / "data"
    if content:
        root.mkdir()
    if content == "empty set":
        (root / "camvid").mkdir()
    outcome = bench("run", "--method", "softmax", "--dataset", "camvid", "--data-root", str(root))
    assert_sentence(outcome, "camvid", "--data-root", "BENCH_DATA")
    assert not (tmp_path / "results" / "records").exists() or not records(tmp_path / "results")


def camvid(root: Path, names=("0001TP_a", "Seq05VD_b")) -> Path:
    for split in ("train", "val", "test"):
        for kind in (split, f"{split}annot"):
            (root / "camvid" / kind).mkdir(parents=True)
        for i, name in enumerate(names):
            rng = np.random.default_rng(i)
            Image.fromarray(rng.integers(0, 255, (40, 64, 3), np.uint8)).save(root / "camvid" / split / f"{name}.png")
            labels = rng.integers(0, 12, (40, 64), np.uint8)
            Image.fromarray(labels).save(root / "camvid" / f"{split}annot" / f"{name}.png")
    return root


DAMAGES = {
    "half a split": (lambda d: None, ["367", "2"]),
    "image without label": (lambda d: (d / "trainannot/0001TP_a.png").unlink(), ["0001TP_a", "label"]),
    "label of another size": (
        lambda d: Image.fromarray(np.zeros((8, 8), np.uint8)).save(d / "trainannot/0001TP_a.png"), ["0001TP_a", "8x8"]
    ),
    "truncated image": (
        lambda d: (d / "train/0001TP_a.png").write_bytes((d / "train/0001TP_a.png").read_bytes()[:-40]), ["0001TP_a"]
    ),
    "unknown label id": (
        lambda d: Image.fromarray(np.full((40, 64), 77, np.uint8)).save(d / "trainannot/0001TP_a.png"),
        ["0001TP_a", "77"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_data_is_one_sentence(bench, tmp_path, name):
    damage, words = DAMAGES[name]
    root = camvid(tmp_path / "data")
    damage(root / "camvid")
    arguments = ["run", "--method", "softmax", "--dataset", "camvid", "--encoder", "resnet18", "--data-root", str(root)]
    arguments += [
        "--set",
        "recipe.steps=2",
        "--set",
        "recipe.batch_size=2",
        "--set",
        "recipe.augmentation.crop=[32, 32]",
    ]
    if name != "half a split":
        arguments += ["--set", "data.allow_partial=true"]
    assert_sentence(bench(*arguments), *words)


def test_results_folder_that_cannot_be_written(bench, tmp_path):
    (tmp_path / "file").write_text("")
    outcome = bench("run", "--method", "softmax", *QUICK, results=tmp_path / "file" / "below")
    assert_sentence(outcome, "cannot be written", "--results")


def test_damaged_record_stops_the_leaderboard_and_the_run(bench, results):
    path = next((results / "records").glob("*softmax*.json"))
    path.write_text(path.read_text()[:100])
    assert_sentence(bench("leaderboard", str(results)), path.name, "damaged")
    assert_sentence(bench("run", "--method", "softmax", *QUICK), path.name, "damaged")


def test_damaged_checkpoint_is_one_sentence_and_force_helps(bench, results):
    record = next(r for r in records(results) if r["config"]["method_name"] == "softmax")
    (results / "runs" / record["run_id"] / "model.safetensors").write_bytes(b"junk")
    assert_sentence(bench("evaluate", record["run_id"]), "model.safetensors", "--force")
    assert bench("run", "--method", "softmax", *QUICK, "--protocol", "closed-set", "--force").exit_code == 0


def test_two_runs_at_once_into_one_folder(bench, results):
    record = next(r for r in records(results) if r["config"]["method_name"] == "softmax")
    with claimed(results / "runs" / record["run_id"], "it"):
        outcome = bench("run", "--method", "softmax", *QUICK, "--force")
    assert_sentence(outcome, "another process")
    assert len(records(results)) == 2


def test_cuda_without_cuda(data_root, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    arguments = ["run", "--method", "softmax", *QUICK, "--device", "cuda", "--data-root", str(data_root)]
    assert_sentence(call(*arguments, "--results", str(tmp_path)), "CUDA")


def test_full_disk_is_one_sentence_and_keeps_what_there_is(bench, results, monkeypatch):
    import errno

    from bench.records import store as module

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", "somewhere")

    before = sorted(p.name for p in (results / "records").iterdir())
    monkeypatch.setattr(module.np, "savez_compressed", full)
    outcome = bench("run", "--method", "softmax", *QUICK, "--seed", "5", "--protocol", "closed-set")
    assert_sentence(outcome, "no space is left")
    assert sorted(p.name for p in (results / "records").iterdir()) == before


@pytest.mark.parametrize("wrapped", [False, True])
def test_full_disk_ends_a_grid(bench, tmp_path, monkeypatch, wrapped):
    import errno

    from bench.training import loop as training
    from datasets.base import DataError

    def full(*_):
        error = OSError(errno.ENOSPC, "No space left on device", "somewhere")
        if wrapped:
            raise DataError("labels cannot be written (No space left on device); free space there") from error
        raise error

    monkeypatch.setattr(training, "save_model", full)
    grid = ("run", "--method", "majority", "--method", "softmax", *QUICK, "--protocol", "closed-set")
    outcome = bench(*grid)
    assert_sentence(outcome, "free")
    assert not records(tmp_path / "results")
    assert "softmax" not in outcome.stderr


def test_summary_names_every_run_in_full_however_narrow_the_terminal(bench, finished, monkeypatch):
    from bench.common.console import console

    monkeypatch.setattr(console, "width", 70)
    outcome = bench("run", "--method", "softmax", "--method", "gmmseg", *QUICK, results=finished)
    summary = outcome.stderr[outcome.stderr.index("┏") :]
    *_, first = outcome.stderr[: outcome.stderr.index("┏")].splitlines()
    ids = [record["run_id"] for record in records(finished)]
    assert {first, *(line for line in summary.splitlines() if line.startswith("toyscapes_mini-"))} == set(ids)
    assert "toyscapes_mini/anomaly" in summary
    assert "…" not in summary


def test_summary_says_in_few_words_what_was_skipped(bench, tmp_path):
    root = camvid(tmp_path / "data")
    arguments = ["run", "--method", "majority", "--dataset", "camvid", "--encoder", "resnet18"]
    outcome = bench(*arguments, "--data-root", str(root), "--set", "data.allow_partial=true")
    assert outcome.exit_code == 0, outcome.output
    table = outcome.stderr[outcome.stderr.index("┏") :]
    assert "idd_lite" in table
    assert "skipped" in table
    assert "absent" in table
    assert "no image of split" not in table
    assert "fishyscapes_lost_and_found" in table
    assert "idd_lite: no image of split" in outcome.stderr


class TestSupervision:
    """``--supervision`` from the command line to the labels that training sees."""

    RUN = ("run", "--method", "majority", *QUICK, "--protocol", "closed-set")

    @pytest.fixture
    def seen(self, monkeypatch):
        """The data sets on which runs are trained, in their order."""
        from bench.training import loop as training

        found, train = [], training.train

        def recording(method_class, run_config, dataset, *arguments, **options):
            found.append(dataset)
            return train(method_class, run_config, dataset, *arguments, **options)

        monkeypatch.setattr(training, "train", recording)
        return found

    @pytest.mark.parametrize(("kind", "largest"), [("points", 0.02), ("scribbles", 0.2), ("clicks-3", 0.001)])
    def test_the_record_says_which_labels_and_each_seed_has_its_own(self, bench, tmp_path, seen, kind, largest):
        outcome = bench(*self.RUN, "--supervision", kind, "--seed", "0", "--seed", "1")
        assert outcome.exit_code == 0, outcome.output
        for record in records(tmp_path / "results"):
            supervision = record["supervision"]
            assert record["config"]["data"]["supervision"] == supervision["kind"] == kind
            assert supervision["source"] == f"derived: {kind.partition('-')[0]}@1"
            assert 0 < supervision["labelled_fraction"] < largest
        maps = [[dataset.label(i).numpy() for i in range(len(dataset))] for dataset in seen]
        assert len(maps) == 2
        assert any((one != other).any() for one, other in zip(*maps, strict=True))
        classes = len(seen[0].classes)
        labelled = sum((m < classes).sum() for m in maps[0]) / sum((m < 255).sum() for m in maps[0])
        fractions = [r["supervision"]["labelled_fraction"] for r in records(tmp_path / "results")]
        assert fractions[0] == pytest.approx(labelled)

    @pytest.mark.parametrize("void_is_unlabelled", [False, True])
    def test_how_published_void_is_read_reaches_the_labels(
        self, bench, data_root, tmp_path, seen, monkeypatch, void_is_unlabelled
    ):
        from datasets.supervision import official
        from datasets.toyscapes_mini import ToyscapesMini

        monkeypatch.setitem(official.PLACES, "toyscapes_mini", {"points": ("points/{}.png",)})
        for item in ToyscapesMini(data_root, "train").items:
            label = np.full((64, 128), 255, np.uint8)
            label[3, 4] = 0
            if not void_is_unlabelled:
                label[20:] = len(ToyscapesMini.classes)  # what is unlabelled, or else the set is refused
            path = tmp_path / "data" / "toyscapes_mini" / "points" / f"{item.id}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(label).save(path)
        shutil.copytree(data_root / "toyscapes_mini", tmp_path / "data" / "toyscapes_mini", dirs_exist_ok=True)
        arguments = [*self.RUN, "--supervision", "points", "--data-root", str(tmp_path / "data")]
        if void_is_unlabelled:
            arguments += ["--set", "data.void_is_unlabelled=true"]
        outcome = bench(*arguments)
        assert outcome.exit_code == 0, outcome.output
        supervision = records(tmp_path / "results")[0]["supervision"]
        assert ("255 read as unlabelled" in supervision["source"]) == void_is_unlabelled
        (dataset,) = seen
        assert (int(dataset.label(0)[10, 10]) == 254) == void_is_unlabelled
        assert int(dataset.label(0)[3, 4]) == 0


def test_segsort_learns_without_labels_and_builds_its_bank_with_them(bench, tmp_path):
    arguments = ("run", "--method", "segsort", *QUICK, "--protocol", "closed-set", "--supervision", "none")
    outcome = bench(*arguments)
    assert outcome.exit_code == 0, outcome.output
    (record,) = records(tmp_path / "results")
    assert record["config"]["method"]["variant"] == "unsupervised"
    seen = record["supervision"]
    assert (seen["kind"], seen["labelled_fraction"], seen["after_training"]) == ("none", 0.0, "dense")
    assert seen["without_labels"] == {"variant": "unsupervised"}


def test_a_sweep_continues_and_leaves_its_curve(bench, tmp_path):
    arguments = ("run", "--method", "softmax", *QUICK, "--protocol", "closed-set")
    assert bench(*arguments, "--set", "recipe.optimiser.lr=0.001").exit_code == 0
    outcome = bench(*arguments, "--set", "recipe.optimiser.lr=0.001,0.1")
    assert outcome.exit_code == 0, outcome.output
    assert outcome.stderr.count("finished already") == 1
    assert {r["config"]["recipe"]["optimiser"]["lr"] for r in records(tmp_path / "results")} == {0.001, 0.1}
    picture = tmp_path / "results" / "curves" / "recipe.optimiser.lr-miou.png"
    assert str(picture) in outcome.stdout
    assert picture.stat().st_size > 5000
    assert len(picture.with_suffix(".csv").read_text().splitlines()) == 3
    curve = ("curve", str(tmp_path / "results"), "--x")
    again = bench(*curve, "recipe.optimiser.lr", "--out", str(tmp_path / "again.svg"))
    assert again.exit_code == 0, again.output
    assert (tmp_path / "again.csv").read_text() == picture.with_suffix(".csv").read_text()
    assert_sentence(bench(*curve, "recipe.steps"), "nothing to draw", "recipe.steps")


def test_a_sweep_with_one_wrong_value_starts_no_run(bench, tmp_path):
    outcome = bench("run", "--method", "softmax", *QUICK, "--set", "recipe.batch_size=2,0")
    assert_sentence(outcome, "recipe.batch_size")
    assert not (tmp_path / "results").exists()
