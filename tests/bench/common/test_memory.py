"""Running out of memory."""

import pytest
import torch

from bench.common.errors import RunFailed
from bench.common.memory import largest, within_memory


def fails_above(limit, error=torch.OutOfMemoryError):
    def attempt(size):
        if size > limit:
            raise error(f"{size} are too many")

    return attempt


def test_the_largest_size_that_fits_is_found_and_none_where_none_does():
    assert largest(fails_above(5), [8, 4, 2, 1]) == 4
    assert largest(fails_above(8), [8, 4, 2, 1]) == 8
    assert largest(fails_above(0), [8, 4, 2, 1]) is None


def test_what_else_an_attempt_raises_is_its_own():
    with pytest.raises(RuntimeError, match="8 are too many"):
        largest(fails_above(5, RuntimeError), [8, 4])
    with pytest.raises(RuntimeError, match="7 are too many"), within_memory("training", "lower it"):
        fails_above(5, RuntimeError)(7)


def test_torchs_error_becomes_a_sentence_with_the_remedy():
    with (
        pytest.raises(RunFailed, match=r"^out of memory in training: lower it$"),
        within_memory("training", "lower it"),
    ):
        fails_above(5)(7)


def test_so_does_that_of_the_processor():
    with pytest.raises(RunFailed, match="lower it"), within_memory("training", "lower it"):
        torch.empty(1 << 60, dtype=torch.uint8)
