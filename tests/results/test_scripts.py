"""The scripts that list what there is to run: what they ask for can be run, and the ladder's rungs are what it says."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest

from bench.config import grid as sweeps
from bench.plugins.registry import datasets, methods, protocols

RESULTS = Path(__file__).parents[2] / "results"
FINISHED = "toyscapes-dense-softmax-settled-s0-finished"


@pytest.fixture
def asked(tmp_path):
    """``asked(script)``: the options of each ``bench run`` of a script by name, in a folder with one finished run."""
    bench = tmp_path / "bench"
    bench.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\necho {FINISHED}: finished\n')
    bench.chmod(0o755)
    results = tmp_path / "results"
    results.mkdir()
    for script in RESULTS.glob("*.sh"):
        shutil.copy(script, results)
    model = results / "runs" / FINISHED / "model.safetensors"
    model.parent.mkdir(parents=True)
    model.touch()
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}

    def run(script):
        subprocess.run(["sh", f"results/{script}", "--dry-run"], cwd=tmp_path, env=environment, check=True)
        found = []
        for line in (tmp_path / "asked").read_text().splitlines():
            options = defaultdict(list)
            assert line.startswith("run ")
            assert line.endswith(" --dry-run")
            words = shlex.split(line.removesuffix(" --dry-run"))[1:]
            for name, value in zip(words[::2], words[1::2], strict=True):
                options[name.removeprefix("--")].append(value)
            found.append(options)
        return found

    return run


def runs(options):
    """The runs that ``options`` ask for."""
    (dataset,), (recipe,) = options["dataset"], options["recipe"]
    data = {"supervision": options["supervision"][0]} if options["supervision"] else {}
    network = {"encoder_weights": None} if options["encoder-weights"] == ["none"] else {}
    chosen = [methods.get(name) for name in options["method"]]
    overrides = [{"data": data, "network": network}]
    return sweeps.grid(chosen, dataset, recipe, [int(s) for s in options["seed"]], overrides, options["set"]).runs


@pytest.mark.parametrize("script", sorted(path.name for path in RESULTS.glob("*.sh")))
def test_whatever_a_script_asks_for_can_be_run(asked, script):
    for options in asked(script):
        assert options["results"] == ["results"]
        assert all(protocols.get(name) for name in options["protocol"])
        if not options["features"]:
            assert datasets.get(options["dataset"][0])
            assert runs(options)


def test_the_settled_script_fits_every_read_out_to_every_method_after_two_numbers_of_steps(asked):
    fitted = [options for options in asked("settled.sh") if options["features"]]
    assert len(fitted) == 2 * 5
    for options in fitted:
        assert options["features"] == [FINISHED]
        assert options["method"] == ["linear", "gaussian", "mixture", "neighbours", "temperature"]
        assert not options["set"]


@pytest.fixture
def rungs(asked):
    """Method and settings of each of the ladder's runs, in order."""
    return [(method.name, config.method) for options in asked("ladder.sh") for method, config in runs(options)[:1]]


def test_the_ladder_leads_from_softmax_to_gmmseg_as_they_are(rungs):
    for (name, settings), end in zip((rungs[0], rungs[-1]), ("softmax", "gmmseg"), strict=True):
        assert name == end
        assert settings == methods.get(end).Config().model_dump(mode="json")


def test_every_rung_of_one_method_differs_from_the_one_below_in_one_setting(rungs):
    assert [name for name, _ in rungs] == ["softmax"] * 2 + ["gmmseg"] * 6
    for (below, before), (name, after) in pairwise(rungs):
        if below == name:
            assert len({key for key in {**before, **after} if before.get(key) != after.get(key)}) == 1


def test_the_ladders_projection_is_gmmsegs(rungs):
    assert rungs[1][1]["projection"] == rungs[2][1]["dim"]
