"""Reuse probability and reuse time of each category, fitted online to the arrivals so far.

Follows the profiler of "KVCache Cache in the Wild" (Wang et al., USENIX ATC 2025): every
re-access of a block after a gap of more than `min_gap_s` is a reuse owed to the category of
the *previous* access, as an unbounded cache would see it. Knows no cache.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner

ACCESSES, REUSES, GAP_SUM_S, SHORTEST_GAP_S = range(4)
N_UNUSED, N_TO_COME, EXPOSURE_S = range(3)
N_ROUNDS = 10
"""Rounds of expectation and maximisation, from the fit of the reuses alone."""


SEEN = np.dtype(
    [
        ("seen_s", "f8"),
        ("parent", "i4"),
        ("depth", "i4"),
        ("n_blocks", "i4"),
        ("seen_category", "i4"),
    ],
    align=True,
)
"""A segment or strand of the prefix tree, and its last access: time (NaN before the first), blocks
(0 before the first), category."""


def unseen(parent: NDArray[np.int32], depth: NDArray[np.int32]) -> NDArray[Any]:
    """Segments of the prefix tree without any access, (n_segments,) of SEEN."""
    segments = np.zeros(len(parent), SEEN)
    segments["seen_s"] = np.nan
    segments["parent"] = parent
    segments["depth"] = depth
    return segments


class ReuseFit(NamedTuple):
    """State of the fit. Sums are weighted by blocks."""

    segments: NDArray[Any]
    """(n_segments,) of SEEN, or of what has its fields among others; empty if nothing is fitted."""
    sums: NDArray[np.float64]
    """(n_windows, n_categories, 4): by ACCESSES, REUSES, GAP_SUM_S, SHORTEST_GAP_S."""
    closed: NDArray[np.float64]
    """(n_categories, 3): ACCESSES, REUSES and GAP_SUM_S of all windows but the current one."""
    clock: NDArray[np.float64]
    """(next refit, period, smallest gap, window), seconds."""
    life_s: NDArray[np.float64]
    """(n_categories,): lifespan, seconds."""
    choice: NDArray[np.int64]
    """(current window, 1 to subtract the shortest gap in the fit, 1 to forget old windows, 1 to
    count what was not reused yet)."""
    unused: NDArray[np.float64]
    """(n_categories, 3): room for sums over accesses without a reuse yet, by N_UNUSED, N_TO_COME
    and EXPOSURE_S; empty unless they count."""


def make_reuse_fit(
    segments: NDArray[Any],
    n_categories: int,
    *,
    refit_s: float,
    window_s: float,
    min_gap_s: float,
    life_s: float | NDArray[np.float64],
    is_shifted: bool,
    is_censored: bool = False,
) -> ReuseFit:
    """An empty fit over the segments of a prefix tree that looks back `window_s` (or forever)."""
    n_windows = 1 if np.isinf(window_s) else max(1, round(window_s / refit_s))
    sums = np.zeros((n_windows, n_categories, 4))
    sums[:, :, SHORTEST_GAP_S] = np.inf
    return ReuseFit(
        segments=segments,
        sums=sums,
        closed=np.zeros((n_categories, 3)),
        clock=np.array([-np.inf, refit_s, min_gap_s, window_s]),
        life_s=np.ascontiguousarray(np.broadcast_to(life_s, n_categories), np.float64),
        choice=np.array(
            [0, int(is_shifted), int(not np.isinf(window_s)), int(is_censored)], np.int64
        ),
        unused=np.zeros((n_categories if is_censored else 0, 3)),
    )


def no_reuse_fit(dtype: np.dtype[Any] = SEEN) -> ReuseFit:
    """A fit of nothing, for policies without one, where segments have a dtype."""
    none = np.zeros(0, dtype)
    return make_reuse_fit(
        none, 1, refit_s=1.0, window_s=np.inf, min_gap_s=0.0, life_s=1.0, is_shifted=False
    )


def fit_over(
    parent: NDArray[np.int32],
    depth: NDArray[np.int32],
    n_categories: int,
    arguments: dict[str, Any] | None,
) -> ReuseFit:
    """An empty fit over a prefix tree with a binding's `fit_arguments`; of nothing without any."""
    if arguments is None:
        return no_reuse_fit()
    return make_reuse_fit(unseen(parent, depth), n_categories, **arguments)


@inner
def observe(
    fit: ReuseFit,
    end: int,
    path_blocks: int,
    category: int,
    now_s: float,
    params: NDArray[np.float64],
) -> None:
    """Count the accesses of a request that arrived; refit `params` when a period has passed.

    Its path of `path_blocks` ends in segment or strand `end`, -1 for none.

    `params[category]` becomes (rate of the exponential reuse time, reuse probability, share of
    the reuses within a lifespan); a refit at time t uses arrivals before t only.
    """
    if fit.clock[0] == -np.inf:
        fit.clock[0] = now_s + fit.clock[1]
    if now_s >= fit.clock[0]:
        _refit(fit, params)
        if fit.choice[3]:
            _count_unused(fit, params, now_s)
        _share_within_life(fit, params)
        _forget_oldest(fit)
        while fit.clock[0] <= now_s:
            fit.clock[0] += fit.clock[1]
    sums = fit.sums[fit.choice[0]]
    s = end
    below = path_blocks
    while s >= 0:
        segment = fit.segments[s]
        weight = segment.n_blocks
        gap_s = now_s - segment.seen_s
        if gap_s > fit.clock[2]:  # false for the first access: its gap is NaN
            previous = sums[segment.seen_category]
            previous[REUSES] += weight
            previous[GAP_SUM_S] += weight * gap_s
            previous[SHORTEST_GAP_S] = min(previous[SHORTEST_GAP_S], gap_s)
        segment.n_blocks = below - segment.depth  # what a strand gained was not accessed before
        sums[category, ACCESSES] += segment.n_blocks
        below = segment.depth
        segment.seen_s = now_s
        segment.seen_category = category
        s = segment.parent


