"""A record says what decided its rounding."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

import bench
from bench.records import environment


def test_an_environment_names_the_threads_that_shared_an_operation():
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert environment.describe(torch.device("cpu")).threads == threads
    finally:
        torch.set_num_threads(before)


def test_an_environment_names_the_commit_of_the_checkout_that_holds_the_code():
    root = Path(bench.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        pytest.skip("the code is in no checkout")
    head = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    described = environment.describe(torch.device("cpu"))
    assert described.commit == head.stdout.strip()
    assert described.dirty is not None
