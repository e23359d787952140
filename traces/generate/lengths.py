"""Distributions of lengths and of waiting times: what a generator draws from."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ... import ConfigError
from .streams import Source

Draws = NDArray[np.float64]
_OUTERMOST = 1e-7
"""Share beyond which a quantile table's ends stand for 0 and 1: a normal score needs some."""


class Distribution(Protocol):
    """Positive numbers: tokens, seconds."""

    def draw(self, rng: Source, n: int) -> Draws:
        """Return `n` independent draws, (n,)."""
        ...


@dataclass(frozen=True, slots=True)
class Constant:
    """Always the same."""

    value: float

    def draw(self, rng: Source, n: int) -> Draws:
        return np.full(n, float(self.value))


@dataclass(frozen=True, slots=True)
class Lognormal:
    """The logarithm of what exceeds `shift` is normal; [least, most] bounds the result."""

    median: float
    """Of what exceeds the shift."""
    sigma: float
    least: float = 0.0
    most: float = np.inf
    shift: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.median < np.inf and 0 <= self.sigma < np.inf):
            told = f"median {self.median:g}, sigma {self.sigma:g}"
            raise ConfigError(f"lognormal: median must be positive, sigma at least 0, got {told}")
        if not self.least <= self.most:
            told = f"{self.least:g} and {self.most:g}"
            raise ConfigError(f"lognormal: least must be at most most, got {told}")

    def draw(self, rng: Source, n: int) -> Draws:
        z = rng.standard_normal(n)
        drawn = self.shift + self.median * np.exp(self.sigma * z)
        return np.clip(drawn, self.least, self.most)


@dataclass(frozen=True, slots=True)
class Quantiles:
    """A table of quantiles; between two of them the logarithm is linear in the normal score.

    So the pieces are of lognormals, and a table of one lognormal's quantiles is that lognormal.
    """

    levels: tuple[float, ...]
    """Shares of the draws below each value, increasing in [0, 1]."""
    values: tuple[float, ...]
    """Positive, not decreasing; draws lie between the first and the last."""

    def __post_init__(self) -> None:
        levels, values = np.array(self.levels), np.array(self.values)
        if len(levels) != len(values) or len(levels) < 2:
            told = f"{len(levels)} levels and {len(values)} values"
            raise ConfigError(f"quantiles: must be two or more, one value a level, got {told}")
        if not (np.all(np.diff(levels) > 0) and levels[0] >= 0 and levels[-1] <= 1):
            raise ConfigError(f"quantiles: levels must increase in [0, 1], got {self.levels}")
        if not (values[0] > 0 and values[-1] < np.inf and np.all(np.diff(values) >= 0)):
            told = str(self.values)
            raise ConfigError(f"quantiles: values must be positive and not decrease, got {told}")

    def draw(self, rng: Source, n: int) -> Draws:
        normal = NormalDist()
        ends = (_OUTERMOST, 1 - _OUTERMOST)
        scores = [normal.inv_cdf(min(max(level, ends[0]), ends[1])) for level in self.levels]
        return np.exp(np.interp(rng.standard_normal(n), scores, np.log(self.values)))


@dataclass(frozen=True, slots=True)
class Mixture:
    """One of several distributions, drawn anew each time."""

    weights: tuple[float, ...]
    parts: tuple[Distribution, ...]

    def __post_init__(self) -> None:
        weights = np.array(self.weights)
        fits = len(weights) == len(self.parts) > 0
        if not (fits and weights.min() >= 0 and 0 < weights.sum() < np.inf):
            raise ConfigError(f"mixture: one weight of at least 0 a part, got {self.weights}")

    def draw(self, rng: Source, n: int) -> Draws:
        share = np.cumsum(self.weights) / np.sum(self.weights)
        part = np.searchsorted(share[:-1], rng.random(n), side="right")
        return np.choose(part, [each.draw(rng, n) for each in self.parts])


def whole(draws: Draws, *, least: int = 1) -> NDArray[np.int64]:
    """Round to whole numbers, at least `least`."""
    return np.maximum(np.rint(draws), least).astype(np.int64)
