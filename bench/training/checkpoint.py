"""The state of an unfinished training, kept so that it continues as if nothing had interrupted it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import torch
from lightning.fabric import Fabric

from bench.common import files
from bench.common.console import note
from bench.common.errors import UserError, first_line
from bench.common.tensors import serialised
from bench.config.tables import RunConfig
from bench.model.network import UNREADABLE
from bench.plugins.files import changed_plugin
from methods.base import Method

CHECKPOINT = "training.ckpt"
"""In the run's folder; removed when the final model is written."""
ABOUT = "state of an unfinished training"
"""What its seal says."""
REMEDY = "use --force to start the run over"


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
    micro_batch: int | None = None
    """Images that pass at once, where the recipe leaves it to be found; ``resume`` sets it."""

    def save(
        self,
        method: Method,
        optimiser: torch.optim.Optimizer,
        step: int,
        seconds: float,
        losses: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """Keep the state after ``step`` steps, which took ``seconds`` and had these ``losses`` when last logged."""
        state = {
            "precision": self.fabric.strategy.precision.state_dict(),
            "fingerprint": self.config.fingerprint(),
            "content": self.content,
            "plugins": dict(self.plugins),
            "step": step,
            "method": method.state_dict(),
            "optimiser": optimiser.state_dict(),
            "history": {"seconds": seconds, "losses": dict(losses), "micro_batch": self.micro_batch},
        }
        files.write_sealed(self.path, serialised(state), ABOUT)

    def resume(self, method: Method, optimiser: torch.optim.Optimizer) -> tuple[int, float, dict[str, float]]:
        """Load the state, if there is any; the steps that are done, the seconds they took and the losses last logged.

        Raises UserError for a file that is damaged, or of another run, other data or another plugin.
        """
        if not self.path.exists():
            return 0, 0.0, {}
        steps = self.config.recipe.steps
        try:
            content = io.BytesIO(files.read_sealed(self.path, ABOUT))
            state = torch.load(content, map_location=self.fabric.device, weights_only=True)
            if not isinstance(state, dict):
                raise ValueError(f"it holds a {type(state).__name__}")
            if state["fingerprint"] != self.config.fingerprint():
                raise UserError(f"checkpoint {self.path} belongs to another run; use --force to start over")
            if None not in (self.content, state.get("content")) and state["content"] != self.content:
                raise UserError(
                    f"checkpoint {self.path} was trained on other data than is there now; restore that data, or use "
                    "--force to start the run over"
                )
            changed = changed_plugin(state.get("plugins", {}), self.plugins)
            if changed is not None:
                raise UserError(
                    f"checkpoint {self.path} was trained with another {changed} than is there now; put that one "
                    "back, or use --force to start the run over"
                )
            method.load_state_dict(state["method"])
            optimiser.load_state_dict(state["optimiser"])
            self.fabric.strategy.precision.load_state_dict(state["precision"])
            step, seconds = int(state["step"]), float(state["history"]["seconds"])
            losses = dict(state["history"].get("losses", {}))
            self.micro_batch = state["history"].get("micro_batch")
            if not 0 < step < steps + bool(losses):  # kept after the last step, it would have some
                raise ValueError(f"it is of step {step}, of {steps}")
        except files.Damaged as error:
            raise UserError(f"checkpoint {error}; {REMEDY}") from None
        except (*UNREADABLE, TypeError, AttributeError, IndexError) as error:  # the latter from other types
            raise UserError(f"checkpoint {self.path} is damaged ({first_line(error)}); {REMEDY}") from None
        note(f"resuming {self.config.run_id()} at step {step} of {steps}")
        return step, seconds, losses
