"""Evict the block least likely to be reused soon, knowing how long it was not."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .base import Setting
from .workload_aware import WorkloadAware

LARGEST_P = 1.0 - 1e-6
"""A fit may say that every block is reused; then no block would ever age."""


@dataclass(frozen=True, kw_only=True)
class PosteriorHazard(WorkloadAware):
    """Evict the block least likely to be reused soon, knowing how long it was not.

    `workload-aware` with the probability that a block is reused in [t, t + life) *given* that it
    was not before t, its age. A share p of the blocks of a category is reused after an
    exponential time, the others never, so by Bayes' rule

        value = p * exp(-rate * t) * (1 - exp(-rate * life)) / (1 - p + p * exp(-rate * t))

    With u = exp(-rate * t), which falls with age, and c the share of reuses within a lifespan, the
    derivative of the value p * c * u / (1 - p + p * u) by u is p * c * (1 - p) / (1 - p + p * u)^2,
    at least 0: no older block of a category is worth more, and one queue a category will do.

    The conditioning is that of Learned Prefix Caching (see `lpc`), put to the values of "KVCache
    Cache in the Wild". Parameters, fit and deviations are those of `workload-aware`; p is at most
    1 - 1e-6.
    """

    @staticmethod
    def value(category: int, age_s: float, a: float, b: float, c: float) -> float:
        """a = rate, b = p, c = share of reuses within a lifespan."""
        p = min(b, LARGEST_P)
        to_come = p * math.exp(-a * age_s)
        return c * to_come / (1.0 - p + to_come)

    def params(self, setting: Setting) -> NDArray[np.float64]:
        made = super().params(setting)
        if not self.file:
            made[:, 1] = 0.5  # any probability below 1 orders all queues as one
        return made