@inner
def _total(fit: ReuseFit, category: int, what: int) -> float:
    """Return a sum over all windows."""
    return float(fit.closed[category, what] + fit.sums[fit.choice[0], category, what])


@inner
def _refit(fit: ReuseFit, params: NDArray[np.float64]) -> None:
    """rate = reuses / sum of gaps (exponential MLE); probability = reuses / accesses.

    A category without reuse gets rate 0 and probability 1: value 0, evicted first.
    """
    for w in range(fit.sums.shape[1]):
        accesses = _total(fit, w, ACCESSES)
        reuses = _total(fit, w, REUSES)
        gap_sum_s = _total(fit, w, GAP_SUM_S)
        if fit.choice[1] and reuses > 0:
            shortest_s = np.inf
            for i in range(len(fit.sums)):
                shortest_s = min(shortest_s, fit.sums[i, w, SHORTEST_GAP_S])
            gap_sum_s -= reuses * shortest_s
        if reuses > 0 and gap_sum_s > 0:
            params[w, 0] = reuses / gap_sum_s
            # accesses may have left the window before their reuse came
            params[w, 1] = reuses / accesses if accesses > reuses else 1.0
        else:
            params[w, 0] = 0.0
            params[w, 1] = 1.0


@inner
def _share_within_life(fit: ReuseFit, params: NDArray[np.float64]) -> None:
    for w in range(fit.sums.shape[1]):
        params[w, 2] = 1.0 - math.exp(-params[w, 0] * fit.life_s[w])


@inner
def _forget_oldest(fit: ReuseFit) -> None:
    """Start a new window in place of the oldest one, unless all of history counts."""
    if not fit.choice[2]:
        return
    current = fit.choice[0]
    oldest = (current + 1) % len(fit.sums)
    for w in range(fit.sums.shape[1]):
        for what in range(SHORTEST_GAP_S):
            fit.closed[w, what] += fit.sums[current, w, what] - fit.sums[oldest, w, what]
            fit.sums[oldest, w, what] = 0.0
        fit.sums[oldest, w, SHORTEST_GAP_S] = np.inf
        if fit.closed[w, REUSES] == 0:
            fit.closed[w, GAP_SUM_S] = 0.0
    fit.choice[0] = oldest
    if oldest == 0:  # once a round, so that no error of rounding lasts longer
        for w in range(fit.sums.shape[1]):
            gap_sum_s = 0.0
            for i in range(len(fit.sums)):
                gap_sum_s += fit.sums[i, w, GAP_SUM_S]
            fit.closed[w, GAP_SUM_S] = gap_sum_s


@inner
def _count_unused(fit: ReuseFit, params: NDArray[np.float64], now_s: float) -> None:
    """Let accesses without a reuse yet count too: the exponential fit of a cured mixture.

    Of the accesses of a category a share p is reused after an exponential time, the others never
    (Boag, J. R. Stat. Soc. B 11, 1949). With R reuses after gaps of sum G, and accesses unused
    for t_i, expectation and maximisation repeat

        w_i = p e^(-rate t_i) / (1 - p + p e^(-rate t_i))
        p = (R + sum w_i) / (R + n),  rate = R / (G + sum w_i t_i)

    from p = R / (R + n) and rate = R / G. Only accesses within the window count, and none that is
    younger than the smallest gap.
    """
    n_categories = fit.sums.shape[1]
    for at in range(N_ROUNDS + 1):
        for w in range(n_categories):
            for f in range(3):
                fit.unused[w, f] = 0.0
        for s in range(len(fit.segments)):
            segment = fit.segments[s]
            age_s = now_s - segment.seen_s
            if age_s > fit.clock[2] and age_s <= fit.clock[3]:  # false before the first access
                w = segment.seen_category
                lost = 1.0 - params[w, 1]
                to_come = params[w, 1] * math.exp(-params[w, 0] * age_s)
                to_come = to_come / (lost + to_come) if lost > 0 else 1.0
                unused = fit.unused[w]
                unused[N_UNUSED] += segment.n_blocks
                unused[N_TO_COME] += segment.n_blocks * to_come
                unused[EXPOSURE_S] += segment.n_blocks * to_come * age_s
        for w in range(n_categories):
            reuses = _total(fit, w, REUSES)
            gap_sum_s = _total(fit, w, GAP_SUM_S)
            if reuses == 0:
                continue
            unused = fit.unused[w]
            if at == 0:
                params[w, 1] = reuses / (reuses + unused[N_UNUSED])
            else:
                params[w, 0] = reuses / (gap_sum_s + unused[EXPOSURE_S])
                params[w, 1] = (reuses + unused[N_TO_COME]) / (reuses + unused[N_UNUSED])
