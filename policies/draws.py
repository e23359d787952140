"""Random numbers for compiled policies: splitmix64 (Steele, Lea and Flood, OOPSLA 2014)."""

from __future__ import annotations

import numpy as np

from ..kernels import inner, view
from .base import Setting

Generator = int  # the address of a uint64


GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""What a generator moves on by at each draw."""


@inner
def mixed(z: np.uint64) -> np.uint64:
    """Scatter the bits of a number."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@inner
def draw(generator: Generator) -> np.uint64:
    """Draw 64 random bits."""
    state = view(generator, (1,), np.uint64)
    state[0] += GOLDEN
    return mixed(state[0])


@inner
def below(bits: np.uint64, n: int) -> int:
    """Return the one of 0 ... n - 1 that 64 random bits stand for.

    By a product, which is much faster than a remainder (Lemire, "Fast Random Integer Generation in
    an Interval", 2019); for n far below 2**32 all are as good as equally likely.
    """
    return int(np.int64(((bits >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32)))


@inner
def draw_below(generator: Generator, n: int) -> int:
    """Draw a number from 0 to n - 1."""
    return below(draw(generator), n)


@inner
def draw_share(generator: Generator) -> float:
    """Draw a number from 0 up to 1."""
    return float(draw(generator) >> np.uint64(11)) / 2.0**53


def seed_of(setting: Setting, cache: int) -> int:
    """Return where the generator of one cache begins."""
    return int(np.random.SeedSequence([setting.seed, cache]).generate_state(1)[0])


def make_generator(setting: Setting, cache: int) -> Generator:
    """Make a generator for one cache, from the run's seed, which lives as long as the run."""
    state = np.array([seed_of(setting, cache)], np.uint64)
    setting.keep(state)
    return int(state.ctypes.data)
