"""The next request that uses a block, for policies that know the future, compiled.

The GPU's own pool asks for the first row that comes after all it has admitted. A tier below asks
for the first request, in file order, that has not been admitted yet and may still come to it: of a
cache that one instance uses, none that was routed to another instance.
"""

from __future__ import annotations

import numpy as np

from ..kernels import inner, seldom
from .state import (
    State,
    instances,
    requests,
    segment_of,
    sizes,
    use_at,
    use_offsets,
    uses,
    was_admitted,
)


@inner
def next_use(c: State, i: int, key: int) -> float:
    """Row of the first request not yet admitted here that touches the key; infinity if none."""
    if key >= sizes(c).n_segment_keys:
        return np.inf
    segment = segment_of(c)[key]
    after = instances(c)[i].n_admitted
    lo, hi = use_offsets(c)[segment], use_offsets(c)[segment + 1]
    end = hi
    while lo < hi:
        middle = (lo + hi) // 2
        if uses(c)[middle] >= after:
            hi = middle
        else:
            lo = middle + 1
    return float(uses(c)[lo]) if lo < end else np.inf


@seldom
def next_use_below(c: State, i: int, key: int) -> float:
    """Row of the first request that may still bring a use of the key to a cache below the GPU.

    The cache is that of instance `i`, or of all if that is -1. What all have behind them is passed
    over once: a request is admitted once.
    """
    if key >= sizes(c).n_segment_keys:
        return np.inf
    segment = segment_of(c)[key]
    at = np.int64(use_at(c)[segment])
    end = use_offsets(c)[segment + 1]
    while at < end and was_admitted(c)[uses(c)[at]]:
        at += 1
    use_at(c)[segment] = at
    if i >= 0:
        while at < end:
            row = uses(c)[at]
            where = requests(c)[row].instance
            if was_admitted(c)[row] == 0 and (where < 0 or where == i):
                break
            at += 1
    return float(uses(c)[at]) if at < end else np.inf
