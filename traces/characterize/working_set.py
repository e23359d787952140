"""How many blocks are in use over time, and how many a clairvoyant cache would hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..schema import Trace
from .reuses import Reuses

N_POINTS = 160
WINDOWS_S = (60.0, 600.0, 3600.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingSet:
    """Distinct blocks over time."""

    time_s: NDArray[np.float64]
    """(n_points,): from the first arrival."""
    window_s: NDArray[np.float64]
    """(n_windows,): those shorter than the trace."""
    blocks: NDArray[np.float64]
    """(n_windows, n_points): distinct blocks used in the window up to the time."""
    distinct: NDArray[np.float64]
    """(n_points,): distinct blocks used so far."""
    live: NDArray[np.float64]
    """(n_points,): blocks used so far that are used again later."""
    peak_live: int
    """The most blocks that are ever live, between any two requests: the capacity with which a
    cache that knew the future would reach the ideal hit ratio, beside the running request."""


def working_set_of(trace: Trace, reuses: Reuses) -> WorkingSet:
    """Measure the working set of Denning (CACM 1968), W(t, w): what the last w seconds used.

    A run of blocks is in it from each use until w later, or until its next use if that is sooner.
    """
    at_s = reuses.arrival_s - reuses.arrival_s[0]
    duration_s = float(at_s[-1])
    time_s = np.linspace(0, duration_s, N_POINTS)
    window_s = np.array([w for w in WINDOWS_S if w < duration_s])
    used_s = at_s[reuses.previous]
    next_s = at_s[reuses.row]
    n_runs, n_unused = reuses.n_blocks.astype(np.float64), reuses.unused.astype(np.float64)
    entered = _upto(time_s, at_s, reuses.path_blocks.astype(np.float64))
    again = _upto(time_s, next_s, n_runs)
    blocks = np.empty((len(window_s), len(time_s)))
    for i, width_s in enumerate(window_s):
        left = _upto(time_s, np.minimum(next_s, used_s + width_s), n_runs)
        left += _upto(time_s, at_s + width_s, n_unused)
        blocks[i] = entered - left
    return WorkingSet(
        time_s=time_s,
        window_s=window_s,
        blocks=blocks,
        distinct=entered - again,
        live=_upto(time_s, used_s, n_runs) - again,
        peak_live=peak_live_of(reuses),
    )


def peak_live_of(reuses: Reuses) -> int:
    """Most blocks that have been used and will be used again, after any request."""
    n = len(reuses.path_blocks)
    change = np.bincount(reuses.previous, weights=reuses.n_blocks, minlength=n)
    change -= np.bincount(reuses.row, weights=reuses.n_blocks, minlength=n)
    return int(np.cumsum(change).max(initial=0))


def _upto(
    time_s: NDArray[np.float64], at_s: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weight of what happens at or before each time: (n_times,)."""
    at = np.searchsorted(time_s, at_s, side="left")
    summed = np.cumsum(np.bincount(at, weights=weight, minlength=len(time_s) + 1))
    return summed[: len(time_s)].astype(np.float64)
