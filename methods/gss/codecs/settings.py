"""What a fitted codec depends on; the base of the method's configuration, so that nothing is stated twice."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

from pydantic import Field

from methods.base import MethodConfig
from methods.gss.palette import PaletteKind

CodecName = Literal["identity", "patch", "colour", "vqvae", "dvae", "dalle"]
Variant = Literal["ff", "ff-r", "ft", "ft-w", "tf", "tt"]

FREE_VARIANTS: tuple[Variant, ...] = ("ff", "ff-r")
"""Variants that train nothing about colours."""

MAX_STEPS = 20_000
"""Most steps of fitting that follow from the length of a run."""


class CodecSettings(MethodConfig):
    """Hyper-parameters of the codec between label maps and tokens."""

    codec: CodecName = "vqvae"
    """``vqvae``, ``dvae``: small discrete autoencoders of colour-coded label maps, fitted before the network;
    ``patch``: a codebook of label patches, without training; ``identity``: a token is a class; ``colour``: no
    tokens, colours are regressed; ``dalle``: the published autoencoder, from local files."""
    variant: Variant = "ff"
    """Whether X (classes to colours) and its inverse are free or trained, in the paper's names: ``ff`` both
    free, ``ff-r`` with random colours, ``ft`` the inverse is a 3-layer CNN, ``ft-w`` blocks of windowed attention,
    ``tf`` the colours are trained, ``tt`` colours and a 3-layer CNN."""
    inverse_training: Literal["reconstructions", "predictions"] = "reconstructions"
    """What ``ft-w`` learns from: the codec's reconstructions of training labels (paper), or, beside the network, the
    maps that it currently predicts for the training images (code, there after the network)."""
    palette: PaletteKind = "max_distance"
    """Colours of the classes. ``max_distance`` spreads them (paper), ``grid`` is a jittered grid (code),
    ``dataset`` takes the data set's own (code, Cityscapes). ``ff-r`` is always ``random``."""
    colour_temperature: float = Field(default=0.1, ge=1e-6, le=1e6)
    """Softness tau of the nearest colour, in squared smallest distances of the palette: a pixel's class scores are
    -distance^2 / tau, so a clean colour is ahead of its neighbour by 1 / 0.1 = 10 nats."""

    codec_seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Seed of palette and fitting, apart from the run's, so that all seeds of a grid share one codec."""
    codec_steps: int | None = Field(default=None, ge=1, le=10_000_000)
    """Optimiser steps of fitting; by default twice the run's, at most 20,000. A trained X or inverse takes half as
    many again."""
    codec_batch: int = Field(default=8, ge=1, le=4096)
    """Crops of label maps per step of fitting."""
    codec_crop: int = Field(default=96, ge=16, le=4096, multiple_of=8)
    """Side of the crops in pixels, in whole tokens of any stride, after random scaling by 0.5 to 2. With few steps,
    width buys more than pixels: at equal cost 48 channels on crops of 96 reconstruct better than 32 on crops of 128."""
    codec_lr: float = Field(default=1e-3, gt=0, le=1000)
    """AdamW's learning rate; decays to zero along a cosine. For about a thousand steps; 3e-4 is usual in long fits."""

    codec_stride: Literal[2, 4, 8] = 4
    """Label pixels per token, along each axis; the side of a patch. ``identity`` always has 1, ``dalle`` 8 divided
    by ``dalle_upsample``."""
    vocabulary: int = Field(default=1024, ge=2, le=65536)
    """V, number of tokens. ``identity`` has one per class, ``dalle`` always 8192."""
    code_dim: int = Field(default=64, ge=1, le=4096)
    """Dimensions of a code."""
    codec_width: int = Field(default=48, ge=8, le=2048)
    """Channels w of the autoencoder at half resolution; 2w below."""
    code_decay: float = Field(default=0.99, ge=0, lt=1)
    """``vqvae``: what a code keeps of its moving average in a step."""
    commitment: float = Field(default=0.25, ge=0, le=1e6)
    """``vqvae``: weight of the encoder's distance to its codes."""
    rgb_weight: float = Field(default=0.1, ge=0, le=1e6)
    """Weight of the squared colour error beside the cross-entropy of the decoded classes."""
    restart_every: int = Field(default=200, ge=1, le=10_000_000)
    """``vqvae``: steps after which codes that no token chose are placed again; at most a twentieth of the fit."""
    gumbel_temperature: float = Field(default=1 / 16, ge=1e-6, le=1)
    """``dvae``: last temperature of the relaxation, which starts at 1."""
    kl_weight: float = Field(default=0.001, ge=0, le=1e6)
    """``dvae``: weight of the divergence, in nats per token, of the posterior from the uniform distribution."""
    window_depth: int = Field(default=2, ge=1, le=8)
    """``ft-w``: windowed attention blocks; every second one is shifted (paper: 1 or 2; code: 1 or 2)."""

    dalle_encoder: Path | None = None
    """``dalle``: file with the encoder's weights, safetensors or a plain state dict."""
    dalle_decoder: Path | None = None
    """``dalle``: file with the decoder's weights."""
    dalle_upsample: Literal[1, 2] = 2
    """``dalle``: enlargement of label maps before encoding. 2 gives one token per 4 pixels (code)."""

    def codec_settings(self) -> CodecSettings:
        """These settings alone, without what a subclass adds."""
        return CodecSettings(**{name: getattr(self, name) for name in CodecSettings.model_fields})

    def resolved_steps(self, run_steps: int) -> int:
        """Steps of fitting for a run of ``run_steps``."""
        return min(2 * run_steps, MAX_STEPS) if self.codec_steps is None else self.codec_steps

    def trains_inverse(self) -> bool:
        """Whether the codec itself fits an inverse; with ``predictions`` the method does."""
        return self.variant in ("ft", "tt") or (self.variant == "ft-w" and self.inverse_training == "reconstructions")

    def trains_palette(self) -> bool:
        """Whether the colours themselves are fitted."""
        return self.variant in ("tf", "tt")

    def without_fitted_colours(self) -> CodecSettings:
        """The settings of the ``ff`` codec that a codec with a trained X or inverse builds on."""
        defaults = CodecSettings()
        colours = {name: getattr(defaults, name) for name in ("variant", "inverse_training", "window_depth")}
        return self.codec_settings().model_copy(update=colours)

    def settings_hash(self) -> str:
        """SHA-256 of the settings. Paths do not enter: the weights themselves are hashed where they count."""
        content = self.codec_settings().model_dump(mode="json", exclude={"dalle_encoder", "dalle_decoder"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
