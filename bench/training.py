"""The training loop, from top to bottom: ``train`` is the whole life of a method up to its final weights.

Everything random in a step is drawn from (seed, step), and everything else is in the checkpoint, so a run that was
interrupted continues as if it had not been.
"""

from __future__ import annotations

import csv
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.strategies import DDPStrategy
from safetensors.torch import load_file, save
from torch import Tensor, nn

from bench import data
from bench.config import InferenceConfig, OptimiserConfig, RunConfig
from bench.console import Ticker, note, progress
from bench.errors import RunFailed, UserError
from bench.inference import Predictor, resize, resize_labels
from bench.network import UNREADABLE, SegmentationNetwork
from bench.records import Training, atomic
from bench.tensors import serialised
from datasets.base import Dataset, Sample
from datasets.regions import RegionMaps
from methods.base import Batch, Classes, Collectives, Context, Method

CHECKPOINT = "training.ckpt"
"""State of an unfinished training; removed when the final model is written."""
MODEL = "model.safetensors"


class Interrupted(Exception):
    """Training was asked to stop and has saved its state."""


class FabricCollectives(Collectives):
    """Collectives over the ranks of a Fabric."""

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.rank, self.world_size = fabric.global_rank, fabric.world_size

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        """Sum over ranks."""
        return self.fabric.all_reduce(tensor, reduce_op="sum")  # type: ignore[return-value]

    def all_gather(self, tensor: Tensor) -> Tensor:
        """Stack in rank order."""
        return self.fabric.all_gather(tensor).reshape(self.world_size, *tensor.shape)  # type: ignore[union-attr]


def make_fabric(device: str, precision: str) -> Fabric:
    """A Fabric for ``auto``, ``cpu`` or ``cuda``; under torchrun it spans the ranks that torchrun started."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda was asked for but this machine offers no CUDA device; use --device cpu or auto")
    accelerator = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    world = int(os.environ.get("WORLD_SIZE", "1"))
    nodes = world // max(int(os.environ.get("LOCAL_WORLD_SIZE", str(world))), 1)
    # Heads may leave parameters without gradient in a step (a batch without labels), which plain DDP rejects.
    # Buffers are not sent along: batch norms are synchronised, and methods keep their own alike on every rank.
    strategy: Any = DDPStrategy(find_unused_parameters=True, broadcast_buffers=False) if world > 1 else "auto"
    fabric = Fabric(
        accelerator=accelerator,
        devices=world // nodes,
        num_nodes=nodes,
        strategy=strategy,
        precision=precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def synchronise_norms(module: nn.Module) -> None:
    """Let the batch norms in ``module`` that learn see the batches of all ranks.

    Frozen ones stay as they are: they follow no batch, and a codec that one rank fits must not wait for the others.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            learnt = [parameter.requires_grad for parameter in child.parameters()]
            if any(learnt) or not learnt:  # one without parameters follows its batches all the same
                setattr(module, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))
        else:
            synchronise_norms(child)


def build_method(method_class: type[Method], config: RunConfig, classes: Classes) -> Method:
    """A new method on a new network, initialised from the run's seed."""
    torch.manual_seed(config.seed)
    network = SegmentationNetwork(config.network)
    if network.weights_report is not None:
        note(str(network.weights_report))
    return method_class(method_class.Config.model_validate(config.method), network, classes)


def parameter_groups(method: Method, config: OptimiserConfig) -> list[dict[str, Any]]:
    """Encoder and other parameters, each with and without weight decay (none on norms and biases)."""
    encoder = {id(p) for p in getattr(method.network, "encoder", nn.Identity()).parameters()}
    if config.encoder_lr_factor == 0:
        for parameter in method.network.encoder.parameters():
            parameter.requires_grad_(False)
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in method.parameters():
        if parameter.requires_grad:
            groups.setdefault((id(parameter) in encoder, parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "factor": config.encoder_lr_factor if in_encoder else 1.0,
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (in_encoder, decays), parameters in groups.items()
    ]


def make_optimiser(method: Method, config: OptimiserConfig) -> torch.optim.Optimizer:
    """The recipe's optimiser over ``parameter_groups``."""
    groups = parameter_groups(method, config)
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum)
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.momentum, 0.999))


