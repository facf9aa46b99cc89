"""Where a pixel is in its image, defined once for training, bank building and prediction.

Shapes: B images of h x w cells, K clusters.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def coordinates(valid: Tensor) -> Tensor:
    """Row and column (B, h, w, 2) of each cell in the bounding box of its image's ``valid`` (B, h, w) cells.

    Cell centres, from -0.5 to 0.5 along either side of the box whatever its size, so that neither padding nor what
    else is in the batch matters. Cells outside the box lie beyond this range.
    """

    def along(present: Tensor) -> Tensor:
        size = present.shape[1]
        index = torch.arange(size, device=present.device)
        first = torch.where(present, index, size).amin(dim=1, keepdim=True)
        last = torch.where(present, index, -1).amax(dim=1, keepdim=True)
        return (index + 0.5 - first) / (last - first + 1).clamp(min=1) - 0.5

    rows, columns = along(valid.any(dim=2)), along(valid.any(dim=1))
    return torch.stack(torch.broadcast_tensors(rows.unsqueeze(2), columns.unsqueeze(1)), dim=3)


def seed_cells(position: Tensor, clusters: int) -> Tensor:
    """Initial cluster (..., ) int64 of the positions (..., 2) from ``coordinates``: K cells of nearly equal area.

    K = g * g gives the paper's regular g x g grid; any other K gives round(sqrt(K)) rows of cells, of lengths
    that differ by one at most, the longer rows below.
    """
    rows = round(math.sqrt(clusters))
    shortest, longer = divmod(clusters, rows)
    per_row = torch.full((rows,), shortest, device=position.device)
    per_row[rows - longer :] += 1
    first = per_row.cumsum(dim=0) - per_row

    fraction = position + 0.5
    row = (fraction[..., 0] * rows).long().clamp(0, rows - 1)
    columns = per_row[row]
    column = torch.minimum((fraction[..., 1] * columns).long().clamp(min=0), columns - 1)
    return first[row] + column
