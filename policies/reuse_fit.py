"""Reuse probability and reuse time of each category, fitted online to the arrivals so far.

Follows the profiler of "KVCache Cache in the Wild" (Wang et al., USENIX ATC 2025): every
re-access of a block after a gap of more than `min_gap_s` is a reuse owed to the category of
the *previous* access, as an unbounded cache would see it. Knows no cache.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .inner import inner

ACCESSES, REUSES, GAP_SUM_S, SHORTEST_GAP_S = range(4)


class ReuseFit(NamedTuple):
    """State of the fit. Sums are weighted by blocks."""

    last_s: NDArray[np.float64]
    """(n_segments,): last access of each segment of the prefix tree, NaN before the first."""
    category: NDArray[np.int32]
    """(n_segments,): category of that access."""
    sums: NDArray[np.float64]
    """(n_windows, n_categories, 4): by ACCESSES, REUSES, GAP_SUM_S, SHORTEST_GAP_S."""
    clock: NDArray[np.float64]
    """(next refit, period, smallest gap), seconds."""
    choice: NDArray[np.int64]
    """(current window, 1 to subtract the shortest gap in the fit, 1 to forget old windows)."""


def make_reuse_fit(
    n_segments: int,
    n_categories: int,
    *,
    refit_s: float,
    window_s: float,
    min_gap_s: float,
    is_shifted: bool,
) -> ReuseFit:
    """An empty fit that looks back `window_s` (infinite: over all history)."""
    n_windows = 1 if np.isinf(window_s) else max(1, round(window_s / refit_s))
    sums = np.zeros((n_windows, n_categories, 4))
    sums[:, :, SHORTEST_GAP_S] = np.inf
    return ReuseFit(
        last_s=np.full(n_segments, np.nan),
        category=np.zeros(n_segments, np.int32),
        sums=sums,
        clock=np.array([-np.inf, refit_s, min_gap_s]),
        choice=np.array([0, int(is_shifted), int(not np.isinf(window_s))], np.int64),
    )


@inner
def observe(
    fit: ReuseFit,
    parent: NDArray[np.int32],
    n_blocks: NDArray[np.int32],
    end: int,
    category: int,
    now_s: float,
    params: NDArray[np.float64],
) -> None:
    """Count the accesses of a request that arrived; refit `params` when a period has passed.

    `params[category, :2]` becomes (rate of the exponential reuse time, reuse probability); a
    refit at time t uses arrivals before t only.
    """
    if fit.clock[0] == -np.inf:
        fit.clock[0] = now_s + fit.clock[1]
    if now_s >= fit.clock[0]:
        _refit(fit, params)
        while fit.clock[0] <= now_s:
            fit.clock[0] += fit.clock[1]
    sums = fit.sums[fit.choice[0]]
    segment = end
    while segment >= 0:
        weight = n_blocks[segment]
        gap_s = now_s - fit.last_s[segment]
        if gap_s > fit.clock[2]:  # false for the first access: its gap is NaN
            previous = sums[fit.category[segment]]
            previous[REUSES] += weight
            previous[GAP_SUM_S] += weight * gap_s
            previous[SHORTEST_GAP_S] = min(previous[SHORTEST_GAP_S], gap_s)
        sums[category, ACCESSES] += weight
        fit.last_s[segment] = now_s
        fit.category[segment] = category
        segment = parent[segment]


@inner
def _refit(fit: ReuseFit, params: NDArray[np.float64]) -> None:
    """rate = reuses / sum of gaps (exponential MLE); probability = reuses / accesses.

    A category without reuse gets rate 0 and probability 1: value 0, evicted first.
    """
    n_windows = len(fit.sums)
    for w in range(fit.sums.shape[1]):
        accesses = 0.0
        reuses = 0.0
        gap_sum_s = 0.0
        shortest_s = np.inf
        for i in range(n_windows):
            accesses += fit.sums[i, w, ACCESSES]
            reuses += fit.sums[i, w, REUSES]
            gap_sum_s += fit.sums[i, w, GAP_SUM_S]
            shortest_s = min(shortest_s, fit.sums[i, w, SHORTEST_GAP_S])
        if fit.choice[1] and reuses > 0:
            gap_sum_s -= reuses * shortest_s
        if reuses > 0 and gap_sum_s > 0:
            params[w, 0] = reuses / gap_sum_s
            # accesses may have left the window before their reuse came
            params[w, 1] = reuses / accesses if accesses > reuses else 1.0
        else:
            params[w, 0] = 0.0
            params[w, 1] = 1.0
    if fit.choice[2]:
        fit.choice[0] = (fit.choice[0] + 1) % n_windows
        fit.sums[fit.choice[0]] = 0.0
        fit.sums[fit.choice[0], :, SHORTEST_GAP_S] = np.inf