def schedule(config: OptimiserConfig, step: int, steps: int) -> float:
    """The learning rate of ``step`` (from 0) relative to its peak.

    ``poly``: (1 - step/steps)^power; ``onecycle``: half a cosine up from 1/25 over the first 30 % of the steps, then
    half a cosine down to 1e-4/25 (Smith and Topin 2019, with PyTorch's defaults); both end at ``steps``.
    """
    if config.schedule == "onecycle":
        peak = 0.3 * steps
        if step < peak:
            return _cosine(1 / 25, 1.0, step / peak)
        return _cosine(1.0, 1e-4 / 25, (step - peak) / max(steps - peak, 1))
    factor = (1 - step / steps) ** config.power if config.schedule == "poly" else 1.0
    if step < config.warmup_steps:
        factor *= config.warmup_ratio + (1 - config.warmup_ratio) * step / config.warmup_steps
    return factor


def _cosine(start: float, end: float, t: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(t, 1.0))) / 2


def whole_label_maps(dataset: Dataset, inference: InferenceConfig) -> Iterator[Tensor]:
    """Training label maps (H, W) int64, whole and not augmented, at the scale of inference."""
    labels = (dataset.label(index) for index in range(len(dataset)))
    return (resize_labels(label[None], inference.network_size(*label.shape))[0] for label in labels)


def whole_batches(
    dataset: Dataset, inference: InferenceConfig, device: torch.device, method: Method
) -> Iterator[Batch]:
    """Training images with labels, whole and not augmented, one per batch, at the scale of inference."""
    predictor = Predictor(method, inference, device)
    for sample in data.whole_samples(dataset):
        yield whole_batch(sample, predictor)


def whole_batch(sample: Sample, predictor: Predictor) -> Batch:
    """One image with its labels, whole and not augmented, at the scale and on the device of ``predictor``."""
    size = predictor.config.network_size(*sample.label.shape)
    image = sample.image.to(predictor.device).float().div_(255)[None]
    label = sample.label[None]
    return Batch(resize(image, size), resize_labels(label, size).to(predictor.device), (sample.id,))


class StopRequest:
    """Turns the first Ctrl-C or SIGTERM into a flag, so that a step is never cut in half; the second one kills."""

    def __init__(self) -> None:
        self.asked = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        for signal_number, handler in self._previous.items():
            signal.signal(signal_number, handler)
        note("stopping after this step; once more to stop at once")

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)


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
        with self.path.open(newline="") as file:
            rows = list(csv.reader(file))
        width = len(rows[0]) if rows else 0
        kept = [r for i, r in enumerate(rows) if i == 0 or (len(r) == width and int(r[0]) <= first_step)]
        with atomic(self.path) as temporary, temporary.open("w", newline="") as file:
            csv.writer(file).writerows(kept if first_step else [])

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
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", "lr", *means])
            writer.writerow([step, f"{lr:.6g}", *(f"{v:.6g}" for v in means.values())])
        return means


class Parcel:
    """Carries a batch through Fabric and DDP, which would copy a dataclass and lose what ``losses`` leaves in it."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch


class LossModule(nn.Module):
    """``Method.losses`` as a ``forward``, which is what Fabric and DDP wrap."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, parcel: Parcel) -> dict[str, Tensor]:
        """The named loss terms of the batch."""
        return dict(self.method.losses(parcel.batch))


