"""Codecs between label maps and tokens: ``base`` is their interface, every other module one of them."""

from __future__ import annotations

import torch

from methods.base import Classes
from methods.gss.codecs.base import Codec
from methods.gss.codecs.colour import ColourRegression
from methods.gss.codecs.dalle import DalleCodec
from methods.gss.codecs.dvae import DVAECodec
from methods.gss.codecs.fitting import seeded
from methods.gss.codecs.identity import IdentityCodec
from methods.gss.codecs.patch import PatchCodec
from methods.gss.codecs.settings import CodecSettings
from methods.gss.codecs.vqvae import VQVAECodec

__all__ = ["Codec", "CodecSettings", "build_codec"]

CODECS: dict[str, type[IdentityCodec | PatchCodec | ColourRegression | VQVAECodec | DVAECodec | DalleCodec]] = {
    "identity": IdentityCodec,
    "patch": PatchCodec,
    "colour": ColourRegression,
    "vqvae": VQVAECodec,
    "dvae": DVAECodec,
    "dalle": DalleCodec,
}


def build_codec(settings: CodecSettings, classes: Classes) -> Codec:
    """The codec of ``settings``, frozen and not yet fitted; initial weights follow from ``codec_seed`` alone.

    Raises MethodError for settings that do not go together.
    """
    with seeded(settings.codec_seed, torch.device("cpu")):
        codec = CODECS[settings.codec](settings, classes)
    codec.freeze()
    return codec
