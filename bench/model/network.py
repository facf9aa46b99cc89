"""The network all methods share: any segmentation-models-pytorch architecture, as dense features and a pyramid."""

from __future__ import annotations

import contextlib
import inspect
import pickle
import re
import struct
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from bench.common.errors import UserError, first_line, near
from bench.common.grid import Grid
from bench.config.tables import NetworkConfig
from bench.model import packaged_weights
from methods.base import Features, Method, Network

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
UNREADABLE = (
    OSError,
    EOFError,
    KeyError,
    RuntimeError,
    ValueError,
    SafetensorError,
    pickle.UnpicklingError,
    struct.error,
)
"""What torch and safetensors raise for a damaged file of tensors."""
LEAST_SHARE = 0.5
"""Of the encoder's parameters, by number of tensors, that a weights file must fit: less is the file of another one."""
PROBE = 128
"""Side of the square on which strides and channels are measured."""


def architectures() -> dict[str, type]:
    """Architecture names, in lower case, and their classes."""
    return {c.__name__.lower(): c for c in smp.MODEL_ARCHITECTURES_MAPPING.values()}


def decoder_options(architecture: type) -> dict[str, inspect.Parameter]:
    """What ``network.decoder`` may set of an architecture."""
    parameters = inspect.signature(architecture).parameters
    return {n: p for n, p in parameters.items() if n.startswith(("decoder_", "psp_", "upsampling"))}


@dataclass(frozen=True)
class WeightsReport:
    """What of a local weights file went into the encoder."""

    path: str
    loaded: int
    missing: tuple[str, ...]
    """Encoder entries that the file does not have."""
    unexpected: tuple[str, ...]
    """Entries of the file that the encoder does not have."""
    mismatched: tuple[str, ...]
    """Entries of both with different shapes."""

    def __str__(self) -> str:
        parts = [f"{self.loaded} tensors of {self.path} went into the encoder"]
        for label in ("missing", "unexpected", "mismatched"):
            names = getattr(self, label)
            if names:
                parts.append(f"{len(names)} {label} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})")
        return "; ".join(parts)


class SegmentationNetwork(Network):
    """Encoder and decoder of a segmentation-models-pytorch model, without its head.

    Takes RGB images in [0, 1] of any size, normalises them with the statistics its encoder was trained with, pads
    right and below to the encoder's divisor, and cuts the features back to ceil(H/stride).
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        model = _build(config)
        self.encoder: nn.Module = model.encoder
        self.decoder: nn.Module = model.decoder
        self.weights_report: WeightsReport | None = None
        weights = config.encoder_weights
        if weights == packaged_weights.NAME:
            state = packaged_weights.load(config.encoder, list(self.encoder.state_dict()))
            self.encoder.load_state_dict(state, strict=True)
        elif weights is not None and is_file(weights):
            self.weights_report = load_encoder_weights(self.encoder, Path(weights))
        mean, std = _statistics(config)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.divisor = 32
        # Convolutions of batches in this layout are faster on CPUs, and on GPUs in reduced precision.
        self.to(memory_format=torch.channels_last)
        try:
            self._measure()
        except (RuntimeError, ValueError, TypeError, AssertionError, ArithmeticError, LookupError) as error:
            raise _misfit(config, error) from None

    def _measure(self) -> None:
        """Find strides and channels with one small image: architectures do not agree on how they tell them."""
        training = self.training
        self.eval()
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            features = self._features(torch.zeros(1, 3, PROBE, PROBE))
        self.train(training)
        self.out_channels = features.dense.shape[1]
        self.stride = PROBE // features.dense.shape[-1]
        self.pyramid_channels = tuple(p.shape[1] for p in features.pyramid)
        self.pyramid_strides = tuple(PROBE // p.shape[-1] for p in features.pyramid)

    def _features(self, images: Tensor) -> Features:
        encoded = self.encoder(images)
        if isinstance(encoded, tuple) and len(encoded) == 2 and isinstance(encoded[0], (list, tuple)):
            levels, prefix_tokens = encoded  # vision transformers of DPT
            dense = self.decoder(levels, prefix_tokens)
        else:
            levels = encoded
            dense = self.decoder(list(levels))
        pyramid = tuple(level for level in levels if level.shape[1] > 0 and level is not images)
        return Features(dense, pyramid)

    def forward(self, images: Tensor) -> Features:
        """Features of ``images`` (B, 3, H, W), float RGB in [0, 1]."""
        size = (images.shape[-2], images.shape[-1])
        normalised = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        whole = Grid(size, self.divisor)
        if whole.span == size:
            return self._features(normalised)
        features = self._features(F.pad(normalised, whole.padding))
        dense = Grid(size, self.stride).cut(features.dense)
        levels = zip(features.pyramid, self.pyramid_strides)
        return Features(dense, tuple(Grid(size, stride).cut(level) for level, stride in levels))


class PredictingNetwork(Network):
    """A method with its network as a network: its dense features are the method's logits, at their own resolution."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method
        self.encoder = self.decoder = nn.Identity()
        self.out_channels, self.stride = len(method.classes), method.network.stride
        self.pyramid_channels = self.pyramid_strides = ()

    def forward(self, images: Tensor) -> Features:
        """Class scores of ``images`` (B, 3, H, W)."""
        return Features(self.method.predict(images).logits, ())


