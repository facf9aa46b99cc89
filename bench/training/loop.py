"""The training loop, from top to bottom: ``train`` is the whole life of a method up to its final weights.

Everything random in a step is drawn from (seed, step), and everything else is in the checkpoint, so a run that was
interrupted continues as if it had not been.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from bench.common import interruption
from bench.common.console import ProgressBar, note, progress
from bench.common.errors import OutOfMemory, RunFailed
from bench.common.memory import largest, within_memory
from bench.common.parts import part
from bench.config.tables import OptimiserConfig, RunConfig
from bench.data import batches as data
from bench.data.decoded import Decoded, decoded
from bench.data.fingerprint import describe
from bench.data.whole_images import whole_batches, whole_label_maps
from bench.model.predictor import LESS_AT_ONCE
from bench.model.weights import MODEL, build_method, save_model, take_network
from bench.schema.record import Training
from bench.training.checkpoint import CHECKPOINT, Checkpoint
from bench.training.loss_log import LossLog
from bench.training.optimiser import make_optimiser, schedule
from bench.training.ranks import FabricCollectives, asked_to_stop, handed, most, require_precision, synchronise_norms
from datasets.base import Dataset
from datasets.regions import RegionMaps
from methods.base import ONE_RANK, Batch, Collectives, Context, Losses, Method, MethodError
from methods.capabilities import NotTrained

SMALLER_CROP = "lower recipe.augmentation.crop, or take a smaller network.encoder"
"""What to do where one crop does not fit."""


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
        with part("loss"):
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
    after_training: Dataset | None = None,
    content: str | None = None,
    plugins: Mapping[str, str] = MappingProxyType({}),
    features: Path | None = None,
) -> Trained:
    """Train ``config`` on ``dataset``, continuing from ``folder``'s checkpoint if there is one.

    Writes the final weights to ``folder``. Raises Interrupted after a signal (state saved), RunFailed on a
    non-finite loss, UserError for a checkpoint that is damaged or of other data. ``after_training`` holds the images
    and labels that ``finish`` may see, if these are others. ``content`` is a hash of the data and ``plugins`` of what
    defines them, by which a checkpoint knows what it was trained with. ``features`` is the model on the network of
    which a run of ``config.features`` is fitted.
    """
    recipe = config.recipe
    device = fabric.device
    require_precision(recipe.precision, device)
    folder.mkdir(parents=True, exist_ok=True)
    cache.mkdir(parents=True, exist_ok=True)
    checkpoint = Checkpoint(folder / CHECKPOINT, config, fabric, content, plugins)
    is_trained = not issubclass(method_class, NotTrained)
    prepare = partial(_prepared, method_class, config, dataset, device, cache, features)
    if recipe.micro_batch == "auto" and is_trained and not checkpoint.path.exists():
        checkpoint.micro_batch = _micro_batch(*prepare(ONE_RANK), dataset, config, fabric, plugins)
    if device.type == "cuda":  # else the peak of a run is at least that of those before it in a grid
        torch.cuda.reset_peak_memory_stats(device)
    method, context = prepare(FabricCollectives(fabric) if fabric.world_size > 1 else ONE_RANK)
    parameters = sum(p.numel() for p in method.parameters() if p.requires_grad)
    seconds, losses, sent = 0.0, dict[str, float](), dict[str, int]()
    if is_trained:
        batches = partial(_batches, dataset, config, fabric, context, plugins)
        seconds, losses, sent = _optimise(method, config, fabric, context, checkpoint, batches)
    method.eval()
    if after_training is not None:
        context.label_maps = partial(whole_label_maps, after_training, recipe.inference)
        context.images = partial(whole_batches, after_training, recipe.inference, device, method)
    with torch.no_grad(), within_memory("the method's finish", LESS_AT_ONCE[recipe.inference.mode]):
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
            micro_batch=checkpoint.micro_batch,
            bytes_a_step=sent,
            final_losses=losses,
        ),
        digest,
    )


def _prepared(
    method_class: type[Method],
    config: RunConfig,
    dataset: Dataset,
    device: torch.device,
    cache: Path,
    features: Path | None,
    collectives: Collectives,
) -> tuple[Method, Context]:
    """A new method on ``device`` that is ready to be trained by the ranks of ``collectives``."""
    method = build_method(method_class, config, dataset.classes)
    if config.features is not None and features is not None:
        take_network(method, features, config.features.hash)
    method = method.to(device)
    if isinstance(collectives, FabricCollectives):
        synchronise_norms(method, collectives.counted_as("norms"), device)
    method.collectives = collectives
    inference = config.recipe.inference
    context = Context(
        device=device,
        seed=config.seed,
        steps=config.recipe.steps,
        step=0,
        collectives=collectives,
        cache=cache,
        label_maps=partial(whole_label_maps, dataset, inference),
        images=partial(whole_batches, dataset, inference, device, method),
        progress=progress,
        note=note,
    )
    with torch.no_grad(), within_memory("the method's preparation", LESS_AT_ONCE[inference.mode]):
        method.prepare(context)
    return method, context


def _micro_batch(
    method: Method,
    context: Context,
    dataset: Dataset,
    config: RunConfig,
    fabric: Fabric,
    plugins: Mapping[str, str],
) -> int:
    """How many images of a rank can pass at once: the most that fit every rank, of those that share it evenly.

    Whole steps of ``method``, which is then thrown away, find it: each rank for itself, since one that ran out of
    memory could not tell the others, who wait for its part.
    """
    recipe = config.recipe
    alone = config.model_copy(update={"recipe": recipe.model_copy(update={"workers": 0})})
    batches = _batches(dataset, alone, fabric, context, plugins, 0)
    taken = [next(batches) for _ in range(recipe.accumulate)]
    optimiser = make_optimiser(method, recipe.optimiser)
    module = LossModule(method).train()

    def attempt(size: int) -> None:
        for _ in range(2):  # the optimiser's state is there from the first on
            observed = []
            for some in (some for batch in taken for some in batch.split(size)):
                with fabric.autocast():
                    terms, seen = module(some)
                torch.stack([t.float() for t in terms.values()]).sum().backward()
                observed.append(seen)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            with torch.no_grad():
                method.after_step(observed, context)

    share = recipe.batch_size // fabric.world_size
    found = largest(attempt, [size for size in range(share, 0, -1) if share % size == 0])
    if found is None:
        raise OutOfMemory(f"out of memory in training with a single crop: {SMALLER_CROP}")
    found = -most(fabric, -found)
    note(f"recipe.micro_batch=auto: {found} of a rank's {share} images at once")
    return found


def _batches(
    dataset: Dataset,
    config: RunConfig,
    fabric: Fabric,
    context: Context,
    plugins: Mapping[str, str],
    first_step: int,
) -> Iterator[Batch]:
    """This rank's training batches from ``first_step`` on."""
    samples: Dataset | Decoded = dataset
    presence = None
    if config.recipe.decode_once:
        with fabric.rank_zero_first():
            samples = decoded(dataset, (config.data, plugins), context.cache, context.progress, note)
    if config.recipe.class_balanced:
        presence = data.class_presence(dataset, describe(dataset), context.cache, context.progress, note)
    return data.training_batches(
        samples,
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
) -> tuple[float, dict[str, float], dict[str, int]]:
    """Take the optimiser's steps.

    Returns the seconds they took, the last logged mean of each loss term, and the bytes that a step hands to others.
    """
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
    share = recipe.batch_size // fabric.world_size
    at_once = checkpoint.micro_batch or (recipe.micro_batch if isinstance(recipe.micro_batch, int) else share)
    parts = recipe.accumulate * share // at_once
    finishes = type(method).finish is not Method.finish  # which may take long, and shall not cost the last steps
    description = f"training {config.method_name} (seed {config.seed})"
    before_steps = handed(context.collectives)
    began, before = time.monotonic(), seconds
    with _enough_memory(config, at_once), interruption.held(), ProgressBar(description, recipe.steps, first) as bar:
        for step in range(first, recipe.steps):
            factor = schedule(recipe.optimiser, step, recipe.steps)
            for group in optimiser.param_groups:
                group["lr"] = recipe.optimiser.lr * factor * group["factor"]
            context.step = step
            with part("data"):
                taken = [some for _ in range(recipe.accumulate) for some in next(batches).split(at_once)]
            # After the batches: starting their loader draws from the same generator, wherever a run resumes.
            torch.manual_seed(data.mix(config.seed, step, fabric.global_rank))
            values: dict[str, float] = {}
            observed = []
            for index, batch in enumerate(taken):
                last = index == parts - 1
                with fabric.no_backward_sync(wrapped, enabled=not last and fabric.world_size > 1):
                    terms, seen = wrapped(batch)
                    total = torch.stack([t.float() for t in terms.values()]).sum()
                    with part("backward"):
                        fabric.backward(total / parts)
                observed.append(seen)
                found = _numbers({**terms, "total": total}, context.collectives)
                _require_finite({name: found[name] for name in terms}, step)
                for name, value in found.items():
                    values[name] = values.get(name, 0.0) + value / parts
            with part("optimiser"):
                clip = recipe.optimiser.clip_norm
                if clip is not None:
                    fabric.clip_gradients(wrapped, optimiser, max_norm=clip, error_if_nonfinite=False)
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
            with torch.no_grad(), part("after_step"):
                method.after_step(observed, context)
            seconds = before + time.monotonic() - began
            done = step + 1
            if log is not None:
                log.add(values)
                if done % recipe.log_every == 0 or done == recipe.steps:
                    means = log.flush(done, optimiser.param_groups[0]["lr"])
            bar.advance(f"loss {values['total']:.3f}")
            stopping = asked_to_stop(fabric)
            due = done % recipe.checkpoint_every == 0 if done < recipe.steps else finishes
            if (stopping or due) and fabric.is_global_zero:
                checkpoint.save(method, optimiser, done, seconds, means)
            if stopping:
                said = f"{config.run_id()} stopped at step {done} of {recipe.steps}"
                raise interruption.Interrupted(said if fabric.is_global_zero else "")
    sent = handed(context.collectives) - before_steps
    a_step = {purpose: count // (recipe.steps - first) for purpose, count in sent.items()}
    if a_step:  # DDP's, once a step
        a_step["gradients"] = sum(p.nbytes for p in method.parameters() if p.requires_grad)
    return seconds, means, a_step


def _enough_memory(config: RunConfig, at_once: int) -> AbstractContextManager[None]:
    """Says what to lower where ``at_once`` crops are too many."""
    height, width = config.recipe.augmentation.crop
    lower = f"recipe.micro_batch below {at_once}" + " or to auto" * (config.recipe.micro_batch != "auto")
    remedy = f"set {lower}, or {SMALLER_CROP}" if at_once > 1 else SMALLER_CROP
    return within_memory(f"training with {at_once} crop{'s' * (at_once > 1)} of {width}x{height} at once", remedy)


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
