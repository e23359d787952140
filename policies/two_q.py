"""Admit to the main queue what returns after it was evicted: a FIFO, an LRU and ghosts (2Q)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, view
from .base import Block, CompiledPolicy, Setting
from .ghosts import (
    deepest_ghost,
    drop_oldest,
    forget,
    ghosts,
    is_at,
    make_ghosts,
    n_alike,
    n_ghosts,
    remember,
)
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
    enter,
    first,
    leave,
    leaving,
    make_queues,
    move,
    n_blocks,
    offer,
    spans,
    withdraw,
)

IN, MAIN = 0, 1

NUMBERS = ("in_blocks", "ghost_blocks", "is_cut_due")
STATE = np.dtype([(name, "i8") for name in ("queues", "ghosts", *NUMBERS)])

State = Any  # a record of STATE


@inner
def _insert(s: State, block: Block) -> None:
    key, n = int(block.key), int(block.n_blocks)
    ghost = deepest_ghost(s.ghosts, key)
    done = 0
    while done < n:
        is_known = is_at(s.ghosts, ghost, key - done)
        n_part = n_alike(s.ghosts, ghost, key - done, n - done)
        if is_known:
            ghost = int(ghosts(s.ghosts)[ghost].above)
        enter(s.queues, block, done, n_part, MAIN if is_known else IN)
        done += n_part
    forget(s.ghosts, key)
    s.is_cut_due = 1


@inner
def _evict(s: State, block: Block) -> None:
    if s.is_cut_due:
        drop_oldest(s.ghosts, 0, n_ghosts(s.ghosts, 0) - s.ghost_blocks)
        s.is_cut_due = 0
    span = spans(s.queues)[deepest(s.queues, block.block_id)]
    if span.queue == IN:
        remember(s.ghosts, span.home, int(block.key), int(block.n_blocks), 0)
    leave(s.queues, block)


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
        _insert(s, block)
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
        _evict(s, block)
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
        state["ghosts"] = make_ghosts(setting, ghost_blocks + 2 * capacity)
        state["in_blocks"] = int(capacity * self.in_share)
        state["ghost_blocks"] = ghost_blocks
        return state.view(np.int64)
