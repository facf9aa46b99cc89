"""Several ranks as forked processes on the CPU, which talk by gloo as those of a run do."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

PATIENCE = 300
"""Seconds after which a rank that waits for ever says where, and ends."""


def on_ranks(world: int, work: Callable[[int], Any], folder: Path) -> list[Any]:
    """What ``work(rank)`` returned on each of ``world`` ranks; tensors and what else ``torch.save`` knows."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    paths = [folder / f"rank-{rank}.pt" for rank in range(world)]

    def child(rank: int) -> None:
        os.environ |= {
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world),
            "RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(world),
        }  # fmt: skip
        faulthandler.dump_traceback_later(PATIENCE, exit=True, file=sys.__stderr__)
        torch.save(work(rank), paths[rank])
        torch.distributed.destroy_process_group()

    folder.mkdir(parents=True, exist_ok=True)
    processes = [multiprocessing.get_context("fork").Process(target=child, args=(rank,)) for rank in range(world)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * world
    return [torch.load(path, weights_only=False) for path in paths]
