"""The training loop, from top to bottom: ``train`` is the whole life of a method up to its final weights.

Everything random in a step is drawn from (seed, step), and everything else is in the checkpoint, so a run that was
interrupted continues as if it had not been.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from bench.common import interruption
from bench.common.console import ProgressBar, note, progress
from bench.common.errors import RunFailed
from bench.config.tables import OptimiserConfig, RunConfig
from bench.data import batches as data
from bench.data.fingerprint import describe
from bench.data.whole_images import whole_batches, whole_label_maps
from bench.model.weights import MODEL, build_method, save_model, take_network
from bench.schema.record import Training
from bench.training.checkpoint import CHECKPOINT, Checkpoint
from bench.training.loss_log import LossLog
from bench.training.optimiser import make_optimiser, schedule
from bench.training.ranks import FabricCollectives, asked_to_stop, require_precision, synchronise_norms
from datasets.base import Dataset
from datasets.regions import RegionMaps
from methods.base import ONE_RANK, Batch, Collectives, Context, Losses, Method, MethodError
from methods.capabilities import NotTrained


class LossModule(nn.Module):
    """``Method.losses`` as a ``forward``, which is what Fabric and DDP wrap.

    DDP looks for the terms in whatever tuples and dictionaries are returned, to learn which parameters take part; what
    was observed has no graph and passes through.
    """

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: Batch) -> Losses:
        """The named loss terms of the batch, and what they observed."""
        losses = self.method.losses(batch)
        if not isinstance(losses, Losses):
            raise MethodError(
                f"losses of {self.method.name} returned a {type(losses).__name__}; let it return Losses(terms), from "
                "methods.base, or Losses(terms, observed) with what its after_step needs"
            )
        return losses


@dataclass
class Trained:
    """A trained method and what it cost."""

    method: Method
    training: Training
    digest: str | None
    """SHA-256 of the file of its weights; None on all ranks but the first, which writes it."""


def train(
    method_class: type[Method],
    config: RunConfig,
    dataset: Dataset,
    fabric: Fabric,
    folder: Path,
    cache: Path,
    on_checkpoint: Callable[[int], None] | None = None,
    after_training: Dataset | None = None,
    content: str | None = None,
    plugins: Mapping[str, str] = MappingProxyType({}),
    features: Path | None = None,
) -> Trained:
    """Train ``config`` on ``dataset``, continuing from ``folder``'s checkpoint if there is one.

    Writes the final weights to ``folder``. Raises Interrupted after a signal (state saved), RunFailed on a
    non-finite loss, UserError for a checkpoint that is damaged or of other data. ``on_checkpoint(step)`` is called
    after each checkpoint. ``after_training`` holds the same images with the labels that ``finish`` may see, if these
    are others. ``content`` is a hash of the data and ``plugins`` of what defines them, by which a checkpoint knows what
    it was trained with. ``features`` is the model on the network of which a run of ``config.features`` is fitted.
    """
    recipe = config.recipe
    device = fabric.device
    require_precision(recipe.precision, device)
    if device.type == "cuda":  # else the peak of a run is at least that of those before it in a grid
        torch.cuda.reset_peak_memory_stats(device)
    folder.mkdir(parents=True, exist_ok=True)
    cache.mkdir(parents=True, exist_ok=True)
    method = build_method(method_class, config, dataset.classes)
    if config.features is not None and features is not None:
        take_network(method, features, config.features.hash)
    method = method.to(device)
    collectives = FabricCollectives(fabric) if fabric.world_size > 1 else ONE_RANK
    if fabric.world_size > 1:
        synchronise_norms(method, collectives, device)
    method.collectives = collectives
    context = Context(
        device=device,
        seed=config.seed,
        steps=recipe.steps,
        step=0,
        collectives=collectives,
        cache=cache,
        label_maps=partial(whole_label_maps, dataset, recipe.inference),
        images=partial(whole_batches, dataset, recipe.inference, device, method),
        progress=progress,
        note=note,
    )
    with torch.no_grad():
        method.prepare(context)
    parameters = sum(p.numel() for p in method.parameters() if p.requires_grad)
    seconds, losses = 0.0, dict[str, float]()
    is_trained = not isinstance(method, NotTrained)
    if is_trained:
        checkpoint = Checkpoint(folder / CHECKPOINT, config, fabric, content, plugins)
        batches = partial(_batches, dataset, config, fabric, context)
        seconds, losses = _optimise(method, config, fabric, context, checkpoint, batches, on_checkpoint)
    method.eval()
    if after_training is not None:
        context.label_maps = partial(whole_label_maps, after_training, recipe.inference)
        context.images = partial(whole_batches, after_training, recipe.inference, device, method)
    with torch.no_grad():
        method.finish(context)
    digest = save_model(method, folder / MODEL) if fabric.is_global_zero else None
    method.collectives = ONE_RANK
    images = recipe.steps * recipe.batch_size * recipe.accumulate
    return Trained(
        method,
        Training(
            steps=recipe.steps if is_trained else 0,
            seconds=round(seconds, 2),
            images_per_second=round(images / seconds, 3) if seconds else 0.0,
            parameters=parameters if is_trained else 0,
            peak_memory_mb=peak_memory_mb(device),
            final_losses=losses,
        ),
        digest,
    )


def _batches(dataset: Dataset, config: RunConfig, fabric: Fabric, context: Context, first_step: int) -> Iterator[Batch]:
    """This rank's training batches from ``first_step`` on."""
    presence = None
    if config.recipe.class_balanced:
        presence = data.class_presence(dataset, describe(dataset), context.cache, context.progress, note)
    return data.training_batches(
        dataset,
        config.recipe,
        config.seed,
        fabric.device,
        rank=fabric.global_rank,
        world=fabric.world_size,
        first_step=first_step,
        presence=presence,
        regions=None if config.data.regions is None else RegionMaps(Path(config.data.regions), dataset),
    )


