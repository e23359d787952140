"""Evict the block whose conversation has most likely ended."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .posterior_hazard import LARGEST_P, PosteriorHazard


@dataclass(frozen=True, kw_only=True)
class Lpc(PosteriorHazard):
    """Evict the block whose conversation has most likely ended.

    Learned Prefix Caching (NeurIPS 2025): p is the probability that a conversation goes on,
    and fades while it does not,

        p_now = p * d / (p * d + 1 - p),  d = exp(-age * scale),  scale = 1 / mean gap of turns

    with the scale renewed every 10 s. The block with the lowest p_now leaves.

    Deviations: theirs learns p from the text of a prompt, which traces lack; here p and the
    scale are those of a category, request type and turn, fitted to the arrivals so far as in
    `workload-aware`, whose parameters these are. A block of several conversations takes the
    category of its last user, not their highest p_now. `life_s` and `lives` change nothing.
    """

    refit_s: float = 10.0
    """Seconds between refits."""
    retag: bool = True
    """Whether a reused block takes the category of its last user."""

    @staticmethod
    def value(category: int, age_s: float, a: float, b: float, c: float) -> float:
        """a = scale, b = p; a category without any reuse has scale 0, and is worth nothing."""
        if a <= 0:
            return 0.0
        p = min(b, LARGEST_P)
        to_come = p * math.exp(-a * age_s)
        return to_come / (to_come + 1.0 - p)
