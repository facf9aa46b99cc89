"""The course of a training's losses, for people: a CSV file or TensorBoard."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.common import files
from bench.common.errors import UserError
from bench.common.text import cell


class LossLog:
    """Appends loss terms by name to ``losses.csv``, or to TensorBoard, in the run's folder."""

    def __init__(self, folder: Path, kind: str, first_step: int) -> None:
        self.path = folder / "losses.csv"
        self.board: Any = None
        self.sums: dict[str, float] = {}
        self.count = 0
        if kind == "tensorboard":
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise UserError("TensorBoard is not installed; pip install 'genseg-bench[tensorboard]'") from None
            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step)
        elif self.path.exists():
            self._keep_before(first_step)

    def _keep_before(self, first_step: int) -> None:
        """Drop the rows that a resumed run will write again, and half a row that a kill left."""
        try:
            with self.path.open(newline="") as file:
                rows = list(csv.reader(file))
            width = len(rows[0]) if rows else 0
            kept = [r for i, r in enumerate(rows) if i == 0 or (len(r) == width and int(r[0]) <= first_step)]
        except (ValueError, csv.Error):  # damaged: as no number depends on it, it begins again
            kept = []
        text = io.StringIO(newline="")
        csv.writer(text).writerows(kept if first_step else [])
        files.write(self.path, text.getvalue())

    def add(self, terms: Mapping[str, float]) -> None:
        """Take the terms of one step into the running mean."""
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1

    def flush(self, step: int, lr: float) -> dict[str, float]:
        """Write the mean since the last flush and return it."""
        means = {name: total / max(self.count, 1) for name, total in self.sums.items()}
        self.sums, self.count = {}, 0
        if self.board is not None:
            for name, value in {**means, "lr": lr}.items():
                self.board.add_scalar(f"train/{name}", value, step)
            self.board.flush()
            return means
        new = not self.path.exists() or self.path.stat().st_size == 0
        with files.naming(self.path), self.path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", "lr", *map(cell, means)])
            writer.writerow([step, f"{lr:.6g}", *(f"{v:.6g}" for v in means.values())])
        return means
