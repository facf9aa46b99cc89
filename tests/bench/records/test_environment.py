"""A record says what decided its rounding."""

from __future__ import annotations

import torch

from bench.records import environment


def test_an_environment_names_the_threads_that_shared_an_operation():
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert environment.describe(torch.device("cpu")).threads == threads
    finally:
        torch.set_num_threads(before)
