"""The GSS plugin: a codec of label maps fitted before the network, and a prior over its tokens trained on images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from methods.base import (
    IGNORE,
    Batch,
    Classes,
    Context,
    Losses,
    Method,
    MethodError,
    Network,
    Prediction,
    pixel_cross_entropy,
)
from methods.capabilities import Diagnoses, Diagnosis, DrawsLabelMaps
from methods.gss.codecs import build_codec
from methods.gss.codecs.cache import fitted_codec, measured_quality, read_labels
from methods.gss.codecs.colour import ColourRegression
from methods.gss.codecs.colours import ColourCodec
from methods.gss.config import GSSConfig
from methods.gss.decoding import ColourLatents, Latents, TokenLatents, divergence, entropy, monte_carlo, put_first
from methods.gss.generation import token_prior
from methods.gss.label_maps import fill_void
from methods.gss.losses import fill_with_classes, gaussian_nll, linear_cross_entropy, void_share
from methods.gss.maskige import WindowInverse, palette_distance
from methods.gss.prior import AggregationHead, LinearHead, Prior, resample

QUALITY = ("miou", "boundary_f", "perplexity", "used_codes")
"""Figures of a codec's reconstructions that a model keeps."""
UNDEFINED = -1.0
"""A figure that a codec does not have (perplexity without tokens), or not yet; not NaN, which equals nothing."""
SAMPLING_SEED = 0
"""Of the draws in prediction, which belong to the model and not to a run."""


class Predicted(NamedTuple):
    """What the prior says of images."""

    latents: Latents
    classes: Tensor
    """(B, C, h, w) logits of the auxiliary head."""


class Target(NamedTuple):
    """What the prior is to say of a batch."""

    labels: Tensor
    """(B, H, W) int64, a class at every pixel."""
    counted: Tensor
    """(B, h, w) bool: cells of the codec's grid that have a loss."""


