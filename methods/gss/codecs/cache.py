"""Fitted codecs on disk: each stage of a fit, and its measurement, happens once per training labels and settings.

A stage is ``codec-<key>.sealed`` with its weights as safetensors, the metadata of which say what they are. Processes
that want the same codec wait for the one that fits it.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from filelock import FileLock
from safetensors.torch import load, save
from torch import Tensor

from bench.common import files
from methods.base import ONE_RANK, Collectives, Progress
from methods.gss.codecs.base import Codec, LabelMaps
from methods.gss.codecs.quality import reconstruction_report
from methods.gss.codecs.settings import CodecSettings

FORMAT = 2
"""Raised when a codec or its fit changes in a way that no setting shows."""

MEASURED_MAPS = 500
"""Training label maps on which a codec's quality is measured, at most."""

Note = Callable[[str], None]


@dataclass(frozen=True)
class Stage:
    """One stage of the fit of a codec."""

    colours: bool
    """Whether it is the second, of the trained X and inverse."""
    content: dict[str, Any]
    """What decides its result."""

    @property
    def key(self) -> str:
        """Name of its files."""
        return hashlib.sha256(json.dumps(self.content, sort_keys=True).encode()).hexdigest()[:24]


class Labels(NamedTuple):
    """Which label maps these are."""

    fingerprint: str
    """SHA-256 of the size and content of all of them, in their order."""
    maps: int


def read_labels(label_maps: LabelMaps, progress: Progress) -> Labels:
    """Read all label maps once."""
    digest, maps = hashlib.sha256(), 0
    for labels in progress(label_maps(), "reading training labels", None):
        digest.update(f"{tuple(labels.shape)}".encode())
        digest.update(labels.to(torch.uint8).cpu().contiguous().numpy().tobytes())
        maps += 1
    return Labels(digest.hexdigest(), maps)


def fitted_codec(
    codec: Codec,
    label_maps: LabelMaps,
    steps: int,
    cache: Path,
    progress: Progress,
    note: Note = lambda text: None,
    labels: Labels | None = None,
) -> None:
    """Load ``codec`` from the folder ``cache``, or fit it and store it there; freezes it.

    Args:
        codec: from ``build_codec``, on any device.
        label_maps: iterates over the training label maps.
        steps: optimiser steps of the run, from which those of the fit follow.
        cache: outlives the run.
        progress: iterates with a progress bar.
        note: told in one line of a stored codec that is damaged and fitted again.
        labels: what ``read_labels`` says of the label maps, where it is known already.

    Raises:
        MethodError: no labels, a diverging fit, or unusable weight files.
    """
    settings = codec.settings
    steps = settings.resolved_steps(steps) if codec.fitted_by_steps else 0
    stages = _stages(codec, settings, steps, labels or read_labels(label_maps, progress))
    stored = [stage.colours or codec.caches_latents for stage in stages]
    cache.mkdir(parents=True, exist_ok=True)
    turn = FileLock(cache / f"codec-{stages[0].key}.lock") if any(stored) else contextlib.nullcontext()
    with turn:  # which other codecs need not wait for
        done = next((i for i in reversed(range(len(stages))) if stored[i] and _load(codec, cache, stages[i], note)), -1)
        for stage, keep in zip(stages[done + 1 :], stored[done + 1 :]):
            began = time.monotonic()
            (codec.fit_colours if stage.colours else codec.fit_latents)(label_maps, steps, progress)
            if keep:
                _store(codec, cache, stage, time.monotonic() - began)
    codec.freeze()


def measured_quality(
    codec: Codec,
    label_maps: LabelMaps,
    labels: Labels,
    cache: Path,
    progress: Progress,
    note: Note = lambda text: None,
    collectives: Collectives = ONE_RANK,
) -> dict[str, float]:
    """Figures of a fitted codec's reconstructions of at most ``MEASURED_MAPS`` label maps, evenly spread over ranks.

    Kept in the folder ``cache``, since all seeds of a grid share a codec; NaN where the codec has no such figure.
    ``note`` is told in one line of figures that are damaged and measured again.
    """
    key = hashlib.sha256(f"{FORMAT} {codec.fingerprint()} {labels.fingerprint} {MEASURED_MAPS}".encode()).hexdigest()
    path, about = cache / f"quality-{key[:24]}.json", f"quality of the codec and labels {key}"
    known: dict[str, float | None] = {}
    try:
        known = json.loads(files.read_sealed(path, about))
    except FileNotFoundError:
        pass
    except files.Damaged as error:
        note(f"{error}: the codec is measured again")
    # All ranks or none: a shared folder may show a file to some of them first.
    if int(collectives.all_reduce_sum(torch.tensor(bool(known)).long())) == collectives.world_size:
        return {name: math.nan if value is None else value for name, value in known.items()}
    rank, ranks, every = collectives.rank, collectives.world_size, max(1, -(-labels.maps // MEASURED_MAPS))
    chosen = itertools.islice(label_maps(), rank * every, None, ranks * every)
    share = progress(chosen, "measuring the codec", -(-labels.maps // (ranks * every)))
    figures = reconstruction_report(codec, share, collectives=collectives).as_dict()
    shown = {name: None if math.isnan(value) else value for name, value in figures.items()}
    files.write_sealed(path, json.dumps(shown, indent=1).encode(), about)
    return figures


def _stages(codec: Codec, settings: CodecSettings, steps: int, labels: Labels) -> list[Stage]:
    if not codec.caches_latents and not codec.fits_colours:
        return [Stage(False, {})]
    palette = codec.palette
    common = {
        "format": FORMAT,
        "classes": codec.num_classes,
        "labels": labels.fingerprint,
        "steps": steps,
        "source": codec.source_hash(),
        "colours": None if palette is None else palette.tolist(),
    }
    # The palette is in ``common``: all variants that start from the same colours share the first stage.
    stages = [Stage(False, {**common, "settings": settings.without_fitted_colours().settings_hash()})]
    if codec.fits_colours:
        stages.append(Stage(True, {**common, "settings": settings.settings_hash()}))
    return stages


def _state(codec: Codec, stage: Stage) -> dict[str, Tensor]:
    return dict(codec.state_dict()) if stage.colours else codec.latent_state()


def _load(codec: Codec, cache: Path, stage: Stage, note: Note) -> bool:
    """Load what is stored of ``stage``; False where nothing is, or nothing usable, which ``note`` is told."""
    path = _file(cache, stage)
    try:
        state, expected = load(files.read_sealed(path, _about(stage))), _state(codec, stage)
        if {n: t.shape for n, t in state.items()} != {n: t.shape for n, t in expected.items()}:
            raise files.Damaged(path, "its tensors are others")
    except FileNotFoundError:
        return False
    except files.Damaged as error:
        note(f"the stored codec {error} and is fitted again")
        return False
    codec.load_state_dict(state, strict=False)
    return True


def _store(codec: Codec, cache: Path, stage: Stage, seconds: float) -> None:
    """Write the weights, with a description for people."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in _state(codec, stage).items()}
    about = {"codec": codec.settings.codec, "seconds": round(seconds, 1), **stage.content}
    files.write_sealed(_file(cache, stage), save(state, metadata={"codec": json.dumps(about)}), _about(stage))


def _file(cache: Path, stage: Stage) -> Path:
    return cache / f"codec-{stage.key}.sealed"


def _about(stage: Stage) -> str:
    return f"codec {stage.key}"
