"""Evict one-hit blocks early: a small and a main FIFO queue and a ghost list (S3-FIFO)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner
from .base import CompiledPolicy, Setting
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
    ints_at,
    items_at,
    numbers_at,
)

SMALL, MAIN = 0, 1
MOST_HITS = 3
(
    N_ITEMS,
    N_KEYS,
    SMALL_TARGET,
    GHOST_SIZE,
    PROMOTE_AT,
    N_SMALL,
    SERIAL,
    N_GHOSTS,
    GHOST_HEAD,
    GHOST_TAIL,
    ITEMS_ADDRESS,
    HEAPS_ADDRESS,
    GHOST_ADDRESS,
    HEADER,
) = range(14)
"""State: these numbers, then a ring of twice GHOST_SIZE keys. Ghosts: serial + 1 by key."""


@inner
def _remember(s: NDArray[np.int64], ghost: NDArray[np.int32], key: int) -> None:
    """Put an evicted key on the ghost list, dropping the oldest one when it is full."""
    size = s[GHOST_SIZE]
    ring = 2 * size
    if size == 0:
        return
    while s[N_GHOSTS] >= size:
        _drop_oldest(s, ghost)
    if s[GHOST_HEAD] - s[GHOST_TAIL] == ring:  # only because of dead entries: squeeze them out
        kept = s[GHOST_TAIL]
        for at in range(s[GHOST_TAIL], s[GHOST_HEAD]):
            old = s[HEADER + at % ring]
            if ghost[old] == at + 1:
                s[HEADER + kept % ring] = old
                ghost[old] = kept + 1
                kept += 1
        s[GHOST_HEAD] = kept
    s[HEADER + s[GHOST_HEAD] % ring] = key
    s[GHOST_HEAD] += 1
    ghost[key] = s[GHOST_HEAD]
    s[N_GHOSTS] += 1


@inner
def _drop_oldest(s: NDArray[np.int64], ghost: NDArray[np.int32]) -> None:
    key = s[HEADER + s[GHOST_TAIL] % (2 * s[GHOST_SIZE])]
    s[GHOST_TAIL] += 1
    if ghost[key] == s[GHOST_TAIL]:
        ghost[key] = 0
        s[N_GHOSTS] -= 1


def _event(
    event: int,
    state: int,
    block_id: int,
    key: float,
    depth: float,
    category: float,
    last: float,
    last_s: float,
    inserted: float,
    inserted_s: float,
    hits: float,
    next_use: float,
    clock: float,
) -> float:
    head = ints_at(state, HEADER)
    s = ints_at(state, HEADER + 2 * head[GHOST_SIZE])
    items = items_at(s[ITEMS_ADDRESS], s[N_ITEMS])
    span = s[N_ITEMS] + 2
    heaps = heaps_at(s[HEAPS_ADDRESS], 2 * span)
    ghost = numbers_at(s[GHOST_ADDRESS], s[N_KEYS])
    if event == EVENT_VICTIM:
        while True:
            queue = SMALL if heap_first(heaps, SMALL) >= 0 else MAIN
            if s[N_SMALL] < s[SMALL_TARGET] and heap_first(heaps, span) >= 0:
                queue = MAIN
            x = heap_first(heaps, queue * span)
            item = items[x]
            if queue == SMALL and item.hits < s[PROMOTE_AT]:
                return float(x)
            if queue == MAIN and item.hits == 0:
                return float(x)
            heap_remove(items, heaps, queue * span, x)
            if queue == SMALL:
                s[N_SMALL] -= 1
                item.hits = 0
            else:
                item.hits -= 1
            item.category = MAIN
            s[SERIAL] += 1
            item.rank = float(s[SERIAL])
            heap_push(items, heaps, span, x)
    item = items[block_id]
    if event == EVENT_INSERT:
        name = int(key)
        is_ghost = ghost[name] > 0
        if is_ghost:
            ghost[name] = 0
            s[N_GHOSTS] -= 1
        else:
            s[N_SMALL] += 1
        item.category = MAIN if is_ghost else SMALL
        item.hits = 0
        item.depth = int(depth)
        s[SERIAL] += 1
        item.rank = float(s[SERIAL])
    elif event == EVENT_HIT:
        item.hits = min(item.hits + 1, MOST_HITS)
    elif event == EVENT_ADD:
        heap_push(items, heaps, item.category * span, block_id)
    elif event == EVENT_REMOVE:
        heap_remove(items, heaps, item.category * span, block_id)
    elif event == EVENT_EVICT and item.category == SMALL:
        s[N_SMALL] -= 1
        _remember(s, ghost, int(key))
    return 0.0


@dataclass(frozen=True, kw_only=True)
class S3Fifo(CompiledPolicy):
    """Evict one-hit blocks early: a small and a main FIFO queue and a ghost list (S3-FIFO).

    Yang et al., SOSP 2023: blocks enter the small queue and move to the main one if used twice
    before they reach its end; an evicted block that returns soon enters the main queue; the
    main queue gives a block one more round for each use. Deviation: a block that is in use or
    has a cached child is passed over, and keeps its place.
    """

    small_share: float = 0.1
    """Share of the cache that the small queue aims at."""
    ghost_share: float = 0.9
    """Length of the ghost list, as a share of the cache."""
    promote_at: int = 2
    """Uses in the small queue that move a block to the main one."""

    def event_function(self) -> Callable[..., float]:
        return _event

    def new_state(self, setting: Setting, cache: int) -> NDArray[np.int64]:
        n_ghosts = int(setting.capacity_blocks * self.ghost_share)
        state = np.zeros(HEADER + 2 * n_ghosts, np.int64)
        items = np.zeros(setting.n_items, ITEM)
        span = setting.n_items + 2
        heaps = np.empty(2 * span, ENTRY)
        heaps["x"][::span] = 0
        ghost = np.zeros(setting.n_keys, np.int32)
        state[:HEADER] = 0
        state[N_ITEMS] = setting.n_items
        state[N_KEYS] = setting.n_keys
        state[SMALL_TARGET] = max(1, int(setting.capacity_blocks * self.small_share))
        state[GHOST_SIZE] = n_ghosts
        state[PROMOTE_AT] = self.promote_at
        state[ITEMS_ADDRESS] = items.ctypes.data
        state[HEAPS_ADDRESS] = heaps.ctypes.data
        state[GHOST_ADDRESS] = ghost.ctypes.data
        setting.keep(items, heaps, ghost)
        return state
