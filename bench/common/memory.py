"""Running out of memory: one sentence that says what to lower, wherever it happens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch

from bench.common.errors import OutOfMemory


def ran_out(error: BaseException) -> bool:
    """Whether ``error`` says that a device, or torch on the processor, got no more memory."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


@contextmanager
def within_memory(doing: str, remedy: str) -> Iterator[None]:
    """Raise OutOfMemory, which says what to lower, in place of torch's error."""
    try:
        yield
    except RuntimeError as error:
        if not ran_out(error):
            raise
        raise OutOfMemory(f"out of memory in {doing}: {remedy}") from None


def largest(attempt: Callable[[int], None], sizes: Iterable[int]) -> int | None:
    """The first of ``sizes`` for which ``attempt(size)`` does not run out of memory; None if there is none."""
    for size in sizes:
        try:
            attempt(size)
        except RuntimeError as error:
            if not ran_out(error):
                raise
        else:
            return size
        torch.cuda.empty_cache()  # its pieces are those of a larger size
    return None
