"""Where and with what a run is made: commit, packages, hardware."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import torch

import bench
from bench.schema.record import Environment

PACKAGES = ("torch", "torchvision", "segmentation-models-pytorch", "timm", "lightning", "numpy", "scipy")


def describe(device: torch.device, ranks: int = 1) -> Environment:
    """The environment of this process on ``device``."""
    commit, dirty = git_state(Path(bench.__file__).resolve().parent.parent)
    return Environment(
        commit=commit,
        dirty=dirty,
        packages={name: version(name) for name in ("genseg-bench", *PACKAGES)},
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        hardware=hardware(device),
        device=device.type,
        ranks=ranks,
        threads=torch.get_num_threads(),
    )


def version(package: str) -> str:
    """The installed version of a package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def git_state(folder: Path) -> tuple[str | None, bool | None]:
    """Commit of the checkout that holds the code, and whether its Python or TOML files differ from it."""
    if not (folder / ".git").exists():
        return None, None
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        dirty = bool(_git(folder, "status", "--porcelain", "--", "*.py", "*.toml"))
    except (OSError, subprocess.SubprocessError):
        return None, None
    return commit, dirty


def _git(folder: Path, *arguments: str) -> str:
    finished = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=30
    )
    return finished.stdout.strip()


def hardware(device: torch.device) -> str:
    """The GPU's name, or the processor's with the number of cores."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = [line for line in information.read_text().splitlines() if line.startswith("model name")]
        if lines:
            name = lines[0].partition(":")[2].strip()
    return f"{name}, {os.cpu_count()} cores"
