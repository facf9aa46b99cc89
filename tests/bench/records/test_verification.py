import numpy as np
from scipy.special import digamma

from bench.records.verification import _harmonic


def test_harmonic_numbers_are_those_of_digamma():
    n = np.concatenate([np.arange(0, 200.0), 10.0 ** np.arange(3, 13)])
    np.testing.assert_allclose(_harmonic(n), digamma(n + 1) + np.euler_gamma, rtol=1e-12, atol=1e-11)
