"""How long until a block is used again, by type and category, and how well that can be fitted.

A reuse belongs to the request that used the blocks *before*: that is what a cache knows when it
has to choose. All numbers are weighted by blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..schema import Trace
from .fits import FEWEST_RUNS, Fit, fit_mixture, fit_observed
from .groups import MOST_TURNS, Groups, by_code, categories_of, has_turns, types_of
from .reuses import Reuses
from .survival import Incidence, furthest_apart, incidence
from .weighted import mean, quantiles, share_at

N_POINTS = 121
MOST_FITS = 24
"""Categories that are fitted: those with the most reuses."""
N_WINDOWS = 2
"""Parts of the trace that are compared; equally long, so equally censored."""
WITHIN_S = (10.0, 600.0)
"""Times for which the share of reuses is told, those of Wang et al. (USENIX ATC 2025)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReuseTimes:
    """Reuse times by request type."""

    types: tuple[str, ...]
    """"all" first if there are several."""
    time_s: NDArray[np.float64]
    """(n_points,): spaced evenly in their logarithm."""
    seen: NDArray[np.float64]
    """(n_types, n_points): of the reuses in the trace, those within the time; NaN without any."""
    expected: NDArray[np.float64]
    """(n_types, n_points): of all uses, those followed by a reuse within the time; what the end
    of the trace hides is allowed for (Kaplan and Meier)."""
    mean_s: NDArray[np.float64]
    """(n_types,): of the reuses in the trace."""
    p50_s: NDArray[np.float64]
    p80_s: NDArray[np.float64]
    p90_s: NDArray[np.float64]
    within: dict[str, NDArray[np.float64]]
    """Share of the reuses within so many seconds, (n_types,), by the number of seconds."""
    first_to_first: float | None
    """First turns with a block that the next to use it was another first turn, of first turns."""
    first_to_first_blocks: float | None
    """Blocks of first turns that the next to use them was another first turn, of their blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryFit:
    """Reuse times of one category, and what fits them."""

    category: str
    n_runs: int
    """Reuses, in runs of blocks."""
    n_blocks: int
    """Reuses, in blocks."""
    time_s: NDArray[np.float64]
    """(n_points,)"""
    expected: NDArray[np.float64]
    """(n_points,): probability of a reuse within the time, by Kaplan and Meier."""
    plain: Fit
    """One exponential, of the reuses in the trace alone; its `weight` is 1."""
    exponential: Fit
    """One exponential with a probability of reuse, right-censored by the end of the trace."""
    mixture: Fit
    """Two exponentials, likewise."""
    window_share: NDArray[np.float64]
    """(n_windows,): uses that are followed by a reuse, by Kaplan and Meier, in each part."""
    window_mean_s: NDArray[np.float64]
    """(n_windows,): mean time of the reuses in each part; NaN without any."""
    drift: float | None
    """Largest distance between the curves of the first part and of a later one."""
    to_next_turn: float | None
    """Distance to the curve of the same type's next turn; None if that is not fitted."""


def reuse_times_of(trace: Trace, reuses: Reuses) -> ReuseTimes:
    """Measure reuse times."""
    kinds = types_of(trace)
    time_s = time_points(trace, reuses)
    parts = _by_group(reuses, kinds)
    names = kinds.names
    if len(names) > 1:
        parts = [_Part.whole(reuses), *parts]
        names = ("all", *names)
    shares = np.array([quantiles(p.gap_s, p.n_blocks, (0.5, 0.8, 0.9)) for p in parts])
    within = np.array([share_at(p.gap_s, p.n_blocks, WITHIN_S) for p in parts])
    first = first_blocks = None
    if has_turns(trace):
        first, first_blocks = _first_to_first(trace, reuses)
    return ReuseTimes(
        types=names,
        time_s=time_s,
        seen=np.array([share_at(p.gap_s, p.n_blocks, time_s) for p in parts]),
        expected=np.array([p.curve().at(time_s) for p in parts]),
        mean_s=np.array([mean(p.gap_s, p.n_blocks) for p in parts]),
        p50_s=shares[:, 0],
        p80_s=shares[:, 1],
        p90_s=shares[:, 2],
        within={f"{t:g}": within[:, i] for i, t in enumerate(WITHIN_S)},
        first_to_first=first,
        first_to_first_blocks=first_blocks,
    )


def category_fits_of(trace: Trace, reuses: Reuses) -> list[CategoryFit]:
    """Fit the categories with the most reuses; none has fewer than `FEWEST_RUNS` runs."""
    categories = categories_of(trace)
    parts = _by_group(reuses, categories)
    size = [int(part.n_blocks.sum(dtype=np.int64)) for part in parts]
    chosen = [i for i in np.argsort(-np.array(size), kind="stable") if len(parts[i]) >= FEWEST_RUNS]
    chosen = sorted(chosen[:MOST_FITS])
    time_s = time_points(trace, reuses)
    resolution_s = _resolution_s(trace)
    curves = {i: parts[i].curve() for i in chosen}
    n_turns = MOST_TURNS if has_turns(trace) else 1
    found = []
    for i in chosen:
        part, curve = parts[i], curves[i]
        windows = _windows(part, reuses)
        shares = np.array([window.curve().last_share for window in windows])
        has_two = all(len(window) for window in windows)
        apart = [furthest_apart(windows[0].curve(), w.curve()) for w in windows[1:]]
        is_followed = (i + 1) % n_turns != 0 and i + 1 in curves

        seen = incidence(part.gap_s, part.n_blocks, np.zeros(0), np.zeros(0, np.int64))
        found.append(
            CategoryFit(
                category=categories.names[i],
                n_runs=len(part),
                n_blocks=size[i],
                time_s=time_s,
                expected=curve.at(time_s),
                plain=fit_observed(part.gap_s, part.n_blocks, seen, resolution_s=resolution_s),
                exponential=_mixture(1, part, curve, resolution_s),
                mixture=_mixture(2, part, curve, resolution_s),
                window_share=shares,
                window_mean_s=np.array([mean(w.gap_s, w.n_blocks) for w in windows]),
                drift=max(apart) if has_two else None,
                to_next_turn=furthest_apart(curve, curves[i + 1]) if is_followed else None,
            )
        )
    return found


