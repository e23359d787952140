"""Curves from the tables of a run, thinned to what a figure can show. Knows no plot, no file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

CDF_POINTS = 500
TIME_POINTS = 240
WINDOWS = 40
"""A running ratio covers this part of the run: one 40th."""
CUMULATIVE = ("lookup_tokens", "hit_tokens")
LEVELS = ("running", "waiting", "cached_blocks", "used_blocks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """A run over time, all instances together; each value is the mean of `every_s`."""

    every_s: float
    time_s: Values
    """(n_points,): start of each interval."""
    running: Values
    """Requests running."""
    waiting: Values
    """Requests waiting."""
    used_blocks: Values
    """Blocks held by running requests."""
    cached_blocks: Values
    """Blocks kept for later requests."""
    hit_ratio: Values
    """Of the tokens looked up in the last `window_s` before the interval's end; NaN if none."""
    window_s: float


def cdf(values: Values, max_points: int = CDF_POINTS) -> tuple[Values, Values]:
    """Return at most `max_points` (value, share of values at most that large); skips NaN.

    The smallest and the largest value are always among them.
    """
    known = np.sort(values[~np.isnan(values)])
    ranks = np.unique(np.rint(np.linspace(0, len(known) - 1, min(max_points, len(known)))))
    ranks = ranks.astype(np.int64)
    return known[ranks], (ranks + 1) / max(len(known), 1)


def timeline(
    table: dict[str, Values], requests: dict[str, Values], max_points: int = TIME_POINTS
) -> Timeline:
    """Add up the instances of timeseries.parquet at each time.

    An instance that began no step in an interval has no values there. If it had a request, its
    last values still hold. Otherwise it is idle: nothing runs or waits, and the blocks that were
    in use are cached.
    """
    time_s, row = np.unique(table["time_s"], return_inverse=True)
    ids, column = np.unique(table["instance"], return_inverse=True)
    n_present = np.stack([_n_present(time_s, requests, i) for i in ids], axis=1) if len(ids) else 0
    grid = {}
    for name in LEVELS + CUMULATIVE:
        values = np.full((len(time_s), len(ids)), np.nan)
        values[row, column] = table[name]
        grid[name] = _carry(values)
    is_idle = np.ones((len(time_s), len(ids)), np.bool_)
    is_idle[row, column] = np.isnan(table["running"])
    is_idle &= n_present == 0
    grid["cached_blocks"] += np.where(is_idle, grid["used_blocks"], 0.0)
    for name in ("running", "waiting", "used_blocks"):
        grid[name][is_idle] = 0.0
    total = {name: values.sum(axis=1) for name, values in grid.items()}
    window_s = float(np.ptp(time_s)) / WINDOWS if len(time_s) else 0.0
    ratio = _running_ratio(time_s, total["hit_tokens"], total["lookup_tokens"], window_s)
    first = np.unique(np.linspace(0, len(time_s), max_points, endpoint=False).astype(np.int64))
    first = first[: len(time_s)]
    last = np.append(first[1:], len(time_s))[: len(first)] - 1
    return Timeline(
        every_s=float(np.ptp(time_s)) / max(len(first) - 1, 1) if len(time_s) else 0.0,
        time_s=time_s[first],
        **{name: _means(total[name], first) for name in LEVELS},
        hit_ratio=ratio[last],
        window_s=window_s,
    )


def _n_present(time_s: Values, requests: dict[str, Values], instance: float) -> NDArray[np.int64]:
    """Requests of an instance that have arrived and not finished, at each time."""
    is_here = (requests["instance"] == instance) & ~np.isnan(requests["finish_s"])
    arrived = np.searchsorted(np.sort(requests["arrival_s"][is_here]), time_s, side="right")
    finished = np.searchsorted(np.sort(requests["finish_s"][is_here]), time_s, side="right")
    return np.asarray(arrived - finished)


def _carry(values: Values) -> Values:
    """Fill each NaN with the value above it, 0 if there is none: (times, instances)."""
    known = np.where(np.isnan(values), -1, np.arange(len(values))[:, None])
    source = np.maximum.accumulate(known, axis=0)
    filled = np.take_along_axis(values, np.maximum(source, 0), axis=0)
    return np.where(source < 0, 0.0, filled)


def _running_ratio(time_s: Values, part: Values, whole: Values, window_s: float) -> Values:
    """Ratio of the increases of two counts over the last `window_s`, at each time."""
    before = np.searchsorted(time_s, time_s - window_s, side="right") - 1
    more_part = part - np.where(before < 0, 0.0, part[before])
    more_whole = whole - np.where(before < 0, 0.0, whole[before])
    ratio = np.full(len(time_s), np.nan)
    np.divide(more_part, more_whole, out=ratio, where=more_whole > 0)
    return ratio


def _means(values: Values, first: NDArray[np.int64]) -> Values:
    """Return the mean of each stretch that begins at an index of `first`."""
    if not len(first):
        return values
    return np.add.reduceat(values, first) / np.diff(np.append(first, len(values)))
