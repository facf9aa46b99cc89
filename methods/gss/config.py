"""Hyper-parameters of GSS: the prior, its losses and its decoding, over those of the codec."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from methods.base import added
from methods.gss.codecs.settings import CodecSettings


class GSSConfig(CodecSettings):
    """Hyper-parameters of ``GSS``; those before ``head`` decide the codec and enter its hash."""

    head: Literal["mla", "linear"] = "mla"
    """Between the network and the token classifier: ``mla`` aggregates encoder levels and dense features with
    windowed attention (paper); ``linear`` is nothing, the classifier stands on the dense features as softmax's does."""
    hidden: int = Field(default=256, ge=8, le=8192)
    """Channels of the ``mla`` head (code: 512, and 2048 before the classifier of 8192 tokens)."""
    depth: int = Field(default=2, ge=0, le=24)
    """Window blocks of the head (paper: 2; code: 2 with Swin-L, 6 with ResNet-101 and HRNet)."""
    heads: int = Field(default=8, ge=1, le=8192)
    """Attention heads; divides ``hidden`` (code: one for 32 channels)."""
    window: int = Field(default=7, ge=2, le=64)
    """Side of an attention window in tokens (code: 7)."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Probability that a channel is dropped before the classifier."""

    fusion: Literal["linear", "normalised"] = added("linear")
    """Where levels meet: a linear layer, or one with batch norm and ReLU as in the head's other layers (code)."""
    auxiliary_fusion: Literal["shared", "separate"] = added("shared")
    """Levels that the auxiliary head reads: as they are fused for the tokens (code on MSeg), or projected and fused
    once more for it alone (code elsewhere)."""

    token_weight: float = Field(default=0.8, ge=0, le=1e6)
    """Weight of the tokens' cross-entropy, or of the colours' negative log-density."""
    auxiliary_weight: float = Field(default=0.2, ge=0, le=1e6)
    """Weight of the auxiliary head's cross-entropy over pixels. It is taken at the labels' own resolution, as
    softmax's is, for the auxiliary head is the control that GSS is compared with."""
    loss_mean: Literal["counted", "all"] = added("counted")
    """Mean of a loss over the tokens that count and the pixels with a label, or over all of them with the others as
    zero (code): where 30 % are void, that divides by 1.4 times as many."""

    inverse_images: int = Field(default=2, ge=1, le=4096)
    """Images of a batch from which ``inverse_training=predictions`` learns: it works at the labels' resolution and
    would otherwise cost several times the rest of a step (code: batches of 1 or 2)."""

    void_fraction: float = Field(default=0.5, ge=0, lt=1)
    """Before ``fill_after``: tokens with a larger share of void or unlabelled pixels are ignored, and what remains of
    such pixels takes the nearest class of the image."""
    pseudo_fill: bool = True
    """From ``fill_after`` on, void and unlabelled pixels take the auxiliary head's class instead, and all tokens with
    any labelled pixel count (paper, code). Sparse supervision needs it: few of its tokens are half labelled."""
    fill_after: float = Field(default=0.25, ge=0, le=1)
    """Share of the run after which the auxiliary head is trusted with that (code: 0)."""

    decode: Literal["hard", "soft", "monte-carlo"] = "hard"
    """Tokens to classes: of the most likely tokens (paper, code), of the expected code, or the mean posterior over
    ``samples`` draws. A hard decode knows no doubt, so ``hard`` gives its classes with the probabilities of the soft
    one. The expected code of an undecided prior may look like a third class, so the classes of ``soft`` trail those of
    ``hard`` until training has made the tokens clear. ``colour`` has one decode, of its mean colours."""
    samples: int = Field(default=4, ge=0, le=1024)
    """Draws for ``decode="monte-carlo"`` and for the score ``gss_monte_carlo``; 0 leaves the score out."""

    def without_effect(self) -> list[str]:
        """Settings that differ from their defaults although the others leave them nothing to decide.

        Two runs that differ in them alone are the same run twice.
        """
        autoencoder = self.codec in ("vqvae", "dvae")
        colours = self.codec in ("colour", "vqvae", "dvae", "dalle")
        decides = {
            ("window_depth",): self.variant == "ft-w",
            ("inverse_images",): self.inverse_training == "predictions",
            ("variant",): colours,
            ("palette",): colours and self.variant != "ff-r",
            ("colour_temperature",): colours,
            ("codec_stride",): self.codec not in ("identity", "dalle"),
            ("vocabulary",): autoencoder or self.codec == "patch",
            ("codec_steps", "codec_batch", "codec_crop", "codec_lr"): autoencoder
            or self.trains_inverse()
            or self.trains_palette(),
            ("code_dim", "codec_width", "rgb_weight"): autoencoder,
            ("code_decay", "commitment", "restart_every"): self.codec == "vqvae",
            ("gumbel_temperature", "kl_weight"): self.codec == "dvae",
            ("dalle_encoder", "dalle_decoder", "dalle_upsample"): self.codec == "dalle",
            ("depth", "window", "dropout", "fusion", "auxiliary_fusion"): self.head == "mla",
            ("fill_after",): self.pseudo_fill,
        }
        idle = [name for names, used in decides.items() if not used for name in names]
        return [name for name in idle if getattr(self, name) != type(self).model_fields[name].default]

    @model_validator(mode="after")
    def _check(self) -> GSSConfig:
        if self.head == "mla" and self.hidden % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide hidden ({self.hidden})")
        if self.decode == "monte-carlo" and not self.samples:
            raise ValueError("decode=monte-carlo needs at least one of samples")
        if self.inverse_training == "predictions" and self.variant != "ft-w":
            raise ValueError("inverse_training=predictions belongs to variant=ft-w")
        return self
