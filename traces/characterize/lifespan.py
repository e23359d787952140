"""How long blocks live: from their first use to their last reuse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..schema import Trace
from .groups import by_code, types_of
from .reuse_time import time_points
from .reuses import Reuses
from .survival import incidence
from .weighted import quantiles, share_at

DEAD_SHARE = 0.99
"""A block idle for longer than this share of all reuses took is taken to be dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifespans:
    """Lifespans by the type of the request that made a block; a block never reused lives 0 s."""

    types: tuple[str, ...]
    """"all" first if there are several."""
    time_s: NDArray[np.float64]
    """(n_points,)"""
    seen: NDArray[np.float64]
    """(n_types, n_points): blocks whose last reuse in the trace came within the time."""
    expected: NDArray[np.float64]
    """(n_types, n_points): the same by Kaplan and Meier, blocks that may still live censored."""
    mean_s: NDArray[np.float64]
    """(n_types,): as seen in the trace, like the next four."""
    p50_s: NDArray[np.float64]
    p90_s: NDArray[np.float64]
    p99_s: NDArray[np.float64]
    max_s: NDArray[np.float64]
    p90_expected_s: NDArray[np.float64]
    """(n_types,): with censoring; infinite if the trace is too short to tell."""
    reused: NDArray[np.float64]
    """(n_types,): blocks that are ever reused, of those made."""
    dead_after_s: float | None
    """Idle time after which a block counts as dead; None if no block is reused."""


def lifespans_of(trace: Trace, reuses: Reuses) -> Lifespans:
    """Measure lifespans.

    When a block has died cannot be seen, only that it was idle for long: for longer than d, what
    99 % of all reuses took. So a death after a life of t shows only if t + d after the block was
    made the trace still runs. A block that is not dead is censored at the longest life whose end
    could have been seen; one made less than d before the end says nothing and is left out.
    """
    kinds = types_of(trace)
    time_s = time_points(trace, reuses)
    weight = reuses.tree.n_blocks.astype(np.int64)
    life_s = reuses.arrival_s[reuses.last_use] - reuses.arrival_s[reuses.first_use]
    dead_after_s = float(quantiles(reuses.gap_s, reuses.n_blocks, (DEAD_SHARE,))[0])
    followed_s = reuses.arrival_s[-1] - reuses.arrival_s[reuses.first_use]
    followed_s -= dead_after_s if np.isfinite(dead_after_s) else 0.0
    is_dead = life_s < followed_s
    is_alive = ~is_dead & (followed_s >= 0)
    is_reused = reuses.n_uses > 1
    made_by = kinds.code[reuses.first_use]
    order, bounds = by_code(made_by, len(kinds))
    parts = [order[bounds[i] : bounds[i + 1]] for i in range(len(kinds))]
    names = kinds.names
    if len(names) > 1:
        parts, names = [np.arange(len(life_s)), *parts], ("all", *names)
    numbers: dict[str, list[float]] = {
        name: [] for name in ("mean_s", "p50_s", "p90_s", "p99_s", "max_s", "p90", "reused")
    }
    seen, expected = [], []
    for part in parts:
        life, n = life_s[part], weight[part]
        dead, alive = part[is_dead[part]], part[is_alive[part]]
        whole = int(n.sum())
        curve = incidence(life_s[dead], weight[dead], followed_s[alive], weight[alive])
        seen.append(share_at(life, n, time_s))
        expected.append(curve.at(time_s) if whole else np.full(len(time_s), np.nan))
        told = (
            float((life * n).sum()) / whole if whole else np.nan,
            *quantiles(life, n, (0.5, 0.9, 0.99, 1.0)).tolist(),
            curve.quantile_s(0.9) if whole else np.nan,
            float(n[is_reused[part]].sum()) / whole if whole else np.nan,
        )
        for column, value in zip(numbers.values(), told, strict=True):
            column.append(value)
    return Lifespans(
        types=names,
        time_s=time_s,
        seen=np.array(seen),
        expected=np.array(expected),
        p90_expected_s=np.array(numbers.pop("p90")),
        dead_after_s=dead_after_s if np.isfinite(dead_after_s) else None,
        **{name: np.array(column) for name, column in numbers.items()},
    )
