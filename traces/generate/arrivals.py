"""When sessions start: a renewal process, poured through a rate that varies in time.

Gaps are drawn with mean 1 and summed up; the sum is the integral of the rate at the arrival, so
that the process keeps its burstiness at any rate (the time-rescaling theorem, read backwards).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ... import ConfigError

PROCESSES = ("poisson", "gamma", "weibull")
_GRID = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Spikes:
    """Times of a higher rate, at random places."""

    n: int
    duration_s: float
    factor: float
    """Rate within a spike, as a multiple of the rate outside."""

    def __post_init__(self) -> None:
        if not (self.n >= 1 and self.duration_s > 0 and self.factor > 0):
            told = f"{self.n},{self.duration_s:g},{self.factor:g}"
            raise ConfigError(f"spikes must be a number, seconds and a factor above 0, got {told}")

    @staticmethod
    def parse(text: str) -> Spikes:
        """Read NUMBER,SECONDS,FACTOR.

        Raises:
            ConfigError: it is something else.
        """
        try:
            n, duration_s, factor = text.split(",")
            return Spikes(n=int(n), duration_s=float(duration_s), factor=float(factor))
        except ValueError:
            raise ConfigError(f"spikes must be NUMBER,SECONDS,FACTOR, got {text!r}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How the rate of arrivals varies; its mean over the duration is 1."""

    trend: float = 1.0
    """Rate at the end over the rate at the start; it changes linearly."""
    day_s: float = 86400.0
    """Period of the daily swing."""
    swing: float = 0.0
    """Amplitude of the daily swing, of the mean: 0 none, 1 down to nothing at night."""
    peak_s: float = 0.0
    """When the swing is highest."""
    spikes: Spikes | None = None

    def integral(
        self, duration_s: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Tabulate (time in seconds, share of the arrivals before it), both from the start."""
        edges = np.linspace(0.0, duration_s, _GRID + 1)
        middle = (edges[:-1] + edges[1:]) / 2
        rate = 1.0 + (self.trend - 1.0) * middle / duration_s
        rate *= 1.0 + self.swing * np.cos(2 * math.pi * (middle - self.peak_s) / self.day_s)
        if self.spikes is not None:
            starts = rng.uniform(0.0, max(duration_s - self.spikes.duration_s, 0.0), self.spikes.n)
            for start_s in starts:
                inside = (middle >= start_s) & (middle < start_s + self.spikes.duration_s)
                rate[inside] *= self.spikes.factor
        share = np.concatenate([[0.0], np.cumsum(rate)])
        return edges, share / share[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Starts of sessions."""

    per_s: float
    """Mean number a second."""
    process: str = "poisson"
    cv: float = 1.0
    """Coefficient of variation of the gaps, for gamma and weibull: above 1 is bursty."""
    rate: Rate = Rate()

    def __post_init__(self) -> None:
        if self.process not in PROCESSES:
            known = ", ".join(PROCESSES)
            raise ConfigError(f"arrivals must be one of {known}, got {self.process!r}")
        for name, value in (
            ("rate", self.per_s),
            ("cv", self.cv),
            ("trend", self.rate.trend),
            ("day", self.rate.day_s),
        ):
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"arrivals: {name} must be positive and finite, got {value:g}")
        if not 0 <= self.rate.swing <= 1:
            raise ConfigError(f"arrivals: swing must be in [0, 1], got {self.rate.swing:g}")

    def draw(self, duration_s: float, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return the starts within [0, duration), sorted, in seconds."""
        times, share = self.rate.integral(duration_s, rng)
        n = self.per_s * duration_s
        room = int(n + 10 * self.cv * math.sqrt(n) + 10 * (1 + self.cv))
        at = np.cumsum(self._gaps(room, rng)) / n
        while at[-1] < 1.0:  # so rare that it costs nothing: ten standard deviations
            more = at[-1] + np.cumsum(self._gaps(room, rng)) / n
            at = np.concatenate([at, more])
        return np.interp(at[at < 1.0], share, times)

    def exactly(
        self,
        n: int,
        duration_s: float,
        rng: np.random.Generator,
        *,
        client: NDArray[np.int64],
        n_slices: int = 1,
    ) -> NDArray[np.float64]:
        """Return `n` starts, (n,), each client's a process of its own; unsorted.

        `client` is (n,); given how many there are, Poisson arrivals are independent, and the
        others' gaps are scaled so that one more would end the duration. With `n_slices` above 1
        Poisson arrivals are equally many in each of so many parts of the duration, which the
        rate makes equally likely, and random within.
        """
        times, share = self.rate.integral(duration_s, rng)
        if self.process == "poisson":
            at = rng.random(n)
            if n_slices > 1:
                at = (rng.permutation(n) % n_slices + at) / n_slices
            return np.interp(at, share, times)
        order = np.argsort(client, kind="stable")
        sizes = np.unique(client, return_counts=True)[1]
        gaps = self._gaps(n + len(sizes), rng)
        # a client's gaps are neighbours, one more than it has arrivals
        ends = np.cumsum(sizes + 1)
        total = np.cumsum(gaps)
        before = np.concatenate([[0.0], total[ends[:-1] - 1]])
        whole = total[ends - 1] - before
        place = np.arange(n) + np.repeat(np.arange(len(sizes)), sizes)
        of = np.repeat(np.arange(len(sizes)), sizes)
        at = np.empty(n)
        # where in its renewal process the window opens is random too
        shift = rng.random(len(sizes))
        at[order] = ((total[place] - before[of]) / whole[of] + shift[of]) % 1.0
        return np.interp(at, share, times)

    def _gaps(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw gaps of mean 1."""
        if self.process == "poisson":
            return rng.standard_exponential(n)
        if self.process == "gamma":
            shape = self.cv**-2
            return rng.standard_gamma(shape, n) / shape
        shape = _weibull_shape(self.cv)
        return rng.weibull(shape, n) / math.gamma(1 + 1 / shape)


def _weibull_shape(cv: float) -> float:
    """Find the shape whose coefficient of variation is `cv`, by bisection: it falls with the shape.

    cv² = Γ(1 + 2/k) / Γ(1 + 1/k)² - 1.
    """
    low, high = math.log(0.08), math.log(50.0)
    for _ in range(80):
        k = math.exp((low + high) / 2)
        log_ratio = math.lgamma(1 + 2 / k) - 2 * math.lgamma(1 + 1 / k)
        if log_ratio > math.log1p(cv * cv):
            low = math.log(k)
        else:
            high = math.log(k)
    return math.exp((low + high) / 2)
