from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from methods.gss.codecs import Codec, CodecSettings, build_codec

SMALL = {
    "codec_steps": 12,
    "codec_batch": 4,
    "codec_crop": 16,
    "vocabulary": 16,
    "code_dim": 8,
    "codec_width": 8,
    "restart_every": 3,
}
"""Settings that fit in a fraction of a second."""


def blocky_maps(count: int = 6, size: tuple[int, int] = (37, 46), classes: int = 5, seed: int = 0) -> list[Tensor]:
    """Label maps of large blocks, each with a void corner."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(classes, (count, 1, 4, 5), generator=generator).float()
    labels = torch.nn.functional.interpolate(coarse, size=size)[:, 0].long()
    labels[:, :4, :3] = 255
    return list(labels)


@pytest.fixture
def maps() -> Callable[[], Iterator[Tensor]]:
    return lambda: iter(blocky_maps())


@pytest.fixture
def make_codec(tiny_classes: Callable[[int], object]) -> Callable[..., Codec]:
    def make(codec: str, classes: int = 5, **settings: object) -> Codec:
        return build_codec(CodecSettings(codec=codec, **{**SMALL, **settings}), tiny_classes(classes))

    return make


@pytest.fixture
def silent() -> Callable[..., object]:
    return lambda items, description, total: items
