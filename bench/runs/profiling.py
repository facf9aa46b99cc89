"""Where a training step and a prediction go: time by part, memory by part, and what ranks hand to each other."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from bench.common.errors import UserError
from bench.common.parts import Stopwatch, part
from bench.config.tables import RunConfig
from bench.model.predictor import Predictor
from bench.plugins import registry
from bench.runs.plan import opener
from bench.schema.record import Training
from bench.training import loop, ranks
from bench.training.optimiser import make_optimiser
from datasets.base import Dataset, Roots
from datasets.supervision import supervise
from methods.base import Batch, Context, Losses, Method
from methods.capabilities import NotTrained, TrainedElsewhere

IMAGES = 16
"""Training images that are used: what a method makes of all of them before and after its steps is not measured."""
WARM_UP = 2
"""Steps that are not counted: the first ones allocate and choose algorithms."""
TRACED = 2
"""Steps in a Chrome trace, which grows by megabytes with each."""
PARTS = ("data", "network", "head", "loss", "decoding", "backward", "optimiser", "after_step", "rest")
"""In the order of a step. ``head`` is what the method's own modules compute, ``loss`` what else its losses do, and
``decoding`` what else a prediction does."""


@dataclass
class Profile:
    """Means over some steps."""

    training: dict[str, float] = field(default_factory=dict)
    """Seconds by part of a training step; empty for what takes none."""
    inference: dict[str, float] = field(default_factory=dict)
    """Seconds by part of the prediction of an image."""
    memory: dict[str, int] = field(default_factory=dict)
    """Bytes that a training step holds, by what for."""
    cost: Training | None = None
    """Of the steps, as a record has it; None of what takes none."""


def profile(
    method_class: type[Method],
    config: RunConfig,
    root: Roots,
    device: str,
    steps: int,
    out: Path | None = None,
    model: Method | None = None,
    features: Path | None = None,
) -> Profile:
    """Measure ``steps`` training steps of ``config``, and as many predictions of ``model``, or of what was trained.

    The first rank writes Chrome traces of some of both to the folder ``out``. ``features`` is the model of the run that
    lends its network. Raises UserError for what is not trained here and MissingData for what it is trained on.
    """
    source = registry.datasets.get(config.data.name)
    if source.train_split is None:
        raise UserError(f"{source.name} has no training split; profile on another data set")
    if model is None and issubclass(method_class, TrainedElsewhere):
        raise UserError(f"{method_class.name} was trained elsewhere; profile a finished run of it")
    fabric = ranks.make_fabric(device, config.recipe.precision)
    dense = copy.copy(opener(root, config.data.allow_partial)(source.name, source.train_split))
    dense.items = dense.items[:IMAGES]
    made = WARM_UP + steps + 1  # the last one ends with what follows the steps
    recipe = config.recipe.model_copy(update={"steps": made, "checkpoint_every": made, "log_every": made})
    config = config.model_copy(update={"recipe": recipe, "ranks": fabric.world_size})
    found = Profile()
    with tempfile.TemporaryDirectory(prefix="bench-profile-") as name, ranks.watched(fabric):
        folder = Path(name)
        if not issubclass(method_class, TrainedElsewhere):
            reading = config.data.void_is_unlabelled
            seen = supervise(dense, config.data.supervision, config.seed, folder, void_is_unlabelled=reading)
            batches: list[Batch] = []
            watched = _watched(method_class, batches)
            after = dense if config.data.supervision == "none" else None
            with _measured(fabric, out, "training") as stopwatch:
                trained = loop.train(
                    watched, config, seen, fabric, folder, folder, after_training=after, features=features
                )
            if not issubclass(method_class, NotTrained):
                found.training = _mean(stopwatch.steps)
                found.memory = memory(trained.method, batches[-1], config, fabric)
                found.cost = trained.training
        if model is None:
            model = trained.method
        else:
            _name_parts(model)
        with _measured(fabric, out, "inference") as stopwatch:
            _predict(model.to(fabric.device), dense, config, fabric.device, made)
        found.inference = _mean(stopwatch.steps)
    return found


def _mean(steps: Sequence[Mapping[str, float]]) -> dict[str, float]:
    counted = steps[WARM_UP:-1]
    return {n: fmean(step.get(n, 0.0) for step in counted) for n in PARTS if any(n in step for step in counted)}


@contextmanager
def _measured(fabric: Fabric, out: Path | None, name: str) -> Iterator[Stopwatch]:
    """A stopwatch on what is done inside; the first rank writes a trace of some steps to the folder ``out``."""
    if out is None or not fabric.is_global_zero:
        with Stopwatch(fabric.device) as stopwatch:
            yield stopwatch
        return
    path = out / f"{name}.json"
    out.mkdir(parents=True, exist_ok=True)
    with (
        torch.profiler.profile(
            schedule=torch.profiler.schedule(wait=WARM_UP, warmup=1, active=TRACED, repeat=1),
            on_trace_ready=lambda profiler: profiler.export_chrome_trace(str(path)),
            profile_memory=True,
        ) as profiler,
        Stopwatch(fabric.device, profiler.step) as stopwatch,
    ):
        yield stopwatch


def _watched(method_class: type[Method], batches: list[Batch]) -> type[Method]:
    """``method_class`` with its modules as parts, which adds what it learns from to ``batches``."""

    def prepare(self: Method, context: Context) -> None:
        _name_parts(self)
        method_class.prepare(self, context)

    def losses(self: Method, batch: Batch) -> Losses:
        batches[:] = [batch]
        return method_class.losses(self, batch)

    return type(method_class.__name__, (method_class,), {"prepare": prepare, "losses": losses})


def _name_parts(method: Method) -> None:
    for name, module in method.named_children():
        _name(module, "network" if name == "network" else "head")


def _name(module: nn.Module, name: str) -> None:
    """Let what ``module`` computes be the part ``name``."""
    entered = []

    def enter(*_: object) -> None:
        entered.append(part(name))
        entered[-1].__enter__()

    def leave(*_: object) -> None:
        entered.pop().__exit__(None, None, None)

    module.register_forward_pre_hook(enter)
    module.register_forward_hook(leave, always_call=True)


def _predict(method: Method, dataset: Dataset, config: RunConfig, device: torch.device, images: int) -> None:
    predictor = Predictor(method, config.recipe.inference, device)
    for index in range(images):
        with part("data"):
            image = dataset[index % len(dataset)].image
        with part("decoding"):
            predictor(image)


def memory(method: Method, batch: Batch, config: RunConfig, fabric: Fabric) -> dict[str, int]:
    """Bytes of what a training step of ``batch`` holds, by what for; ``activations`` are kept for the backward pass."""
    module = loop.LossModule(method).train()
    optimiser = make_optimiser(method, config.recipe.optimiser)
    own: dict[str, list[Tensor]] = {"parameters": [*method.parameters()], "buffers": [*method.buffers()]}
    own["batch"] = [value for value in vars(batch).values() if isinstance(value, Tensor)]
    known = {tensor.untyped_storage().data_ptr() for tensors in own.values() for tensor in tensors}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), fabric.autocast():
        terms, _ = module(batch)
    torch.stack([term.float() for term in terms.values()]).sum().backward()
    optimiser.step()
    own["gradients"] = [parameter.grad for parameter in method.parameters() if parameter.grad is not None]
    own["optimiser"] = [v for state in optimiser.state.values() for v in state.values() if isinstance(v, Tensor)]
    method.eval().zero_grad(set_to_none=True)
    return {name: sum(t.nbytes for t in tensors) for name, tensors in own.items()} | {"activations": sum(kept.values())}
