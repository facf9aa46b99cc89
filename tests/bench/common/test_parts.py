"""The stopwatch on the parts of a step."""

import pytest
import torch

from bench.common.parts import Stopwatch, part


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by what is added to it."""
    time = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: time[0])

    def work(seconds):
        time[0] += seconds

    return work


def a_step(work):
    with part("data"):
        work(1)
    with part("loss"):
        work(2)
        with part("network"):
            work(30)
            with part("network"):
                work(3)
        work(4)
    work(500)


def test_each_part_is_charged_what_no_part_inside_it_takes(clock):
    begun = []
    with part("prepare"):
        clock(7)
    with Stopwatch(torch.device("cpu"), lambda: begun.append(1)) as stopwatch:
        with part("loss"):  # before the first step, of which it is no part
            clock(11)
        a_step(clock)
        a_step(clock)
        with part("data"):
            clock(5)
    with part("data"):
        clock(9)
    whole = {"data": 1, "loss": 6, "network": 33, "rest": 500}
    assert [*map(dict, stopwatch.steps)] == [whole, whole, {"data": 5}]
    assert len(begun) == 3


def test_a_part_that_fails_ends_all_the_same(clock):
    def fail_after(seconds):
        clock(seconds)
        raise ZeroDivisionError

    with Stopwatch(torch.device("cpu")) as stopwatch:
        with part("data"), pytest.raises(ZeroDivisionError), part("loss"):
            fail_after(1)
        clock(2)
        with part("data"):
            clock(4)
    assert [*map(dict, stopwatch.steps)] == [{"data": 0, "loss": 1, "rest": 2}, {"data": 4}]
    with pytest.raises(ZeroDivisionError), Stopwatch(torch.device("cpu")):
        raise ZeroDivisionError
    assert Stopwatch.running is None
