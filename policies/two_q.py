"""Admit to the main queue what returns after it was evicted: a FIFO, an LRU and ghosts (2Q)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..kernels import view
from .base import Block, CompiledPolicy, Setting
from .ghosts import make_ghosts
from .order import (
    EVENT_ADD,
    EVENT_EVICT,
    EVENT_HIT,
    EVENT_INSERT,
    EVENT_REMOVE,
    EVENT_VICTIM,
    MANY,
)
from .queues import (
    NOBODY,
    deepest,
    first,
    leaving,
    make_queues,
    move,
    n_blocks,
    offer,
    spans,
    withdraw,
)
from .remembered import enter_by_ghosts, leave_to_ghosts

IN, MAIN = 0, 1

STATE = np.dtype([(name, "i8") for name in ("queues", "ghosts", "in_blocks")])


def _event(event: int, state: int, block: Block) -> float:
    s = view(state, (1,), STATE)[0]
    q = s.queues
    if event == EVENT_VICTIM:
        n_over = n_blocks(q, IN) - s.in_blocks
        x = first(q, IN) if n_over > 0 else first(q, MAIN)
        if x != NOBODY:
            return leaving(q, x, n_over if n_over > 0 else MANY)
        return leaving(q, first(q, MAIN) if n_over > 0 else first(q, IN), MANY)
    if event == EVENT_INSERT:
        enter_by_ghosts(q, s.ghosts, block, MAIN, IN)
    elif event == EVENT_HIT:
        x = deepest(q, block.block_id)
        while x != NOBODY:
            if spans(q)[x].queue == MAIN:
                move(q, x, MAIN)
            x = int(spans(q)[x].above)
    elif event == EVENT_ADD:
        offer(q, block.block_id)
    elif event == EVENT_REMOVE:
        withdraw(q, block.block_id)
    elif event == EVENT_EVICT:
        leave_to_ghosts(q, s.ghosts, block, IN)
    return 0.0


@dataclass(frozen=True, kw_only=True)
class TwoQ(CompiledPolicy):
    """Admit to the main queue what returns after it was evicted: a FIFO, an LRU and ghosts (2Q).

    Johnson and Shasha, "2Q: A Low Overhead High Performance Buffer Management Replacement
    Algorithm" (VLDB 1994), the full version: new blocks enter a first-in-first-out queue, where
    uses do not count; what that queue evicts is remembered, and if it returns it enters the main
    queue, which is in order of last use. The first queue gives up a block while it is longer than
    its share, else the main one. Deviations: if the queue whose turn it is has no candidate, the
    other one gives up a block; the ghost list is cut to its length once a
    request, before its first eviction.
    """

    keys_may_grow = True

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
        state["ghosts"] = make_ghosts(
            setting, ghost_blocks + 2 * capacity, list_blocks=ghost_blocks
        )
        state["in_blocks"] = int(capacity * self.in_share)
        return state.view(np.int64)
