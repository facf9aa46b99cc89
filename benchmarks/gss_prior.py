"""What GSS's token loss costs: the last layer and the cross-entropy, forward and backward, against the plain form.

python benchmarks/gss_prior.py                    # V = 8192 at 65,536 tokens: needs 10 GB of memory for the plain form
python benchmarks/gss_prior.py --small            # V = 1024 at 8192 tokens, the default codec on four small images

``plain`` is a 1x1 convolution to V logits and ``F.cross_entropy``; ``chunked`` is ``linear_cross_entropy``. Losses and
gradients are compared before anything is timed. Memory is the peak of a forward and backward pass beyond its inputs,
in a fresh process each; ``beyond the logits`` subtracts the one copy of the logits that any loss on given logits needs
(``chunked`` holds none, so it can be negative). Times are medians of rounds taken in turns: processor time of one
thread on the CPU, elapsed time on an accelerator.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from common import in_turns, peak_above, peak_elsewhere
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from methods.gss.losses import linear_cross_entropy

console = Console()


class Size(NamedTuple):
    tokens: int
    vocabulary: int
    hidden: int = 256


FULL = Size(tokens=65536, vocabulary=8192)
SMALL = Size(tokens=8192, vocabulary=1024)

Inputs = tuple[Tensor, Tensor, Tensor, Tensor]
"""Rows, weight, bias, targets."""


def make_inputs(size: Size, device: torch.device) -> Inputs:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(size.tokens, size.hidden, generator=generator)
    weight = torch.randn(size.vocabulary, size.hidden, generator=generator) / size.hidden**0.5
    bias = torch.zeros(size.vocabulary)
    targets = torch.randint(size.vocabulary, (size.tokens,), generator=generator)
    rows, weight, bias = (t.to(device).requires_grad_() for t in (rows, weight, bias))
    return rows, weight, bias, targets.to(device)


def plain(rows: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    maps = F.conv2d(rows.t()[None, :, :, None], weight[:, :, None, None], bias)
    return F.cross_entropy(maps, targets[None, :, None], reduction="sum")


FORMS: dict[str, Callable[..., Tensor]] = {"plain": plain, "chunked": linear_cross_entropy}


def gradients(form: str, inputs: Inputs) -> tuple[Tensor, ...]:
    """The mean loss with its gradients, as a training step takes them."""
    loss = FORMS[form](*inputs) / len(inputs[-1])
    return (loss.detach(), *torch.autograd.grad(loss, inputs[:-1]))


def check(device: torch.device) -> None:
    inputs = make_inputs(Size(tokens=500, vocabulary=300, hidden=32), device)
    for ours, theirs in zip(gradients("chunked", inputs), gradients("plain", inputs)):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="V = 1024 at 8192 tokens")
    parser.add_argument("--device", default="cpu", type=torch.device)
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--peak", choices=FORMS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    size, device = SMALL if arguments.small else FULL, arguments.device
    inputs = make_inputs(size, device)
    if arguments.peak:
        gradients(arguments.peak, make_inputs(Size(64, 64), device))  # libraries load and threads start
        sys.stdout.write(str(peak_above(lambda: gradients(arguments.peak, inputs), device)))
        return

    check(device)
    times = in_turns({form: partial(gradients, form, inputs) for form in FORMS}, device, arguments.rounds)
    logits = size.tokens * size.vocabulary * 4
    table = Table(
        title=f"Token loss, forward and backward: N={size.tokens} V={size.vocabulary} D={size.hidden}, {device}"
    )
    for column in ("form", "seconds", "peak GB", "beyond the logits GB"):
        table.add_column(column, justify="left" if column == "form" else "right")
    for form, seconds in times.items():
        held = peak_elsewhere(form)
        cells = (seconds, held / 1e9, (held - logits) / 1e9)
        table.add_row(form, *(f"{cell:.2f}" for cell in cells))
    console.print(table)


if __name__ == "__main__":
    main()
