"""Devices and ranks: a Fabric over what there is, and what several ranks share."""

from __future__ import annotations

import contextlib
import copy
import itertools
import logging
import os
import socket
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import psutil
import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.precision import MixedPrecision
from lightning.fabric.strategies.ddp import DDPStrategy
from timm.layers.norm_act import BatchNormAct2d, convert_sync_batchnorm
from torch import Tensor, nn

from bench.common import interruption
from bench.common.console import console
from bench.common.errors import RankLost, UserError
from methods.base import Collectives

SYNCHRONISED: Callable[..., nn.Module] = convert_sync_batchnorm
"""timm's conversion of a norm, which keeps the activation in which some of its norms end; torch's drops it."""


class FabricCollectives(Collectives):
    """Collectives over the ranks of a Fabric, in a group of their own: in it no gradient of DDP's comes between."""

    def __init__(self, fabric: Fabric) -> None:
        self.rank, self.world_size = fabric.global_rank, fabric.world_size
        self.device = fabric.device
        """By which the ranks talk; tensors on another are taken there and back."""
        self.group: Any = torch.distributed.new_group()
        self.purpose = "method"
        self.bytes = Counter[str]()
        """Handed to the others so far by purpose, those of backward passes included."""

    def counted_as(self, purpose: str) -> FabricCollectives:
        """The same, of which the bytes are counted as handed for ``purpose``."""
        other = copy.copy(self)
        other.purpose = purpose
        return other

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        """Sum over ranks."""
        result: Tensor = _Sum.apply(tensor.to(self.device), self).to(tensor.device)
        return result

    def all_gather(self, tensor: Tensor) -> Tensor:
        """Stack in rank order."""
        result: Tensor = _Gathered.apply(tensor.to(self.device), self).to(tensor.device)
        return result

    def sum_in_place(self, tensor: Tensor) -> Tensor:
        """``tensor`` itself, to which those of the other ranks are added."""
        self.bytes[self.purpose] += tensor.nbytes
        torch.distributed.all_reduce(tensor, group=self.group)
        return tensor


def handed(collectives: Collectives) -> Counter[str]:
    """Bytes that ``collectives`` handed to other ranks so far, by purpose."""
    return Counter(collectives.bytes) if isinstance(collectives, FabricCollectives) else Counter()


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, ranks: FabricCollectives) -> Tensor:
        ctx.ranks = ranks
        return ranks.sum_in_place(tensor.clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.ranks.sum_in_place(gradients[0].clone(memory_format=torch.contiguous_format)), None


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, ranks: FabricCollectives) -> Tensor:
        ctx.ranks = ranks
        ranks.bytes[ranks.purpose] += tensor.nbytes
        parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(ranks.world_size)]
        torch.distributed.all_gather(parts, tensor.contiguous(), group=ranks.group)
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        summed = ctx.ranks.sum_in_place(gradients[0].clone(memory_format=torch.contiguous_format))
        return summed[ctx.ranks.rank], None


def asked_to_stop(fabric: Fabric) -> bool:
    """Whether a signal asked any rank to end: all stop after the same step."""
    number = most(fabric, interruption.received() or 0)
    if fabric.world_size > 1 and number:
        interruption.receive(number)
    return number > 0


def most(fabric: Fabric, number: int) -> int:
    """The largest of the ``number`` of each rank, on all."""
    if fabric.world_size == 1:
        return number
    reduced = fabric.all_reduce(torch.tensor(number, device=fabric.device), reduce_op="max")
    return int(reduced)  # type: ignore[arg-type]


TRANSPORTS = ("gloo", "nccl", "connection closed by peer", "connection reset by peer")
"""By one of these words, in whatever case, a plain RuntimeError is known to come from what carries collectives."""

TOGETHER = 5.0
"""Seconds within which ranks fail that fail alike: they wait for each other at every step."""


@contextmanager
def watched(fabric: Fabric) -> Iterator[None]:
    """Raise RankLost in place of what else comes of a rank that is gone; none leaves before all are done.

    A rank that fails where others do not raises it too, from what it failed of: they wait for it, and end when it does.
    """
    if fabric.world_size == 1:
        yield
        return
    members: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(members, (socket.gethostname(), os.getpid()))
    block = next(_BLOCKS)
    try:
        yield
        fabric.barrier()
    except (Exception, SystemExit, interruption.Interrupted) as error:
        broken = isinstance(error, torch.distributed.DistError) or (
            isinstance(error, RuntimeError) and any(word in str(error).lower() for word in TRANSPORTS)
        )
        if not broken and not isinstance(error, interruption.Interrupted):
            if _all_fail(fabric, block):
                raise
            told = " ".join(str(error).split()) or type(error).__name__
            raise RankLost(f"rank {fabric.global_rank} of {fabric.world_size} failed alone ({told})") from error
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


_BLOCKS = itertools.count()
"""Of ``watched``, which all ranks enter as often."""


