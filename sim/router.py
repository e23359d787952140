"""Which instance gets a request, compiled. Knows the instances' queues and caches, no more."""

from __future__ import annotations

import difflib

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from ..kernels import inner
from .instance import n_alive
from .kvcache import holds
from .records import MARK_ROUTED
from .request_blocks import write_keys
from .state import State, marks, requests, sizes

ROUND_ROBIN = 0
LEAST_LOADED = 1
PREFIX_AWARE = 2

ROUTERS: dict[str, int] = {
    "least-loaded": LEAST_LOADED,
    "prefix-aware": PREFIX_AWARE,
    "round-robin": ROUND_ROBIN,
}
"""Name on the command line, code in compiled code."""


def router_code(name: str) -> int:
    """Return the code of a router.

    Raises:
        ConfigError: unknown name; the nearest one is suggested.
    """
    if name not in ROUTERS:
        near = difflib.get_close_matches(name, ROUTERS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"unknown router {name!r}{hint} (known: {', '.join(ROUTERS)})")
    return ROUTERS[name]


@inner
def choose(c: State, r: int, router: int, keys: NDArray[np.int32]) -> int:
    """Choose an instance for request `r`; all instances stand at its arrival.

    round-robin: in turn. least-loaded: fewest requests running or waiting. prefix-aware: most
    leading blocks cached, then fewest requests. Then the lowest number. `keys` is scratch space
    for the longest request.
    """
    n_instances = sizes(c).n_instances
    if router == ROUND_ROBIN or n_instances == 1:
        i = marks(c)[MARK_ROUTED] % n_instances
        marks(c)[MARK_ROUTED] += 1
        return int(i)
    best = -1
    best_hits = 0
    best_load = 0
    if router == PREFIX_AWARE:
        write_keys(c, r, keys)
    limit = 0
    if router == PREFIX_AWARE and sizes(c).prefix_caching:
        limit = (requests(c)[r].input_tokens - 1) // sizes(c).block_size
    for i in range(n_instances):
        load = n_alive(c, i)
        hits = 0
        if limit > 0 and (best_hits == 0 or holds(c, i, keys[best_hits - 1])):
            # no look-up can win or tie unless the block that the best one ends in is there
            while hits < limit and holds(c, i, keys[hits]):
                hits += 1
        if best < 0 or hits > best_hits or (hits == best_hits and load < best_load):
            best, best_hits, best_load = i, hits, load
    return best
