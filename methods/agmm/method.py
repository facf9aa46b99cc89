"""The AGMM plugin: hyper-parameters, the two branches and what they teach each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from methods.agmm import losses as terms
from methods.agmm.mixture import (
    Distance,
    Pairs,
    Variance,
    centres,
    energies,
    find_pairs,
    label_mass,
    labelled_points,
    present_classes,
    valid_cells,
)
from methods.base import (
    IGNORE,
    UNLABELLED,
    Batch,
    Classes,
    Context,
    Losses,
    Method,
    MethodConfig,
    MethodError,
    Network,
    Prediction,
    added,
    projection,
    upsample,
)

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "released": {"variance": "none", "proto": "sum", "eps": 1e-6, "mask_distance": True},
}
CHECKED_MAPS = 100
"""Label maps that ``prepare`` reads at most to tell sparse labels from dense ones."""
UNLABELLED_SHARE = 0.05
"""Of pixels without label, the least share that is not void in sparse labels: a stray one is nothing to learn from."""
ABSENT_GAP = 20.0
"""Nats by which a class without a Gaussian stays below the least likely one with (``decode="mixture"``)."""


class AGMMConfig(MethodConfig):
    """Hyper-parameters of ``AGMM``. As in the published code, all loss weights are 1 and nothing ramps up."""

    preset: Literal["paper", "released"] = "paper"
    """Fills the fields that are not given. ``paper``: adaptive variance, class vectors as means. ``released``:
    what the published code computes, ``variance="none"``, ``proto="sum"``, ``eps=1e-6``,
    ``mask_distance=True``, but for ``align_corners``."""

    dim: int = Field(default=256, ge=1, le=4096)
    """D, channels of the non-negative features that classifier and Gaussians share."""
    variance: Variance = "pred_weighted"
    """Variance of a Gaussian: the mean of d^2 over the image's pixels, weighted by the predicted probability of
    the class (paper, Eq. 7) or uniformly; or none, a kernel of fixed width (code). Always without gradient."""
    distance: Distance = "l1mean"
    """d: mean absolute difference (code), root mean square difference, or the latter with each channel divided
    by its own standard deviation (needs a variance)."""
    mask_distance: bool = False
    """Multiply d by the share of the cell that is not void (code), which makes every affinity 1 there and
    leaks across the border of void regions."""
    eps: float = Field(default=0.0, ge=0, lt=0.1)
    """Added to probabilities inside logarithms (code: 1e-6). Needless, as logarithms are exact here."""
    detach: Literal["none", "r", "p"] = "none"
    """Side of the self-training term that gets no gradient: none (code), affinities r or predictions p."""
    align_corners: bool = added(False)
    """Enlarge the classifier's logits with the first and last cells on the image's edge pixels (code, in training and
    at test time), not with cells where the network saw them. Gaussians keep to the latter, as in the code."""
    proto: Literal["mean", "sum"] = "mean"
    """Vector of a class for the separation term: mean of its centres over a batch's images, or their sum, which
    the code computes where it means the mean, and which saturates the term early."""

    seg_weight: float = Field(default=1.0, ge=0, le=1e6)
    """Weight of the cross-entropy on labelled pixels."""
    self_weight: float = Field(default=1.0, ge=0, le=1e6)
    """Weight of the self-training term between predictions and affinities."""
    gmm_weight: float = Field(default=1.0, ge=0, le=1e6)
    """Weight of the supervision of affinities on labelled pixels."""
    proto_weight: float = Field(default=1.0, ge=0, le=1e6)
    """Weight of the separation (contrastive) term."""
    cls_weight: float = Field(default=1.0, ge=0, le=1e6)
    """Weight of the suppression of classes that the image tags exclude."""
    ramp: float = Field(default=0.0, ge=0, le=1)
    """Share of the run in which ``self_weight`` grows linearly from 0 to its value; 0 for no ramp-up (code)."""

    decode: Literal["network", "mixture"] = "network"
    """What predicts: the classifier (code) or Gaussians about the classifier's own predictions."""
    require_unlabelled: bool = True
    """Refuse sparse labels with no unlabelled pixels but void, which leave nothing to train itself on."""

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        preset = data.get("preset", "paper")
        return {**PRESETS[preset], **data} if isinstance(preset, str) and preset in PRESETS else data

    @model_validator(mode="after")
    def _diagonal_needs_a_variance(self) -> AGMMConfig:
        if self.distance == "diag" and self.variance == "none":
            raise ValueError("distance=diag needs a variance; set variance=pred_weighted or uniform, or distance=l2")
        return self


