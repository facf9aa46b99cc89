"""What starts runs: processes of this machine, SLURM through submitit, or Ray."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from bench.common.errors import UserError, first_line

MANY = 10_000
"""Runs that are handed to a cluster at once, where they wait for their turn."""


class Job(Protocol):
    """A run that was started."""

    def ended(self) -> int | None:
        """Its exit code, negative where it was killed; None while it goes on."""

    def stop(self) -> None:
        """Ask it to save its state and end."""


class Launcher(Protocol):
    """Starts runs."""

    slots: int
    """Runs that are started and have not ended, at most."""

    def start(self, words: Sequence[str], log: Path) -> Job:
        """Start ``bench WORDS``, with its output in the file ``log``."""


def process(words: Sequence[str], log: Path, **variables: str) -> subprocess.Popen[bytes]:
    """``bench WORDS`` as a process that hears no signal of our terminal."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "bench", *words],
            stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            env={**os.environ, **variables}, start_new_session=True,
        )  # fmt: skip


class Local:
    """A process for each device, or for each group of cores."""

    def __init__(self, jobs: int | None, devices: int) -> None:
        self.slots = jobs or max(devices, 1)
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(devices)))
        self.devices = visible.split(",")[:devices]
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.threads = os.environ.get("OMP_NUM_THREADS", str(max(cores // self.slots, 1)))
        self.jobs: list[LocalJob | None] = [None] * self.slots

    def start(self, words: Sequence[str], log: Path) -> LocalJob:
        """Start it in the first slot that is free."""
        slot = next(i for i, job in enumerate(self.jobs) if job is None or job.ended() is not None)
        device = {"CUDA_VISIBLE_DEVICES": self.devices[slot % len(self.devices)]} if self.devices else {}
        job = self.jobs[slot] = LocalJob(process(words, log, OMP_NUM_THREADS=self.threads, **device))
        return job


class LocalJob:
    """A process of this machine."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def ended(self) -> int | None:
        """Its exit code."""
        return self.process.poll()

    def stop(self) -> None:
        """Send SIGTERM, at which a run saves its state."""
        self.process.send_signal(signal.SIGTERM)


class Work:
    """A run as a task of a cluster. Pre-empted, it saves its state, and the task is submitted again."""

    def __init__(self, words: Sequence[str], log: Path) -> None:
        self.words, self.log = list(words), log

    def __call__(self) -> int:
        """Make it; returns the exit code."""
        self.process = process(self.words, self.log)
        return self.process.wait()

    def checkpoint(self) -> Any:
        """What submitit calls before a node is taken away: the same task, to go on from what is saved."""
        import submitit

        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        return submitit.helpers.DelayedSubmission(Work(self.words, self.log))

    def __getstate__(self) -> dict[str, Any]:
        return {"words": self.words, "log": self.log}


class Slurm:
    """Jobs of SLURM, or of ``cluster``, another one of submitit's."""

    def __init__(
        self, folder: Path, parameters: Mapping[str, Any], jobs: int | None = None, cluster: str = "slurm"
    ) -> None:
        self.slots = jobs or MANY
        try:
            import submitit
        except ImportError:
            raise UserError("submitit is not installed; pip install 'genseg-bench[slurm]'") from None
        try:
            self.executor = submitit.AutoExecutor(folder=folder.absolute(), cluster=cluster)
            self.executor.update_parameters(**{"name": "bench", **parameters})
        except (RuntimeError, NameError, TypeError, AssertionError) as error:
            raise UserError(f"SLURM cannot be used ({first_line(error)}); correct [slurm] of the grid") from None

    def start(self, words: Sequence[str], log: Path) -> SlurmJob:
        """Submit it."""
        return SlurmJob(self.executor.submit(Work(words, log.absolute())))


class SlurmJob:
    """A job of submitit."""

    def __init__(self, job: Any) -> None:
        self.job = job

    def ended(self) -> int | None:
        """The exit code, or -9 for a job that left none: it was killed."""
        if not self.job.done():
            return None
        return -signal.SIGKILL if self.job.exception() is not None else int(self.job.result())

    def stop(self) -> None:
        """Cancel it."""
        self.job.cancel()


class Ray:
    """Tasks of Ray, on the cluster of $RAY_ADDRESS or this machine. One that lost its node starts again on another."""

    def __init__(self, resources: Mapping[str, Any], jobs: int | None = None) -> None:
        self.slots = jobs or MANY
        try:
            import ray
        except ImportError:
            raise UserError("Ray is not installed; pip install 'genseg-bench[ray]'") from None
        self.ray, self.resources = ray, resources
        ray.init(ignore_reinit_error=True, log_to_driver=False)

    def start(self, words: Sequence[str], log: Path) -> RayJob:
        """Submit it."""
        task: Any = self.ray.remote(lambda work: work()).options(max_retries=-1, **self.resources)
        return RayJob(self.ray, task.remote(Work(words, log.absolute())))


class RayJob:
    """A task of Ray."""

    def __init__(self, ray: Any, task: Any) -> None:
        self.ray, self.task = ray, task

    def ended(self) -> int | None:
        """The exit code, or -9 for a task that left none."""
        if not self.ray.wait([self.task], timeout=0)[0]:
            return None
        try:
            return int(self.ray.get(self.task))
        except self.ray.exceptions.RayError:
            return -signal.SIGKILL

    def stop(self) -> None:
        """Cancel it."""
        self.ray.cancel(self.task, force=True)
