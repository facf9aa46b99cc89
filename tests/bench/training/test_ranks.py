"""Devices and ranks."""

import os
import signal
import socket
import subprocess
import time
from types import SimpleNamespace

import pytest
import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import nn

from bench.common import interruption
from bench.common.errors import RankLost, UserError
from bench.training import ranks
from methods.base import Collectives
from tests.bench.training.processes import on_ranks


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
    ranks.synchronise_norms(method, Collectives(), torch.device("cuda"))
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
    monkeypatch.setattr(ranks, "_all_fail", lambda fabric, block: True)
    with pytest.raises(RuntimeError, match="shape"), ranks.watched(lost):
        raise RuntimeError("shape '[2]' is invalid")


@pytest.mark.parametrize("failing", [{0}, {1}, {0, 1}])
def test_a_rank_that_fails_alone_ends_all_and_ranks_that_fail_alike_go_on(tmp_path, monkeypatch, failing):
    monkeypatch.setattr(ranks, "TOGETHER", 1.0)

    def work(rank):
        fabric = ranks.make_fabric("cpu", "32")
        try:
            with ranks.watched(fabric):
                collectives = ranks.FabricCollectives(fabric)
                if rank in failing:
                    raise ValueError("no batch")
                collectives.all_reduce_sum(torch.zeros(1))
        except (ValueError, RankLost) as error:
            return type(error).__name__, str(error)

    began = time.monotonic()
    ended = on_ranks(2, work, tmp_path)
    assert time.monotonic() - began < 60
    if len(failing) == 2:
        assert ended == [("ValueError", "no batch")] * 2
    else:
        (alone,) = failing
        assert ended[alone] == ("RankLost", f"rank {alone} of 2 failed alone (no batch)")
        assert ended[1 - alone] == ("RankLost", f"rank {alone} of 2 is gone")


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


@pytest.fixture
def environment(monkeypatch):
    """Without what another launcher says, and restored after the test."""
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "RANK", *ranks.NODE, *ranks.PROCESS):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(ranks.console, "quiet", False)
    return os.environ


def test_each_process_finds_its_rank_among_those_of_all_machines(environment, monkeypatch):
    monkeypatch.setenv("SLURM_NODEID", "1")
    monkeypatch.setenv("SLURM_LOCALID", "2")
    ranks.declare(3, 2, "cpu")
    assert (environment["WORLD_SIZE"], environment["LOCAL_WORLD_SIZE"], environment["RANK"]) == ("6", "3", "5")
    assert ranks.console.quiet
    ranks.declare(3, 2, "cpu")  # as the launched processes do, which inherit what the first one said


def test_one_device_is_one_process_as_without_the_option(environment):
    ranks.declare(None, 1, "cpu")
    ranks.declare(1, 1, "cpu")
    assert "WORLD_SIZE" not in environment


def test_more_processes_than_torchrun_started_are_one_sentence(environment, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(UserError, match="are 2 processes, but 4 were started"):
        ranks.declare(2, 1, "cpu")


def test_a_norm_that_ends_in_an_activation_keeps_it():
    """torch's own conversion would drop it, and score with it a model that was trained without."""
    maps = torch.randn(4, 3, 5, 6)
    expected = BatchNormAct2d(3)(maps)
    for device in ("cuda", "cpu"):
        holder = nn.Sequential(BatchNormAct2d(3))
        ranks.synchronise_norms(holder, Collectives(), torch.device(device))
        if device == "cuda":
            assert isinstance(holder[0].act, nn.ReLU)
        else:
            torch.testing.assert_close(holder(maps), expected)


def test_the_norm_of_the_cpu_is_torchs():
    maps = torch.randn(4, 3, 5, 6) * 3 + 1
    own, theirs = nn.Sequential(nn.BatchNorm2d(3)), nn.BatchNorm2d(3)
    ranks.synchronise_norms(own, Collectives(), torch.device("cpu"))
    for _ in range(2):
        torch.testing.assert_close(own(maps), theirs(maps))
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(own[0].state_dict()[name], value)
    torch.testing.assert_close(own.eval()(maps), theirs.eval()(maps))
