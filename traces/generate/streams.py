"""Random numbers by name: each use has a stream of its own, so that none shifts another."""

from __future__ import annotations

import functools
import hashlib
import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_FARTHEST_SCORE = 6.0
_N_SCORES = 4801


class Source(Protocol):
    """What lengths, waits and choices are drawn from; a numpy Generator is one."""

    def random(self, size: int, /) -> Floats:
        """Return uniform numbers in [0, 1), (size,)."""
        ...

    def standard_normal(self, size: int, /) -> Floats:
        """Return normal numbers of mean 0 and variance 1, (size,)."""
        ...


def stream(seed: int, name: str) -> np.random.Generator:
    """Return the generator called `name` of the run `seed`; equal arguments, equal draws."""
    words = np.frombuffer(hashlib.sha256(name.encode()).digest(), np.uint32)
    key = tuple(int(word) for word in words[:4])
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


class Stratified:
    """Draws n numbers at once, one out of each n-th of the distribution, in random order.

    Each number alone is distributed as ever; together they miss the distribution by far less than
    chance does, so that a sum over them hardly depends on the seed.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def random(self, size: int, /) -> Floats:
        """Return uniform numbers in [0, 1), (size,)."""
        within = self._rng.random(size)
        return (self._rng.permutation(size) + within) / max(size, 1)

    def standard_normal(self, size: int, /) -> Floats:
        """Return normal numbers of mean 0 and variance 1, (size,)."""
        scores, levels = _normal_table()
        return np.interp(self.random(size), levels, scores)


@functools.cache
def _normal_table() -> tuple[Floats, Floats]:
    """Tabulate the standard normal: scores, and the shares below them."""
    scores = np.linspace(-_FARTHEST_SCORE, _FARTHEST_SCORE, _N_SCORES)
    levels = np.array([0.5 * math.erfc(-z / math.sqrt(2)) for z in scores.tolist()])
    return scores, levels
