"""The method of a run by itself: built again, written after training, read back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load, save

from bench.common import files
from bench.common.console import note
from bench.common.errors import UserError, first_line
from bench.config.tables import FeatureSource, RunConfig
from bench.model.network import UNREADABLE, PredictingNetwork, SegmentationNetwork
from bench.plugins import registry
from methods.base import Classes, Method, Network
from methods.capabilities import BringsNetwork

MODEL = "model.safetensors"
"""In the run's folder: the final weights."""


def build_method(method_class: type[Method], config: RunConfig, classes: Classes) -> Method:
    """A new method on a new network, or on the one that it brings, initialised from the run's seed."""
    torch.manual_seed(config.seed)
    settings = method_class.Config.model_validate(config.method)
    if issubclass(method_class, BringsNetwork):
        return method_class(settings, method_class.build_network(settings), classes)
    if config.features is not None:  # the weights of which `take_network` brings
        network: Network = SegmentationNetwork(config.network.model_copy(update={"encoder_weights": None}))
        if config.features.head is not None:
            network = PredictingNetwork(_build_head(config.features, network, classes))
        return method_class(settings, network.requires_grad_(False), classes)
    network = SegmentationNetwork(config.network)
    if network.weights_report is not None:
        note(str(network.weights_report))
    return method_class(settings, network, classes)


def _build_head(source: FeatureSource, network: Network, classes: Classes) -> Method:
    """A new method as the run ``source`` has it, on ``network``."""
    assert source.head is not None
    method_class = registry.methods.get(source.head.name)
    if method_class.version != source.head.version:
        raise UserError(
            f"run {source.run} was made by {source.head.name} version {source.head.version}, this is version "
            f"{method_class.version}; run it again"
        )
    return method_class(method_class.Config.model_validate(source.head.settings), network, classes)


def take_network(method: Method, path: Path, digest: str) -> None:
    """Give ``method`` the network of the model ``path``, with the head on it if it reads predictions.

    Raises UserError unless the model's SHA-256 is ``digest``.
    """
    state = read_model(path, digest)
    if isinstance(method.network, PredictingNetwork):
        _fill(method.network.method, state, path)
        return
    prefix = "network."
    own = {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
    method.network.load_state_dict(own)


def save_model(method: Method, path: Path) -> str:
    """Write the final weights, without what only training needs; returns the SHA-256 of the file."""
    state = {n: t.contiguous().cpu() for n, t in method.state_dict().items() if n not in set(method.training_only)}
    # One entry: the format does not keep the order of several, and equal weights shall be equal files.
    content = save(state, metadata={"method": f"{method.name} version {method.version}"})
    files.write(path, content)
    return files.digest(content)


def read_model(path: Path, digest: str | None) -> dict[str, torch.Tensor]:
    """The weights in a run's folder. Raises UserError unless their SHA-256 is ``digest``."""
    try:
        return load(files.read_checked(path, digest or "unknown"))
    except FileNotFoundError:
        raise UserError(f"there is no model {path}; run the run again with --force to train it") from None
    except files.Damaged as error:
        raise UserError(
            f"model {path} is not the one that its run trained and scored ({error.reason}); put that one back, or "
            "train again with `bench run` and --force"
        ) from None
    except UNREADABLE as error:
        raise UserError(f"model {path} is damaged ({first_line(error)}); run the run again with --force") from None


def load_model(
    method_class: type[Method], config: RunConfig, classes: Classes, path: Path, digest: str | None
) -> Method:
    """The method of a finished run, from its configuration and its weights, on the CPU and in ``eval`` mode.

    Raises UserError for weights that do not fit, or have another SHA-256 than ``digest``: None, as the record of a
    failed run has it, is that of none.
    """
    network = config.network.model_copy(update={"encoder_weights": None})
    method = build_method(method_class, config.model_copy(update={"network": network}), classes)
    _fill(method, read_model(path, digest), path)
    return method.eval()


def _fill(method: Method, state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Load the ``state`` in ``path``. Raises UserError for weights that do not fit."""
    try:
        missing, unexpected = method.load_state_dict(state, strict=False)
    except RuntimeError as error:  # which sizes differ stands in the lines after the first
        sizes = " ".join(str(error).split()).partition(": ")[2]
        raise UserError(
            f"model {path} does not fit a new {method.name} ({sizes}); run the run again with --force, and if your "
            "method sizes buffers in `finish`, let its `_load_from_state_dict` size them, as segsort's bank does"
        ) from None
    absent = [n for n in missing if n not in set(method.training_only)]
    if absent or unexpected:
        problem = f"lacks {absent[0]}" if absent else f"holds the unknown {unexpected[0]}"
        raise UserError(f"model {path} {problem}: it was made by another version; run the run again with --force")
