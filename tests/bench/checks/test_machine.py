"""``bench doctor`` finds what runs lack, and says what to do about it."""

from __future__ import annotations

import shutil
from collections import namedtuple

import pytest
import torch

from bench.checks import machine
from tests.command_line import call


@pytest.fixture
def examine(tmp_path):
    (tmp_path / "data").mkdir()

    def examine(**changes):
        arguments = {"roots": [tmp_path / "data"], "results": tmp_path / "results"} | changes
        return list(machine.examine(**arguments))

    return examine


def of(found, state):
    return [finding for finding in found if finding.state == state]


def test_a_machine_without_problems_has_notes_at_most(examine):
    found = examine()
    assert not of(found, "problem")
    assert any("toyscapes makes itself" in finding.what for finding in found)
    (absent,) = [finding for finding in found if finding.what.startswith("not here")]
    assert "camvid" in absent.what
    assert all(finding.remedy for finding in found if finding.state != "ok")


def test_a_full_disk_is_a_problem(examine, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1e12, 1e12 - 1e9, 1e9))
    (problem,) = of(examine(), "problem")
    assert "1.0 GB free" in problem.what
    assert "--results" in problem.remedy


def test_more_threads_than_cores_are_a_problem(examine, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4096)
    (problem,) = of(examine(), "problem")
    assert "OMP_NUM_THREADS" in problem.remedy


def test_a_data_root_that_is_not_there_is_a_problem(examine, tmp_path):
    (problem,) = of(examine(roots=[tmp_path / "data", tmp_path / "nowhere"]), "problem")
    assert "nowhere" in problem.what


def test_a_data_set_that_is_not_whole_is_named_with_the_split(examine, tmp_path):
    (tmp_path / "data" / "camvid" / "train").mkdir(parents=True)
    (problem,) = of(examine(), "problem")
    assert problem.what.startswith("camvid has none of train")
    assert problem.remedy == "bench data verify camvid names all that is wrong"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_asked_for_and_not_there_is_a_problem(examine):
    assert len(of(examine(device="cuda"), "problem")) == 1
    assert not of(examine(), "problem")


def test_the_command_prints_a_line_for_each_and_ends_with_1_for_a_problem(tmp_path):
    arguments = ["doctor", "--results", str(tmp_path), "--data-root"]
    good = call(*arguments, str(tmp_path))
    assert good.exit_code == 0, good.output
    assert "torch" in good.stdout
    bad = call(*arguments, str(tmp_path / "nowhere"))
    assert bad.exit_code == 1
    assert "PROBLEM  there is no data root" in bad.stdout
