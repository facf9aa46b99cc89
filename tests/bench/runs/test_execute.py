"""What a run keeps when it is scored again, continued, repeated or refused."""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from bench.common.files import file_digest
from bench.records.store import Store, read_so_far
from datasets.base import MissingData, Target
from datasets.supervision import official
from datasets.toyscapes_mini import ToyscapesMini

RUN = ("run", "--method", "majority", "--dataset", "toyscapes_mini", "--encoder", "resnet18")


@pytest.fixture(scope="module")
def finished(finish):
    """A results folder with a run of majority under all protocols."""
    return finish(*RUN)


@pytest.fixture
def absent(monkeypatch):
    """``absent("fog")``: from now on that split of toyscapes_mini is not there."""
    gone: set[str] = set()
    provide = ToyscapesMini.provide

    def provide_or_not(self):
        if self.split in gone:
            raise MissingData(f"toyscapes_mini: no image of split {self.split!r} was found because it is gone")
        provide(self)

    monkeypatch.setattr(ToyscapesMini, "provide", provide_or_not)
    return gone.update


def record(results) -> dict:
    (path,) = (results / "records").glob("*.json")
    return json.loads(path.read_text())


def arrays(results) -> dict:
    (path,) = (results / "records").glob("*.npz")
    with np.load(path) as file:
        return {key: file[key] for key in file.files}


def run_folder(results):
    return results / "runs" / record(results)["run_id"]


def state(results) -> dict:
    """Every file of the results, by content."""
    files = (p for p in results.rglob("*") if p.is_file() and p.name != ".lock")
    return {str(p.relative_to(results)): p.read_bytes() for p in files}


def without_seconds(found: dict) -> dict:
    return {name: {k: v for k, v in result.items() if k != "seconds"} for name, result in found["protocols"].items()}


def assert_refused(outcome, *words):
    assert outcome.exit_code == 2, outcome.output
    message = outcome.stderr.strip().splitlines()[-1]
    assert message.startswith("error: ")
    for word in words:
        assert word in message, message


class TestScoringAgain:
    """``bench evaluate``, and ``bench run`` of a run that has scores."""

    def test_the_other_protocols_keep_scores_and_arrays(self, bench, results):
        before, kept = record(results), arrays(results)
        assert bench("evaluate", before["run_id"], "--protocol", "closed-set").exit_code == 0
        assert without_seconds(record(results)) == without_seconds(before)
        assert arrays(results).keys() == kept.keys()
        assert all(np.array_equal(array, kept[key]) for key, array in arrays(results).items())

    def test_scores_of_data_that_is_absent_now_are_kept(self, bench, results, absent):
        before = record(results)
        absent(["fog", "anomaly"])
        outcome = bench("evaluate", before["run_id"])
        assert outcome.exit_code == 0, outcome.output
        assert "skipped protocol anomaly" in outcome.stderr
        assert without_seconds(record(results)) == without_seconds(before)
        assert "anomaly/toyscapes_mini/anomaly/ids" in arrays(results)

    def test_training_data_is_not_needed(self, bench, results, absent):
        before = record(results)
        absent(["train"])
        outcome = bench("evaluate", before["run_id"])
        assert outcome.exit_code == 0, outcome.output
        assert without_seconds(record(results)) == without_seconds(before)
        assert_refused(bench(*RUN, "--force"), "train")

    def test_no_labels_are_derived(self, bench, tmp_path):
        assert bench(*RUN, "--supervision", "points", "--protocol", "closed-set").exit_code == 0
        cache = tmp_path / "results" / "runs" / "cache"
        assert [*cache.rglob("*points*")]
        shutil.rmtree(cache)
        assert bench("evaluate", record(tmp_path / "results")["run_id"]).exit_code == 0
        assert not [*cache.rglob("*points*")]

    def test_renewed_closed_set_scores_reach_the_other_protocols(self, bench, results, own_data):
        before = record(results)
        replace(files(own_data, "test", "labels")[0], 1)
        outcome = bench("evaluate", before["run_id"], "--data-root", str(own_data), "--protocol", "closed-set")
        assert outcome.exit_code == 0, outcome.output
        now = record(results)["protocols"]
        miou = now["closed-set"]["summary"]["miou"]
        assert miou != before["protocols"]["closed-set"]["summary"]["miou"]
        assert now["anomaly"]["summary"]["closed_set_miou"] == miou
        assert f"bench evaluate {before['run_id']} --protocol cross-domain" in outcome.stderr

    def test_a_new_target_is_scored_though_as_many_are_known(self, bench, tmp_path, monkeypatch, absent):
        targets = [Target("toyscapes_mini", domain) for domain in ("night", "fog")]
        monkeypatch.setattr(ToyscapesMini, "cross_domain", targets)
        absent(["anomaly"])
        results = tmp_path / "results"
        monkeypatch.setattr(ToyscapesMini, "cross_domain", targets[:1])
        assert bench(*RUN).exit_code == 0
        monkeypatch.setattr(ToyscapesMini, "cross_domain", targets[1:])
        outcome = bench(*RUN)
        assert outcome.exit_code == 0
        assert "finished already" not in outcome.stderr
        monkeypatch.setattr(ToyscapesMini, "cross_domain", targets)
        assert "finished already" in bench(*RUN).stderr
        found = record(results)["protocols"]["cross-domain"]
        assert {*found["targets"]} == {"toyscapes_mini/night", "toyscapes_mini/fog"}
        assert bench("evaluate", record(results)["run_id"], "--protocol", "cross-domain").exit_code == 0
        again = record(results)["protocols"]["cross-domain"]
        assert found["targets"] == again["targets"]
        assert found["summary"] == pytest.approx(again["summary"])


