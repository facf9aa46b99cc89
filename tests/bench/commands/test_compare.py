"""``bench compare`` on the committed records."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pytest

from bench.records.store import Store
from tests.command_line import assert_refused, call
from tests.records import on

RECORDS = Path(__file__).parents[3] / "results" / "records"


@pytest.fixture(scope="module")
def settled(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    (root / "records").mkdir()
    for method in ("softmax", "gmmseg"):
        for path in RECORDS.glob(f"toyscapes-dense-{method}-settled-*.json"):
            record = json.loads(path.read_text())
            if record["configuration"] == method and record["config"]["recipe"]["steps"] == 3600:
                for kind in (".json", ".npz"):
                    shutil.copy(path.with_suffix(kind), root / "records")
    return str(root)


compare = partial(call, "compare")


def test_the_question_of_the_first_page_has_an_answer(settled):
    outcome = compare("gmmseg", "softmax", settled, "--protocol", "closed-set")
    assert outcome.exit_code == 0, outcome.output
    lines = outcome.output.splitlines()
    assert lines[1] == "gmmseg against softmax: toyscapes, dense, settled (3600 steps), tu-tf_efficientnet_lite0"
    (row,) = [line.split() for line in lines[: lines.index("closed-set, val")] if line.strip().startswith("mIoU")]
    assert row[:5] == ["mIoU", "↑", "80.10", "80.94", "-0.84"]
    assert row[-1] == "second"


def test_json_says_everything_without_loss(settled):
    found = json.loads(compare("gmmseg", "softmax", settled, "--json", "--protocol", "closed-set").output)
    (comparison,) = found
    assert comparison["group"]["recipe"] == "settled"
    rows = {(r["protocol"], *r["targets"], r["metric"], r["reading_a"]): r for r in comparison["differences"]}
    row = rows["closed-set", "test", "miou", ""]
    assert row["difference"] == pytest.approx(row["mean_a"] - row["mean_b"])
    assert row["low"] < row["difference"] < row["high"] < 0
    assert (row["seeds"], row["images"], row["better"], row["undecided"]) == (3, 64, "b", None)
    assert {protocol for protocol, *_ in rows} == {"closed-set"}


def test_a_density_is_compared_with_the_others_score(settled):
    outcome = compare("gmmseg@gmm_nll", "softmax@max_logit", settled)
    assert outcome.exit_code == 0, outcome.output
    assert "anomaly, toyscapes/anomaly: gmm_nll against max_logit" in outcome.output
    assert "closed-set" not in outcome.output


@pytest.mark.parametrize("width", [60, 80])
def test_nothing_is_cut_off_in_a_narrow_terminal(settled, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    outcome = compare("gmmseg@gmm_nll", "softmax@max_logit", settled)
    table = [line for line in outcome.output.splitlines() if line.startswith(" ")]
    assert max(map(len, table)) <= width
    headings = "".join("".join(table[1:6]).split())
    assert all(part in headings for part in ("First", "Second", "Won", "Better"))
    (found,) = json.loads(compare("gmmseg@gmm_nll", "softmax@max_logit", settled, "--json").output)
    printed = "".join("".join(table).split())
    reasons = [row["undecided"] for row in found["differences"] if row["undecided"]]
    assert reasons
    # Cells that go on below stand between others, so words are looked for.
    assert all(word in printed for reason in reasons for word in reason.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gmmseg", "sofmax"], "did you mean softmax"),
        (["gmmseg", "softmax@max_logits"], "softmax has no reading 'max_logits': did you mean max_logit?"),
        (["gmmseg", "gmmseg"], "gmmseg and gmmseg are the same runs"),
        (["gmmseg", "softmax", "--recipe", "quick"], "no run has the recipe 'quick'"),
    ],
)
def test_a_mistake_is_one_sentence(settled, arguments, said):
    outcome = compare(*arguments, "--results", settled)
    assert outcome.exit_code == 2
    assert said in outcome.output
    assert len(outcome.output.splitlines()) == 1


def test_no_records_are_one_sentence(tmp_path):
    outcome = compare("gmmseg", "softmax", str(tmp_path))
    assert outcome.exit_code == 2
    assert "bench run" in outcome.output


CLAIM = """
[[claims]]
id = "gain"
paper = "GMMSeg"
source = "abstract"
statement = "Better than softmax."
a = "gmmseg"
b = "softmax"
protocol = "closed-set"
metrics = ["miou"]
"""


claims = partial(call, "claims")


def test_claims_are_printed_or_written(settled, tmp_path):
    file, out = tmp_path / "mine.toml", tmp_path / "new" / "claims.json"
    file.write_text(CLAIM)
    assert "| contradicted |" in claims(settled, "--claims", str(file)).output
    outcome = claims(settled, "--claims", str(file), "--json", "--out", str(out))
    assert outcome.output.strip() == str(out)
    (row,) = json.loads(out.read_text())
    assert (row["id"], row["verdict"], row["found"]["seeds"]) == ("gain", "contradicted", 3)
    assert row["found"]["high"] < 0


def test_claims_of_a_results_folder_head_what_is_made_of_all_its_runs(settled, tmp_path):
    results = shutil.copytree(settled, tmp_path / "results")
    (results / "claims.toml").write_text(CLAIM)

    def made(*arguments):
        outcome = call("leaderboard", str(results), *arguments)
        assert outcome.exit_code == 0, outcome.output
        return Path(outcome.output.strip()).read_text()

    text = made("--format", "md")
    assert text.startswith("# Leaderboard\n\n## What papers claim\n")
    assert "\n- **contradicted**: gain -0.84 (-1.15 to -0.53) on toyscapes.\n\n## toyscapes: " in text
    assert "What papers claim" not in made("--format", "md", "--protocol", "closed-set")
    assert "✗ 1 contradicted" in made("--format", "html")


def test_a_broken_claims_file_is_one_sentence(settled, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(CLAIM.replace("miou", "moiu"))
    for arguments in ([settled, "--claims", str(file)], [settled]):
        outcome = claims(*arguments)
        assert outcome.exit_code == 2
        assert len(outcome.output.splitlines()) == 1
        assert "Traceback" not in outcome.output


def test_all_pairs_need_no_names(settled):
    outcome = compare("--all", settled, "--protocol", "closed-set")
    assert outcome.exit_code == 0, outcome.output
    (row,) = [line.split() for line in outcome.output.splitlines() if line.strip().startswith("gmmseg")]
    assert (row[:3], row[-1]) == (["gmmseg", "softmax", "-0.84"], "second")
    found = json.loads(compare("--all", "--results", settled, "--protocol", "closed-set", "--json").output)
    assert found["ranks"] is None  # one data set
    ((pair,),) = [family["pairs"] for family in found["families"]]
    assert (pair["a"], pair["b"], pair["better"]) == ("gmmseg", "softmax", "b")
    assert pair["p_holm"] == pair["p"]


@pytest.fixture(scope="module")
def three_data_sets(tmp_path_factory):
    """Three methods, one in several configurations, on Toyscapes and as if on two other data sets; no side files."""
    store = Store(tmp_path_factory.mktemp("three"))
    for record in Store(RECORDS.parent).records():
        config, name = record.config, record.configuration.split(" (")[0]
        trained = config.data.supervision == "dense" and config.features is None
        if (config.data.name, config.recipe.steps, config.seed, trained) != ("toyscapes", 450, 0, True):
            continue
        if config.recipe.name == "settled" and name in ("softmax", "segsort", "gmmseg"):
            for data in ("toyscapes", "camvid", "idd_lite"):
                store.write(on(data, record))
    return str(store.root)


def test_ranks_over_data_sets_are_drawn_where_there_are_enough(three_data_sets, settled, tmp_path):
    picture = tmp_path / "critical.svg"
    outcome = compare("--all", three_data_sets, "--protocol", "closed-set", "--out", str(picture))
    assert outcome.exit_code == 0, outcome.output
    assert "over 3 data sets (camvid, idd_lite, toyscapes)" in " ".join(outcome.output.split())
    assert picture.read_text().count("critical difference")
    outcome = compare("--all", settled, "--out", str(picture))
    assert_refused(outcome, "three data sets with three methods")


def test_ranks_change_with_the_protocol(three_data_sets, tmp_path):
    picture = tmp_path / "ranks.png"
    outcome = compare("--ranks", three_data_sets, "--out", str(picture))
    assert outcome.exit_code == 0, outcome.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "toyscapes: 450 steps (settled)" in outcome.output
    found = {one["title"]: one for one in json.loads(compare("--ranks", three_data_sets, "--json").output)}
    toyscapes = found["toyscapes: 450 steps (settled)"]
    assert toyscapes["ranks"]["closed-set"] == [1, 2, 3]
    assert toyscapes["tau"]["closed-set"] == 1


def test_what_cannot_be_ranked_is_one_sentence(settled, tmp_path):
    for arguments, said in (
        (["--ranks", settled], "run more"),
        (["--ranks", settled, "--protocol", "anomaly"], "leave out --protocol"),
        (["--ranks", "--all", settled], "ask one"),
        (["gmmseg", "softmax", settled, "--out", str(tmp_path / "a.png")], "add --all or --ranks"),
    ):
        outcome = compare(*arguments)
        assert_refused(outcome, said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gmmseg"], "give two"),
        (["--all", "gmmseg", "softmax"], "leave out"),
        (["--ranks", "gmmseg", "softmax"], "leave out"),
    ],
)
def test_names_and_all_exclude_each_other(settled, arguments, said):
    outcome = compare(*arguments, "--results", settled)
    assert outcome.exit_code == 2
    assert said in outcome.output