def is_file(weights: str) -> bool:
    """Whether a weights setting means a local file rather than a hub name."""
    return weights.endswith((".safetensors", ".pth", ".pt")) or Path(weights).is_file()


def _build(config: NetworkConfig) -> Any:
    known = architectures()
    architecture = config.architecture.lower()
    if architecture not in known:
        raise UserError(f"unknown architecture {config.architecture!r}: {near(architecture, known)}")
    _check_encoder(config.encoder)
    accepted = decoder_options(known[architecture])
    for option, value in config.decoder.items():
        if option not in accepted:
            raise UserError(f"architecture {architecture} has no decoder option {option!r}: {near(option, accepted)}")
        try:
            TypeAdapter(accepted[option].annotation).validate_python(value, strict=True)
        except ValidationError as error:
            message = error.errors()[0]["msg"]
            raise UserError(
                f"network.decoder.{option}: {message[:1].lower()}{message[1:]}, not {value!r}; it has "
                f"{accepted[option].default!r} in {architecture}"
            ) from None
    weights = config.encoder_weights
    hub = None if weights is None or weights == packaged_weights.NAME or is_file(weights) else weights
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            options: dict[str, Any] = dict(config.decoder)
            if architecture == "dpt":
                options["dynamic_img_size"] = True
            return known[architecture](encoder_name=config.encoder, encoder_weights=hub, classes=1, **options)
    except KeyError as error:
        if weights is None:
            raise _misfit(config, error) from None
        raise UserError(
            f"encoder {config.encoder} has no weights {weights!r} ({error.args[0]}); name others or give a file"
        ) from None
    except (ValueError, AssertionError, NotImplementedError, AttributeError, RuntimeError) as error:
        raise _misfit(config, error) from None
    except OSError as error:
        raise UserError(
            f"weights {weights!r} of {config.encoder} could not be downloaded ({first_line(error)}); "
            "give a local file with --encoder-weights FILE.safetensors, or leave the option out to train from scratch"
        ) from None


def _misfit(config: NetworkConfig, error: Exception) -> UserError:
    label, cause = config.architecture_label(), first_line(error)
    remedy = "; choose another encoder" + (", or leave the options out" if config.decoder else "")
    return UserError(f"architecture {label} does not go with encoder {config.encoder} ({cause}){remedy}")


def require_buildable(config: NetworkConfig) -> None:
    """Raises UserError for a network that cannot be built, before a run is touched; downloads nothing."""
    weights = config.encoder_weights
    if weights is not None and is_file(weights):
        SegmentationNetwork(config)
        return
    known = smp.encoders.encoders.get(config.encoder, {}).get("pretrained_settings")
    if weights is not None and known is not None and weights not in known:
        raise UserError(f"encoder {config.encoder} has no weights {weights!r}: {near(weights, known)}; or give a file")
    plain = config.model_copy(update={"encoder_weights": None})
    try:
        with torch.device("meta"):  # where nothing is computed
            SegmentationNetwork(plain)
    except UserError:
        with torch.random.fork_rng(devices=[]):
            SegmentationNetwork(plain)  # in earnest: some encoders are built with numbers that they compute


def _check_encoder(name: str) -> None:
    if name.startswith("tu-"):
        known = timm.list_models()
        if name[3:].split(".")[0] not in known:
            raise UserError(f"timm has no model {name[3:]!r}: {near_few(name[3:], known)}")
        return
    known = smp.encoders.get_encoder_names()
    if name not in known and not smp.encoders.is_equivalent_to_timm_universal(name):
        hint = near_few(name, known)
        raise UserError(f"unknown encoder {name!r}: {hint}; timm models are named tu-NAME")


def near_few(name: str, known: list[str]) -> str:
    """Like ``near`` for lists that are too long to print."""
    import difflib

    close = difflib.get_close_matches(name, known, n=5, cutoff=0.4)
    return f"did you mean {' or '.join(close)}?" if close else "run `bench list architectures` for what there is"


