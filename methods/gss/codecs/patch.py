"""A codebook of label patches, chosen from the training labels without any gradient.

Codes are the C patches of one class each and, for the rest of the vocabulary, a weighted k-modes clustering of the
mixed patches under the Hamming distance: a code is the most frequent class at each position of its patches, started
from the most frequent patches.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from methods.base import Classes, MethodError, Progress
from methods.gss.codecs.base import Codec, LabelMaps, log_one_hot, log_probabilities, refuse_variant
from methods.gss.codecs.settings import FREE_VARIANTS, CodecSettings
from methods.gss.label_maps import pad_to_cells, whole_maps

CANDIDATES = 1 << 14
"""Most frequent mixed patches that codes are chosen from."""
COUNTED = 1 << 18
"""Different mixed patches that are counted at once; beyond that the rarest are forgotten."""
ITERATIONS = 10
"""Of the clustering."""
CHUNK_ELEMENTS = 1 << 24
"""Matches between patches and codes that are held at once."""


class PatchCodec(Codec):
    """A token is one of V patches of ``codec_stride`` x ``codec_stride`` labels; decoding pastes them.

    Until it is fitted, and where training labels have too few different patches, the codes that are left over
    repeat the pure ones; ``encode`` never gives them.
    """

    codes: Tensor
    """(V, p * p) uint8 classes, row by row of a patch; the first C are pure."""

    def __init__(self, settings: CodecSettings, classes: Classes) -> None:
        super().__init__(settings, len(classes))
        if settings.variant not in FREE_VARIANTS:
            refuse_variant(settings)
        self.stride, self.vocabulary = settings.codec_stride, settings.vocabulary
        if self.vocabulary < self.num_classes:
            raise MethodError(
                f"vocabulary={self.vocabulary} has no room for the pure patches of {self.num_classes} classes; "
                f"set method.vocabulary to at least {self.num_classes}"
            )
        self.register_buffer("codes", self._pure(self.vocabulary))

    def encode(self, labels: Tensor) -> Tensor:
        """The code with the fewest wrong pixels for each patch, the first of equal ones."""
        patches, shape = self._patches(labels)
        tokens = patches[:, 0].long()
        mixed = (patches != patches[:, :1]).any(dim=1).nonzero().squeeze(1)
        tokens[mixed] = nearest_codes(patches[mixed], self.codes)
        return tokens.view(shape)

    def decode(self, latents: Tensor) -> Tensor:
        """Logarithm of the mixture of pasted patches under the probabilities, or of the one patch of each token."""
        side = self.stride
        if latents.is_floating_point():
            one_hot = F.one_hot(self.codes.long(), self.num_classes).float()
            table = one_hot.permute(0, 2, 1).flatten(1)
            mixture = (table.t() @ latents.float().flatten(2)).unflatten(2, latents.shape[2:])
            return log_probabilities(F.pixel_shuffle(mixture, side))
        pasted = self.codes[latents].permute(0, 3, 1, 2)
        classes = F.pixel_shuffle(pasted, side).squeeze(1).long()
        return log_one_hot(classes, self.num_classes)

    @torch.no_grad()
    def fit_latents(self, label_maps: LabelMaps, steps: int, progress: Progress) -> None:
        """Count the mixed patches of all label maps in one pass, and cluster them; needs no steps."""
        length = self.stride**2
        patches, counts = np.empty((0, length), np.uint8), np.empty(0, np.int64)
        fresh: list[NDArray[np.uint8]] = []
        for labels in progress(whole_maps(label_maps), "counting label patches", None):
            rows, _ = self._patches(labels[None])
            fresh.append(rows[(rows != rows[:, :1]).any(dim=1)].numpy())
            if sum(map(len, fresh)) > COUNTED:
                patches, counts = _count(patches, counts, fresh)
                fresh = []
        patches, counts = _count(patches, counts, fresh)
        kept = np.lexsort((*patches.T, -counts))[:CANDIDATES]
        device = self.codes.device
        chosen = self._cluster(torch.from_numpy(patches[kept]).to(device), torch.from_numpy(counts[kept]).to(device))
        self.codes.copy_(chosen)

    def _pure(self, size: int) -> Tensor:
        classes = torch.arange(size) % self.num_classes
        return classes.to(torch.uint8).unsqueeze(1).repeat(1, self.stride**2)

    def _patches(self, labels: Tensor) -> tuple[Tensor, tuple[int, int, int]]:
        """Rows (B * h * w, p * p) uint8 of ``labels`` (B, H, W), and (B, h, w)."""
        side = self.stride
        padded = pad_to_cells(labels, side).to(torch.uint8)
        cells = padded.unflatten(2, (-1, side)).unflatten(1, (-1, side)).transpose(2, 3)
        images, height, width = cells.shape[:3]
        return cells.reshape(-1, side * side), (images, height, width)

    def _cluster(self, patches: Tensor, weights: Tensor) -> Tensor:
        """The codebook for mixed ``patches`` (N, p * p), most frequent first, with ``weights`` (N,)."""
        pure, places = self._pure(self.num_classes).to(patches.device), self.vocabulary - self.num_classes
        codes = self._pure(self.vocabulary).to(patches.device)
        codes[len(pure) : len(pure) + min(places, len(patches))] = patches[:places]
        if len(patches) <= places:
            return codes
        for _ in range(ITERATIONS):
            tokens = nearest_codes(patches, codes)
            shares = _class_weights(patches, weights, tokens, self.vocabulary, self.num_classes)
            updated = torch.where(shares.sum(dim=2) > 0, shares.argmax(dim=2).to(torch.uint8), codes)
            updated[: len(pure)] = pure
            # Codes that no patch chose take the worst represented patches.
            unused = tokens.bincount(minlength=self.vocabulary)[len(pure) :].eq(0).nonzero().squeeze(1) + len(pure)
            errors = weights * (patches != updated[tokens]).sum(dim=1)
            updated[unused] = patches[errors.argsort(descending=True, stable=True)[: len(unused)]]
            if torch.equal(updated, codes):
                break
            codes = updated
        return codes


def nearest_codes(patches: Tensor, codes: Tensor) -> Tensor:
    """Index (N,) of the row of ``codes`` (V, L) that agrees with most of each row of ``patches`` (N, L), both uint8.

    Compares position by position, which needs no one-hot form and does not depend on the number of classes.
    """
    found = [patches.new_zeros(0, dtype=torch.int64)]
    for chunk in patches.split(max(1, CHUNK_ELEMENTS // len(codes))):
        matches = torch.zeros(len(chunk), len(codes), dtype=torch.uint8, device=patches.device)
        for position in range(patches.shape[1]):
            matches += chunk[:, position, None] == codes[:, position]
        found.append(matches.argmax(dim=1))
    return torch.cat(found)


def _class_weights(patches: Tensor, weights: Tensor, tokens: Tensor, vocabulary: int, classes: int) -> Tensor:
    """Weight (V, L, C) of each class at each position of the patches of each code."""
    length = patches.shape[1]
    positions = torch.arange(length, device=patches.device)
    index = (tokens.unsqueeze(1) * length + positions) * classes + patches.long()
    shares = torch.zeros(vocabulary * length * classes, dtype=weights.dtype, device=patches.device)
    return shares.index_add_(0, index.flatten(), weights.repeat_interleave(length)).view(vocabulary, length, classes)


def _count(
    patches: NDArray[np.uint8], counts: NDArray[np.int64], fresh: list[NDArray[np.uint8]]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Add the rows ``fresh`` to the ``counts`` of different ``patches``; at most ``COUNTED`` remain."""
    rows = np.ascontiguousarray(np.concatenate([patches, *fresh]))
    weights = np.concatenate([counts, np.ones(len(rows) - len(counts), np.int64)])
    length = rows.shape[1]
    unique, inverse = np.unique(rows.view(np.dtype((np.void, length))).ravel(), return_inverse=True)
    totals = np.zeros(len(unique), np.int64)
    np.add.at(totals, inverse, weights)
    kept = np.argsort(-totals, kind="stable")[:COUNTED]
    return unique[kept].view(np.uint8).reshape(-1, length), totals[kept]
