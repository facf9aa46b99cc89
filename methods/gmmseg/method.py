"""The GMMSeg plugin: features to Gaussians to losses, and the online estimation after each step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import (
    Batch,
    Classes,
    Context,
    Losses,
    Method,
    Network,
    Prediction,
    downsample_labels,
    projection,
    upsample,
)
from methods.gmmseg.assignment import one_hot, sinkhorn
from methods.gmmseg.config import GMMSegConfig, time_constants
from methods.gmmseg.gaussian import (
    class_log_density,
    component_log_density,
    mixture_log_density,
    of_class,
    shrunk,
    spherical_mean,
    variance_about,
)
from methods.gmmseg.memory import Memory, select

NORM_EPS = 1e-2
"""Shortest normalised feature that is scaled to length 1. LayerNorm's output is far longer unless all
channels of a pixel are equal; such a pixel has no direction, and dividing by a smaller number would blow up
its gradient."""
MIN_MASS = 0.5
"""Components that remember less than this weight (soft assignment) are not estimated."""


class Observed(NamedTuple):
    """What ``losses`` keeps of a batch's N pixels for ``after_step``."""

    features: Tensor
    """(N, D) unit vectors."""
    classes: Tensor
    """(N,) int64: 0..C-1, or C for pixels without a label."""
    responsibilities: Tensor
    """(N, K) of the components of the pixel's class."""
    correct: Tensor
    """(N,) bool: the most likely class is the label."""


