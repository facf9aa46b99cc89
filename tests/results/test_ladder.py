"""Each rung of the ladder from softmax to GMMSeg adds one ingredient, and its ends are the two methods."""

from __future__ import annotations

import os
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from bench.plugins.registry import methods

SCRIPT = Path(__file__).parents[2] / "results" / "ladder.sh"


@pytest.fixture
def rungs(tmp_path):
    """Method and configuration of each of the script's runs, in order."""
    bench = tmp_path / "bench"
    bench.write_text('#!/bin/sh\necho "$@"\n')
    bench.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["sh", SCRIPT, "--dry-run"], env=environment, capture_output=True, text=True, check=True)
    found = []
    for line in done.stdout.splitlines():
        words = shlex.split(line)
        assert words[-1] == "--dry-run"
        given = {key: words[at + 1] for at, key in enumerate(words) if key == "--method"}
        settings = [words[at + 1] for at, key in enumerate(words) if key == "--set"]
        own = dict(setting.removeprefix("method.").split("=") for setting in settings if setting.startswith("method."))
        method = methods.get(given["--method"])
        found.append((method.name, method.Config.model_validate(own)))
    return found


def test_it_leads_from_softmax_to_gmmseg_as_they_are(rungs):
    for (name, config), end in zip((rungs[0], rungs[-1]), ("softmax", "gmmseg"), strict=True):
        assert name == end
        assert config.model_dump(mode="json") == methods.get(end).Config().model_dump(mode="json")


def test_every_rung_of_one_method_differs_from_the_one_below_in_one_setting(rungs):
    assert [name for name, _ in rungs] == ["softmax"] * 2 + ["gmmseg"] * 6
    for (below, before), (name, after) in pairwise(rungs):
        if below == name:
            changed = [key for key, value in vars(after).items() if getattr(before, key) != value]
            assert len(changed) == 1


def test_the_projection_is_gmmsegs(rungs):
    assert rungs[1][1].projection == rungs[2][1].dim
