"""The Gumbel-softmax twin of the VQ-VAE: the encoder scores all tokens, fitted by relaxation (Jang et al. 2017)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Classes, Progress
from methods.gss.codecs.autoencoder import make_decoder, make_encoder
from methods.gss.codecs.base import LabelMaps, embed
from methods.gss.codecs.colours import ColourCodec
from methods.gss.codecs.fitting import crops_of, normalising_by_batch, optimise, seeded, settle
from methods.gss.codecs.settings import CodecSettings
from methods.gss.maskige import paint


class DVAECodec(ColourCodec):
    """Tokens are the best of V scores of the encoder; each has a learnt code."""

    def __init__(self, settings: CodecSettings, classes: Classes) -> None:
        super().__init__(settings, classes)
        self.stride, self.vocabulary = settings.codec_stride, settings.vocabulary
        self.encoder = make_encoder(self.stride, settings.codec_width, self.vocabulary)
        self.decoder = make_decoder(self.stride, settings.codec_width, settings.code_dim)
        self.codebook = nn.Parameter(torch.randn(self.vocabulary, settings.code_dim))

    def tokenise(self, colours: Tensor) -> Tensor:
        """Best scores."""
        scores: Tensor = self.encoder(colours)
        return scores.argmax(dim=1)

    def render(self, latents: Tensor) -> Tensor:
        """Decode the codes of tokens, or the expected codes."""
        colours: Tensor = self.decoder(embed(latents, self.codebook))
        return colours

    def straight_through(self, colours: Tensor) -> Tensor:
        """Hard Gumbel-softmax without noise: the best token forward, the softmax backward."""
        soft: Tensor = self.encoder(colours).softmax(dim=1)
        hard = torch.zeros_like(soft).scatter_(1, soft.argmax(dim=1, keepdim=True), 1.0)
        return self.render(hard + soft - soft.detach())

    @torch.enable_grad()
    def fit_latents(self, label_maps: LabelMaps, steps: int, progress: Progress) -> None:
        """Fit all by gradient through relaxed samples, at a temperature that falls geometrically from 1.

        The loss is the cross-entropy of the nearest-colour scores, plus the squared colour error and the divergence
        of the posterior from the uniform distribution with their weights.
        """
        settings, device = self.settings, self.codebook.device
        crops = crops_of(label_maps, settings)

        def loss(step: int) -> Tensor:
            labels = crops.draw(settings.codec_batch).to(device)
            colours = paint(labels, self.palette)
            scores: Tensor = self.encoder(colours)
            temperature = settings.gumbel_temperature ** (step / max(steps - 1, 1))
            rendered = self.render(F.gumbel_softmax(scores, tau=temperature, dim=1))
            log_posterior = scores.log_softmax(dim=1)
            divergence = (log_posterior.exp() * log_posterior).sum(dim=1).mean() + math.log(self.vocabulary)
            terms = F.cross_entropy(self.free_inverse(rendered), labels)
            terms = terms + settings.rgb_weight * F.mse_loss(rendered, colours)
            return terms + settings.kl_weight * divergence

        trained = [*self.encoder.parameters(), *self.decoder.parameters(), self.codebook]
        networks = (self.encoder, self.decoder)
        with seeded(settings.codec_seed, device), normalising_by_batch(*networks):
            optimise(trained, loss, steps, settings.codec_lr, progress, "fitting the codec")
        settle(networks, lambda: self.maskige(self.encode(crops.draw(settings.codec_batch).to(device))))
