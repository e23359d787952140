"""Which unit arrival times are in, told from what no server could do. Knows no file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FASTEST_TOKENS_PER_S = 2_500.0
"""Output tokens a second of one request, pauses between turns included, that no trace has."""
_FEWEST_GAPS = 8


def turn_speeds(
    arrival_s: NDArray[np.float64], session: NDArray[np.int64], output_tokens: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return output tokens a second from each request to the next of its session.

    A turn that answers the last one cannot arrive before that one's output is complete, so these
    are lower bounds of the speed at which outputs came. Equal arrivals are left out: they are
    calls in parallel, or ticks of a coarse clock.
    """
    order = np.lexsort((arrival_s, session))
    gap_s = np.diff(arrival_s[order])
    follows = (np.diff(session[order]) == 0) & (gap_s > 0)
    speeds: NDArray[np.float64] = output_tokens[order][:-1][follows] / gap_s[follows]
    return speeds


def are_seconds_read_as_ms(
    arrival_s: NDArray[np.float64], session: NDArray[np.int64], output_tokens: NDArray[np.int64]
) -> bool:
    """Say whether times divided by 1000 would have most turns outrun any decoder."""
    speeds = turn_speeds(arrival_s, session, output_tokens)
    speeds = speeds[speeds > 0]
    return len(speeds) >= _FEWEST_GAPS and float(np.median(speeds)) > FASTEST_TOKENS_PER_S


def unit_of_unix_time(largest: float) -> float | None:
    """Return how many units a second has if `largest` is a Unix time of this century, else None.

    Seconds are near 1e9, milliseconds near 1e12, microseconds near 1e15, nanoseconds near 1e18.
    """
    for per_s in (1.0, 1e3, 1e6, 1e9):
        if 9e8 * per_s <= largest < 5e9 * per_s:
            return per_s
    return None
