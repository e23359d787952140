"""Reuse of blocks counted block by block, to compare run-wise statistics with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

Path = tuple[int, ...]
Uses = dict[Path, list[int]]


def uses_of(paths: Sequence[Path]) -> Uses:
    """List the requests that use each block, a block being all that leads up to it."""
    uses: Uses = {}
    for row, path in enumerate(paths):
        for d in range(len(path)):
            uses.setdefault(path[: d + 1], []).append(row)
    return uses


def gaps(uses: Uses, at_s: Sequence[float]) -> list[tuple[int, int, float]]:
    """List every reuse as (previous request, request, seconds between)."""
    return sorted(
        (one, other, at_s[other] - at_s[one])
        for rows in uses.values()
        for one, other in pairwise(rows)
    )


def known(paths: Sequence[Path], allowed: Sequence[Sequence[int]] | None = None) -> list[int]:
    """Leading blocks that earlier requests had; `allowed` names which earlier ones count."""
    found = []
    for row, path in enumerate(paths):
        earlier = range(row) if allowed is None else allowed[row]
        best = 0
        for other in earlier:
            n = 0
            while n < min(len(path), len(paths[other])) and path[n] == paths[other][n]:
                n += 1
            best = max(best, n)
        found.append(best)
    return found


def working_set(uses: Uses, at_s: Sequence[float], time_s: float, window_s: float) -> int:
    """Blocks used after `time_s - window_s`, up to and with `time_s`."""
    return sum(
        any(time_s - window_s < at_s[row] <= time_s for row in rows) for rows in uses.values()
    )


def live(uses: Uses, n_requests: int) -> list[int]:
    """Blocks after each request that have been used and will be used again."""
    return [sum(rows[0] <= row < rows[-1] for rows in uses.values()) for row in range(n_requests)]


def head_hits(paths: Sequence[Path], share: float) -> int:
    """Hits if only the leading share of each path is cached."""
    cached: set[Path] = set()
    hits = 0
    for path in paths:
        d = 0
        while d < len(path) and path[: d + 1] in cached:
            d += 1
        hits += d
        for k in range(int(np.ceil(round(share * len(path), 6)))):
            cached.add(path[: k + 1])
    return hits


def product_limit(events: Sequence[float], censored: Sequence[float], at: float) -> float:
    """Kaplan and Meier's estimate, read aloud: one subject a value."""
    left = 1.0
    for t in sorted(set(events)):
        if t > at:
            break
        watched = sum(e >= t for e in events) + sum(c >= t for c in censored)
        left *= 1 - events.count(t) / watched
    return 1 - left
