"""GSS: label maps as tokens of a frozen codec, predicted from the image by a prior over them."""

from methods.gss.config import GSSConfig
from methods.gss.method import GSS

__all__ = ["GSS", "GSSConfig"]
