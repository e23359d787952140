"""Admit to the main queue what returns after it was evicted: a FIFO, an LRU and ghosts (2Q)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..kernels import view
from .base import Block, CompiledPolicy, Setting
from .ghosts import drop_oldest, forget, is_ghost, make_ghosts, n_ghosts, remember
from .order import (
    EVENT_ADD,
    EVENT_EVICT,
    EVENT_HIT,
    EVENT_INSERT,
    EVENT_REMOVE,
    EVENT_VICTIM,
)
from .queues import (
    NOBODY,
    append,
    first,
    make_queues,
    move,
    n_blocks,
    nodes,
    offer,
    unlink,
    withdraw,
)

IN, MAIN = 0, 1

STATE = np.dtype([(name, "i8") for name in ("queues", "ghosts", "in_blocks", "ghost_blocks")])


def _event(event: int, state: int, block: Block) -> float:
    s = view(state, (1,), STATE)[0]
    q, ghosts = s.queues, s.ghosts
    if event == EVENT_VICTIM:
        chosen = IN if n_blocks(q, IN) > s.in_blocks else MAIN
        x = first(q, chosen)
        return float(x if x != NOBODY else first(q, IN + MAIN - chosen))
    if event == EVENT_INSERT:
        name = int(block.key)
        append(q, block.block_id, MAIN if is_ghost(ghosts, name) else IN)
        forget(ghosts, name)
        while n_ghosts(ghosts) > s.ghost_blocks:
            drop_oldest(ghosts)
    elif event == EVENT_HIT:
        if nodes(q)[block.block_id].queue == MAIN:
            move(q, block.block_id, MAIN)
    elif event == EVENT_ADD:
        offer(q, block.block_id)
    elif event == EVENT_REMOVE:
        withdraw(q, block.block_id)
    elif event == EVENT_EVICT:
        unlink(q, block.block_id)
        if nodes(q)[block.block_id].queue == IN:
            remember(ghosts, int(block.key))
    return 0.0


@dataclass(frozen=True, kw_only=True)
class TwoQ(CompiledPolicy):
    """Admit to the main queue what returns after it was evicted: a FIFO, an LRU and ghosts (2Q).

    Johnson and Shasha, "2Q: A Low Overhead High Performance Buffer Management Replacement
    Algorithm" (VLDB 1994), the full version: new blocks enter a first-in-first-out queue, where
    uses do not count; what that queue evicts is remembered, and if it returns it enters the main
    queue, which is in order of last use. The first queue gives up a block while it is longer than
    its share, else the main one. Deviations: if the queue whose turn it is has no candidate, the
    other one gives up a block; the ghost list is cut to its length when a block is cached.
    """

    in_share: float = 0.25
    """Share of the cache that the first queue may keep."""
    ghost_share: float = 0.5
    """Length of the ghost list, as a share of the cache."""

    def event_function(self) -> Callable[..., float]:
        return _event

    def new_state(self, setting: Setting, cache: int) -> NDArray[np.int64]:
        capacity = setting.capacity_blocks
        ghost_blocks = int(capacity * self.ghost_share)
        state = np.zeros(1, STATE)
        state["queues"] = make_queues(setting, 2)
        state["ghosts"] = make_ghosts(setting, ghost_blocks + capacity)
        state["in_blocks"] = int(capacity * self.in_share)
        state["ghost_blocks"] = ghost_blocks
        return state.view(np.int64)
