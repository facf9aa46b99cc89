"""Palettes: one RGB colour per class, the table beta that writes a label map as an image (GSS, sec. 3.2).

A codec that errs slightly in colour still decodes to the right class as long as the error stays below half the distance
to the next colour, so the smallest pairwise distance is what a palette is judged by. Colours are multiples of 1 / 255.
"""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from methods.base import Classes, MethodError

PaletteKind = Literal["max_distance", "grid", "random", "dataset"]

STEPS = 500
"""Steps of the optimiser of ``max_distance``."""
RESTART_ENTRIES = 75_000
"""Distances evaluated at once by its restarts: few classes get up to ``MAX_RESTARTS``, 194 get two."""
MAX_RESTARTS = 16
TEMPERATURES = (0.1, 0.003)
"""Softness of the minimum, first and last, as a share of the squared spacing of a cubic grid. A softer start settles
on that very grid (127.5 for 19 classes) and never leaves it."""
JITTER = 15
"""Largest displacement of a grid colour per channel, in 8-bit steps [released code]."""


def make_palette(kind: PaletteKind, classes: Classes, seed: int) -> Tensor:
    """Colours (C, 3) float32 in [0, 1] of ``classes``.

    ``max_distance`` repels colours from each other (the paper's assumption); ``grid`` is a regular grid, each colour
    displaced at random, as in the released code; ``random`` draws uniformly (FF-R); ``dataset`` takes the class
    set's own colours. ``seed`` decides all but the last. Raises MethodError where two classes of the data set share
    a colour.
    """
    count = len(classes)
    if kind == "dataset":
        colours = torch.tensor(classes.colours, dtype=torch.float32).view(count, 3)
        _refuse_duplicates(classes)
    elif kind == "grid":
        colours = _grid(count, seed)
    elif kind == "random":
        colours = torch.randint(256, (count, 3), generator=torch.Generator().manual_seed(seed)).float()
    else:
        colours = _max_distance(count, seed)
    return colours / 255


def minimum_distance(palette: Tensor) -> float:
    """Smallest distance between two colours of ``palette`` (C, 3), in its own units; infinite for one colour."""
    if len(palette) < 2:
        return float("inf")
    return float(torch.pdist(palette.detach().double()).min())


def _refuse_duplicates(classes: Classes) -> None:
    names: dict[tuple[int, int, int], str] = {}
    for name, colour in zip(classes.names, classes.colours):
        if colour in names:
            raise MethodError(
                f"classes {names[colour]!r} and {name!r} have the same colour {colour} in this data set; "
                "choose another method.palette, for example max_distance"
            )
        names[colour] = name


def _grid(count: int, seed: int) -> Tensor:
    """A grid with the fewest levels on its finest axis, then the fewest colours; surplus is dropped from the start."""
    shapes = itertools.combinations_with_replacement(range(1, min(count, 16) + 1), 3)
    shape = min((s for s in shapes if s[0] * s[1] * s[2] >= count), key=lambda s: (max(s), s[0] * s[1] * s[2]))
    axes = [torch.linspace(JITTER, 255 - JITTER, levels) for levels in shape]
    colours = torch.cartesian_prod(*axes)[-count:]
    displaced = torch.randint(-JITTER, JITTER + 1, colours.shape, generator=torch.Generator().manual_seed(seed))
    return (colours.round() + displaced).clamp(0, 255)


@lru_cache(maxsize=64)
def _max_distance(count: int, seed: int) -> Tensor:
    """Maximise a soft minimum of the squared distances inside the cube, ever harder, by projected Adam."""
    generator = torch.Generator().manual_seed(seed)
    restarts = max(1, min(MAX_RESTARTS, RESTART_ENTRIES // count**2))
    colours = torch.rand(restarts, count, 3, generator=generator, dtype=torch.float64)
    if count == 1:
        return (colours[0] * 255).round().float()
    spacing = 1 / max(count ** (1 / 3) - 1, 1)
    first, second = torch.zeros_like(colours), torch.zeros_like(colours)
    for step in range(STEPS):
        done = step / STEPS
        temperature = spacing**2 * TEMPERATURES[0] * (TEMPERATURES[1] / TEMPERATURES[0]) ** done
        weights = (-_squared_distances(colours) / temperature).flatten(1).softmax(dim=1).view(restarts, count, count)
        # The direction of the gradient of the soft minimum; Adam does not see its length.
        gradient = weights @ colours - weights.sum(dim=2, keepdim=True) * colours
        first = 0.9 * first + 0.1 * gradient
        second = 0.99 * second + 0.01 * gradient.square()
        mean, spread = first / (1 - 0.9 ** (step + 1)), (second / (1 - 0.99 ** (step + 1))).sqrt()
        colours = (colours - 0.03 * spacing * (1 - done) * mean / (spread + 1e-12)).clamp(0, 1)
    best = _squared_distances(colours).flatten(1).amin(dim=1).argmax()
    return (colours[best] * 255).round().float()


def _squared_distances(colours: Tensor) -> Tensor:
    """(R, C, C) from (R, C, 3), infinite on the diagonal."""
    distances = torch.cdist(colours, colours, compute_mode="donot_use_mm_for_euclid_dist").square()
    return distances + torch.diag(torch.full((colours.shape[1],), torch.inf, dtype=colours.dtype))
