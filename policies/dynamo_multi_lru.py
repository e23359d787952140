"""Evict from the coldest of four lru queues, by how often a block was used of late."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from ..kernels import inner
from .base import Block, CompiledPolicy, Setting
from .order import (
    ENTRY,
    EVENT_ADD,
    EVENT_HIT,
    EVENT_INSERT,
    EVENT_REMOVE,
    EVENT_VICTIM,
    ITEM,
    heap_first,
    heap_push,
    heap_remove,
    heaps_at,
    ints_at,
    items_at,
    numbers_at,
)

N_LEVELS = 4
MOST_USES = 15
"""A counter has 4 bits."""
(
    N_ITEMS,
    N_KEYS,
    WARM_AT,
    HOT_AT,
    VERY_HOT_AT,
    N_USES,
    HALVE_AT,
    ITEMS_ADDRESS,
    HEAPS_ADDRESS,
    USES_ADDRESS,
    HEADER,
) = range(11)
"""State: these numbers."""


@inner
def _count(s: NDArray[np.int64], uses: NDArray[np.int32], key: int) -> None:
    """Count a use of a key; halve all counters when there were enough."""
    uses[key] = min(uses[key] + 1, MOST_USES)
    s[N_USES] += 1
    if s[N_USES] >= s[HALVE_AT]:
        s[N_USES] //= 2
        for k in range(len(uses)):
            uses[k] //= 2


def _event(event: int, state: int, block: Block) -> float:
    s = ints_at(state, HEADER)
    items = items_at(s[ITEMS_ADDRESS], s[N_ITEMS])
    span = s[N_ITEMS] + 2
    heaps = heaps_at(s[HEAPS_ADDRESS], N_LEVELS * span)
    uses = numbers_at(s[USES_ADDRESS], s[N_KEYS])
    if event == EVENT_VICTIM:
        level = 0
        while heap_first(heaps, level * span) < 0:
            level += 1
        return float(heap_first(heaps, level * span))
    item = items[block.block_id]
    if event in (EVENT_INSERT, EVENT_HIT):
        _count(s, uses, int(block.key))
    elif event == EVENT_ADD:
        n = uses[int(block.key)]
        item.category = int(n >= s[WARM_AT]) + int(n >= s[HOT_AT]) + int(n >= s[VERY_HOT_AT])
        item.last = int(block.last_access)
        item.depth = int(block.depth)
        heap_push(items, heaps, item.category * span, block.block_id)
    elif event == EVENT_REMOVE:
        heap_remove(items, heaps, item.category * span, block.block_id)
    return 0.0


@dataclass(frozen=True, kw_only=True)
class DynamoMultiLru(CompiledPolicy):
    """Evict from the coldest of four lru queues, by how often a block was used of late.

    The multi-LRU back end of NVIDIA Dynamo's block manager (kvbm-logical): a block that becomes
    idle goes into one of four queues, cold, warm, hot or very hot, by the TinyLFU count of its
    uses (Einziger, Friedman, Manes 2017), which outlives it in the cache: 4 bits, halved whenever
    ten uses a block of the cache were counted.

    Deviations: counts are exact, not those of a sketch; only childless blocks are in the queues,
    and one that loses its last child enters by its count at that time.
    """

    warm_at: int = 3
    """Uses from which on a block is warm, 1 to 13."""
    hot_at: int = 8
    """Uses from which on it is hot."""
    very_hot_at: int = 15
    """Uses from which on it is very hot, at most 15."""
    halve_at: float = 10.0
    """Uses, as a multiple of the cache's blocks, after which all counts are halved."""

    def event_function(self) -> Callable[..., float]:
        return _event

    def new_state(self, setting: Setting, cache: int) -> NDArray[np.int64]:
        if not 1 <= self.warm_at < self.hot_at < self.very_hot_at <= MOST_USES:
            raise ConfigError(
                "dynamo-multi-lru: warm_at, hot_at and very_hot_at must rise from 1 to at most"
                f" {MOST_USES}, got {self.warm_at}, {self.hot_at}, {self.very_hot_at}"
            )
        if not self.halve_at > 0:
            raise ConfigError(f"dynamo-multi-lru: halve_at must be positive, got {self.halve_at}")
        state = np.zeros(HEADER, np.int64)
        items = np.zeros(setting.n_items, ITEM)
        span = setting.n_items + 2
        heaps = np.empty(N_LEVELS * span, ENTRY)
        heaps["x"][::span] = 0
        uses = np.zeros(setting.n_keys, np.int32)
        state[N_ITEMS] = setting.n_items
        state[N_KEYS] = setting.n_keys
        state[WARM_AT : VERY_HOT_AT + 1] = self.warm_at, self.hot_at, self.very_hot_at
        state[HALVE_AT] = max(1, int(self.halve_at * setting.capacity_blocks))
        state[ITEMS_ADDRESS] = items.ctypes.data
        state[HEAPS_ADDRESS] = heaps.ctypes.data
        state[USES_ADDRESS] = uses.ctypes.data
        setting.keep(items, heaps, uses)
        return state
