"""A prior over token grids that needs no image: an autoregressive network of masked convolutions.

GSS's own prior p(z | x) needs an image. Drawing label maps from the latents alone needs p(z), which the paper does
not define; here it is what van den Oord et al. put on the latents of their VQ-VAE (NIPS 2017, section 4.2): a gated
PixelCNN (van den Oord et al., NIPS 2016), in which every token depends on those above and to the left. It is estimated
from the tokens of the training label maps. Where in the image a cell lies is an input too, since scenes are not
stationary: without it, a receptive field of a few cells would put sky under the road.

Shapes: h x w the token grid, V the vocabulary, W the channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Progress

REACH = 2
"""Cells that one layer looks up and to the left."""
CLIP_NORM = 1.0
LEARNING_RATE = 4e-3


def shift_down(maps: Tensor) -> Tensor:
    """``maps`` (B, W, h, w) with every row moved one further down: a cell then holds only what is above it."""
    return F.pad(maps, (0, 0, 1, 0))[..., :-1, :]


def shift_right(maps: Tensor) -> Tensor:
    """``maps`` (B, W, h, w) with every column moved one to the right: a cell then holds only what is left of it."""
    return F.pad(maps, (1, 0))[..., :-1]


def gate(maps: Tensor) -> Tensor:
    """The gated activation, (B, 2 W, h, w) to (B, W, h, w)."""
    values, gates = maps.chunk(2, dim=1)
    return values.tanh() * gates.sigmoid()


class GatedLayer(nn.Module):
    """One layer of the two stacks, of which no cell sees itself or what comes after it in reading order.

    The vertical stack sees all columns of the rows above, the horizontal one the cells to the left, and the vertical
    stack through it; together they have no blind spot.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.vertical = nn.Conv2d(width, 2 * width, (REACH + 1, 2 * REACH + 1))
        self.horizontal = nn.Conv2d(width, 2 * width, (1, REACH + 1))
        self.across = nn.Conv2d(2 * width, 2 * width, 1)
        self.out = nn.Conv2d(width, width, 1)

    def look_up(self, above: Tensor) -> tuple[Tensor, Tensor]:
        """The next vertical maps (B, W, h, w), and what they tell the horizontal stack (B, 2 W, h, w)."""
        seen = self.vertical(F.pad(above, (REACH, REACH, REACH, 0)))
        return above + gate(seen), self.across(seen)

    def look_left(self, left: Tensor, told: Tensor) -> Tensor:
        """The next horizontal maps (B, W, h, w) of ``left``, which has ``REACH`` further columns on its left."""
        moved: Tensor = left[..., REACH:] + self.out(gate(self.horizontal(left) + told))
        return moved


class TokenPrior(nn.Module):
    """log p(z) of token grids of one size, as a product over cells in reading order.

    Args:
        vocabulary: V.
        grid: (h, w).
        width: W.
        layers: gated layers; the receptive field reaches ``REACH`` cells per layer.
    """

    def __init__(self, vocabulary: int, grid: tuple[int, int], width: int = 64, layers: int = 4) -> None:
        super().__init__()
        self.grid = grid
        self.embedding = nn.Embedding(vocabulary, width)
        self.rows = nn.Parameter(torch.zeros(1, width, grid[0], 1))
        self.columns = nn.Parameter(torch.zeros(1, width, 1, grid[1]))
        self.layers = nn.ModuleList(GatedLayer(width) for _ in range(layers))
        self.classifier = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, vocabulary, 1))

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, V, h, w) of the distribution of each of ``tokens`` (B, h, w) given those before it."""
        embedded, places = self._embed(tokens), self.rows + self.columns
        left = shift_right(embedded) + places
        for layer, told in zip(self._layers, self._told(embedded, places)):
            left = layer.look_left(F.pad(left, (REACH, 0)), told)
        logits: Tensor = self.classifier(left)
        return logits

    @property
    def _layers(self) -> list[GatedLayer]:
        return [layer for layer in self.layers if isinstance(layer, GatedLayer)]

    def _embed(self, tokens: Tensor) -> Tensor:
        codes: Tensor = self.embedding(tokens)
        return codes.permute(0, 3, 1, 2)

    def _told(self, embedded: Tensor, places: Tensor) -> list[Tensor]:
        """What the vertical stack tells the horizontal one, by layer."""
        above, told = shift_down(embedded) + places, []
        for layer in self._layers:
            above, told_here = layer.look_up(above)
            told.append(told_here)
        return told

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator, progress: Progress) -> Tensor:
        """Draw ``count`` token grids (count, h, w) in reading order.

        A row takes the vertical stack once, over the rows that it can see, and the horizontal stack once per cell, at
        that cell alone. ``generator`` is a CPU one: the draws are the same on every device.
        """
        height, width = self.grid
        device, reach = self.rows.device, REACH * len(self.layers) + 1
        tokens = torch.zeros(count, height, width, dtype=torch.int64, device=device)
        places = self.rows + self.columns
        for row in progress(range(height), "drawing tokens", height):
            top = max(row - reach, 0)
            seen = self._embed(tokens[:, top : row + 1])
            told = [maps[:, :, -1:] for maps in self._told(seen, places[:, :, top : row + 1])]
            maps = [seen.new_zeros(*seen.shape[:2], 1, REACH + width) for _ in range(len(self.layers) + 1)]
            previous = seen.new_zeros(*seen.shape[:2])
            for column in range(width):
                here = column + REACH
                maps[0][..., 0, here] = previous + places[:, :, row, column]
                for number, layer in enumerate(self._layers):
                    window, told_here = maps[number][..., column : here + 1], told[number][..., column : column + 1]
                    maps[number + 1][..., here : here + 1] = layer.look_left(window, told_here)
                chances = self.classifier(maps[-1][..., here : here + 1])[:, :, 0, 0].float().softmax(dim=1)
                drawn = torch.multinomial(chances.cpu(), 1, generator=generator)[:, 0].to(device)
                tokens[:, row, column] = drawn
                previous = self.embedding(drawn)
        return tokens


def fit_token_prior(
    tokens: Tensor,
    vocabulary: int,
    steps: int,
    batch_size: int,
    seed: int,
    progress: Progress,
    width: int = 64,
) -> TokenPrior:
    """Estimate the prior of ``tokens`` (n, h, w) by maximum likelihood, deterministically from ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        prior = TokenPrior(vocabulary, (tokens.shape[1], tokens.shape[2]), width)
    prior = prior.to(tokens.device)
    generator = torch.Generator().manual_seed(seed)
    with torch.enable_grad():
        optimiser = torch.optim.AdamW(prior.parameters(), lr=LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=LEARNING_RATE, total_steps=max(steps, 2))
        for _ in progress(range(steps), "fitting the token prior", steps):
            chosen = torch.randint(len(tokens), (batch_size,), generator=generator).to(tokens.device)
            batch = tokens[chosen].long()
            loss = F.cross_entropy(prior(batch), batch)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(prior.parameters(), CLIP_NORM)
            optimiser.step()
            schedule.step()
    return prior.eval().requires_grad_(False)