class TestMistakes:
    """What is refused leaves the run as it was."""

    def test_a_results_folder_that_cannot_be_written(self, bench, results, monkeypatch):
        before = state(results)
        denied = PermissionError(errno.EACCES, "Permission denied")
        monkeypatch.setattr(tempfile, "TemporaryFile", Mock(side_effect=denied))
        assert_refused(bench("evaluate", record(results)["run_id"]), "cannot be written", "--results")
        assert state(results) == before

    def test_unknown_protocol_or_data_that_is_not_there_with_force(self, bench, results, absent):
        before = state(results)
        assert_refused(bench(*RUN, "--force", "--protocol", "clsed-set"), "closed-set")
        assert_refused(bench("evaluate", record(results)["run_id"], "--protocol", "clsed-set"), "closed-set")
        absent(["train"])
        assert_refused(bench(*RUN, "--force"), "train")
        absent(["anomaly"])
        assert_refused(bench(*RUN, "--force", "--protocol", "anomaly"), "anomaly")
        assert state(results) == before


@pytest.fixture
def own_data(finished, data_root, tmp_path):
    """A copy of toyscapes_mini that a test may change."""
    shutil.copytree(data_root / "toyscapes_mini", tmp_path / "data" / "toyscapes_mini")
    return tmp_path / "data"


def files(root, split, kind) -> list:
    return sorted(root.glob(f"toyscapes_mini/*/{split}/{kind}/*.png"))


def replace(path, value) -> None:
    """Other pixels, and the manifest told so, or the file would be rendered again."""
    with Image.open(path) as image:
        other = Image.new(image.mode, image.size, value)
    other.save(path)
    manifest = path.parents[1] / "complete.json"
    content = json.loads(manifest.read_text())
    content["sha256"][f"{path.parent.name}/{path.name}"] = file_digest(path)
    manifest.write_text(json.dumps(content))


def publish_points(root, monkeypatch, value=None) -> None:
    """Publish point labels of toyscapes_mini in which one pixel of each image is labelled, or all that are given."""
    monkeypatch.setitem(official.PLACES, "toyscapes_mini", {"points": ("points/{}.png",)})
    for path in files(root, "train", "labels"):
        label = np.full((64, 128), len(ToyscapesMini.classes), np.uint8)
        label[5, 5] = 0 if value is None else value
        target = root / "toyscapes_mini" / "points" / "train" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(label).save(target)


