"""Leave the choice between LRU and LFU to whichever was wrong less often lately (LeCaR)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, view
from .base import Block, CompiledPolicy, Setting
from .draws import draw_share, make_generator
from .ghosts import (
    cut_once,
    deepest_ghost,
    forget,
    ghosts,
    make_ghosts,
    remember,
)
from .heaps import MEMBER, empty_heaps, heap_first, heap_push, heap_remove, members_at
from .order import (
    EVENT_ADD,
    EVENT_EVICT,
    EVENT_HIT,
    EVENT_INSERT,
    EVENT_MISS,
    EVENT_REMOVE,
    EVENT_VICTIM,
    heaps_at,
)
from .streaks import NOBODY, came, follower, make_streak, name, see, went

BY_LRU, BY_LFU = 0, 1
"""Lists of ghosts: who evicted them. The mark of a ghost is the number of uses before."""

LEAST_WEIGHT = 0.01
"""Of either rule, as in the authors' code: a weight of 0 would stay 0 whatever the other did."""

ADDRESSES = ("generator", "streak", "ghosts", "items", "heaps")
SIZES = ("n_items", "n_uses", "chosen")
SHARES = ("lru_weight", "learning_rate", "discount")
STATE = np.dtype([(n, "i8") for n in (*ADDRESSES, *SIZES)] + [(n, "f8") for n in SHARES])
"""`items` and `heaps` are two: every candidate is in the heap of LRU and in that of LFU. The mark
of an item is the key it was inserted with."""

State = Any  # a record of STATE


@inner
def _learn(s: State, home: int) -> None:
    """Blame whichever rule evicted blocks that are back, the more the shorter they were away."""
    known_deepest = ghost = deepest_ghost(s.ghosts, home)
    while ghost != NOBODY:
        known = ghosts(s.ghosts)[ghost]
        regret = s.discount ** float(s.n_uses - known.mark)
        kept = math.exp(-s.learning_rate * regret * known.n_blocks)
        lru = s.lru_weight * (kept if known.list == BY_LRU else 1.0)
        lfu = (1.0 - s.lru_weight) * (kept if known.list == BY_LFU else 1.0)
        s.lru_weight = min(max(lru / (lru + lfu), LEAST_WEIGHT), 1.0 - LEAST_WEIGHT)
        ghost = int(known.above)
    forget(s.ghosts, known_deepest)


@inner
def _evict(s: State, home: int, block: Block) -> None:
    cut_once(s.ghosts)
    remember(s.ghosts, home, int(block.depth), int(block.n_blocks), s.chosen, s.n_uses)


def _event(event: int, state: int, block: Block) -> float:
    s = view(state, (1,), STATE)[0]
    n, entries, x = s.n_items, s.n_items + 2, block.block_id
    items, heaps = members_at(s.items, 2 * n), heaps_at(s.heaps, 2 * entries)
    by_lru, by_lfu = items[:n], items[n:]
    if event == EVENT_VICTIM:
        if follower(s.streak) != NOBODY:
            return name(s.streak, follower(s.streak))
        s.chosen = BY_LRU if draw_share(s.generator) < s.lru_weight else BY_LFU
        if s.chosen == BY_LRU:
            return name(s.streak, heap_first(by_lru, heaps, 0))
        return name(s.streak, heap_first(by_lfu, heaps, entries))
    if event == EVENT_MISS:
        _learn(s, int(block.key))
    elif event in (EVENT_INSERT, EVENT_HIT):
        see(s.streak, block)
        if event == EVENT_INSERT:
            by_lru[x].mark = int(block.key)
        s.n_uses += int(block.n_blocks)
        by_lru[x].rank = float(s.n_uses)
        by_lfu[x].rank = block.n_hits
        by_lfu[x].last = s.n_uses
    elif event == EVENT_ADD:
        came(s.streak, x)
        heap_push(by_lru, heaps, 0, x)
        heap_push(by_lfu, heaps, entries, x)
    elif event == EVENT_REMOVE:
        went(s.streak, x)
        heap_remove(by_lru, heaps, 0, x)
        heap_remove(by_lfu, heaps, entries, x)
    elif event == EVENT_EVICT:
        _evict(s, by_lru[x].mark, block)
    return 0.0


@dataclass(frozen=True, kw_only=True)
class Lecar(CompiledPolicy):
    """Leave the choice between LRU and LFU to whichever was wrong less often lately (LeCaR).

    Vietri et al., "Driving Cache Replacement with ML-based LeCaR" (HotStorage 2018): each eviction
    is by one of the two, drawn by their weights; who evicted a block that returns while it is
    remembered loses weight, by the factor exp(-learning_rate * discount**uses since then).
    As in the authors' code, neither weight falls below 0.01. Deviations: a block that both rules
    would evict is held against the one that was drawn; after the victim go the blocks above it
    that share its past, as long as the request needs room; only then is drawn again. The ghost
    lists are cut once a request, before its first eviction.
    """

    keys_may_grow = True
    hears_misses = True

    learning_rate: float = 0.45
    """How much a wrong eviction costs."""
    forgotten_share: float = 0.005
    """What is left of a mistake's cost after as many uses of blocks as the cache has blocks."""
    ghost_share: float = 1.0
    """Length of either ghost list, as a share of the cache."""

    def event_function(self) -> Callable[..., float]:
        return _event

    def new_state(self, setting: Setting, cache: int) -> NDArray[np.int64]:
        capacity = setting.capacity_blocks
        ghost_blocks = int(capacity * self.ghost_share)
        entries = setting.n_items + 2
        items = np.zeros(2 * setting.n_items, MEMBER)
        heaps = empty_heaps(2, entries)
        setting.keep(items, heaps)
        state = np.zeros(1, STATE)
        state["generator"] = make_generator(setting, cache)
        state["streak"] = make_streak(setting)
        state["ghosts"] = make_ghosts(
            setting, 2 * (ghost_blocks + capacity), 2, list_blocks=ghost_blocks
        )
        state["items"], state["heaps"] = items.ctypes.data, heaps.ctypes.data
        state["n_items"] = setting.n_items
        state["lru_weight"] = 0.5
        state["learning_rate"] = self.learning_rate
        state["discount"] = self.forgotten_share ** (1 / capacity)
        return state.view(np.int64)
