"""Adapter for the published discrete autoencoder of DALL-E (Ramesh et al. 2021), with weights from local files.

Vocabulary 8192, stride 8. Written from the published description; names and shapes of the state are those of the
published models, so that their ``state_dict`` can be loaded. Everything runs in float32: the published code rounds
convolutions to half precision, where near ties between tokens fall differently from one device to the next.
"""

from __future__ import annotations

import hashlib
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from bench.common.errors import first_line
from methods.base import Classes, MethodError, Progress
from methods.gss.codecs.base import LabelMaps, embed
from methods.gss.codecs.colours import ColourCodec
from methods.gss.codecs.settings import CodecSettings

VOCABULARY = 8192
WIDTH = 256
INPUT_WIDTH = 128
"""Channels of a token's code at the decoder's input."""
MULTIPLES = (1, 2, 4, 8)
"""Widths of the four groups, as multiples of ``WIDTH``, from fine to coarse."""
BLOCKS = 2
"""Residual blocks of a group."""
GAIN = 1 / (len(MULTIPLES) * BLOCKS) ** 2
"""Of every residual path: 1 / 64."""
STRIDE = 2 ** (len(MULTIPLES) - 1)
LOGIT_LAPLACE_EPS = 0.1
"""Colours are mapped from [0, 1] to [0.1, 0.9] before encoding, and back after decoding."""

UNREADABLE = (SafetensorError, OSError, RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError)
"""What reading raises where a file is damaged, or is something else: the unpickler trusts its input to be a pickle."""


