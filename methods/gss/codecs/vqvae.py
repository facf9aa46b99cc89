"""A small vector-quantised autoencoder of maskiges (van den Oord et al. 2017), the default codec."""

from __future__ import annotations

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

RESTARTS = 20
"""Least number of restarts in a fit, however short."""
SETTLED = 0.75
"""Share of the fit after which no code is restarted."""
CHUNK_ELEMENTS = 1 << 24
"""Similarities between vectors and codes that are held at once."""


class VQVAECodec(ColourCodec):
    """Tokens are the nearest of V unit codes to the unit vector that the encoder gives a cell."""

    codebook: Tensor
    """(V, d) unit vectors."""

    def __init__(self, settings: CodecSettings, classes: Classes) -> None:
        super().__init__(settings, classes)
        self.stride, self.vocabulary = settings.codec_stride, settings.vocabulary
        self.encoder = make_encoder(self.stride, settings.codec_width, settings.code_dim)
        self.decoder = make_decoder(self.stride, settings.codec_width, settings.code_dim)
        self.register_buffer("codebook", F.normalize(torch.randn(self.vocabulary, settings.code_dim), dim=1))

    def tokenise(self, colours: Tensor) -> Tensor:
        """Nearest codes."""
        return self._nearest(self._vectors(colours))

    def render(self, latents: Tensor) -> Tensor:
        """Decode the codes of tokens, or the expected codes: their length tells how sure they are."""
        colours: Tensor = self.decoder(embed(latents, self.codebook))
        return colours

    def straight_through(self, colours: Tensor) -> Tensor:
        """The gradient with respect to a cell's code is taken for that of its vector."""
        vectors = self._vectors(colours)
        codes = embed(self._nearest(vectors.detach()), self.codebook)
        rendered: Tensor = self.decoder(vectors + (codes - vectors).detach())
        return rendered

    @torch.enable_grad()
    def fit_latents(self, label_maps: LabelMaps, steps: int, progress: Progress) -> None:
        """Fit encoder and decoder by gradient, codes by moving averages, on random crops of ``label_maps``.

        The loss is the cross-entropy of the nearest-colour scores, plus the squared colour error and the
        commitment with their weights.
        """
        settings, device = self.settings, self.codebook.device
        crops = crops_of(label_maps, settings)
        averages = CodeAverages(self.codebook, settings.code_decay)
        interval = min(settings.restart_every, max(1, steps // RESTARTS))
        trained: list[nn.Parameter] = [*self.encoder.parameters(), *self.decoder.parameters()]
        seen: list[Tensor] = []

        def loss(step: int) -> Tensor:
            labels = crops.draw(settings.codec_batch).to(device)
            colours = paint(labels, self.palette)
            vectors = self._vectors(colours)
            rows = vectors.detach().movedim(1, -1).flatten(0, 2)
            if step == 0:
                averages.restart(rows, torch.ones_like(averages.unused))
            tokens = self._nearest(vectors.detach())
            seen[:] = [rows, tokens.flatten()]
            codes = embed(tokens, self.codebook)
            rendered = self.decoder(vectors + (codes - vectors).detach())
            terms = F.cross_entropy(self.free_inverse(rendered), labels)
            terms = terms + settings.rgb_weight * F.mse_loss(rendered, colours)
            return terms + settings.commitment * (vectors - codes.detach()).square().sum(dim=1).mean()

        def move_codes(step: int) -> None:
            averages.update(*seen)
            if (step + 1) % interval == 0 and step + 1 < SETTLED * steps:
                averages.restart(seen[0], averages.unused)

        networks = (self.encoder, self.decoder)
        with seeded(settings.codec_seed, device), normalising_by_batch(*networks):
            optimise(trained, loss, steps, settings.codec_lr, progress, "fitting the codec", move_codes)
        settle(networks, lambda: self.maskige(self.encode(crops.draw(settings.codec_batch).to(device))))

    def _vectors(self, colours: Tensor) -> Tensor:
        """Unit vectors (B, d, h, w)."""
        return F.normalize(self.encoder(colours), dim=1)

    def _nearest(self, vectors: Tensor) -> Tensor:
        """Tokens (B, h, w) of unit ``vectors`` (B, d, h, w)."""
        rows = vectors.movedim(1, -1)
        parts = rows.flatten(0, 2).split(max(1, CHUNK_ELEMENTS // self.vocabulary))
        return torch.cat([(part @ self.codebook.t()).argmax(dim=1) for part in parts]).view(rows.shape[:3])


class CodeAverages:
    """Moving averages that ``codebook`` (V, d) follows in place, and the restart of codes that nothing chooses."""

    def __init__(self, codebook: Tensor, decay: float) -> None:
        self.codebook, self.decay = codebook, decay
        self.sums = codebook.clone()
        self.unused = torch.ones(len(codebook), dtype=torch.bool, device=codebook.device)
        """(V,) codes that no vector chose since the last restart."""

    def update(self, vectors: Tensor, tokens: Tensor) -> None:
        """Move the codes chosen by unit ``vectors`` (N, d), of ``tokens`` (N,), towards them.

        Codes are directions, so only the direction of the average counts and its weight need not be known.
        """
        fresh = torch.zeros_like(self.sums).index_add_(0, tokens, vectors)
        self.sums.mul_(self.decay).add_(fresh, alpha=1 - self.decay)
        chosen = torch.zeros_like(self.unused)
        chosen[tokens] = True
        moved = F.normalize(self.sums, dim=1)
        self.codebook.copy_(torch.where(chosen.unsqueeze(1), moved, self.codebook))
        self.unused &= ~chosen

    def restart(self, vectors: Tensor, codes: Tensor) -> None:
        """Place ``codes`` (V,) bool at vectors drawn in proportion to their squared distance from the nearest code."""
        places = codes.nonzero().squeeze(1)
        if len(places):
            parts = vectors.split(max(1, CHUNK_ELEMENTS // len(self.codebook)))
            nearest = torch.cat([(part @ self.codebook.t()).amax(dim=1) for part in parts])
            drawn = torch.multinomial((1 - nearest).clamp_min(1e-6), len(places), replacement=True)
            self.codebook[places] = vectors[drawn]
            self.sums[places] = vectors[drawn]
        self.unused.fill_(True)