def _statistics(config: NetworkConfig) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the images that the encoder's weights were trained with."""
    if config.encoder.startswith("tu-"):
        with contextlib.suppress(RuntimeError, AttributeError):
            settings = timm.models.get_pretrained_cfg(config.encoder[3:])
            if settings is not None:
                return tuple(settings.mean), tuple(settings.std)
    elif config.encoder_weights is not None and not is_file(config.encoder_weights):
        settings = smp.encoders.get_preprocessing_params(config.encoder, config.encoder_weights)
        return tuple(settings["mean"]), tuple(settings["std"])
    return IMAGENET_MEAN, IMAGENET_STD


def load_encoder_weights(encoder: nn.Module, path: Path) -> WeightsReport:
    """Load a local file of tensors, as PyTorch or safetensors write it, into ``encoder``; code in it is never run.

    Whatever the encoder's names are prefixed with in the file (``encoder.``, ``module.backbone.``,
    ``module.encoder_q.``) is dropped. Raises UserError if the file is missing, damaged or no such file, or if it fits
    fewer than ``LEAST_SHARE`` of the encoder's parameters.
    """
    own = encoder.state_dict()
    found = _read_state(path)
    state = _renamed(found, own)
    fitting = {n: t for n, t in state.items() if n in own and own[n].shape == t.shape}
    parameters = [n for n, _ in encoder.named_parameters()]
    learned = [n for n in parameters if n in fitting]
    if len(learned) < LEAST_SHARE * len(parameters):
        raise UserError(
            (f"only {len(learned)} tensors of {path} fit" if learned else f"no tensor of {path} fits")
            + f" the {len(parameters)} parameters of the encoder: it holds {', '.join(list(found)[:3]) or 'nothing'}, "
            f"the encoder wants {', '.join(list(own)[:3])}; choose the encoder that the file was made for"
        )
    encoder.load_state_dict(fitting, strict=False)
    return WeightsReport(
        path=path.name,
        loaded=len(fitting),
        missing=tuple(n for n in own if n not in state and not n.endswith("num_batches_tracked")),
        unexpected=tuple(n for n in state if n not in own),
        mismatched=tuple(n for n in state if n in own and n not in fitting),
    )


def _renamed(state: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries of ``state`` behind the prefix that lets most tensors fit, under the names that ``own`` gives them.

    Among prefixes that do equally well the shortest counts, then the first in the file: of MoCo's two encoders the
    one that was trained.
    """
    fits: Counter[tuple[str, str]] = Counter()
    for name, tensor in state.items():
        parts = name.split(".")
        for cut in range(len(parts)):
            suffix = ".".join(parts[cut:])
            for wrapper in ("", "model."):  # timm encoders wrap their model
                target = own.get(wrapper + suffix)
                if target is not None and target.shape == tensor.shape:
                    fits[name.removesuffix(suffix), wrapper] += 1
    if not fits:
        return state
    prefix, wrapper = max(fits, key=lambda candidate: (fits[candidate], -len(candidate[0])))
    return {wrapper + n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file:
            head = file.read(9)
            if head[8:] == b"{":  # after the length of its header, in eight bytes
                return load_file(path)
            if not head.startswith((b"PK", b"\x80")):  # a zip archive, or before PyTorch 1.6 a pickle
                raise UserError(
                    f"weights file {path} is not a PyTorch or safetensors file; give --encoder-weights one that "
                    "torch.save(model.state_dict(), FILE) wrote, or fetch it again"
                )
            file.seek(0)
            content = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"there is no weights file {path}; check --encoder-weights") from None
    except UNREADABLE as error:
        code = re.search(r"GLOBAL (\S+)|TorchScript", str(error))
        if code:
            raise UserError(
                f"weights file {path} holds a pickled model or other objects ({code[1] or code[0]}), which could run "
                "code and are not loaded; save it with torch.save(model.state_dict(), FILE)"
            ) from None
        raise UserError(f"weights file {path} cannot be read ({first_line(error)}); fetch it again") from None
    for key in ("state_dict", "model", "model_state"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise UserError(f"weights file {path} holds no state dict; save one with torch.save(model.state_dict(), ...)")
    return dict(_tensors(content))


def _tensors(content: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Name and value of every tensor; those of a dictionary within are prefixed with its key."""
    for key, value in content.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{key}", value
        elif isinstance(value, Mapping):
            yield from _tensors(value, f"{prefix}{key}.")
