"""Hyper-parameters of GMMSeg, and how its time constants follow the length of a run.

Defaults are those of the released code, except for what is a bug there; each such field says so.
``preset="paper"`` sets what the paper's derivation says instead, ``preset="official"`` the released code to rounding.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from pydantic import Field, model_validator

from methods.base import MethodConfig, added

PRESETS: dict[str, dict[str, Any]] = {
    "code": {},
    "paper": {"reduce": "logsumexp", "class_norm": "temperature"},
    "official": {
        "init_noise": True,
        "initial_std": 1.0,
        "variance_prior": 0.0,
        "scale_time_constants": False,
        "loss_mean": "all",
    },
}

MIN_PUSHES = 10
"""Pushes that even the shortest memory holds; see ``time_constants``."""


class GMMSegConfig(MethodConfig):
    """Hyper-parameters of ``GMMSeg``."""

    preset: Literal["code", "paper", "official"] = "code"
    """Fills the fields that are not given. ``paper``: ``reduce="logsumexp"`` and ``class_norm="temperature"``, the
    class density and its classifier as derived there; its soft assignment is another switch, ``assign``.
    ``official``: the released head to rounding, with memories that start as noise, constants that are not scaled to
    the length of the run, and a loss that counts ignored pixels."""

    components: int = Field(default=5, ge=1, le=64)
    """K, Gaussians per class. Released configurations: 5 for COCO-Stuff and, in effect, Cityscapes; 8 for
    ADE20K."""
    dim: int = Field(default=64, ge=1, le=4096)
    """D, dimensions of the space of the Gaussians."""

    reduce: Literal["max", "logsumexp"] = "max"
    """Class density from its components: the best one (code), or the mixture with weights 1 / K (paper)."""
    class_norm: Literal["layernorm", "none", "temperature"] = "layernorm"
    """Class scores to logits: LayerNorm over the classes with learnt affine (code), nothing (the paper's
    Bayes rule; its gaps of tens of nats saturate the softmax), or division by one learnt temperature."""
    temperature: float = Field(default=10.0, ge=1e-6, le=1e6)
    """Initial value, in nats, for ``class_norm="temperature"``."""

    estimate: Literal["all", "means", "nothing"] = added("all")
    """What the memories estimate: means and variances; the means alone, with every variance as it starts; or nothing,
    with means that learn by gradient. With one variance for all, ``class_norm="temperature"`` makes class logits of
    cosines: rungs of the ladder from softmax to GMMSeg."""

    assign: Literal["hard", "soft"] = "hard"
    """E-step: one-hot plan (code), or the plan itself as weights in the memory and in the component loss
    (paper)."""
    sinkhorn_iters: int = Field(default=3, ge=0, le=1000)
    """Balancing iterations of the assignment."""
    sinkhorn_eps: float = Field(default=0.05, ge=1e-6, le=1e6)
    """Entropic regularisation, relative to a class's largest absolute log-density."""

    var_center: Literal["memory", "ema"] = "memory"
    """Variance about the memory's spherical mean (code), or about the moving mean that the Gaussian will
    use."""
    ridge: float = Field(default=0.01, gt=0, le=1e6)
    """Added to every variance, so that every standard deviation is at least its square root."""
    variance_prior: float = Field(default=0.0, ge=0, le=1e9)
    """n0, by how many vectors the initial variance counts in every M-step: the posterior mean
    (n0 v0 + n v) / (n0 + n) of a variance v estimated from n remembered vectors. 0: the estimate alone. In the released
    code random vectors play this part until real ones have displaced them."""
    gamma_mean: float = Field(default=0.999, ge=0, lt=1)
    """What an M-step keeps of the previous mean, in a run of ``reference_steps``."""
    gamma_var: float = Field(default=0.0, ge=0, lt=1)
    """What an M-step keeps of the previous standard deviation, in a run of ``reference_steps``."""
    em_interval: int = Field(default=5, ge=1, le=10_000_000)
    """Steps between M-steps. Not scaled: it only sets how finely the moving averages are sampled."""

    memory: int = Field(default=32000, ge=1, le=1_000_000)
    """M, vectors remembered per component, in a run of ``reference_steps``."""
    push: int = Field(default=20, ge=1, le=100_000)
    """P, vectors that one step adds to a component at most."""
    mem_correct_only: bool = True
    """Remember only pixels that are most likely of their label's class (code)."""
    init_noise: bool = False
    """Start with memories full of random unit vectors, as the code does, where they inflate the variances
    until they are displaced. By default memories start empty, and a component without vectors keeps its
    initial Gaussian."""
    initial_std: float | None = Field(default=None, ge=1e-6, le=1e6)
    """Standard deviation before the first M-step. Default: sqrt(1 / D + ridge), that of directions spread
    evenly, which is what the code's random memory gives at its first M-step. The code's own 1.0 is safe only
    with ``init_noise``: a class without remembered vectors would keep it, and its density could never win
    against an estimated class."""

    aux_weight: float = Field(default=0.01, ge=0, le=1e6)
    """Weight of the component loss; 0 leaves it out."""
    loss_mean: Literal["valid", "all"] = "valid"
    """Mean of the cross-entropy over labelled pixels, or over all pixels with ignored ones counting as zero
    (code)."""

    scale_time_constants: bool = True
    """Scale ``memory``, ``gamma_mean`` and ``gamma_var`` to runs shorter than ``reference_steps``."""
    reference_steps: int = Field(default=80000, ge=1, le=10_000_000)
    """Length of the runs that the published constants are meant for."""

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        preset = data.get("preset", "code")
        return {**PRESETS[preset], **data} if isinstance(preset, str) and preset in PRESETS else data

    @model_validator(mode="after")
    def _memory_holds_a_push(self) -> GMMSegConfig:
        if self.memory < self.push:
            raise ValueError(f"memory ({self.memory}) must hold at least one push ({self.push})")
        return self


class TimeConstants(NamedTuple):
    """The constants of a configuration that measure training time, for one run."""

    gamma_mean: float
    gamma_var: float
    memory: int


def time_constants(config: GMMSegConfig, steps: int) -> TimeConstants:
    """Time constants for a run of ``steps`` optimiser steps, a fraction r of ``config.reference_steps``.

    With r <= 1, moving averages decay by gamma ** (1 / r) and the memory holds r times as many vectors, so
    that both span the same share of the run as in the reference. Longer runs keep the published values. The
    memory never falls below ``MIN_PUSHES`` full pushes: with fewer than some 200 vectors the standard error
    of a variance, sqrt(2 / n) of its value, exceeds a tenth, and a rare class would be estimated from a
    couple of images.
    """
    ratio = 1.0
    if config.scale_time_constants:
        ratio = min(1.0, max(steps, 1) / config.reference_steps)
    shortest = min(config.memory, MIN_PUSHES * config.push)
    return TimeConstants(
        gamma_mean=config.gamma_mean ** (1 / ratio),
        gamma_var=config.gamma_var ** (1 / ratio),
        memory=max(shortest, round(config.memory * ratio)),
    )
