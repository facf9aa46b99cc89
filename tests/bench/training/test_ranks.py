"""Devices and ranks."""

import os
import signal
import socket
import subprocess
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bench.common import interruption
from bench.common.errors import RankLost, UserError
from bench.training import ranks


def test_cuda_without_cuda_is_one_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="no CUDA device"):
        ranks.make_fabric("cuda", "32")


def test_ranks_share_the_statistics_of_what_learns_alone():
    """A codec that one rank fits while the others wait for it would otherwise wait for them."""

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4)))
            self.codec = nn.Sequential(nn.BatchNorm2d(4)).requires_grad_(False)

    method = Both()
    ranks.synchronise_norms(method)
    assert isinstance(method.network[1][0], nn.SyncBatchNorm)
    assert type(method.codec[0]) is nn.BatchNorm2d


@pytest.fixture
def lost(monkeypatch):
    """A Fabric of two ranks of which the second is a process that has ended."""
    ended = subprocess.Popen("true")
    ended.wait()

    def gather(members, own):
        members[:] = [own, (socket.gethostname(), ended.pid)]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    return SimpleNamespace(world_size=2, global_rank=0)


def closed():
    raise RuntimeError("[gloo/transport/tcp/pair.cc:535] Connection closed by peer [127.0.0.1]:4711")


def test_a_lost_rank_is_named_in_place_of_the_transports_words(lost):
    with pytest.raises(RankLost, match=r"^rank 1 of 2 is gone$"), ranks.watched(lost):
        closed()


def test_only_the_first_rank_that_is_left_speaks(lost):
    lost.world_size, lost.global_rank = 3, 2
    with pytest.raises(RankLost, match=r"^$"), ranks.watched(lost):
        closed()


def test_a_ranks_own_error_stays_its_own(lost, monkeypatch):
    monkeypatch.setattr(ranks, "_runs", lambda pid: True)
    with pytest.raises(RuntimeError, match="shape"), ranks.watched(lost):
        raise RuntimeError("shape '[2]' is invalid")


def test_the_launchers_signal_does_not_take_the_name_away(lost, monkeypatch, capsys):
    runs = ranks._runs

    def signalled(pid):
        os.kill(os.getpid(), signal.SIGTERM)
        return runs(pid)

    def command():
        with ranks.watched(lost):
            closed()

    monkeypatch.setattr(ranks, "_runs", signalled)
    with pytest.raises(SystemExit) as ended:
        interruption.run(command)
    assert ended.value.code == 143
    assert capsys.readouterr().err == "interrupted: rank 1 of 2 is gone; the same command continues\n"
