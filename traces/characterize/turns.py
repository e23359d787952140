"""Who goes on: turns, sessions, the probability of a next turn, and the gap before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..schema import Trace
from .groups import by_code, categories_of, has_turns, ratio, total, types_of
from .survival import incidence

WINDOW_S = 600.0
"""The windows of Wang et al. (USENIX ATC 2025), ten minutes; shorter ones in a short trace, and
several of them together in a long one."""
FEWEST_WINDOWS = 6
MOST_WINDOWS = 36
FEWEST_REQUESTS = 20
"""A window with fewer of them tells no share."""
FOLLOWED_SHARE = 0.9
"""A window counts if a next turn after this share of all gaps would still be in the trace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """Turns of a trace whose sessions are known."""

    types: tuple[str, ...]
    categories: tuple[str, ...]
    """Type and turn, as policies see them."""
    turn: NDArray[np.int64]
    """(n_turns,): turn numbers that occur."""
    n_requests: NDArray[np.int64]
    """(n_turns,): requests of each."""
    turn_p50: float
    """Half of the requests have at most this turn number."""
    turn_p90: float
    first_turn_share: float
    """Requests that continue no other, of all."""
    single_request_sessions: float
    """Sessions of one request, of all sessions."""
    later_share: NDArray[np.float64]
    """(n_types,): requests that continue another, of the type's."""
    n_of_category: NDArray[np.int64]
    """(n_categories,): requests."""
    next_turn_seen: NDArray[np.float64]
    """(n_categories,): requests that another continues, of all; what comes later is missing."""
    next_turn: NDArray[np.float64]
    """(n_categories,): probability of a next turn by Kaplan and Meier, within `horizon_s`."""
    next_turn_first: float | None
    """The same of all first turns."""
    next_turn_later: float | None
    """The same of all later turns."""
    horizon_s: float
    """Half of the trace: half of the requests are watched for longer."""
    gap_p50_s: float | None
    """Arrival of a request to that of its first continuation."""
    gap_p90_s: float | None
    window_s: float
    follow_s: float
    """In the windows a next turn counts if it comes within this time of the last one."""
    window_start_s: NDArray[np.float64]
    """(n_windows,): from the first arrival; the windows that can be followed to the end."""
    window_next_first: NDArray[np.float64]
    """(n_windows,): first turns of the window that are continued within `follow_s`; NaN where
    there are fewer than `FEWEST_REQUESTS`."""
    window_next_later: NDArray[np.float64]
    """(n_windows,)"""


def turns_of(trace: Trace) -> Turns | None:
    """Measure turns; None if the trace neither names sessions nor has ids to find them by."""
    if not has_turns(trace):
        return None
    kinds, categories = types_of(trace), categories_of(trace)
    duration_s = float(trace.arrival_s[-1] - trace.arrival_s[0])
    is_later = trace.parent >= 0
    gap_s = _gap_to_next_s(trace)
    is_continued = np.isfinite(gap_s)
    turn, n_requests = np.unique(trace.turn, return_counts=True)
    p50, p90 = np.percentile(trace.turn, (50, 90), method="inverted_cdf").tolist()
    n_of_category = total(np.ones(len(trace), np.int64), categories)
    horizon_s = duration_s / 2
    order, bounds = by_code(categories.code, len(categories))
    gaps = gap_s[is_continued]
    gap_p50_s, follow_s = (
        np.percentile(gaps, (50, 100 * FOLLOWED_SHARE), method="inverted_cdf").tolist()
        if len(gaps)
        else (None, 0.0)
    )
    n_together = max(int(np.ceil(duration_s / WINDOW_S / MOST_WINDOWS)), 1)
    window_s = min(n_together * WINDOW_S, duration_s / FEWEST_WINDOWS) or 1.0
    n_windows = int((duration_s - follow_s) / window_s + 1e-9)
    window = ((trace.arrival_s - trace.arrival_s[0]) / window_s).astype(np.int64)
    is_next = gap_s <= follow_s
    return Turns(
        types=kinds.names,
        categories=categories.names,
        turn=turn,
        n_requests=n_requests,
        turn_p50=p50,
        turn_p90=p90,
        first_turn_share=1 - float(is_later.mean()),
        single_request_sessions=float(np.mean(np.bincount(trace.session) == 1)),
        later_share=ratio(
            total(is_later.astype(np.int64), kinds), total(np.ones(len(trace), np.int64), kinds)
        ),
        n_of_category=n_of_category.astype(np.int64),
        next_turn_seen=ratio(total(is_continued.astype(np.int64), categories), n_of_category),
        next_turn=np.array(
            [
                _next_turn(trace, gap_s, order[bounds[i] : bounds[i + 1]], horizon_s)
                for i in range(len(categories))
            ]
        ),
        next_turn_first=_or_none(_next_turn(trace, gap_s, np.flatnonzero(~is_later), horizon_s)),
        next_turn_later=_or_none(_next_turn(trace, gap_s, np.flatnonzero(is_later), horizon_s)),
        horizon_s=horizon_s,
        gap_p50_s=gap_p50_s,
        gap_p90_s=follow_s if len(gaps) else None,
        window_s=window_s,
        follow_s=follow_s,
        window_start_s=np.arange(n_windows, dtype=np.float64) * window_s,
        window_next_first=_by_window(window, is_next, ~is_later, n_windows),
        window_next_later=_by_window(window, is_next, is_later, n_windows),
    )


def _gap_to_next_s(trace: Trace) -> NDArray[np.float64]:
    """Seconds to the arrival of the first request that continues each, infinite if none does."""
    gap_s = np.full(len(trace), np.inf)
    child = np.flatnonzero(trace.parent >= 0)
    parent = trace.parent[child]
    np.minimum.at(gap_s, parent, trace.arrival_s[child] - trace.arrival_s[parent])
    return gap_s


def _next_turn(
    trace: Trace, gap_s: NDArray[np.float64], rows: NDArray[np.int64], horizon_s: float
) -> float:
    if not len(rows):
        return float("nan")
    gaps = gap_s[rows]
    is_continued = np.isfinite(gaps)
    watched_s = trace.arrival_s[-1] - trace.arrival_s[rows[~is_continued]]
    ones = np.ones(len(rows), np.int64)
    curve = incidence(
        gaps[is_continued], ones[is_continued], watched_s, ones[: len(rows) - is_continued.sum()]
    )
    return float(curve.at([horizon_s])[0])


def _by_window(
    window: NDArray[np.int64],
    is_next: NDArray[np.bool_],
    is_counted: NDArray[np.bool_],
    n_windows: int,
) -> NDArray[np.float64]:
    n = np.bincount(window[is_counted], minlength=n_windows)[:n_windows]
    n_next = np.bincount(window[is_counted & is_next], minlength=n_windows)[:n_windows]
    return ratio(n_next.astype(np.float64), np.where(n >= FEWEST_REQUESTS, n, 0))


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value
