"""What starts runs: processes of this machine, SLURM through submitit, or Ray."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from bench.common.console import note
from bench.common.errors import UserError, first_line

MANY = 10_000
"""Runs that are handed to a cluster at once, where they wait for their turn."""


class NotStarted(UserError):
    """A cluster that takes no job, or none besides those that it has."""


class Job(Protocol):
    """A run that was started."""

    said: str
    """By the cluster, of one that left no exit code."""

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


def process(words: Sequence[str], log: Path, folder: Path | None = None, **variables: str) -> subprocess.Popen[bytes]:
    """``bench WORDS`` in ``folder``, by default this one, as a process that hears no signal of our terminal."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "bench", *words],
            stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            cwd=folder, env={**os.environ, **variables}, start_new_session=True,
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
        device: dict[str, Any] = {}
        if self.devices:
            device["CUDA_VISIBLE_DEVICES"] = self.devices[slot % len(self.devices)]
        job = self.jobs[slot] = LocalJob(process(words, log, OMP_NUM_THREADS=self.threads, **device))
        return job


class LocalJob:
    """A process of this machine."""

    said = ""

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
        self.words, self.log, self.folder = list(words), log.absolute(), Path.cwd()

    def __call__(self) -> int:
        """Make it; returns the exit code."""
        self.process = process(self.words, self.log, self.folder)
        return self.process.wait()

    def checkpoint(self) -> Any:
        """What submitit calls before a node is taken away: the same task, to go on from what is saved."""
        import submitit

        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        return submitit.helpers.DelayedSubmission(self)

    def __getstate__(self) -> dict[str, Any]:
        return {"words": self.words, "log": self.log, "folder": self.folder}


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
            raise UserError(
                f"SLURM cannot be used ({first_line(error)}); start the sweep where its commands are, "
                "or correct [slurm] of the grid"
            ) from None

    def start(self, words: Sequence[str], log: Path) -> SlurmJob:
        """Submit it. Raises NotStarted where SLURM refuses."""
        try:
            return SlurmJob(self.executor.submit(Work(words, log)))
        except RuntimeError as error:
            raise NotStarted(
                f"SLURM takes no job ({' '.join(str(error).split())}); correct [slurm] of the grid, or let fewer wait "
                "at once with --jobs"
            ) from None


class SlurmJob:
    """A job of submitit."""

    def __init__(self, job: Any) -> None:
        self.job, self.said = job, ""

    def ended(self) -> int | None:
        """The exit code; 1 for a task that could not make its run, -9 for a job that was taken away."""
        from submitit.core.utils import FailedJobError

        if not self.job.done():
            return None
        if (error := self.job.exception()) is None:
            return int(self.job.result())
        self.said = f"{self.job.state} in SLURM, see {self.job.paths.stderr}"
        return 1 if isinstance(error, FailedJobError) else -signal.SIGKILL

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
        self.ray: Any = ray
        task: Any = ray.remote(lambda work: work())
        try:
            self.task = task.options(max_retries=-1, **resources)
        except (ValueError, TypeError) as error:
            raise UserError(f"Ray cannot be asked for that ({error}); correct [ray] of the grid") from None
        before = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(ignore_reinit_error=True, log_to_driver=False)
        except SystemExit:  # from Ray's own handler
            signal.signal(signal.SIGTERM, before)
            signal.raise_signal(signal.SIGTERM)
        except Exception as error:  # noqa: BLE001 - of several kinds, some of them bare
            raise UserError(
                f"Ray cannot be used ({' '.join(str(error).split())}); correct $RAY_ADDRESS, or leave it out to start "
                "Ray here"
            ) from None
        finally:
            signal.signal(signal.SIGTERM, before)
        wanted = {"CPU": resources.get("num_cpus", 1), "GPU": resources.get("num_gpus", 0)}
        wanted |= resources.get("resources", {})
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        if not any(all(node.get(key, 0) >= number for key, number in wanted.items()) for node in nodes):
            told = ", ".join(f"{number} {key}" for key, number in wanted.items() if number)
            note(f"no node of Ray has {told}; the runs wait until there is one")

    def start(self, words: Sequence[str], log: Path) -> RayJob:
        """Submit it."""
        return RayJob(self.ray, self.task.remote(Work(words, log)))


class RayJob:
    """A task of Ray."""

    def __init__(self, ray: Any, task: Any) -> None:
        self.ray, self.task, self.said = ray, task, ""

    def ended(self) -> int | None:
        """The exit code; 1 for a task that could not make its run, -9 for one that was taken away."""
        if not self.ray.wait([self.task], timeout=0)[0]:
            return None
        try:
            return int(self.ray.get(self.task))
        except self.ray.exceptions.RayError as error:
            self.said = str(error).strip().splitlines()[-1]
            return 1 if isinstance(error, self.ray.exceptions.RayTaskError) else -signal.SIGKILL

    def stop(self) -> None:
        """Cancel it."""
        self.ray.cancel(self.task, force=True)
