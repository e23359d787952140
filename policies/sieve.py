"""Evict what was not used since a hand last passed, without moving anything (SIEVE)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..kernels import view
from .base import Block, CompiledPolicy, Setting
from .order import (
    EVENT_ADD,
    EVENT_EVICT,
    EVENT_HIT,
    EVENT_INSERT,
    EVENT_REMOVE,
    EVENT_VICTIM,
)
from .queues import NOBODY, append, make_queues, nodes, oldest, unlink

STATE = np.dtype([(n, "i8") for n in ("queues", "hand", "next_victim", "has_evicted")])
QUEUE = 0


def _event(event: int, state: int, block: Block) -> float:
    s = view(state, (1,), STATE)[0]
    q = s.queues
    if event == EVENT_VICTIM and s.next_victim != NOBODY:
        return float(s.next_victim)
    if event == EVENT_VICTIM:
        x = s.hand
        while True:
            if x == NOBODY:
                x = np.int64(oldest(q, QUEUE))
            node = nodes(q)[x]
            if node.is_candidate and node.uses == 0:
                break
            node.uses = 0
            x = np.int64(node.newer)
        s.hand = x
        return float(x)
    node = nodes(q)[block.block_id]
    has_evicted = s.has_evicted
    s.has_evicted = event == EVENT_EVICT
    if event == EVENT_HIT:
        node.uses = 1
    elif event == EVENT_INSERT:
        node.uses = 0
        append(q, block.block_id, QUEUE)
    elif event == EVENT_ADD:
        node.is_candidate = 1
        if has_evicted and node.uses == 0:
            s.next_victim = block.block_id
    elif event == EVENT_REMOVE:
        node.is_candidate = 0
        if block.block_id == s.next_victim:
            s.next_victim = NOBODY
    elif event == EVENT_EVICT:
        if block.block_id == s.hand:
            s.hand = node.newer
        unlink(q, block.block_id)
    return 0.0


class Sieve(CompiledPolicy):
    """Evict what was not used since a hand last passed, without moving anything (SIEVE).

    Zhang, Yang, Yue, Vigfusson and Rashmi, "SIEVE is Simpler than LRU" (NSDI 2024): the hand
    moves from the oldest block to the newest, clears the mark of each used one, and evicts the
    first without a mark, from where it goes on next time. Deviations: it passes over a block that
    is in use or has a cached child as over a marked one, and clears its mark; once its last child
    is evicted, such a block leaves next if it has no mark by then.
    """

    is_uniform = True

    def event_function(self) -> Callable[..., float]:
        return _event

    def new_state(self, setting: Setting, cache: int) -> NDArray[np.int64]:
        state = np.zeros(1, STATE)
        state["queues"] = make_queues(setting, 1, has_first=False)
        state["hand"] = state["next_victim"] = NOBODY
        return state.view(np.int64)
