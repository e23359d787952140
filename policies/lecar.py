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
from .ghosts import drop_oldest, forget, is_ghost, make_ghosts, n_ghosts, remember
from .order import (
    ENTRY,
    EVENT_ADD,
    EVENT_EVICT,
    EVENT_HIT,
    EVENT_INSERT,
    EVENT_REMOVE,
    EVENT_VICTIM,
    ITEM,
    heap_first,
    heap_push,
    heap_remove,
    heaps_at,
    items_at,
)

ADDRESSES = ("generator", "lru_ghosts", "lfu_ghosts", "items", "heaps", "evicted")
SIZES = ("n_items", "n_keys", "ghost_blocks", "n_uses", "is_by_lru")
SHARES = ("lru_weight", "learning_rate", "discount")
STATE = np.dtype([(n, "i8") for n in (*ADDRESSES, *SIZES)] + [(n, "f8") for n in SHARES])
"""`items` and `heaps` are two: every candidate is in the heap of LRU and in that of LFU. By key,
`evicted` is the number of uses before it left last."""

StateAddress = int  # of a record of STATE


@inner
def _sizes(state: StateAddress) -> Any:
    return view(state, (1,), STATE)[0]


@inner
def _evicted(state: StateAddress) -> NDArray[np.int64]:
    return view(_sizes(state).evicted, (_sizes(state).n_keys,), np.int64)


@inner
def _learn(state: StateAddress, key: int) -> None:
    """Blame whichever rule evicted a block that is back, the more the shorter it was away."""
    s = _sizes(state)
    is_by_lru, is_by_lfu = is_ghost(s.lru_ghosts, key), is_ghost(s.lfu_ghosts, key)
    if is_by_lru or is_by_lfu:
        regret = s.discount ** float(s.n_uses - _evicted(state)[key])
        kept = math.exp(-s.learning_rate * regret)
        lru = s.lru_weight * (kept if is_by_lru else 1.0)
        lfu = (1.0 - s.lru_weight) * (kept if is_by_lfu else 1.0)
        s.lru_weight = lru / (lru + lfu)
        forget(s.lru_ghosts, key)
        forget(s.lfu_ghosts, key)


@inner
def _trim(state: StateAddress) -> None:
    """Cut both ghost lists to their length."""
    s = _sizes(state)
    while n_ghosts(s.lru_ghosts) > s.ghost_blocks:
        drop_oldest(s.lru_ghosts)
    while n_ghosts(s.lfu_ghosts) > s.ghost_blocks:
        drop_oldest(s.lfu_ghosts)


def _event(event: int, state: int, block: Block) -> float:
    s = _sizes(state)
    n, span = s.n_items, s.n_items + 2
    items, heaps = items_at(s.items, 2 * n), heaps_at(s.heaps, 2 * span)
    by_lru, by_lfu = items[:n], items[n:]
    if event == EVENT_VICTIM:
        s.is_by_lru = draw_share(s.generator) < s.lru_weight
        return float(heap_first(heaps, 0 if s.is_by_lru else span))
    if event in (EVENT_INSERT, EVENT_HIT):
        s.n_uses += 1
        if event == EVENT_INSERT:
            _learn(state, int(block.key))
            _trim(state)
        by_lru[block.block_id].rank = float(s.n_uses)
        by_lfu[block.block_id].rank = block.n_hits
        by_lfu[block.block_id].last = s.n_uses
    elif event == EVENT_ADD:
        heap_push(by_lru, heaps, 0, block.block_id)
        heap_push(by_lfu, heaps, span, block.block_id)
    elif event == EVENT_REMOVE:
        heap_remove(by_lru, heaps, 0, block.block_id)
        heap_remove(by_lfu, heaps, span, block.block_id)
    elif event == EVENT_EVICT:
        remember(s.lru_ghosts if s.is_by_lru else s.lfu_ghosts, int(block.key))
        _evicted(state)[int(block.key)] = s.n_uses
    return 0.0


@dataclass(frozen=True, kw_only=True)
class Lecar(CompiledPolicy):
    """Leave the choice between LRU and LFU to whichever was wrong less often lately (LeCaR).

    Vietri et al., "Driving Cache Replacement with ML-based LeCaR" (HotStorage 2018): each eviction
    is by one of the two, drawn by their weights; who evicted a block that returns while it is
    remembered loses weight, by the factor exp(-learning_rate * discount**uses since then).
    Deviations: room is made before it is known what comes, so a returning block shifts the weights
    for the evictions after its own; the ghost lists are cut when a block is cached.
    """

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
        span = setting.n_items + 2
        items = np.zeros(2 * setting.n_items, ITEM)
        heaps = np.empty(2 * span, ENTRY)
        heaps["x"][::span] = 0
        evicted = np.zeros(setting.n_keys, np.int64)
        setting.keep(items, heaps, evicted)
        state = np.zeros(1, STATE)
        state["generator"] = make_generator(setting, cache)
        state["lru_ghosts"] = make_ghosts(setting, ghost_blocks + capacity)
        state["lfu_ghosts"] = make_ghosts(setting, ghost_blocks + capacity)
        state["items"], state["heaps"] = items.ctypes.data, heaps.ctypes.data
        state["evicted"] = evicted.ctypes.data
        state["n_items"], state["n_keys"] = setting.n_items, setting.n_keys
        state["ghost_blocks"] = ghost_blocks
        state["lru_weight"] = 0.5
        state["learning_rate"] = self.learning_rate
        state["discount"] = self.forgotten_share ** (1 / capacity)
        return state.view(np.int64)
