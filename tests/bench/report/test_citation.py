"""What is compared can be cited."""

from __future__ import annotations

import re

import pytest

from bench.commands.cli import main
from bench.plugins import registry
from bench.report.citation import entries, entry
from tests.command_line import assert_refused


def test_a_method_is_cited():
    assert [*entries("segsort")] == [
        "@inproceedings{segsort,\n  author = {Jyh-Jing Hwang and Stella X. Yu and Jianbo Shi and "
        "Maxwell D. Collins and Tien-Ju Yang and Xiao Zhang and Liang-Chieh Chen},\n"
        "  title = {{SegSort}: Segmentation by Discriminative Sorting of Segments},\n"
        "  booktitle = {ICCV},\n  year = {2019},\n}"
    ]


def test_a_data_set_may_have_several_papers_and_journals_are_articles():
    assert [text.partition(",")[0] for text in entries("idd_lite")] == [
        "@inproceedings{idd_lite", "@inproceedings{idd_lite-2"
    ]  # fmt: skip
    (text,) = entries("camvid")
    assert text.startswith("@article{camvid")
    assert "author = {Brostow and Fauqueur and Cipolla}" in text


def test_every_citation_of_the_suite_has_a_form():
    cited = [text for name in (*registry.methods.names(), *registry.datasets.names()) for text in entries(name)]
    assert len(cited) > 15
    assert not [text for text in cited if "@misc" in text or "and others" in text]
    keys = [re.match(r"@\w+\{([^,]+),", text)[1] for text in cited]
    assert len({*keys}) == len(keys)


def test_surnames_of_two_words_stay_whole_and_full_names_are_left_to_bibtex():
    assert "author = {Dai and {Van Gool}}," in entry("night", "Dai, Van Gool: Night. ITSC 2018")
    assert "author = {Luc Gool and Joost van Amersfoort}," in entry("a", "Luc Gool, Joost van Amersfoort: A. CVPR 2018")
    assert "author = {Example and others}," in entry("a", "Example et al., A small network, CVPR 2024")


def test_what_is_in_no_form_is_a_note():
    assert entry("mine", "personal communication") == "@misc{mine,\n  note = {personal communication},\n}"


@pytest.mark.parametrize("name", ["gmseg", ""])
def test_an_unknown_name_is_one_sentence(bench, name):
    outcome = bench("cite", name)
    assert_refused(outcome)


def test_the_command_begins_with_the_suite(bench):
    outcome = bench("cite", "gmmseg", "camvid")
    assert outcome.exit_code == 0, outcome.output
    assert re.findall(r"^@\w+\{([^,]+),", outcome.stdout, re.MULTILINE) == ["genseg-bench", "gmmseg", "camvid"]
    assert "cite" in main.commands
