"""Attention within windows of a grid of any size (Liu et al. 2021), for the prior and the trained inverse map."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BAND_CELLS, CACHED_BAND_CELLS = 1 << 18, 1 << 12
"""Cells that go through a block at once, about: as many as fill a GPU, or on a CPU as fit its cache."""
MAX_HEADS = (1 << 16) - 1
"""Heads of one attention on a GPU: kernels have a block for each along an axis of the grid that ends here."""


def pointwise(convolution: nn.Conv2d, cells: Tensor) -> Tensor:
    """A 1x1 ``convolution`` of ``cells`` (B, H, W, C), channels innermost in memory, as a matrix product."""
    return F.linear(cells, convolution.weight.flatten(1), convolution.bias)


class WindowBlock(nn.Module):
    """A pre-norm transformer block with attention within square windows: (B, C, H, W) to (B, C, H, W).

    Windows tile the grid from its upper left corner; ``shifted`` ones begin half a window earlier, along each axis
    that is longer than one window, so that alternating blocks connect the whole grid. Windows that reach over the
    grid's edge attend only to their cells inside it. Every grid is therefore exact, whatever its size, and no image
    of a batch sees another.

    Args:
        channels: C.
        heads: attention heads; divides C.
        window: side of a window in cells.
        hidden: width of the perceptron.
        shifted: whether windows begin half a window earlier.

    Raises:
        ValueError: ``heads`` does not divide ``channels``.
    """

    offsets: Tensor
    """(window^2, window^2) int64: row of ``position_bias`` for each pair of cells of a window."""

    def __init__(self, channels: int, heads: int, window: int, hidden: int, shifted: bool) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{heads} heads do not divide {channels} channels")
        self.heads, self.window, self.shifted = heads, window, shifted
        self.attention_norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.projection = nn.Linear(channels, channels)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels)
        )
        span = 2 * window - 1
        self.position_bias = nn.Parameter(nn.init.trunc_normal_(torch.empty(span * span, heads), std=0.02))
        rows, columns = (axis.flatten() for axis in torch.meshgrid(*[torch.arange(window)] * 2, indexing="ij"))
        down, right = (axis[:, None] - axis[None, :] + window - 1 for axis in (rows, columns))
        self.register_buffer("offsets", down * span + right, persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Apply attention and perceptron, each with a residual, to ``maps`` (B, C, H, W).

        The result has its channels innermost in memory, which is also the layout that costs no copy. Rows of windows
        go through in bands that no window crosses, so that intermediate maps stay small however large the grid is.
        """
        cells = maps.movedim(1, -1)
        images, height, width, _ = cells.shape
        rows = self._rows_at_once(images, width, cells.device.type) * self.window
        top, _ = self._margins(height)
        first = min(rows - top, height)
        whole, rest = divmod(height - first, rows)
        bands = cells.split([first, *[rows] * whole, *[rest] * (rest > 0)], dim=1)
        done = [self._band(band, 0 if i else top) for i, band in enumerate(bands)]
        return (done[0] if len(done) == 1 else torch.cat(done, dim=1)).movedim(-1, 1)

    def _rows_at_once(self, images: int, width: int, device_type: str) -> int:
        """Rows of windows in a band of ``images`` of ``width`` cells."""
        if device_type == "cpu":
            return max(1, CACHED_BAND_CELLS // (images * width * self.window))
        heads = (width + sum(self._margins(width))) // self.window * self.heads  # windows count as heads
        return max(1, min(BAND_CELLS // (images * width * self.window), MAX_HEADS // heads))

    def _band(self, cells: Tensor, top: int) -> Tensor:
        """The block on a band of ``cells`` (B, h, W, C); the first windows reach ``top`` cells over its upper edge."""
        cells = cells + self._attend(self.attention_norm(cells), top)
        result: Tensor = cells + self.perceptron(cells)
        return result

    def _attend(self, cells: Tensor, top: int) -> Tensor:
        """Attention output (B, h, W, C) of a band of normalised ``cells`` (B, h, W, C)."""
        images, height, width, channels = cells.shape
        window, size = self.window, channels // self.heads
        bottom = -(top + height) % window
        left, right = self._margins(width)
        qkv = F.pad(self.qkv(cells), (0, 0, left, right, top, bottom))
        across, down = qkv.shape[2] // window, qkv.shape[1] // window

        # Windows count as heads: the mask, the same for every image, then broadcasts over the batch without a copy.
        split = qkv.view(images, down, window, across, window, 3, self.heads, size)
        q, k, v = split.permute(5, 0, 1, 3, 6, 2, 4, 7).reshape(3, images, -1, window * window, size)
        bias = self.position_bias[self.offsets].permute(2, 0, 1)
        inside = torch.zeros(qkv.shape[1:3], dtype=torch.bool, device=cells.device)
        inside[top : top + height, left : left + width] = True
        keys = inside.view(down, window, across, window).transpose(1, 2).reshape(-1, 1, 1, window * window)
        # No window lies outside as a whole, so every query has a key.
        mask = torch.where(keys, bias.to(q.dtype), float("-inf")).flatten(0, 1)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[None])

        merged = attended.view(images, down, across, self.heads, window, window, size)
        merged = merged.permute(0, 1, 4, 2, 5, 3, 6).reshape(images, down * window, across * window, channels)
        projected: Tensor = self.projection(merged[:, top : top + height, left : left + width])
        return projected

    def _margins(self, length: int) -> tuple[int, int]:
        """Cells to add before and after an axis of ``length`` cells so that windows tile it."""
        before = self.window // 2 if self.shifted and length > self.window else 0
        return before, -(before + length) % self.window
