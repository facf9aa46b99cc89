"""GMMSeg: a mixture of diagonal Gaussians per class, estimated online, in place of the softmax classifier."""

from methods.gmmseg.config import GMMSegConfig
from methods.gmmseg.method import GMMSeg

__all__ = ["GMMSeg", "GMMSegConfig"]
