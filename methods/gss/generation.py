"""Label maps from the learned latents alone: training tokens, a prior over them, draws from it."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor

from bench.common import files
from bench.common.grid import Grid, subsample
from methods.base import MethodError, Progress
from methods.gss.codecs.base import Codec, LabelMaps
from methods.gss.codecs.cache import Note
from methods.gss.label_maps import whole_maps
from methods.gss.token_prior import TokenPrior, fit_token_prior

MAX_CELLS = 8192
"""Cells of a grid that is drawn: they are drawn one after the other. Larger label maps are subsampled first."""
MAX_MAPS = 1000
"""Training label maps, evenly spread, from which the prior is estimated, at most."""
STEPS = 300
BATCH_SIZE = 4
FORMAT = 1
"""Raised when a fit changes in a way that nothing else in the key shows."""


def token_prior(
    codec: Codec,
    label_maps: LabelMaps,
    seed: int,
    cache: Path,
    progress: Progress,
    note: Note = lambda text: None,
) -> TokenPrior:
    """The prior over the tokens of the training label maps, from ``cache`` if it was estimated before.

    It is of one size: that of most label maps, subsampled until it has ``MAX_CELLS`` cells at most. Raises MethodError
    for a codec without tokens, or without any labelled map. ``note`` is told of a prior that is damaged.
    """
    if codec.continuous:
        raise MethodError("codec=colour has no tokens to draw; take a run with another method.codec")
    tokens = training_tokens(codec, label_maps, progress)
    content = {
        "format": FORMAT,
        "codec": codec.fingerprint(),
        "tokens": hashlib.sha256(tokens.cpu().contiguous().numpy().tobytes()).hexdigest(),
        "shape": list(tokens.shape),
        "fit": [STEPS, BATCH_SIZE, seed],
    }
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]
    path, about = cache / f"token-prior-{key}.sealed", f"prior over tokens {key}"
    prior = TokenPrior(codec.vocabulary, (tokens.shape[1], tokens.shape[2])).to(tokens.device)
    try:
        prior.load_state_dict(load(files.read_sealed(path, about)))
    except (FileNotFoundError, files.Damaged) as error:
        if isinstance(error, files.Damaged):
            note(f"{error}: the prior is estimated again")
        prior = fit_token_prior(tokens, codec.vocabulary, STEPS, BATCH_SIZE, seed, progress)
        weights = {name: tensor.cpu().contiguous() for name, tensor in prior.state_dict().items()}
        files.write_sealed(path, save(weights), about)
    return prior.eval().requires_grad_(False)


@torch.no_grad()
def training_tokens(codec: Codec, label_maps: LabelMaps, progress: Progress) -> Tensor:
    """Tokens (n, h, w) int64 of training label maps of the most frequent size. Raises MethodError without any."""
    sizes = Counter((labels.shape[0], labels.shape[1]) for labels in label_maps())
    if not sizes:
        raise MethodError("there is no training label map to learn from; take a run with labels")
    (height, width), count = sizes.most_common(1)[0]
    factor = 1
    while math.prod(Grid((height, width), codec.stride * factor).cells) > MAX_CELLS:
        factor += 1
    wanted = Grid((height, width), factor).cells
    every = -(-count // MAX_MAPS)
    device = next((tensor.device for tensor in codec.state_dict().values()), torch.device("cpu"))
    grids, seen = [], 0
    for labels in progress(whole_maps(label_maps), "encoding training labels", None):
        if tuple(labels.shape) == (height, width):
            if seen % every == 0:
                grids.append(codec.encode(subsample(labels[None], wanted).to(device)))
            seen += 1
    if not grids:
        raise MethodError("no training label map has a labelled pixel to learn from; take a run with labels")
    return torch.cat(grids)
