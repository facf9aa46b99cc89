"""A token is the class of a pixel: GSS without a codec, which equals softmax up to its head."""

from __future__ import annotations

from torch import Tensor

from methods.base import Classes
from methods.gss.codecs.base import Codec, log_one_hot, log_probabilities, refuse_variant
from methods.gss.codecs.settings import FREE_VARIANTS, CodecSettings


class IdentityCodec(Codec):
    """V = C tokens at every pixel; both decodings are exact."""

    caches_latents = False
    stride = 1

    def __init__(self, settings: CodecSettings, classes: Classes) -> None:
        super().__init__(settings, len(classes))
        if settings.variant not in FREE_VARIANTS:
            refuse_variant(settings)
        self.vocabulary = len(classes)

    def encode(self, labels: Tensor) -> Tensor:
        """The labels themselves."""
        return labels

    def decode(self, latents: Tensor) -> Tensor:
        """Logarithms of the probabilities, or of certainty for tokens."""
        if latents.is_floating_point():
            return log_probabilities(latents)
        return log_one_hot(latents, self.num_classes)
