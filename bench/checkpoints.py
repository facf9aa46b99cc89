"""The state of an unfinished training, kept so that it continues as if nothing had interrupted it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from lightning.fabric import Fabric

from bench.config import RunConfig
from bench.console import note
from bench.errors import UserError
from bench.network import UNREADABLE
from bench.provenance import changed_plugin
from bench.records import atomic
from bench.tensors import serialised
from methods.base import Method

CHECKPOINT = "training.ckpt"
"""In the run's folder; removed when the final model is written."""


@dataclass
class Checkpoint:
    """The checkpoint file of one run."""

    path: Path
    config: RunConfig
    fabric: Fabric
    content: str | None = None
    """A hash of the training data, where it is known."""
    plugins: Mapping[str, str] = field(default_factory=dict)
    """Hashes of the files of a method and a data set from outside the suite, by name."""

    def save(self, method: Method, optimiser: torch.optim.Optimizer, step: int, seconds: float) -> None:
        """Keep the state after ``step`` steps, which took ``seconds``."""
        state = {
            "precision": self.fabric.strategy.precision.state_dict(),
            "fingerprint": self.config.fingerprint(),
            "content": self.content,
            "plugins": dict(self.plugins),
            "step": step,
            "method": method.state_dict(),
            "optimiser": optimiser.state_dict(),
            "history": {"seconds": seconds},
        }
        with atomic(self.path) as temporary:
            temporary.write_bytes(serialised(state))

    def resume(self, method: Method, optimiser: torch.optim.Optimizer) -> tuple[int, float]:
        """Load the state, if there is any; the steps that are done and the seconds they took.

        Raises UserError for a file that is damaged, or of another run, other data or another plugin.
        """
        if not self.path.exists():
            return 0, 0.0
        try:
            state = torch.load(self.path, map_location=self.fabric.device, weights_only=True)
            if state["fingerprint"] != self.config.fingerprint():
                raise UserError(f"checkpoint {self.path} belongs to another run; use --force to start anew")
            if None not in (self.content, state.get("content")) and state["content"] != self.content:
                raise UserError(
                    f"checkpoint {self.path} was trained on other data than is there now; restore that data, or use "
                    "--force to start the run anew"
                )
            changed = changed_plugin(state.get("plugins", {}), self.plugins)
            if changed is not None:
                raise UserError(
                    f"checkpoint {self.path} was trained with another {changed} than is there now; put that one "
                    "back, or use --force to start the run anew"
                )
            method.load_state_dict(state["method"])
            optimiser.load_state_dict(state["optimiser"])
            self.fabric.strategy.precision.load_state_dict(state["precision"])
            step, seconds = int(state["step"]), float(state["history"]["seconds"])
        except UNREADABLE as error:
            cause = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"checkpoint {self.path} is damaged ({cause}); use --force to start the run anew") from None
        note(f"resuming {self.config.run_id()} at step {step} of {self.config.recipe.steps}")
        return step, seconds
