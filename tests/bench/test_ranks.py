"""Devices and ranks."""

import pytest
import torch
from torch import nn

from bench import ranks
from bench.errors import UserError


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