class GSS(DrawsLabelMaps, Diagnoses, Method):
    """Label maps as tokens of a frozen codec, which a prior predicts from the image in one pass.

    log p(c | x) is bounded through discrete latents z: a codec, fitted once on label maps painted as images
    ("maskiges"), gives z = E(c) and p(c | z), and a prior p(z | x) learns the tokens by cross-entropy. ``variant`` says
    whether classes get their colours (X) and lose them (its inverse) by rule or by training.

    Predictions have the images' own size, and ``logits`` are log-posteriors (their energy is therefore constant).
    Images are padded to whole cells, never stretched. Readings beside the decoding that was asked for are ``hard`` or
    ``soft``, ``nearest`` (the hard decode's colours by the nearest one, where a trained inverse decodes them) and
    ``auxiliary``, the head that predicts classes without latents: the control. Anomaly scores:

    - ``gss_entropy``: entropy of the class posterior of the soft decode;
    - ``gss_token``: entropy of the tokens over log V (``colour``: mean log standard deviation);
    - ``gss_colour``: distance of the soft decode's colours from the nearest class's, in [0, 1] RGB, if it has any;
    - ``gss_monte_carlo``: mutual information between class and sampled tokens, with ``samples`` draws;
    - ``gss_auxiliary``: Jensen-Shannon divergence between the soft decode and the auxiliary head.
    """

    name = "gss"
    version = "2"
    reference = "Jiaqi Chen, Jiachen Lu, Xiatian Zhu, Li Zhang: Generative Semantic Segmentation. CVPR 2023"
    Config = GSSConfig
    headline_score = "gss_entropy"
    window_average = "probabilities"
    training_only = ("step",)
    check_config = MappingProxyType({"hidden": 16, "heads": 2, "vocabulary": 32, "code_dim": 8, "codec_width": 8})

    config: GSSConfig
    step: Tensor
    """() int64: steps taken."""
    codec_hash: Tensor
    """(32,) uint8: fingerprint of the codec that the prior is trained for; zeros before ``prepare``."""
    codec_quality: Tensor
    """(4,) float32: figures of the codec's reconstructions, in the order of ``QUALITY``."""

    def __init__(self, config: GSSConfig, network: Network, classes: Classes) -> None:
        super().__init__(config, network, classes)
        self.codec = build_codec(config, classes)
        self.codec.freeze()
        stride, outputs = self.codec.stride, self.codec.vocabulary
        head: LinearHead | AggregationHead
        if config.head == "linear":
            head = LinearHead(network, len(classes), stride)
        else:
            head = AggregationHead(
                network,
                len(classes),
                stride,
                config.hidden,
                config.depth,
                config.heads,
                config.window,
                config.dropout,
                config.fusion,
                config.auxiliary_fusion,
            )
        self.prior = Prior(head, 2 * outputs if self.codec.continuous else outputs, stride)
        self.inverse: nn.Module | None = None
        if config.inverse_training == "predictions":
            self.inverse = WindowInverse(len(classes), config.window_depth)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("codec_hash", torch.zeros(32, dtype=torch.uint8))
        self.register_buffer("codec_quality", torch.full((len(QUALITY),), UNDEFINED))
        self._steps_taken = 0  # ``step`` where no one waits for a device to tell it
        self._fill_from = math.inf

    def train(self, mode: bool = True) -> GSS:
        """Set the mode; the codec's is always ``eval``."""
        super().train(mode)
        self.codec.eval()
        return self

    def prepare(self, context: Context) -> None:
        """Fit the codec on the training label maps, or take it from the cache, and measure what it can express."""
        if idle := self.config.without_effect():
            context.note("without effect beside the other settings: " + ", ".join(f"method.{name}" for name in idle))
        labels = read_labels(context.label_maps, context.progress)
        fitted_codec(
            self.codec,
            label_maps=context.label_maps,
            labels=labels,
            steps=context.steps,
            cache=context.cache,
            progress=context.progress,
            note=context.note,
        )
        quality = measured_quality(
            self.codec,
            context.label_maps,
            labels=labels,
            cache=context.cache,
            progress=context.progress,
            note=context.note,
            collectives=context.collectives,
        )
        figures = torch.tensor([quality[name] for name in QUALITY])
        self.codec_quality.copy_(torch.where(figures.isnan(), UNDEFINED, figures))
        self.codec_hash.copy_(_hash_bytes(self.codec.fingerprint()))
        self._fill_from = self.config.fill_after * context.steps
        shown = ", ".join(f"{name} {value:.4g}" for name, value in self._figures().items() if value is not None)
        context.note(f"codec {self.config.codec} on the training labels: {shown}")

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load a state with a prior and a codec that belong together.

        Raises MethodError if the state's codec is not the one that its prior was trained for, or not the one that
        ``prepare`` has made here.
        """
        told = state_dict.get("codec_hash")
        if told is not None and self.codec_hash.any() and not torch.equal(told.cpu(), self.codec_hash.cpu()):
            raise MethodError(
                f"the checkpoint was trained for codec {_short(told)}, but these settings and labels give codec "
                f"{_short(self.codec_hash)}: restore the labels that it was fitted on, or use --force to start over"
            )
        result = super().load_state_dict(state_dict, strict=strict, assign=assign)
        self._steps_taken = int(self.step)
        if told is not None and told.any() and not torch.equal(told.cpu(), _hash_bytes(self.codec.fingerprint())):
            raise MethodError(
                f"the codec in the checkpoint is not {_short(told)}, for which its prior was trained: the checkpoint "
                "was changed or made with other codec settings; run the run again with --force"
            )
        return result

    def facts(self) -> Mapping[str, float | str | None]:
        """The codec's fingerprint, and its reconstruction of the training labels, the bound of all predictions.

        It is that of the codec's own inverse of X. One that learns from predictions has another bound, which
        ``diagnose`` measures.
        """
        return {"codec_fingerprint": bytes(self.codec_hash.tolist()).hex(), **self._figures()}

    def losses(self, batch: Batch) -> Losses:
        """Cross-entropy of tokens and of the auxiliary head's classes; that of the inverse where it learns here.

        Means are over counted tokens and labelled pixels, unless ``loss_mean="all"``; a batch without any has zero
        losses, with a graph.
        """
        size = (batch.labels.shape[1], batch.labels.shape[2])
        cells, classes = self.prior(self.network(batch.images), size)
        config = self.config
        terms = {
            "token": config.token_weight * self._latent_loss(cells, self._target(batch.labels, classes.detach())),
            "auxiliary": config.auxiliary_weight * self._pixel_loss(classes, batch.labels, batch.labels.numel()),
        }
        if self.inverse is not None:
            own = max(config.inverse_images - self.collectives.rank * len(batch.images), 0)  # of the first of all ranks
            colours = self._predicted_colours(batch.images[: max(own, 1)])  # a rank without any joins in for nothing
            labels = batch.labels[: len(colours)] if own else torch.full_like(batch.labels[:1], IGNORE)
            terms["inverse"] = self._pixel_loss(_cut(self.inverse(colours), size), labels, labels[:own].numel())
        return Losses(terms)

    def after_step(self, observed: Sequence[None], context: Context) -> None:
        """Count steps, for the moment from which void pixels are filled by the auxiliary head."""
        self._steps_taken = context.step + 1
        self.step.fill_(self._steps_taken)

    def predict(self, images: Tensor) -> Prediction:
        """Log-posteriors (B, C, H, W) and anomaly maps for ``images`` (B, 3, H, W)."""
        size = (images.shape[2], images.shape[3])
        predicted = self.latents(images)
        with torch.autocast(images.device.type, enabled=False):
            soft, colours = self.read(predicted.latents.soft(), size)
            anomaly = {"gss_entropy": entropy(soft), "gss_token": predicted.latents.uncertainty()}
            if colours is not None and self.codec.palette is not None:
                anomaly["gss_colour"] = palette_distance(colours, self.codec.palette)
            hard, painted = self.read(predicted.latents.hard(), size)
            decoded = {"hard": put_first(soft, hard.argmax(dim=1)), "soft": soft}
            if self.codec.continuous:  # the most likely colour is the mean one: another row would repeat the first
                decoded = {self.config.decode: soft}
            if self.config.samples:
                decoded["monte-carlo"], anomaly["gss_monte_carlo"] = self._sampled(predicted.latents, size)
            auxiliary = self._auxiliary(predicted, size)
            anomaly["gss_auxiliary"] = divergence(soft, auxiliary.log_softmax(dim=1))
            nearest = {} if painted is None or not self._inverts_by_training else {"nearest": self._nearest(painted)}
        logits = decoded.pop(self.config.decode)
        decoded.pop("monte-carlo", None)  # a row only where it was asked for
        return Prediction(logits=logits, anomaly=anomaly, readings={**decoded, **nearest, "auxiliary": auxiliary})

    def diagnose(self, images: Tensor, labels: Tensor) -> Diagnosis:
        """What the codec makes of the labels, and how much of that is predicted.

        Readings: ``codec_bound``, the labels encoded and decoded; with a trained inverse also ``codec_bound_nearest``,
        decoded by the nearest colour. Counts: ``token_accuracy``, right tokens among those at most ``void_fraction``
        void; ``decoded_accuracy``, labelled pixels at which the predicted tokens decode to the class that the labels'
        tokens decode to, for different tokens may mean the same.
        """
        size = (images.shape[2], images.shape[3])
        valid = labels < len(self.classes)
        hard = self.latents(images).latents.hard()
        with torch.autocast(images.device.type, enabled=False):
            truth = self._encode(fill_void(labels))
            bound, decoded = (self.classes_of(latents, size) for latents in (truth, hard))
            readings = {"codec_bound": bound}
            if self._inverts_by_training:
                painted = _cut(self._colours(truth), size)
                readings["codec_bound_nearest"] = self._nearest(painted).argmax(dim=1)
        counts = {"decoded_accuracy": (int((decoded == bound)[valid].sum()), int(valid.sum()))}
        if not self.codec.continuous:
            counted = void_share(~valid, self.codec.stride) <= self.config.void_fraction
            counts["token_accuracy"] = (int((hard == truth)[counted].sum()), int(counted.sum()))
        return Diagnosis(readings, counts)

    def sample(self, images: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Draw label maps (count, B, H, W) of ``images`` (B, 3, H, W): tokens from p(z | x), decoded hard."""
        size = (images.shape[2], images.shape[3])
        latents = self.latents(images).latents
        with torch.autocast(images.device.type, enabled=False):
            return torch.stack([self.classes_of(drawn, size) for drawn in latents.samples(count, generator)])

    def generate(self, context: Context, count: int, generator: torch.Generator) -> Tensor:
        """Draw label maps (count, H, W) without an image, from a prior over the tokens of the training label maps.

        The prior is an autoregressive network (``token_prior``), since the paper's own needs an image, and cells are
        not independent as it draws them. Raises MethodError for a codec without tokens.
        """
        prior = token_prior(
            self.codec, context.label_maps, self.config.codec_seed, context.cache, context.progress, context.note
        )
        tokens = prior.sample(count, generator, context.progress)
        size = (tokens.shape[1] * self.codec.stride, tokens.shape[2] * self.codec.stride)
        return torch.cat([self.classes_of(part, size) for part in tokens.split(1)])

    def latents(self, images: Tensor) -> Predicted:
        """The distribution over the latents of ``images`` (B, 3, H, W), with the auxiliary head's logits."""
        size = (images.shape[2], images.shape[3])
        cells, classes = self.prior(self.network(images), size)
        return Predicted(self._latents(cells, size), classes)

    def read(self, latents: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor | None]:
        """Class log-posterior (B, C, H, W) and colours (B, 3, H, W), if any, at ``size`` of ``latents`` of any form."""
        if self.inverse is None:
            scores, colours = self.codec.decode_with_colours(latents)
        else:
            colours = self._colours(latents)
            scores = self.inverse(colours)
        return _cut(scores.float(), size).log_softmax(dim=1), None if colours is None else _cut(colours, size)

    def classes_of(self, latents: Tensor, size: tuple[int, int]) -> Tensor:
        """The most likely class (B, H, W) int64 at ``size`` of ``latents`` of any form."""
        return self.read(latents, size)[0].argmax(dim=1)

    @torch.no_grad()
    def _predicted_colours(self, images: Tensor) -> Tensor:
        """Colours (B, 3, H, W) that ``predict`` would decode of ``images``: without dropout, by settled statistics.

        Image by image, so that token logits of a whole batch are never held.
        """
        modules: tuple[nn.Module, ...] = (self.network, self.prior)
        in_training = [part for module in modules for part in module.modules() if part.training]
        for module in modules:
            module.eval()
        tokens = [self.latents(image).latents.hard() for image in images.split(1)]
        for part in in_training:  # and no other: a frozen encoder is in ``eval`` mode
            part.training = True
        return self._colours(torch.cat(tokens))

    @property
    def _inverts_by_training(self) -> bool:
        """Whether colours become classes by a trained inverse, beside which stands that of the nearest colour."""
        return isinstance(self.codec, ColourCodec) and (self.inverse or self.codec.inverse) is not None

    def _nearest(self, colours: Tensor) -> Tensor:
        """Class scores of ``colours`` (B, 3, H, W) by the nearest colour."""
        assert isinstance(self.codec, ColourCodec)
        return self.codec.free_inverse(colours)

    def _colours(self, latents: Tensor) -> Tensor:
        colours = self.codec.maskige(latents)
        assert colours is not None, "a trained inverse was refused for codecs without colours"
        return colours

    def _latents(self, cells: Tensor, size: tuple[int, int]) -> Latents:
        outputs = self.prior.outputs(cells, size)
        return ColourLatents(outputs) if self.codec.continuous else TokenLatents(outputs)

    def _encode(self, labels: Tensor) -> Tensor:
        return self.codec.targets(labels) if isinstance(self.codec, ColourRegression) else self.codec.encode(labels)

    def _auxiliary(self, predicted: Predicted, size: tuple[int, int]) -> Tensor:
        """Auxiliary logits (B, C, H, W) at ``size``."""
        return resample(predicted.classes, self.prior.head.stride, 1, size)

    def _sampled(self, latents: Latents, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(SAMPLING_SEED)
        return monte_carlo(latents, lambda drawn: self.read(drawn, size)[0], self.config.samples, generator)

    @torch.no_grad()
    def _target(self, labels: Tensor, classes: Tensor) -> Target:
        """A class at every pixel of ``labels`` (B, H, W), and which cells count, given auxiliary logits ``classes``."""
        void = labels >= len(self.classes)
        share = void_share(void, self.codec.stride)
        if self.config.pseudo_fill and self._steps_taken >= self._fill_from:
            guessed = fill_with_classes(labels, void, classes.argmax(dim=1), self.prior.head.stride)
            return Target(guessed, share < 1)
        return Target(fill_void(labels), share <= self.config.void_fraction)

    def _pixel_loss(self, logits: Tensor, labels: Tensor, pixels: int) -> Tensor:
        """Mean cross-entropy over the labelled pixels of ``labels`` (B, H, W), or over all, which are ``pixels``."""
        loss = pixel_cross_entropy(logits, labels, self.collectives)
        if self.config.loss_mean != "all":
            return loss
        counts = torch.stack([(labels < len(self.classes)).sum(), _count(pixels, labels)])
        counts = self.collectives.all_reduce_sum(counts).float()
        return loss * (counts[0] / counts[1])

    def _latent_loss(self, cells: Tensor, target: Target) -> Tensor:
        """Mean loss over the counted or all cells of the codec's grid, from the head's ``cells`` (B, D, ., .)."""
        size = (target.labels.shape[1], target.labels.shape[2])
        latents = self._encode(target.labels)
        every = self.config.loss_mean == "all"
        count = _count(target.counted.numel(), cells) if every else target.counted.sum()
        if self.codec.continuous:
            predicted = self._latents(cells, size)
            assert isinstance(predicted, ColourLatents)
            surprise = gaussian_nll(predicted.mean, predicted.variance, latents)
            total = torch.where(target.counted, surprise, 0).sum()
            return self.collectives.pooled(total / count.clamp(min=1), count)
        # Enlarging and the last layer are both linear: the other way round, logits are never held all at once.
        rows = self.prior.on_codec_grid(cells, size).permute(0, 2, 3, 1).flatten(0, 2)
        counted = target.counted.flatten().nonzero().squeeze(1)
        last = self.prior.classifier
        assert last.bias is not None
        total = linear_cross_entropy(
            rows.index_select(0, counted), last.weight.flatten(1), last.bias, latents.flatten()[counted]
        )
        return self.collectives.pooled(total / count.clamp(min=1), count)

    def _figures(self) -> dict[str, float | None]:
        values = self.codec_quality.tolist()
        return {
            f"codec_{name}": None if value == UNDEFINED else round(value, 6) for name, value in zip(QUALITY, values)
        }


def _count(number: int, like: Tensor) -> Tensor:
    """``number`` where ``like`` is, without a wait for the device."""
    return torch.full((), number, device=like.device)


def _cut(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return maps[..., : size[0], : size[1]]


def _hash_bytes(fingerprint: str) -> Tensor:
    return torch.tensor(list(bytes.fromhex(fingerprint)), dtype=torch.uint8)


def _short(codec_hash: Tensor) -> str:
    return bytes(codec_hash.tolist()).hex()[:8]