def _all_fail(fabric: Fabric, block: int) -> bool:
    """Whether all ranks come here within ``TOGETHER`` seconds. Collectives cannot tell, which others may wait in."""
    store = torch.distributed.distributed_c10d._get_default_store()
    failed = [f"bench/failed/{block}/{rank}" for rank in range(fabric.world_size)]
    until = time.monotonic() + TOGETHER
    with contextlib.suppress(RuntimeError):  # the first rank, which keeps the store, is gone
        store.set(failed[fabric.global_rank], "")
        while time.monotonic() < until:
            if store.check(failed):
                return True
            time.sleep(0.01)
    return False


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


def accelerator_for(device: str) -> torch.device:
    """What ``auto``, ``cpu`` or ``cuda`` means here. Raises UserError where it is absent."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda was asked for but this machine offers no CUDA device; use --device cpu or auto")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


NODE, PROCESS = ("GROUP_RANK", "NODE_RANK", "SLURM_NODEID"), ("LOCAL_RANK", "SLURM_LOCALID")
"""Variables in which torchrun, Fabric and srun say on which machine a process is, and which one there it is."""


def declare(devices: int | None, nodes: int, device: str) -> None:
    """Let what this process computes be shared by ``devices`` processes on each of ``nodes`` machines.

    ``make_fabric`` starts them, unless torchrun or srun did. None leaves their number to torchrun: without it, one.
    Raises UserError for more than there are.
    """
    if devices is None and nodes == 1:
        return
    devices = devices or 1
    world, started = devices * nodes, os.environ.get("WORLD_SIZE")
    if started is not None and int(started) != world:
        raise UserError(
            f"--devices {devices} on --nodes {nodes} are {world} processes, but {started} were started; leave both out "
            "under torchrun"
        )
    if accelerator_for(device).type == "cuda" and devices > (there := torch.cuda.device_count()):
        raise UserError(f"--devices {devices} were asked for but this machine has {there}; ask for no more")
    if world > 1:
        node, process = (next((os.environ[n] for n in names if n in os.environ), "0") for names in (NODE, PROCESS))
        rank = int(node) * devices + int(process)
        os.environ |= {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(devices), "RANK": str(rank)}
        console.quiet = rank > 0


def make_fabric(device: str, precision: str) -> Fabric:
    """A Fabric for ``auto``, ``cpu`` or ``cuda``; it spans the ranks that were declared, or that torchrun started."""
    accelerator = accelerator_for(device).type
    world = int(os.environ.get("WORLD_SIZE", "1"))
    nodes = world // max(int(os.environ.get("LOCAL_WORLD_SIZE", str(world))), 1)
    # Heads may leave parameters without gradient in a step (a batch without labels), which plain DDP rejects.
    # Buffers are not sent along: batch norms are synchronised, and methods keep their own alike on every rank.
    strategy: Any = DDPStrategy(find_unused_parameters=True, broadcast_buffers=False) if world > 1 else "auto"
    if world > 1:
        for name in ("lightning.fabric", "lightning.pytorch"):  # the latter speaks for both
            logging.getLogger(name).setLevel(logging.WARNING)
        warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")  # its successor is of late
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


def synchronise_norms(module: nn.Module, collectives: Collectives, device: torch.device) -> None:
    """Let the batch norms in ``module`` that learn see the batches of all ranks.

    Frozen ones stay as they are: they follow no batch, and a codec that one rank fits must not wait for the others.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            learnt = [parameter.requires_grad for parameter in child.parameters()]
            if not any(learnt) and learnt:  # one without parameters follows its batches all the same
                continue
            if device.type == "cuda":
                setattr(module, name, SYNCHRONISED(child, getattr(collectives, "group", None)))
            else:  # of which torch has no such norm
                setattr(child, "forward", partial(_normalised, child, collectives))  # noqa: B010
        else:
            synchronise_norms(child, collectives, device)


def _normalised(norm: nn.modules.batchnorm._BatchNorm, collectives: Collectives, maps: Tensor) -> Tensor:
    """What ``norm`` makes of ``maps`` (B, C, ...), of which every rank has as many, by the statistics of all."""
    if not norm.training:
        result: Tensor = type(norm).forward(norm, maps)
        return result
    world, others = collectives.world_size, [axis for axis in range(maps.ndim) if axis != 1]
    shape = [1, -1, *[1] * (maps.ndim - 2)]
    mean = collectives.all_reduce_sum(maps.float().mean(others)) / world
    centred = maps.float() - mean.view(shape)
    variance = collectives.all_reduce_sum(centred.square().mean(others)) / world
    if norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None:
        norm.num_batches_tracked += 1
        weight = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
        count = world * maps.numel() / maps.shape[1]
        norm.running_mean.lerp_(mean.detach(), weight)
        norm.running_var.lerp_(variance.detach() * (count / max(count - 1, 1)), weight)
    found = centred * (variance + norm.eps).rsqrt().view(shape)
    if norm.affine:
        found = found * norm.weight.view(shape) + norm.bias.view(shape)
    found = found.to(maps.dtype)
    if isinstance(norm, BatchNormAct2d):  # timm's, which ends in an activation
        found = norm.act(norm.drop(found))
    return found
