"""Samples that are decoded ahead of use."""

import threading
import time

import pytest
import torch

from bench.data.reading import AHEAD, read_ahead
from datasets.base import DataError


class Watched:
    """A data set that says which samples were decoded, by whom; number 9 is damaged."""

    def __init__(self):
        self.decoded, self.threads = [], set()

    def __len__(self):
        return 20

    def __getitem__(self, index):
        time.sleep(0.002 * (index % 3))  # so that later ones are often there first
        self.decoded.append(index)
        self.threads.add(threading.current_thread())
        if index == 9:
            raise DataError("nine is damaged")
        return index


def test_samples_come_in_order(mini):
    for index, sample in enumerate(read_ahead(mini)):
        assert sample.id == mini.items[index].id
        assert torch.equal(sample.image, mini[index].image)
    assert index == len(mini) - 1
    assert [sample.id for sample in read_ahead(mini, [3, 1])] == [mini.items[3].id, mini.items[1].id]


def test_a_damaged_sample_is_an_error_once_those_before_it_were_used():
    seen = []
    with pytest.raises(DataError, match="nine"):
        seen.extend(iter(read_ahead(Watched())))
    assert seen == [*range(9)]


def test_few_samples_are_held_however_many_there_are():
    watched = Watched()
    for used, _ in enumerate(read_ahead(watched, range(9)), 1):
        assert len(watched.decoded) <= used + AHEAD


def test_who_stops_early_leaves_no_thread_behind():
    watched = Watched()
    samples = read_ahead(watched)
    next(samples)
    samples.close()
    assert threading.main_thread() not in watched.threads
    assert not any(thread.is_alive() for thread in watched.threads)