class Gaussians(NamedTuple):
    """The Gaussians of a batch's P pairs (image, class)."""

    pairs: Pairs
    centres: Tensor
    """(P, D)."""
    energy: Tensor
    """(P, h, w): -log r, with r in (0, 1] the affinity of each cell."""


class AGMM(Method):
    """A classifier and, per image and labelled class, a Gaussian about the mean labelled feature.

    Features are the network's dense ones after 1x1 convolution, batch norm and ReLU to ``dim`` channels: the
    published decoder ends in such a layer, ours need not. Gaussians belong to one image: nothing of them is kept,
    so the state is that of a network with a linear classifier.

    Pixels 0..C-1 are labelled, ``UNLABELLED`` ones take part in self-training, ``IGNORE`` ones in nothing. All
    means over pixels and the class vectors of the separation term are those of all ranks' batch; in the published
    code, of one rank's.
    """

    name = "agmm"
    reference = (
        "Linshan Wu, Zhun Zhong, Leyuan Fang, Xingxin He, Qiang Liu, Jiayi Ma, Hao Chen: Sparsely Annotated Semantic "
        "Segmentation with Adaptive Gaussian Mixtures. CVPR 2023"
    )
    Config = AGMMConfig
    training_only = ("progress",)

    config: AGMMConfig
    progress: Tensor
    """Share of the run that is done; 0..1."""

    def __init__(self, config: AGMMConfig, network: Network, classes: Classes) -> None:
        super().__init__(config, network, classes)
        if len(classes) < 2:
            raise MethodError("agmm needs at least 2 classes; choose another data set or class set")
        self.projection = projection(network.out_channels, config.dim)
        self.classifier = nn.Conv2d(config.dim, len(classes), kernel_size=1)
        self.register_buffer("progress", torch.zeros(()))

    def prepare(self, context: Context) -> None:
        """Look at the first ``CHECKED_MAPS`` label maps. Raises MethodError if unlabelled pixels are coded void."""
        if not self.config.require_unlabelled:
            return
        labelled = unlabelled = pixels = 0
        for labels in islice(context.label_maps(), CHECKED_MAPS):
            labelled += int((labels < len(self.classes)).sum())
            unlabelled += int((labels == UNLABELLED).sum())
            pixels += labels.numel()
        if 2 * labelled < pixels and unlabelled < UNLABELLED_SHARE * (pixels - labelled):
            raise MethodError(
                f"agmm learns from unlabelled pixels, but {labelled / pixels:.1%} of the pixels are labelled and "
                f"{'nearly ' * (unlabelled > 0)}all others are void ({IGNORE}); code valid pixels without annotation "
                f"as {UNLABELLED}, or do without self-training by --set method.require_unlabelled=false"
            )

    def losses(self, batch: Batch) -> Losses:
        """The five terms at label size, each weighted.

        ``cross_entropy`` of predictions and ``mixture`` of affinities on labelled pixels; ``self_training`` between
        the two on all pixels that are not void; ``separation`` of class vectors; ``absent_classes`` by image tags.
        A term without any pixel or pair is zero, with a graph.
        """
        config, labels = self.config, batch.labels
        features = self.projection(self.network(batch.images).dense)
        logits = self.classifier(features)
        with torch.autocast(features.device.type, enabled=False):
            features, logits = features.float(), logits.float()
            size = (labels.shape[1], labels.shape[2])
            pairs = find_pairs(present_classes(labels, len(self.classes)))
            tags = pairs.present if batch.present is None else batch.present | pairs.present
            domain = labels != IGNORE
            points = labelled_points(labels, len(self.classes), (features.shape[2], features.shape[3]))
            mass = label_mass(points, pairs, features[0, 0].numel())
            gaussians = self._gaussians(features, mass, pairs, logits, labels)

            log_p = self._enlarge(logits, size).log_softmax(dim=1)
            log_q = terms.log_complement(log_p)
            affinity = upsample((-gaussians.energy).exp().unsqueeze(1), size).squeeze(1)
            vectors = terms.class_vectors(gaussians.centres, pairs, config.proto, self.collectives)
            labelled, counted = (labels < len(self.classes)).sum(), domain.sum()
            pooled = self.collectives.pooled
            ramp = (self.progress / config.ramp).clamp(max=1) if config.ramp else 1.0
            found = {
                "cross_entropy": config.seg_weight * pooled(terms.cross_entropy(log_p, labels), labelled),
                "self_training": config.self_weight
                * ramp
                * pooled(
                    terms.self_training(
                        pairs.of_class(log_p), pairs.of_class(log_q), affinity, pairs, domain, config.eps, config.detach
                    ),
                    counted,
                ),
                "mixture": config.gmm_weight
                * pooled(terms.supervise_mixture(gaussians.energy, labels, points, pairs, config.eps), labelled),
                "separation": config.proto_weight * terms.separation(vectors, config.distance),
                "absent_classes": config.cls_weight
                * pooled(terms.absent_classes(log_q, tags, domain, config.eps), counted),
            }
        return Losses(found)

    def after_step(self, observed: Sequence[None], context: Context) -> None:
        """Remember how far the run is, for the ramp-up."""
        self.progress.fill_((context.step + 1) / max(context.steps, 1))

    def predict(self, images: Tensor) -> Prediction:
        """Logits (B, C, h, w) at the features' resolution, and the anomaly score ``agmm_affinity`` = 1 - max_k r_k.

        With ``align_corners`` the classifier's logits are (B, C, H, W), enlarged as in training.

        Images have no labels here, so both the score and ``decode="mixture"`` use Gaussians that no paper defines:
        those of the classes that the classifier finds in the image, each about the mean feature of the cells
        that it gives to the class, weighted by their predicted probability, with the variance of training.
        Mixture logits are log r_k: their softmax is r_k over the sum of all; a class that the classifier does not
        find stays ``ABSENT_GAP`` below the least of the others.
        """
        features = self.projection(self.network(images).dense)
        logits = self.classifier(features)
        with torch.autocast(features.device.type, enabled=False):
            features, logits = features.float(), logits.float()
            confidence, found = logits.softmax(dim=1).max(dim=1)
            pairs = find_pairs(present_classes(found, len(self.classes)))
            own = found.index_select(0, pairs.image) == pairs.label.view(-1, 1, 1)
            mass = pairs.to_slots((own * confidence.index_select(0, pairs.image)).flatten(1))
            energy = self._gaussians(features, mass, pairs, logits).energy
            affinity = pairs.to_classes((-energy).exp())
            if self.config.decode == "mixture":
                scores = pairs.to_classes(-energy)
                absent = scores.amin(dim=1, keepdim=True) - ABSENT_GAP
                logits = torch.where(pairs.present[:, :, None, None], scores, absent)
            elif self.config.align_corners:
                logits = self._enlarge(logits, (images.shape[2], images.shape[3]))
        return Prediction(logits=logits, anomaly={"agmm_affinity": 1 - affinity.amax(dim=1)})

    def _enlarge(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """The classifier's ``logits`` (B, C, h, w) at ``size`` (H, W)."""
        if self.config.align_corners:
            return F.interpolate(logits, size=size, mode="bilinear", align_corners=True)
        return upsample(logits, size)

    def _gaussians(
        self, features: Tensor, mass: Tensor, pairs: Pairs, logits: Tensor, labels: Tensor | None = None
    ) -> Gaussians:
        """Gaussians about the means of ``features`` (B, D, h, w) under ``mass`` (B, K, h * w).

        ``logits`` (B, C, h, w) weigh the pixels of a variance, ``labels`` (B, H, W) exclude void ones.
        """
        height, width = features.shape[-2:]
        rows = features.flatten(2).transpose(1, 2).contiguous()
        means = centres(rows, mass)
        valid = rows.new_ones(rows.shape[:2]) if labels is None else valid_cells(labels, (height, width))
        weights = None
        if self.config.variance != "none":
            weights = valid.unsqueeze(2).expand(-1, -1, pairs.slots)
            if self.config.variance == "pred_weighted":
                posterior = pairs.of_class(logits.detach().softmax(dim=1)).flatten(1)
                weights = weights * pairs.to_slots(posterior).transpose(1, 2)
        mask = valid if self.config.mask_distance else None
        energy = energies(rows, means, weights, self.config.distance, mask)
        energy = pairs.of_slot(energy.transpose(1, 2)).unflatten(1, (height, width))
        return Gaussians(pairs, pairs.of_slot(means), energy)
