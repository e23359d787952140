"""Evict from the coldest of four lru queues, by how often a block was used of late."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from ..kernels import view
from .base import Block, CompiledPolicy, Setting
from .classes import first_to_go, make_classes, put, take
from .frequency import MOST_COUNTED, begin, count_use, estimate, make_counts
from .order import EVENT_ADD, EVENT_HIT, EVENT_INSERT, EVENT_MISS, EVENT_REMOVE, EVENT_VICTIM

N_LEVELS = 4

STATE = np.dtype([(n, "i8") for n in ("warm_at", "hot_at", "very_hot_at", "candidates", "counts")])


def _event(event: int, state: int, block: Block) -> float:
    s = view(state, (1,), STATE)[0]
    if event == EVENT_VICTIM:
        return float(first_to_go(s.candidates))
    if event == EVENT_MISS:
        begin(s.counts, block)
    elif event in (EVENT_INSERT, EVENT_HIT):
        count_use(s.counts, int(block.key), block)
    elif event == EVENT_ADD:
        n = estimate(s.counts, int(block.key))
        level = int(n >= s.warm_at) + int(n >= s.hot_at) + int(n >= s.very_hot_at)
        put(s.candidates, block.block_id, level, int(block.last_access), int(block.depth))
    elif event == EVENT_REMOVE:
        take(s.candidates, block.block_id)
    return 0.0


@dataclass(frozen=True, kw_only=True)
class DynamoMultiLru(CompiledPolicy):
    """Evict from the coldest of four lru queues, by how often a block was used of late.

    The multi-LRU back end of NVIDIA Dynamo's block manager (kvbm-logical): a block that becomes
    idle goes into one of four queues, cold, warm, hot or very hot, by the TinyLFU count of its
    uses (Einziger, Friedman, Manes 2017), which outlives it in the cache: 4 bits, halved whenever
    ten uses a block of the cache were counted.

    Deviations: counts are exact, not those of a sketch, and halved between requests; only childless
    blocks are in the queues, and one that loses its last child enters by its count at that time.
    """

    hears_misses = True

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
        if not 1 <= self.warm_at < self.hot_at < self.very_hot_at <= MOST_COUNTED:
            raise ConfigError(
                "dynamo-multi-lru: warm_at, hot_at and very_hot_at must rise from 1 to at most"
                f" {MOST_COUNTED}, got {self.warm_at}, {self.hot_at}, {self.very_hot_at}"
            )
        if not self.halve_at > 0:
            raise ConfigError(f"dynamo-multi-lru: halve_at must be positive, got {self.halve_at}")
        state = np.zeros(1, STATE)
        state["warm_at"], state["hot_at"] = self.warm_at, self.hot_at
        state["very_hot_at"] = self.very_hot_at
        state["candidates"] = make_classes(setting, N_LEVELS, n_places=setting.n_uses)
        halve_at = max(1, int(self.halve_at * setting.capacity_blocks))
        state["counts"] = make_counts(setting, halve_at)
        return state.view(np.int64)