class Convolution(nn.Module):
    """A convolution that keeps the size, with the published names of its parameters."""

    def __init__(self, in_channels: int, out_channels: int, side: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.empty(out_channels, in_channels, side, side))
        self.b = nn.Parameter(torch.zeros(out_channels))
        nn.init.normal_(self.w, std=(in_channels * side * side) ** -0.5)

    def forward(self, maps: Tensor) -> Tensor:
        """Convolve ``maps`` (B, C, H, W) with zero padding."""
        return F.conv2d(maps, self.w, self.b, padding=self.w.shape[-1] // 2)


class Bottleneck(nn.Module):
    """A residual block of four convolutions, the inner ones of a quarter of its width."""

    def __init__(self, in_channels: int, out_channels: int, sides: tuple[int, int, int, int]) -> None:
        super().__init__()
        same = in_channels == out_channels
        self.id_path = nn.Identity() if same else Convolution(in_channels, out_channels, 1)
        hidden = out_channels // 4
        channels = (in_channels, hidden, hidden, hidden, out_channels)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for index, side in enumerate(sides):
            layers[f"relu_{index + 1}"] = nn.ReLU()
            layers[f"conv_{index + 1}"] = Convolution(channels[index], channels[index + 1], side)
        self.res_path = nn.Sequential(layers)

    def forward(self, maps: Tensor) -> Tensor:
        """Add the residual path, damped by ``GAIN``."""
        result: Tensor = self.id_path(maps) + GAIN * self.res_path(maps)
        return result


def _groups(
    channels: int, widths: tuple[int, ...], sides: tuple[int, int, int, int], between: tuple[str, nn.Module]
) -> OrderedDict[str, nn.Module]:
    """Groups of blocks by their published names, with a change of resolution after all but the last."""
    groups: OrderedDict[str, nn.Module] = OrderedDict()
    for index, width in enumerate(widths):
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for block in range(BLOCKS):
            layers[f"block_{block + 1}"] = Bottleneck(channels, width, sides)
            channels = width
        if index + 1 < len(widths):
            layers[between[0]] = between[1]
        groups[f"group_{index + 1}"] = nn.Sequential(layers)
    return groups


def make_encoder(width: int = WIDTH, vocabulary: int = VOCABULARY) -> nn.Module:
    """Mapped colours (B, 3, 8h, 8w) to scores (B, V, h, w) of tokens, in a module with one child ``blocks``."""
    widths = tuple(width * multiple for multiple in MULTIPLES)
    output = OrderedDict(relu=nn.ReLU(), conv=Convolution(widths[-1], vocabulary, 1))
    groups = _groups(width, widths, (3, 3, 3, 1), ("pool", nn.MaxPool2d(2)))
    blocks = OrderedDict(input=Convolution(3, width, 7), **groups, output=nn.Sequential(output))
    return nn.Sequential(OrderedDict(blocks=nn.Sequential(blocks)))


def make_decoder(width: int = WIDTH, vocabulary: int = VOCABULARY, input_width: int = INPUT_WIDTH) -> nn.Module:
    """Scores or one-hot tokens (B, V, h, w) to (B, 6, 8h, 8w), of which three are the logits of mapped colours."""
    widths = tuple(width * multiple for multiple in reversed(MULTIPLES))
    output = OrderedDict(relu=nn.ReLU(), conv=Convolution(widths[-1], 6, 1))
    groups = _groups(input_width, widths, (1, 3, 3, 3), ("upsample", nn.Upsample(scale_factor=2, mode="nearest")))
    blocks = OrderedDict(input=Convolution(vocabulary, input_width, 1), **groups, output=nn.Sequential(output))
    return nn.Sequential(OrderedDict(blocks=nn.Sequential(blocks)))


class DalleCodec(ColourCodec):
    """Tokens of the published autoencoder on maskiges enlarged ``dalle_upsample`` times.

    Its weights are part of the model's state, some 390 MB, so that evaluation elsewhere does not need the files.
    """

    caches_latents = False

    def __init__(
        self,
        settings: CodecSettings,
        classes: Classes,
        width: int = WIDTH,
        vocabulary: int = VOCABULARY,
        input_width: int = INPUT_WIDTH,
    ) -> None:
        super().__init__(settings, classes)
        self.enlargement = settings.dalle_upsample
        self.stride, self.vocabulary = STRIDE // self.enlargement, vocabulary
        self.encoder = make_encoder(width, vocabulary)
        self.decoder = make_decoder(width, vocabulary, input_width)

    def tokenise(self, colours: Tensor) -> Tensor:
        """Best scores; the posterior is a point, as in GSS."""
        # One image at a time: the scores of a batch are most of the memory.
        return torch.cat([self._scores(image).argmax(dim=1) for image in colours.split(1)])

    def render(self, latents: Tensor) -> Tensor:
        """Look codes up in the decoder's first convolution, decode the rest, and average enlarged pixels."""
        blocks = self.decoder.get_submodule("blocks")
        first, *rest = blocks.children()
        assert isinstance(first, Convolution)
        maps = embed(latents, first.w.flatten(1).t()) + first.b.view(-1, 1, 1)
        for layer in rest:
            maps = layer(maps)
        colours = (maps[:, :3].sigmoid() - LOGIT_LAPLACE_EPS) / (1 - 2 * LOGIT_LAPLACE_EPS)
        return F.avg_pool2d(colours.clamp(0, 1), self.enlargement)

    def straight_through(self, colours: Tensor) -> Tensor:
        """Hard Gumbel-softmax without noise: the best token forward, the softmax backward."""
        soft = self._scores(colours).softmax(dim=1)
        hard = torch.zeros_like(soft).scatter_(1, soft.argmax(dim=1, keepdim=True), 1.0)
        return self.render(hard + soft - soft.detach())

    def fit_latents(self, label_maps: LabelMaps, steps: int, progress: Progress) -> None:
        """Load the weights. Raises MethodError where files are missing, damaged, or of another layout."""
        for part, path in self._files().items():
            _load(self.get_submodule(part), path)

    def source_hash(self) -> str:
        """SHA-256 of both files."""
        digest = hashlib.sha256()
        for path in self._files().values():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def _scores(self, colours: Tensor) -> Tensor:
        mapped = (1 - 2 * LOGIT_LAPLACE_EPS) * colours + LOGIT_LAPLACE_EPS
        scores: Tensor = self.encoder(F.interpolate(mapped, scale_factor=float(self.enlargement), mode="nearest"))
        return scores

    def _files(self) -> dict[str, Path]:
        files: dict[str, Path] = {}
        for part, path in (("encoder", self.settings.dalle_encoder), ("decoder", self.settings.dalle_decoder)):
            if path is None or not path.is_file():
                lack = f"no file of its {part} is named" if path is None else f"there is no {part} at {path}"
                raise MethodError(
                    f"codec=dalle needs the published weights in local files, and {lack}; "
                    f"set method.dalle_encoder and method.dalle_decoder, or choose method.codec=vqvae"
                )
            files[part] = path
        return files


def _load(module: nn.Module, path: Path) -> None:
    """Load a state from ``path`` without running anything that is in it."""
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported global" not in str(error):
            raise _unreadable(path, "it is no file of weights") from None
        raise MethodError(
            f"{path} is a pickled module, which would run code when opened; where you trust it, convert it with the "
            f"dall_e package installed: torch.save(torch.load(path, weights_only=False).state_dict(), 'weights.pt')"
        ) from None
    except UNREADABLE as error:
        raise _unreadable(path, first_line(error)) from None
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    found = {n: tuple(t.shape) for n, t in state.items() if isinstance(t, Tensor)} if _is_mapping(state) else {}
    if found != expected:
        name = next(n for n in [*expected, *found] if expected.get(n) != found.get(n))
        raise MethodError(
            f"{path} does not hold the published layout: {name} is {found.get(name, 'missing')} "
            f"instead of {expected.get(name, 'absent')}; give the state dict of the right half of the autoencoder"
        )
    for name, tensor in state.items():
        sound = tensor.layout == torch.strided and tensor.is_floating_point() and not tensor.is_meta
        if not sound or not bool(tensor.isfinite().all()):
            raise _unreadable(path, f"{name} does not hold finite floating-point numbers")
    module.load_state_dict(state)


def _unreadable(path: Path, cause: str) -> MethodError:
    return MethodError(f"{path} cannot be read ({cause}); download and convert the weights again")


def _is_mapping(state: object) -> bool:
    return isinstance(state, Mapping)