def time_points(trace: Trace, reuses: Reuses) -> NDArray[np.float64]:
    """Times at which curves are told: from below the shortest gap to the whole trace."""
    duration_s = max(float(trace.arrival_s[-1] - trace.arrival_s[0]), 1e-3)
    positive = reuses.gap_s[reuses.gap_s > 0]
    shortest_s = float(positive.min()) if len(positive) else duration_s / 1000
    return np.geomspace(max(min(shortest_s, duration_s / 10), 1e-3), duration_s, N_POINTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Uses by some of the requests: those with a reuse, and those without."""

    previous: NDArray[np.int32]
    row: NDArray[np.int32]
    gap_s: NDArray[np.float64]
    n_blocks: NDArray[np.int32]
    rows: NDArray[np.int64]
    """(n,): the requests."""
    idle_s: NDArray[np.float64]
    """(n,): how long each was watched."""
    unused: NDArray[np.int64]
    """(n,): its blocks that were not reused meanwhile."""
    trace_s: float
    """Length of the trace."""

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def whole(cls, reuses: Reuses) -> _Part:
        return cls(
            previous=reuses.previous,
            row=reuses.row,
            gap_s=reuses.gap_s,
            n_blocks=reuses.n_blocks,
            rows=np.arange(len(reuses.arrival_s)),
            idle_s=reuses.idle_s,
            unused=reuses.unused,
            trace_s=float(reuses.idle_s[0]),
        )

    def curve(self) -> Incidence:
        return incidence(self.gap_s, self.n_blocks, self.idle_s, self.unused)


def _mixture(n_components: int, part: _Part, curve: Incidence, resolution_s: float) -> Fit:
    return fit_mixture(
        n_components,
        part.gap_s,
        part.n_blocks,
        part.idle_s,
        part.unused,
        curve,
        resolution_s=resolution_s,
        longest_s=part.trace_s,
    )


def _by_group(reuses: Reuses, groups: Groups) -> list[_Part]:
    """Split all uses by the group of the earlier request."""
    order, at = by_code(groups.code[reuses.previous], len(groups))
    rows, rows_at = by_code(groups.code, len(groups))
    idle_s = reuses.idle_s
    parts = []
    for i in range(len(groups)):
        runs, mine = order[at[i] : at[i + 1]], rows[rows_at[i] : rows_at[i + 1]]
        parts.append(
            _Part(
                previous=reuses.previous[runs],
                row=reuses.row[runs],
                gap_s=reuses.gap_s[runs],
                n_blocks=reuses.n_blocks[runs],
                rows=mine,
                idle_s=idle_s[mine],
                unused=reuses.unused[mine],
                trace_s=float(idle_s[0]),
            )
        )
    return parts


def _windows(part: _Part, reuses: Reuses) -> list[_Part]:
    """Cut the trace into equal parts, each with its own end: what comes later is not seen."""
    at_s = reuses.arrival_s
    bounds_s = np.linspace(at_s[0], at_s[-1], N_WINDOWS + 1)
    windows = []
    for k in range(N_WINDOWS):
        is_last = k == N_WINDOWS - 1
        end_s = bounds_s[k + 1]
        in_window = (at_s >= bounds_s[k]) & ((at_s < end_s) | is_last)
        is_seen = in_window[part.previous] & in_window[part.row]
        is_cut = in_window[part.previous] & ~in_window[part.row]
        rows = part.rows[in_window[part.rows]]
        windows.append(
            _Part(
                previous=part.previous[is_seen],
                row=part.row[is_seen],
                gap_s=part.gap_s[is_seen],
                n_blocks=part.n_blocks[is_seen],
                rows=rows,
                idle_s=np.concatenate((end_s - at_s[rows], end_s - at_s[part.previous[is_cut]])),
                unused=np.concatenate((reuses.unused[rows], part.n_blocks[is_cut])),
                trace_s=part.trace_s,
            )
        )
    return windows


def _first_to_first(trace: Trace, reuses: Reuses) -> tuple[float | None, float | None]:
    is_first = trace.parent < 0
    counts = is_first[reuses.previous] & is_first[reuses.row]
    reused = np.zeros(len(trace), np.bool_)
    reused[reuses.previous[counts]] = True
    n_blocks = int(reuses.path_blocks[is_first].sum())
    if not n_blocks:
        return None, None
    hit = int(reuses.n_blocks[counts].sum(dtype=np.int64))
    return float(reused[is_first].mean()), hit / n_blocks


def _resolution_s(trace: Trace) -> float:
    """Half of the smallest step of the clock, at least a tenth of a millisecond."""
    steps = np.diff(trace.arrival_s)
    positive = steps[steps > 0]
    return max(float(positive.min()) / 2, 1e-4) if len(positive) else 1e-4
