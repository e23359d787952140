"""The most that each tier of a cache can serve, and what must at least move between tiers.

For tiers that hold different blocks, filled from the fastest on: no policy finds more in tier k
than H(C1 + ... + Ck) - H(C1 + ... + Ck-1), H being the optimum's hits (Gill, FAST 2008), and
the optimum's nested contents reach all of these at once if moving is free. What is not found in
the tiers above a link has to be loaded over it or computed again; with the fewest computed
again, the loads are the hits below the link. A tier that gives a block away when it is loaded
must get it anew each time (`writes`); one that keeps its copy gets each block once, and as a
block can be loaded once a reuse at most, the loads need a least number of distinct blocks
(`writes_once`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from ..traces.prefix_tree import PrefixTree, uses_of
from .curves import checked_capacity, lru_replay
from .optimum import optimum_replay


@dataclass(frozen=True, slots=True, kw_only=True)
class TierHits:
    """Hits of all tiers down to one, by request."""

    name: str
    capacity_blocks: int
    optimum: NDArray[np.int32]
    """(n_requests,): blocks the optimum finds in this tier or above."""
    lru: NDArray[np.int32]
    """(n_requests,): likewise, if blocks move one tier down when they are the least recent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What crosses from one tier to the next, in blocks."""

    above: str
    below: str
    loads: int
    """Least loaded upwards, if as little as possible is computed again."""
    writes: int
    """Least written downwards if a loaded block leaves the lower tier."""
    writes_once: int
    """Least written downwards if it stays there."""
    lru_loads: int
    lru_writes: int


def placeable(tree: PrefixTree, longest: int) -> PrefixTree:
    """The same tree without the requests of more than `longest` blocks."""
    end = np.where(tree.path_blocks <= longest, tree.end, -1).astype(np.int32)
    return replace(tree, end=end)


def tier_hits(tree: PrefixTree, capacities: dict[str, int]) -> list[TierHits]:
    """Hits of each tier and those above it, fastest first; a request must fit the first tier.

    Raises:
        ConfigError: no tier, or a capacity that is not a whole number of blocks, at least 1.
    """
    if not capacities:
        raise ConfigError("at least one tier is needed")
    sizes = [checked_capacity(c) for c in capacities.values()]
    fitting = placeable(tree, sizes[0])
    found = []
    total = 0
    for name, size in zip(capacities, sizes, strict=True):
        total += size
        found.append(
            TierHits(
                name=name,
                capacity_blocks=size,
                optimum=optimum_replay(fitting, total),
                lru=lru_replay(fitting, total),
            )
        )
    return found


def links(tree: PrefixTree, tiers: list[TierHits]) -> list[Link]:
    """What must move over the link below each tier but the last, and what moves under lru."""
    fitting = placeable(tree, tiers[0].capacity_blocks)
    n_accesses = int(fitting.path_blocks.sum())
    n_distinct = int(fitting.n_blocks[_n_uses(fitting) > 0].sum(dtype=np.int64))
    best, lru = (
        [int(getattr(tier, name).sum(dtype=np.int64)) for tier in tiers]
        for name in ("optimum", "lru")
    )
    found = []
    above_blocks = 0
    for k in range(len(tiers) - 1):
        above_blocks += tiers[k].capacity_blocks
        loads = best[-1] - best[k]
        found.append(
            Link(
                above=tiers[k].name,
                below=tiers[k + 1].name,
                loads=loads,
                writes=loads,
                writes_once=least_distinct(fitting, loads),
                lru_loads=lru[-1] - lru[k],
                # all that came in above and is there no more
                lru_writes=n_accesses - lru[k] - min(above_blocks, n_distinct),
            )
        )
    return found


def _n_uses(tree: PrefixTree) -> NDArray[np.int64]:
    """(n_runs,): requests that use each run."""
    return np.diff(uses_of(tree.parent, tree.end, tree.end >= 0)[0])


def least_distinct(tree: PrefixTree, loads: int) -> int:
    """Fewest blocks whose reuses add up to `loads`: the most used ones."""
    n_uses, n_blocks = _n_uses(tree), tree.n_blocks
    order = np.argsort(-n_uses, kind="stable")
    reuses = np.maximum(n_uses[order] - 1, 0)
    total = np.cumsum(reuses * n_blocks[order])
    k = int(np.searchsorted(total, loads))
    if k == len(order):
        return int(n_blocks.sum(dtype=np.int64))
    before = int(total[k - 1]) if k else 0
    rest = -(-(loads - before) // int(reuses[k])) if loads > before else 0
    return int(n_blocks[order[:k]].sum(dtype=np.int64)) + rest