@dataclass
class Trained:
    """A trained method and what it cost."""

    method: Method
    training: Training


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
) -> Trained:
    """Train ``config`` on ``dataset``, continuing from ``folder``'s checkpoint if there is one.

    Writes the final weights to ``folder``. Raises Interrupted after Ctrl-C (state saved), RunFailed on a
    non-finite loss, UserError for a checkpoint that is damaged or of other data. ``on_checkpoint(step)`` is called
    after each checkpoint. ``after_training`` holds the same images with the labels that ``finish`` may see, if these
    are others. ``content`` is a hash of the data, by which a checkpoint knows what it was trained on.
    """
    recipe = config.recipe
    device = fabric.device
    if recipe.precision == "16-mixed" and device.type == "cpu":  # where autocast would take bfloat16 without a word
        raise UserError("recipe.precision 16-mixed needs a GPU; train with bf16-mixed or 32 on the CPU")
    if device.type == "cuda":  # else the peak of a run is at least that of those before it in a grid
        torch.cuda.reset_peak_memory_stats(device)
    folder.mkdir(parents=True, exist_ok=True)
    cache.mkdir(parents=True, exist_ok=True)
    method = build_method(method_class, config, dataset.classes).to(device)
    if fabric.world_size > 1 and device.type == "cuda":  # it has no CPU version
        synchronise_norms(method)
    context = Context(
        device=device,
        seed=config.seed,
        steps=recipe.steps,
        step=0,
        collectives=FabricCollectives(fabric) if fabric.world_size > 1 else Collectives(),
        cache=cache,
        label_maps=partial(whole_label_maps, dataset, recipe.inference),
        images=partial(whole_batches, dataset, recipe.inference, device, method),
        progress=progress,
        note=note,
    )
    with torch.no_grad():
        method.prepare(context)
    parameters = sum(p.numel() for p in method.parameters() if p.requires_grad)
    history = {"seconds": 0.0}
    losses: dict[str, float] = {}
    if method.trains_network and recipe.steps:
        optimiser = make_optimiser(method, recipe.optimiser)
        wrapped, optimiser = fabric.setup(LossModule(method), optimiser)
        checkpoint = folder / CHECKPOINT
        first = _resume(checkpoint, config, method, optimiser, history, fabric, content)
        losses = _optimise(
            wrapped,
            method,
            optimiser,
            config,
            dataset,
            fabric,
            context,
            folder,
            first,
            history,
            on_checkpoint,
            content,
        )
    method.eval()
    if after_training is not None:
        context.label_maps = partial(whole_label_maps, after_training, recipe.inference)
        context.images = partial(whole_batches, after_training, recipe.inference, device, method)
    with torch.no_grad():
        method.finish(context)
    if fabric.is_global_zero:
        save_model(method, folder / MODEL)
    seconds = history["seconds"]
    images = recipe.steps * recipe.batch_size * recipe.accumulate * fabric.world_size
    return Trained(
        method,
        Training(
            steps=recipe.steps if method.trains_network else 0,
            seconds=round(seconds, 2),
            images_per_second=round(images / seconds, 3) if seconds else 0.0,
            parameters=parameters if method.trains_network else 0,
            peak_memory_mb=peak_memory_mb(device),
            final_losses=losses,
        ),
    )


def _optimise(
    wrapped: Any,
    method: Method,
    optimiser: torch.optim.Optimizer,
    config: RunConfig,
    dataset: Dataset,
    fabric: Fabric,
    context: Context,
    folder: Path,
    first: int,
    history: dict[str, float],
    on_checkpoint: Callable[[int], None] | None,
    content: str | None,
) -> dict[str, float]:
    """Take the optimiser's steps ``first``.. of the recipe; returns the last logged mean of each loss term."""
    recipe = config.recipe
    rank, world = fabric.global_rank, fabric.world_size
    presence = None
    if recipe.class_balanced:
        presence = data.class_presence(dataset, data.describe(dataset).fingerprint, context.cache, context.progress)
    batches = data.training_batches(
        dataset,
        recipe,
        config.seed,
        fabric.device,
        rank=rank,
        world=world,
        first_step=first,
        presence=presence,
        regions=None if config.data.regions is None else RegionMaps(Path(config.data.regions), dataset),
    )
    log = LossLog(folder, recipe.logger, first) if fabric.is_global_zero else None
    means: dict[str, float] = {}
    wrapped.train()
    _freeze_statistics(method, recipe.optimiser)
    description = f"training {config.method_name} (seed {config.seed})"
    began, before = time.monotonic(), history["seconds"]
    with StopRequest() as stop, Ticker(description, recipe.steps, first) as ticker:
        for step in range(first, recipe.steps):
            factor = schedule(recipe.optimiser, step, recipe.steps)
            for group in optimiser.param_groups:
                group["lr"] = recipe.optimiser.lr * factor * group["factor"]
            context.step = step
            taken = [next(batches) for _ in range(recipe.accumulate)]
            # After the batches: starting their loader draws from the same generator, wherever a run resumes.
            torch.manual_seed(data.mix(config.seed, step, rank))
            values: dict[str, float] = {}
            for part, batch in enumerate(taken):
                last = part == recipe.accumulate - 1
                with fabric.no_backward_sync(wrapped, enabled=not last and world > 1):
                    terms = wrapped(Parcel(batch))
                    total = torch.stack([t.float() for t in terms.values()]).sum()
                    fabric.backward(total / recipe.accumulate)
                found = _numbers({**terms, "total": total})
                _require_finite({name: found[name] for name in terms}, step, config)
                for name, value in found.items():
                    values[name] = values.get(name, 0.0) + value / recipe.accumulate
            if recipe.optimiser.clip_norm is not None:
                fabric.clip_gradients(wrapped, optimiser, max_norm=recipe.optimiser.clip_norm, error_if_nonfinite=False)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            with torch.no_grad():
                for part, batch in enumerate(taken, start=1):
                    context.more_batches = part < len(taken)
                    method.after_step(batch, context)
            history["seconds"] = before + time.monotonic() - began
            done = step + 1
            if log is not None:
                log.add(values)
                if done % recipe.log_every == 0 or done == recipe.steps:
                    means = log.flush(done, optimiser.param_groups[0]["lr"])
            ticker.advance(f"loss {values['total']:.3f}")
            stopping = stop.asked
            if done < recipe.steps and (done % recipe.checkpoint_every == 0 or stopping):
                if fabric.is_global_zero:
                    _save_checkpoint(folder / CHECKPOINT, config, method, optimiser, done, history, fabric, content)
                if on_checkpoint is not None:
                    on_checkpoint(done)
            if stopping:
                raise Interrupted(f"{config.run_id()} stopped at step {done} of {recipe.steps}")
    return means