class GMMSeg(Method):
    """Gaussian mixtures on the unit sphere of a D-dimensional projection of the dense features.

    The network learns by gradient, through the densities; the Gaussians do not, unless ``estimate`` says so of the
    means. They are refitted every ``em_interval`` steps from memories of recent pixels. Assignments balance the pixels
    of all ranks' batch (the released code: of each rank's); so do memories and Gaussians see them, which are identical
    on each rank.
    """

    name = "gmmseg"
    reference = (
        "Chen Liang, Wenguan Wang, Jiaxu Miao, Yi Yang: GMMSeg: Gaussian Mixture based Generative Semantic "
        "Segmentation Models. NeurIPS 2022"
    )
    Config = GMMSegConfig
    density_score = headline_score = "gmm_nll"
    training_only = tuple(f"memory.{name}" for name in Memory.STATE)

    config: GMMSegConfig
    means: Tensor
    """(C, K, D) unit vectors; of any length where they learn by gradient."""
    stds: Tensor
    """(C, K, D) standard deviations."""

    def __init__(self, config: GMMSegConfig, network: Network, classes: Classes) -> None:
        super().__init__(config, network, classes)
        shape = (len(classes), config.components, config.dim)
        self.projection = projection(network.out_channels, config.dim)
        self.feature_norm = nn.LayerNorm(config.dim)
        if config.class_norm == "layernorm":
            self.class_norm = nn.LayerNorm(len(classes))
        elif config.class_norm == "temperature":
            self.log_temperature = nn.Parameter(torch.tensor(math.log(config.temperature)))

        directions = F.normalize(nn.init.trunc_normal_(torch.empty(shape), std=0.02), dim=2)
        if config.estimate == "nothing":
            self.means = nn.Parameter(directions)
        else:
            self.register_buffer("means", directions)
        self.initial_std = config.initial_std or math.sqrt(1 / config.dim + config.ridge)
        self.register_buffer("stds", torch.full(shape, self.initial_std))
        self.memory = Memory()

    def prepare(self, context: Context) -> None:
        """Allocate the memory for the run's length and start every rank from the first one's means."""
        if self.config.estimate == "nothing":
            return
        classes, components, dim = self.means.shape
        capacity = time_constants(self.config, context.steps).memory
        self.memory.allocate(classes * components, capacity, dim, self.means.device)
        if self.config.init_noise:
            self.memory.fill_with_noise(context.seed)
        self.means.copy_(context.collectives.all_gather(self.means)[0])

    def losses(self, batch: Batch) -> Losses:
        """Cross-entropy of the classes at label size, and of all components at the features' size.

        The component loss asks the raw densities of all J components for the assigned one of the pixel's
        class; it covers misclassified pixels too. A batch without any labelled pixel has zero losses, with a
        graph.
        """
        features, (height, width) = self._embed(batch.images)
        with torch.autocast(features.device.type, enabled=False):
            classes, components, _ = self.means.shape
            log_density = component_log_density(features, self._unit_means().flatten(0, 1), self.stds.flatten(0, 1))
            logits = self._logits(mixture_log_density(log_density, components, self.config.reduce))

            labels = downsample_labels(batch.labels, (height, width)).flatten()
            labelled = labels < classes
            labels = torch.where(labelled, labels, classes)
            responsibilities = self._assign(of_class(log_density.detach(), labels, components), labels)
            observed = Observed(
                features=features.detach(),
                classes=labels,
                responsibilities=responsibilities,
                correct=logits.detach().argmax(dim=1) == labels,
            )

            maps = logits.view(batch.images.shape[0], height, width, classes).permute(0, 3, 1, 2).contiguous()
            terms = {"cross_entropy": self._cross_entropy(maps, batch.labels)}
            if self.config.aux_weight:
                log_posterior = of_class(log_density.log_softmax(dim=1), labels, components)
                surprise = torch.where(labelled, -(responsibilities * log_posterior).sum(dim=1), 0)
                count = labelled.sum()
                surprise = self.collectives.pooled(surprise.sum() / count.clamp(min=1), count)
                terms["component_cross_entropy"] = self.config.aux_weight * surprise
        return Losses(terms, observed)

    @torch.no_grad()
    def after_step(self, observed: Sequence[Observed], context: Context) -> None:
        """Remember some pixels of every component; on every ``em_interval``-th step, refit the step's classes.

        Several batches of one step are remembered together, as one large batch would be.
        """
        if self.config.estimate == "nothing":
            return
        # A step of one batch, as most are, needs no copy.
        step = observed[0] if len(observed) == 1 else Observed(*map(torch.cat, zip(*observed)))
        self._remember(step, context)
        if context.step % self.config.em_interval == 0:
            classes = self.means.shape[0]
            present = torch.zeros(classes + 1, device=self.means.device).index_fill_(0, step.classes, 1)
            present = context.collectives.all_reduce_sum(present)[:classes] > 0
            self._refit(present, context.steps)

    def predict(self, images: Tensor) -> Prediction:
        """Logits and raw class log-densities (B, C, h, w) at the resolution of the dense features."""
        features, (height, width) = self._embed(images)
        with torch.autocast(features.device.type, enabled=False):
            scores = class_log_density(features, self._unit_means(), self.stds, self.config.reduce)
            shape = (images.shape[0], height, width, len(self.classes))
            logits, log_density = (
                maps.view(shape).permute(0, 3, 1, 2).contiguous() for maps in (self._logits(scores), scores)
            )
        return Prediction(logits=logits, log_density=log_density)

    def _embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Unit feature vectors (B * h * w, D) in float32 and the grid (h, w) they come from."""
        projected = self.projection(self.network(images).dense)
        with torch.autocast(projected.device.type, enabled=False):
            rows = projected.float().permute(0, 2, 3, 1).flatten(0, 2)
            rows = self.feature_norm(rows)
            # F.normalize, but its norm is slow over short rows
            features = rows * rows.square().sum(dim=1, keepdim=True).clamp(min=NORM_EPS**2).rsqrt()
        return features, (projected.shape[2], projected.shape[3])

    def _unit_means(self) -> Tensor:
        return F.normalize(self.means, dim=2) if self.config.estimate == "nothing" else self.means

    def _logits(self, scores: Tensor) -> Tensor:
        """Class logits (N, C) from class log-densities (N, C)."""
        if self.config.class_norm == "layernorm":
            normalised: Tensor = self.class_norm(scores)
            return normalised
        if self.config.class_norm == "temperature":
            return scores / self.log_temperature.exp()
        return scores

    def _assign(self, own: Tensor, classes: Tensor) -> Tensor:
        """Responsibilities (N, K) from the log-densities ``own`` (N, K) of each pixel's class (E-step)."""
        plan = sinkhorn(
            own,
            classes,
            self.means.shape[0],
            self.config.sinkhorn_iters,
            self.config.sinkhorn_eps,
            self.collectives,
        )
        return one_hot(plan) if self.config.assign == "hard" else plan.softmax(dim=1)

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of ``logits`` (B, C, h, w), enlarged to ``labels`` (B, H, W)."""
        labelled = labels < logits.shape[1]
        enlarged = upsample(logits, (labels.shape[1], labels.shape[2]))
        target = torch.where(labelled, labels, -100)
        total = F.cross_entropy(enlarged, target, ignore_index=-100, reduction="sum")
        if self.config.loss_mean == "all":
            return total / labels.numel()
        count = labelled.sum()
        return self.collectives.pooled(total / count.clamp(min=1), count)

    def _remember(self, observed: Observed, context: Context) -> None:
        """Push at most ``push`` pixels per component, evenly spaced over those of all ranks, into its ring.

        Hard assignment spaces them over the component's pixels; soft assignment over the class's, with
        weights.
        """
        classes, components, dim = self.means.shape
        limit = self.config.push
        keys, groups, values = observed.classes, classes, observed.features
        if self.config.assign == "hard":
            keys, groups = keys * components + observed.responsibilities.argmax(dim=1), classes * components
        else:
            values = torch.cat([values, observed.responsibilities], dim=1)
        kept = observed.classes < classes
        if self.config.mem_correct_only:
            kept = kept & observed.correct
        rows, counts = select(values, torch.where(kept, keys, groups), groups, limit, context.collectives)
        if self.config.assign == "hard":
            weights = rows.new_ones(groups, limit)
        else:
            weights = rows[..., dim:].transpose(1, 2).flatten(0, 1)
            rows = rows[..., :dim].repeat_interleave(components, dim=0)
            counts = counts.repeat_interleave(components)
        self.memory.push(rows, weights, counts)

    def _refit(self, present: Tensor, steps: int) -> None:
        """M-step for the classes ``present`` (C,): means move towards the memory, spreads follow it if estimated."""
        constants = time_constants(self.config, steps)
        memory, shape = self.memory, self.means.shape
        update = (memory.mass >= MIN_MASS).view(shape[:2]) & present.unsqueeze(1)
        mass = memory.mass.clamp(min=MIN_MASS)

        target = spherical_mean(memory.first).view(shape)
        moved = F.normalize(constants.gamma_mean * self.means + (1 - constants.gamma_mean) * target, dim=2)
        self.means.copy_(torch.where(update.unsqueeze(2), moved, self.means))
        if self.config.estimate == "means":
            return
        centre = target if self.config.var_center == "memory" else moved
        variance = variance_about(centre.flatten(0, 1), mass, memory.first, memory.second).view(shape)
        variance = shrunk(
            variance + self.config.ridge, mass.view(shape[:2]), self.initial_std**2, self.config.variance_prior
        )
        stds = variance.sqrt()
        spread = constants.gamma_var * self.stds + (1 - constants.gamma_var) * stds
        self.stds.copy_(torch.where(update.unsqueeze(2), spread, self.stds))
