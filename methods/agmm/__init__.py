"""AGMM: sparse labels spread by one Gaussian per image and class, which network and mixture teach each other."""

from methods.agmm.method import AGMM, AGMMConfig

__all__ = ["AGMM", "AGMMConfig"]