def _optimise(
    method: Method,
    config: RunConfig,
    fabric: Fabric,
    context: Context,
    checkpoint: Checkpoint,
    batches_from: Callable[[int], Iterator[Batch]],
    on_checkpoint: Callable[[int], None] | None,
) -> tuple[float, dict[str, float]]:
    """Take the optimiser's steps; returns the seconds they took and the last logged mean of each loss term."""
    recipe = config.recipe
    optimiser = make_optimiser(method, recipe.optimiser)
    wrapped, optimiser = fabric.setup(LossModule(method), optimiser)
    first, seconds, means = checkpoint.resume(method, optimiser)
    batches = batches_from(first)
    log = LossLog(checkpoint.path.parent, recipe.logger, first) if fabric.is_global_zero else None
    wrapped.train()
    if config.features is not None:
        method.network.eval()
    _freeze_statistics(method, recipe.optimiser)
    finishes = type(method).finish is not Method.finish  # which may take long, and shall not cost the last steps
    description = f"training {config.method_name} (seed {config.seed})"
    began, before = time.monotonic(), seconds
    with interruption.held(), ProgressBar(description, recipe.steps, first) as bar:
        for step in range(first, recipe.steps):
            factor = schedule(recipe.optimiser, step, recipe.steps)
            for group in optimiser.param_groups:
                group["lr"] = recipe.optimiser.lr * factor * group["factor"]
            context.step = step
            taken = [next(batches) for _ in range(recipe.accumulate)]
            # After the batches: starting their loader draws from the same generator, wherever a run resumes.
            torch.manual_seed(data.mix(config.seed, step, fabric.global_rank))
            values: dict[str, float] = {}
            observed = []
            for part, batch in enumerate(taken):
                last = part == recipe.accumulate - 1
                with fabric.no_backward_sync(wrapped, enabled=not last and fabric.world_size > 1):
                    terms, seen = wrapped(batch)
                    total = torch.stack([t.float() for t in terms.values()]).sum()
                    fabric.backward(total / recipe.accumulate)
                observed.append(seen)
                found = _numbers({**terms, "total": total}, context.collectives)
                _require_finite({name: found[name] for name in terms}, step)
                for name, value in found.items():
                    values[name] = values.get(name, 0.0) + value / recipe.accumulate
            if recipe.optimiser.clip_norm is not None:
                fabric.clip_gradients(wrapped, optimiser, max_norm=recipe.optimiser.clip_norm, error_if_nonfinite=False)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            with torch.no_grad():
                method.after_step(observed, context)
            seconds = before + time.monotonic() - began
            done = step + 1
            if log is not None:
                log.add(values)
                if done % recipe.log_every == 0 or done == recipe.steps:
                    means = log.flush(done, optimiser.param_groups[0]["lr"])
            bar.advance(f"loss {values['total']:.3f}")
            stopping = asked_to_stop(fabric)
            if stopping or (done % recipe.checkpoint_every == 0 if done < recipe.steps else finishes):
                if fabric.is_global_zero:
                    checkpoint.save(method, optimiser, done, seconds, means)
                if on_checkpoint is not None:
                    on_checkpoint(done)
            if stopping:
                said = f"{config.run_id()} stopped at step {done} of {recipe.steps}"
                raise interruption.Interrupted(said if fabric.is_global_zero else "")
    return seconds, means


def _freeze_statistics(method: Method, config: OptimiserConfig) -> None:
    """A frozen encoder keeps its batch statistics too."""
    if config.encoder_lr_factor == 0:
        method.network.encoder.eval()


def _numbers(terms: Mapping[str, Tensor], collectives: Collectives) -> dict[str, float]:
    """The scalars ``terms``, means over ranks, by one transfer, for each makes a GPU wait; so after the backward pass.

    What is not finite on one rank is so on all, which then end alike.
    """
    values = collectives.all_reduce_sum(torch.stack([t.detach().double() for t in terms.values()]))
    return dict(zip(terms, (values / collectives.world_size).tolist()))


def _require_finite(terms: Mapping[str, float], step: int) -> None:
    named = ", ".join(f"{name} = {value:.4g}" for name, value in terms.items() if not math.isfinite(value))
    if named:
        raise RunFailed(f"non-finite loss at step {step + 1}: {named}; lower recipe.optimiser.lr or clip the gradient")


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory in MB: of the run on the GPU if there is one, else what this process ever had resident."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return round(psutil.Process().memory_info().rss / 1e6, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1)
