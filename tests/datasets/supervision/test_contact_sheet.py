"""The command that draws sparse labels: where it looks for data, and what it says of a mistake."""

import pytest
from click.testing import CliRunner
from PIL import Image

from datasets import supervision
from datasets.supervision import __main__ as command


def call(*options, env=None):
    return CliRunner(env=env).invoke(command.main, ["--dataset", "toyscapes_mini", *map(str, options)])


def test_data_are_looked_for_where_the_environment_says(data_root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "sheet.png"
    outcome = call("--out", out, "--kind", "points", "--images", 1, env={"BENCH_DATA": str(data_root)})
    assert outcome.exit_code == 0, outcome.output
    with Image.open(out) as sheet:
        assert outcome.output == f"{out}: {sheet.width}x{sheet.height}\n"
    assert [*tmp_path.iterdir()] == [out]  # no data folder here, into which the images would have been rendered


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--out", "sheet.xyz"], ["sheet.xyz", ".png"]),
        (["--out", "nowhere/a.png"], ["no folder", "nowhere", "--out"]),
        (["--out", "a.png", "--kind", "pionts"], ["pionts", "points"]),
        (["--out", "a.png", "--dataset", "toyscape"], ["toyscape", "toyscapes_mini"]),
    ],
)
def test_a_mistake_is_one_sentence_with_the_remedy(data_root, tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    outcome = call("--data-root", data_root, *options)
    assert outcome.exit_code == 2
    assert outcome.output.count("\n") == 1
    assert all(word in outcome.output for word in words)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("given", [True, False])
def test_void_of_published_labels_is_read_as_asked_for(data_root, tmp_path, monkeypatch, given):
    asked = []

    def recorded(*arguments, void_is_unlabelled):
        asked.append(void_is_unlabelled)
        return supervision.supervise(*arguments, void_is_unlabelled=void_is_unlabelled)

    monkeypatch.setattr(command, "supervise", recorded)
    options = ["--void-is-unlabelled"] if given else []
    outcome = call("--data-root", data_root, "--out", tmp_path / "a.png", "--kind", "none", "--images", 1, *options)
    assert outcome.exit_code == 0, outcome.output
    assert asked == [given]
