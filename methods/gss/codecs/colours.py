"""Codecs with tokens that describe an image: labels are painted, encoded, rendered, and read back as classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Classes, Progress
from methods.gss.codecs.base import Codec, LabelMaps, full_precision
from methods.gss.codecs.fitting import crops_of, optimise, seeded
from methods.gss.codecs.settings import CodecSettings
from methods.gss.label_maps import pad_to_cells
from methods.gss.maskige import ConvInverse, WindowInverse, nearest_colour, paint
from methods.gss.palette import make_palette, minimum_distance


class ColourCodec(Codec):
    """Between X and its inverse: ``tokenise`` turns painted labels into tokens, ``render`` tokens into colours.

    The inverse is the nearest colour, or trained on what the frozen codec makes of training labels (``ft``, ``ft-w``,
    ``tt``). Colours are trained by the gradient through ``straight_through`` (``tf``, ``tt``), as in GSS, eq. 9-11:
    the stage of the paper in which encoder and decoder are fixed.
    """

    palette: Tensor
    fitted_by_steps = True

    def __init__(self, settings: CodecSettings, classes: Classes) -> None:
        super().__init__(settings, len(classes))
        kind = "random" if settings.variant == "ff-r" else settings.palette
        palette = make_palette(kind, classes, settings.codec_seed)
        self.palette = nn.Parameter(palette)
        self.tau = self._softness()
        if not settings.trains_palette():  # a checkpoint's colours count, should this machine spread them otherwise
            nn.Module.register_load_state_dict_post_hook(
                self, lambda codec, keys: setattr(codec, "tau", codec._softness())
            )
        self.inverse: nn.Module | None = None
        if settings.trains_inverse():
            windowed = settings.variant == "ft-w"
            # Apart from the other weights, which then begin alike in all variants.
            with seeded(settings.codec_seed, torch.device("cpu")):
                self.inverse = (
                    WindowInverse(len(classes), settings.window_depth) if windowed else ConvInverse(len(classes))
                )

    def tokenise(self, colours: Tensor) -> Tensor:
        """Tokens (B, h, w) of ``colours`` (B, 3, H, W), both sides multiples of the stride."""
        raise NotImplementedError  # an abstract method: nn.Module rules out ABCMeta here

    def render(self, latents: Tensor) -> Tensor:
        """Colours (B, 3, h * f, w * f) in [0, 1] of tokens (B, h, w) or probabilities (B, V, h, w)."""
        raise NotImplementedError

    def straight_through(self, colours: Tensor) -> Tensor:
        """What ``render(tokenise(colours))`` gives, with a gradient as if no token had been chosen."""
        raise NotImplementedError

    @torch.no_grad()
    def encode(self, labels: Tensor) -> Tensor:
        """Paint and tokenise."""
        with full_precision(labels.device):
            return self.tokenise(paint(pad_to_cells(labels, self.stride), self.palette))

    def maskige(self, latents: Tensor) -> Tensor:
        """Render in float32."""
        with full_precision(latents.device):
            return self.render(latents)

    def decode(self, latents: Tensor) -> Tensor:
        """Render and read the colours as classes."""
        return self.decode_with_colours(latents)[0]

    def decode_with_colours(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and colours from one rendering."""
        with full_precision(latents.device):
            colours = self.render(latents)
            return self.classify(colours), colours

    def classify(self, colours: Tensor) -> Tensor:
        """The inverse of X: class scores (B, C, H, W) of ``colours`` (B, 3, H, W)."""
        return self.free_inverse(colours) if self.inverse is None else self.inverse(colours)

    def free_inverse(self, colours: Tensor) -> Tensor:
        """Class scores (B, C, H, W) of ``colours`` (B, 3, H, W) by the nearest colour."""
        return nearest_colour(colours, self.palette, self.tau)

    def _softness(self) -> float:
        """tau, in squared colours, from the smallest distance of the palette."""
        spacing = min(minimum_distance(self.palette), 1.0)
        return self.settings.colour_temperature * max(spacing, 1 / 255) ** 2

    def latent_state(self) -> dict[str, Tensor]:
        """All but the trained inverse."""
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("inverse.")}

    @torch.enable_grad()
    def fit_colours(self, label_maps: LabelMaps, steps: int, progress: Progress) -> None:
        """Cross-entropy of reconstructed labels in the trained X and inverse, all else fixed; steps / 2 of them."""
        settings = self.settings
        trained: list[Tensor] = [] if self.inverse is None else list(self.inverse.parameters())
        if settings.trains_palette():
            trained.append(self.palette)
        crops = crops_of(label_maps, settings)

        def loss(step: int) -> Tensor:
            labels = crops.draw(settings.codec_batch).to(self.palette.device)
            if settings.trains_palette():
                colours = self.straight_through(paint(labels, self.palette))
            else:
                colours = self.maskige(self.encode(labels))
            return F.cross_entropy(self.classify(colours), labels)

        def stay_in_cube(step: int) -> None:
            self.palette.clamp_(0, 1)

        with seeded(settings.codec_seed, self.palette.device):
            optimise(trained, loss, steps // 2, settings.codec_lr, progress, "fitting maskige", stay_in_cube)
