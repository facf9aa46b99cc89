"""The example of docs/adding-a-protocol.md is a working plugin, and so is what ``bench new protocol`` writes."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from bench.plugins import registry

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-protocol.md"


@pytest.fixture(autouse=True)
def _forget(monkeypatch):
    """What a test registers is forgotten after it."""
    registry.protocols.names()
    monkeypatch.setattr(registry.protocols, "_classes", {**registry.protocols._classes})


@pytest.fixture
def plugin(tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    path = tmp_path / "top_two.py"
    path.write_text(example)
    return path


def run(bench, plugin, *protocols, methods=("majority",)):
    named = [part for name in protocols for part in ("--protocol", name)]
    named += [part for method in methods for part in ("--method", method)]
    named += ["--plugin", str(plugin)] if plugin else []
    settings = ("--encoder", "resnet18", "--set", "recipe.steps=1", "--set", "recipe.batch_size=2")
    return bench("run", "--dataset", "toyscapes_mini", *settings, *named)


def results(tmp_path):
    return [json.loads(path.read_text()) for path in sorted((tmp_path / "results/records").glob("*.json"))]


def arrays(tmp_path):
    (path,) = (tmp_path / "results/records").glob("*.npz")
    with np.load(path) as file:
        return {key: file[key] for key in file.files}


def test_the_example_honours_the_contract(bench, plugin):
    checked = bench("check", "top-two", "--plugin", str(plugin))
    assert checked.exit_code == 0, checked.output
    assert "top-two honours the protocol contract" in checked.stdout


def test_what_new_protocol_writes_works_as_it_stands(bench, tmp_path):
    written = bench("new", "protocol", "my-idea", "--out", str(tmp_path))
    assert written.exit_code == 0, written.output
    assert bench("new", "protocol", "my-idea", "--out", str(tmp_path)).exit_code == 2
    assert bench("new", "protocol", "closed-set", "--out", str(tmp_path)).exit_code == 2
    assert bench("new", "protocol", "My Idea", "--out", str(tmp_path)).exit_code == 2
    checked = bench("check", "my-idea", "--plugin", str(tmp_path / "my_idea.py"))
    assert checked.exit_code == 0, checked.output


@pytest.mark.parametrize(
    ("protocol", "title", "heading", "key"),
    [
        ("top-two", "Two guesses", "Top-2 accuracy ↑", "top_2_accuracy"),
        ("risk-coverage", "Selective prediction", "AURC ↓", "aurc"),
        ("frequency-weighted-iou", "Frequency-weighted IoU", "FW IoU ↑", "fw_iou"),
    ],
)
def test_a_protocol_shows_up_everywhere_without_an_edit(
    bench, plugin, tmp_path, monkeypatch, protocol, title, heading, key
):
    monkeypatch.setattr("bench.report.leaderboard.statistics.MIN_IMAGES", 3)
    outcome = run(bench, plugin, "closed-set", protocol, methods=("majority", "softmax"))
    assert outcome.exit_code == 0, outcome.output
    assert protocol in outcome.stderr
    for record in results(tmp_path):
        found = record["protocols"][protocol]
        assert found["status"] == "complete"
        assert found["summary"] == {key: found["targets"]["test"]["metrics"][key]}
    folder = tmp_path / "tables"
    formats = [part for name in ("md", "csv", "html", "tex") for part in ("--format", name)]
    arguments = ("leaderboard", str(tmp_path / "results"), "--plugin", str(plugin))
    overview, shown = bench(*arguments), bench(*arguments, "--all")
    written = bench(*arguments, "--all", *formats, "--out", str(folder))
    assert (overview.exit_code, shown.exit_code, written.exit_code) == (0, 0, 0), written.output
    assert protocol in overview.stdout
    for name in ("leaderboard.md", "report.html"):
        text = (folder / name).read_text().replace("<br>", " ")  # headings take several lines
        assert title in text
        assert heading in text
    assert title in (folder / "leaderboard.tex").read_text()
    assert title in shown.stdout
    lines = list(csv.DictReader((folder / "leaderboard.csv").open()))
    compared = [line for line in lines if line["metric"] == key and line["target"] == "test"]
    assert len(compared) == 2
    assert [line["p_bootstrap_adjusted"] != "" for line in sorted(compared, key=lambda line: line["place"])] == [
        False,
        True,
    ]


def test_the_example_is_listed_and_shown(bench, plugin):
    assert "top-two" in bench("list", "protocols", "--plugin", str(plugin)).stdout
    page = bench("show", "top-two", "--plugin", str(plugin)).stdout
    assert "top_2_accuracy: Top-2 accuracy, 0 to 1 (shares, printed in %), higher is better" in page


def test_its_arrays_may_be_called_as_those_of_the_suite_and_mean_others(bench, plugin, tmp_path):
    plugin.write_text(plugin.read_text().replace("hits", "bins"))
    assert run(bench, plugin, "top-two").exit_code == 0
    shown = bench("leaderboard", str(tmp_path / "results"), "--all", "--plugin", str(plugin))
    assert shown.exit_code == 0, shown.output
    assert "Two guesses" in shown.stdout


def test_tables_without_the_file_still_have_the_numbers(bench, plugin, tmp_path):
    run(bench, plugin, "top-two")
    registry.protocols._classes.pop("top-two")
    shown = bench("leaderboard", str(tmp_path / "results"))
    assert shown.exit_code == 0, shown.output
    assert "top-two" in shown.stdout


def test_a_protocol_with_a_bug_fails_alone_and_is_tried_again(bench, plugin, tmp_path):
    right = plugin.read_text()
    plugin.write_text(right.replace("first + second, valid)", "first + missing, valid)"))
    outcome = run(bench, plugin, "closed-set", "top-two")
    assert outcome.exit_code == 1, outcome.output
    assert "Traceback" not in outcome.output
    assert outcome.stderr.strip().splitlines()[-1].startswith("failed: toyscapes_mini-dense-majority")
    (record,) = results(tmp_path)
    assert record["status"] == "complete"
    assert {name: result["status"] for name, result in record["protocols"].items()} == {
        "closed-set": "complete", "top-two": "failed"
    }  # fmt: skip
    assert re.search(r"test: NameError in top_two\.py line \d+: .*missing", record["protocols"]["top-two"]["reason"])
    assert not [key for key in arrays(tmp_path) if key.startswith("top-two")]
    plugin.write_text(right)
    assert run(bench, plugin, "closed-set", "top-two").exit_code == 0
    (record,) = results(tmp_path)
    assert {result["status"] for result in record["protocols"].values()} == {"complete"}
    assert "top-two/test/hits" in arrays(tmp_path)


def test_a_bug_does_not_take_scores_from_before(bench, plugin, tmp_path):
    assert run(bench, plugin, "closed-set", "top-two").exit_code == 0
    (before,) = results(tmp_path)
    plugin.write_text(plugin.read_text().replace("topk(2", "topk(999"))
    again = bench("evaluate", before["run_id"], "--protocol", "top-two", "--plugin", str(plugin))
    assert "failed" in again.stderr
    (now,) = results(tmp_path)
    assert now["protocols"]["top-two"]["targets"] == before["protocols"]["top-two"]["targets"]
    assert again.exit_code == 1


def test_targets_that_cannot_be_named_fail_the_protocol_alone(bench, plugin, tmp_path):
    asked = plugin.read_text().replace(
        '    kinds = ("hits",)\n',
        '    kinds = ("hits",)\n    by_default = True\n\n'
        "    @classmethod\n    def targets(cls, source):\n        return source.nowhere\n",
    )
    plugin.write_text(asked)
    outcome = run(bench, plugin)
    assert outcome.exit_code == 1, outcome.output
    (record,) = results(tmp_path)
    assert "nowhere" in record["protocols"]["top-two"]["reason"]
    assert record["protocols"]["anomaly"]["status"] == "complete"
    assert run(bench, plugin, "top-two").exit_code == 2, "who asks for it by name hears of it at once"
