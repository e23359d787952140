"""The next request that uses a block, for policies that know the future, compiled.

The GPU's own pool takes the first row that comes after all it has admitted. A tier below takes the
first one, in file order, that is not over for it: over is a request that was admitted, by any
instance that uses the cache; and to a cache of one instance also who went to another one, as soon
as a later row is admitted here. So the clocks of instances that share nothing do not matter.
"""

from __future__ import annotations

import numpy as np

from ..kernels import inner, seldom
from .state import (
    State,
    instances,
    n_over,
    requests,
    segment_of,
    sizes,
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
def _is_over(c: State, i: int, r: int) -> bool:
    """Whether request `r` brings no use any more to the cache of instance `i`, or of all."""
    where = requests(c)[r].instance
    if i == sizes(c).n_instances or where == i:
        return bool(was_admitted(c)[r])
    return bool(where >= 0 and r < instances(c)[i].n_admitted)


@seldom
def next_use_below(c: State, i: int, key: int) -> float:
    """Row of the next request that uses a key, to a cache below the GPU; infinity if none.

    The cache is that of instance `i`, or of all if that is their number. Who is over stays so: each
    use is passed once.
    """
    if key >= sizes(c).n_segment_keys:
        return np.inf
    segment = segment_of(c)[key]
    first, end = use_offsets(c)[segment], use_offsets(c)[segment + 1]
    at = np.int64(first + n_over(c)[i, segment])
    while at < end and _is_over(c, i, np.int64(uses(c)[at])):
        at += 1
    n_over(c)[i, segment] = at - first
    return float(uses(c)[at]) if at < end else np.inf