def _freeze_statistics(method: Method, config: OptimiserConfig) -> None:
    """A frozen encoder keeps its batch statistics too."""
    if config.encoder_lr_factor == 0:
        method.network.encoder.eval()


def _numbers(terms: Mapping[str, Tensor]) -> dict[str, float]:
    """The scalars ``terms`` by one transfer, for each makes a GPU wait; so it comes after the backward pass, too."""
    return dict(zip(terms, torch.stack([t.detach().double() for t in terms.values()]).tolist()))


def _require_finite(terms: Mapping[str, float], step: int, config: RunConfig) -> None:
    named = ", ".join(f"{name} = {value:.4g}" for name, value in terms.items() if not math.isfinite(value))
    if named:
        raise RunFailed(f"non-finite loss at step {step + 1}: {named}; lower recipe.optimiser.lr or clip the gradient")


def _save_checkpoint(
    path: Path,
    config: RunConfig,
    method: Method,
    optimiser: torch.optim.Optimizer,
    step: int,
    history: dict[str, float],
    fabric: Fabric,
    content: str | None,
) -> None:
    state = {
        "precision": fabric.strategy.precision.state_dict(),
        "fingerprint": config.fingerprint(),
        "content": content,
        "step": step,
        "method": method.state_dict(),
        "optimiser": optimiser.state_dict(),
        "history": dict(history),
    }
    with atomic(path) as temporary:
        temporary.write_bytes(serialised(state))


def _resume(
    path: Path,
    config: RunConfig,
    method: Method,
    optimiser: torch.optim.Optimizer,
    history: dict[str, float],
    fabric: Fabric,
    content: str | None,
) -> int:
    """Load ``path`` if it exists; returns the step to continue at."""
    if not path.exists():
        return 0
    try:
        state = torch.load(path, map_location=fabric.device, weights_only=True)
        if state["fingerprint"] != config.fingerprint():
            raise UserError(f"checkpoint {path} belongs to another run; use --force to start anew")
        if None not in (content, state.get("content")) and state["content"] != content:
            raise UserError(
                f"checkpoint {path} was trained on other data than is there now; restore that data, or use --force to "
                "start the run anew"
            )
        method.load_state_dict(state["method"])
        optimiser.load_state_dict(state["optimiser"])
        fabric.strategy.precision.load_state_dict(state["precision"])
        history.update(state["history"])
        step = int(state["step"])
    except UNREADABLE as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"checkpoint {path} is damaged ({cause}); use --force to start the run anew") from None
    note(f"resuming {config.run_id()} at step {step} of {config.recipe.steps}")
    return step


def save_model(method: Method, path: Path) -> None:
    """Write the final weights atomically, without what only training needs."""
    state = {n: t.contiguous().cpu() for n, t in method.state_dict().items() if n not in set(method.training_only)}
    # One entry: the format does not keep the order of several, and equal weights shall be equal files.
    content = save(state, metadata={"method": f"{method.name} version {method.version}"})
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def load_model(method_class: type[Method], config: RunConfig, classes: Classes, path: Path) -> Method:
    """The method of a finished run, from its configuration and its weights, on the CPU and in ``eval`` mode."""
    network = config.network.model_copy(update={"encoder_weights": None})
    method = build_method(method_class, config.model_copy(update={"network": network}), classes)
    try:
        state = load_file(path)
        missing, unexpected = method.load_state_dict(state, strict=False)
    except FileNotFoundError:
        raise UserError(f"there is no model {path}; run the run again with --force to train it") from None
    except UNREADABLE as error:
        cause = str(error).splitlines()[0]
        raise UserError(f"model {path} is damaged ({cause}); run the run again with --force") from None
    absent = [n for n in missing if n not in set(method.training_only)]
    if absent or unexpected:
        problem = f"lacks {absent[0]}" if absent else f"holds the unknown {unexpected[0]}"
        raise UserError(f"model {path} {problem}: it was made by another version; run the run again with --force")
    return method.eval()


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