class TestOtherData:
    """A run is of its data: other data is refused in one sentence, and the run stays as it was."""

    @pytest.mark.parametrize("kind", ["images", "labels"])
    def test_changed_training_data_is_refused(self, bench, results, own_data, kind):
        before = state(results)
        where = ("--data-root", str(own_data))
        assert "finished already" in bench(*RUN, *where).stderr
        replace(files(own_data, "train", kind)[3], 3)
        assert_refused(bench(*RUN, *where), "trained on other data", "--force", "restore")
        assert_refused(bench("evaluate", record(results)["run_id"], *where), "trained on other data", "--force")
        assert state(results) == before
        assert bench(*RUN, *where, "--force", "--protocol", "closed-set").exit_code == 0

    def test_changed_test_data_is_refused_until_it_is_scored_again(self, bench, results, own_data):
        where = ("--data-root", str(own_data), "--protocol", "closed-set")
        replace(files(own_data, "val", "labels")[0], 1)
        assert_refused(bench(*RUN, *where), "toyscapes_mini/val", "bench evaluate")
        before = record(results)["protocols"]["closed-set"]["targets"]
        assert bench("evaluate", record(results)["run_id"], *where).exit_code == 0
        after = record(results)["protocols"]["closed-set"]["targets"]
        assert after["test"] == before["test"]
        assert after["val"]["metrics"] != before["val"]["metrics"]
        assert "finished already" in bench(*RUN, *where).stderr

    def test_labels_published_or_replaced_after_training_are_refused(self, bench, tmp_path, own_data, monkeypatch):
        points = (*RUN, "--supervision", "points", "--protocol", "closed-set", "--data-root", str(own_data))
        assert bench(*points).exit_code == 0
        publish_points(own_data, monkeypatch)
        assert_refused(bench(*points), "derived: points@", "official", "--force")
        assert bench(*points, "--force").exit_code == 0
        assert record(tmp_path / "results")["supervision"]["source"] == "official: toyscapes_mini/points"
        assert "finished already" in bench(*points).stderr
        publish_points(own_data, monkeypatch, value=1)
        assert_refused(bench(*points), "other image or label files", "--force")

    def test_a_record_of_before_there_was_a_hash_is_accepted(self, bench, results):
        (path,) = (results / "records").glob("*.json")
        old = json.loads(path.read_text())
        del old["data"]["content"]
        for result in old["protocols"].values():
            for target in result["targets"].values():
                del target["dataset"]["content"]
        old["supervision"] = {"kind": "dense", "labelled_fraction": None}
        path.write_text(json.dumps(old))
        assert "finished already" in bench(*RUN).stderr

    def test_training_data_that_is_gone_has_not_changed(self, bench, results, absent):
        absent(["train"])
        assert "finished already" in bench(*RUN).stderr


PLUGIN = """
from methods.majority import Majority

class Stranger(Majority):
    name = "stranger"
    version = "1"
"""


class TestChangedPlugin:
    @pytest.fixture
    def plugin(self, tmp_path):
        path = tmp_path / "stranger.py"
        path.write_text(PLUGIN)
        return path

    @pytest.fixture
    def run(self, bench, plugin):
        return lambda *more: bench("run", "--method", "stranger", *RUN[3:], "--plugin", str(plugin), *more)

    def test_a_finished_run_is_not_taken_for_that_of_an_edited_plugin(self, bench, run, plugin, tmp_path):
        results = tmp_path / "results"
        assert run("--protocol", "closed-set").exit_code == 0
        assert list(record(results)["plugins"]) == ["stranger.py"]
        assert "finished already" in run("--protocol", "closed-set").stderr
        plugin.write_text(PLUGIN + "\n# edited\n")
        before = state(results)
        assert_refused(run("--protocol", "closed-set"), "stranger.py", "version", "--force")
        assert_refused(run(), "stranger.py")
        again = ("evaluate", record(results)["run_id"], "--plugin", str(plugin))
        assert_refused(bench(*again), "stranger.py")
        assert state(results) == before
        assert run("--protocol", "closed-set", "--force").exit_code == 0
        assert bench(*again, "--protocol", "closed-set").exit_code == 0

    def test_a_raised_version_is_a_run_of_its_own(self, run, plugin, tmp_path):
        assert run("--protocol", "closed-set").exit_code == 0
        plugin.write_text(PLUGIN.replace('"1"', '"2"'))
        assert run("--protocol", "closed-set").exit_code == 0
        assert len(list((tmp_path / "results" / "records").glob("*.json"))) == 2

    def test_the_suites_own_methods_and_older_records_name_no_file(self, bench, run, plugin, results, tmp_path):
        assert record(results)["plugins"] == {}
        shutil.rmtree(results)
        assert run("--protocol", "closed-set").exit_code == 0
        found = record(results)
        del found["plugins"]
        (results / "records" / f"{found['run_id']}.json").write_text(json.dumps(found))
        assert "finished already" in run("--protocol", "closed-set").stderr


