"""Devices and ranks: a Fabric over what there is, and what several ranks share."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psutil
import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.precision import MixedPrecision
from lightning.fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn

from bench.common import interruption
from bench.common.errors import RankLost, UserError
from methods.base import Collectives


class FabricCollectives(Collectives):
    """Collectives over the ranks of a Fabric."""

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.rank, self.world_size = fabric.global_rank, fabric.world_size

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        """Sum over ranks."""
        return self.fabric.all_reduce(tensor, reduce_op="sum")  # type: ignore[return-value]

    def all_gather(self, tensor: Tensor) -> Tensor:
        """Stack in rank order."""
        return self.fabric.all_gather(tensor).reshape(self.world_size, *tensor.shape)  # type: ignore[union-attr]


def asked_to_stop(fabric: Fabric) -> bool:
    """Whether a signal asked any rank to end: all stop after the same step."""
    number = interruption.received() or 0
    if fabric.world_size > 1:
        most = fabric.all_reduce(torch.tensor(number, device=fabric.device), reduce_op="max")
        number = int(most)  # type: ignore[arg-type]
        if number:
            interruption.receive(number)
    return number > 0


TRANSPORTS = ("gloo", "nccl", "connection closed by peer", "connection reset by peer")
"""By one of these words, in whatever case, a plain RuntimeError is known to come from what carries collectives."""


@contextmanager
def watched(fabric: Fabric) -> Iterator[None]:
    """Raise RankLost in place of what else comes of a rank that is gone; none leaves before all are done."""
    if fabric.world_size == 1:
        yield
        return
    members: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(members, (socket.gethostname(), os.getpid()))
    try:
        yield
        fabric.barrier()
    except (RuntimeError, interruption.Interrupted) as error:
        broken = isinstance(error, torch.distributed.DistError) or any(w in str(error).lower() for w in TRANSPORTS)
        if isinstance(error, RuntimeError) and not broken:
            raise
        with interruption.held():  # the launcher's SIGTERM may come meanwhile
            gone = _gone(members, patient=broken)
            if not broken and not gone:
                raise
            first = min({*range(fabric.world_size)} - {*gone})
            named = f"rank {' and '.join(map(str, gone))}" if gone else "another rank"
            text = f"{named} of {fabric.world_size} {'are' if len(gone) > 1 else 'is'} gone"
            text = text if fabric.global_rank == first else ""
            interruption.explain(text)
            raise RankLost(text) from None


def _gone(members: Sequence[tuple[str, int]], patient: bool) -> list[int]:
    """The ranks on this machine that run no more; ``patient`` waits for one that hung up a moment ago."""
    for _ in range(10 if patient else 1):
        gone = [rank for rank, (host, pid) in enumerate(members) if host == socket.gethostname() and not _runs(pid)]
        if gone or not patient:
            break
        time.sleep(0.1)
    return gone


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


class ExactInputs(MixedPrecision):
    """Mixed precision in which a batch reaches the network as it is.

    Fabric would round images to half precision first; the network normalises them in float32, and then autocast rounds.
    """

    def convert_input(self, data: Any) -> Any:
        """``data`` itself."""
        return data


def make_fabric(device: str, precision: str) -> Fabric:
    """A Fabric for ``auto``, ``cpu`` or ``cuda``; under torchrun it spans the ranks that torchrun started."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda was asked for but this machine offers no CUDA device; use --device cpu or auto")
    accelerator = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    world = int(os.environ.get("WORLD_SIZE", "1"))
    nodes = world // max(int(os.environ.get("LOCAL_WORLD_SIZE", str(world))), 1)
    # Heads may leave parameters without gradient in a step (a batch without labels), which plain DDP rejects.
    # Buffers are not sent along: batch norms are synchronised, and methods keep their own alike on every rank.
    strategy: Any = DDPStrategy(find_unused_parameters=True, broadcast_buffers=False) if world > 1 else "auto"
    fabric = Fabric(
        accelerator=accelerator,
        devices=world // nodes,
        num_nodes=nodes,
        strategy=strategy,
        plugins=None if precision == "32" else ExactInputs(precision, accelerator),  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def require_precision(precision: str, device: torch.device) -> None:
    """Raises UserError for an arithmetic that the device has not."""
    if precision == "16-mixed" and device.type == "cpu":  # where autocast would take bfloat16 without a word
        raise UserError("recipe.precision 16-mixed needs a GPU; train with bf16-mixed or 32 on the CPU")


def synchronise_norms(module: nn.Module) -> None:
    """Let the batch norms in ``module`` that learn see the batches of all ranks.

    Frozen ones stay as they are: they follow no batch, and a codec that one rank fits must not wait for the others.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            learnt = [parameter.requires_grad for parameter in child.parameters()]
            if any(learnt) or not learnt:  # one without parameters follows its batches all the same
                setattr(module, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))
        else:
            synchronise_norms(child)