class TestInterruption:
    """A run without a record yet."""

    def test_an_unfinished_record_is_shown_and_in_no_table(self, bench, tmp_path, monkeypatch):
        results = tmp_path / "results"
        with monkeypatch.context() as patched:
            patched.setattr(Store, "write", Mock(side_effect=OSError(errno.ENOSPC, "full")))
            assert bench(*RUN).exit_code == 2
        (folder,) = (results / "runs").glob("toyscapes_mini-*")
        assert read_so_far(folder).status == "unfinished"
        shown = bench("show", folder.name, "--results", str(results))
        assert shown.exit_code == 0, shown.output
        assert f"run {folder.name}, unfinished" in shown.stdout
        assert "miou" in shown.stdout
        tables = bench("leaderboard", str(results))
        assert tables.exit_code == 2
        assert f"unfinished and in no table: {folder.name}" in tables.stderr
        assert bench(*RUN).exit_code == 0
        assert read_so_far(folder).status == record(results)["status"] == "complete"
        assert "in no table" not in bench("leaderboard", str(results)).stderr

    def test_scores_survive_a_record_that_was_moved_away(self, bench, results):
        before = record(results)
        (path,) = (results / "records").glob("*.json")
        path.unlink()
        assert bench(*RUN).exit_code == 0
        assert record(results)["protocols"] == before["protocols"]
        assert record(results)["training"] == before["training"]


class TestDamage:
    """A damaged file beside an intact model costs no training."""

    def test_progress_is_taken_from_the_record(self, bench, results):
        before = record(results)
        (run_folder(results) / "record.json").write_text("{")
        outcome = bench("evaluate", before["run_id"], "--protocol", "anomaly")
        assert outcome.exit_code == 0, outcome.output
        assert "record.json is damaged" in outcome.stderr
        assert without_seconds(record(results)) == without_seconds(before)
        assert record(results)["training"] == before["training"]

    def test_progress_without_a_record_is_refused(self, bench, results):
        (run_folder(results) / "record.json").write_text("{")
        for path in (results / "records").iterdir():
            path.unlink()
        before = state(results)
        assert_refused(bench(*RUN), "record.json is damaged", "--force")
        assert state(results) == before

    @pytest.mark.parametrize("junk", [b"", b"junk", b"PK\x03\x04"])
    def test_statistics_lead_to_scoring_again(self, bench, results, junk):
        whole = arrays(results)
        progress = run_folder(results) / "record.npz"
        for path in [progress, *(results / "records").glob("*.npz")]:
            path.write_bytes(junk or path.read_bytes()[:-100])
        (path,) = (results / "records").glob("*.json")
        content = json.loads(path.read_text())
        del content["protocols"]["closed-set"]
        path.write_text(json.dumps(content))
        outcome = bench(*RUN)
        assert outcome.exit_code == 0, outcome.output
        assert "scored again" in outcome.stderr
        assert "allow_pickle" not in outcome.stderr
        assert {*arrays(results)} == {*whole}

    def test_a_model_of_other_scores_is_not_overwritten(self, bench, results):
        folder = run_folder(results)
        (folder / "record.json").unlink()
        state_dict = load_file(folder / "model.safetensors")
        save_file({name: tensor + 1 for name, tensor in state_dict.items()}, folder / "model.safetensors")
        before = state(results)
        assert_refused(bench("evaluate", record(results)["run_id"]), "model.safetensors", "--force")
        assert state(results) == before
