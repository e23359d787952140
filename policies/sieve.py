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
from .queues import (
    NOBODY,
    deepest,
    enter,
    is_candidate,
    leave,
    make_queues,
    offer,
    oldest,
    spans,
    withdraw,
)

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
            span = spans(q)[x]
            if span.uses == 0 and is_candidate(q, x):
                break
            span.uses = 0
            x = np.int64(span.newer)
        s.hand = x
        return float(spans(q)[x].item)
    has_evicted = s.has_evicted
    s.has_evicted = event == EVENT_EVICT
    if event == EVENT_HIT:
        spans(q)[deepest(q, block.block_id)].uses = 1
    elif event == EVENT_INSERT:
        enter(q, block, 0, int(block.n_blocks), QUEUE)
    elif event == EVENT_ADD:
        offer(q, block.block_id)
        if has_evicted and spans(q)[deepest(q, block.block_id)].uses == 0:
            s.next_victim = block.block_id
    elif event == EVENT_REMOVE:
        withdraw(q, block.block_id)
        if block.block_id == s.next_victim:
            s.next_victim = NOBODY
    elif event == EVENT_EVICT:
        x = deepest(q, block.block_id)
        if x == s.hand and spans(q)[x].n_blocks == int(block.n_blocks):
            s.hand = spans(q)[x].newer
        leave(q, block)
    return 0.0


class Sieve(CompiledPolicy):
    """Evict what was not used since a hand last passed, without moving anything (SIEVE).

    Zhang, Yang, Yue, Vigfusson and Rashmi, "SIEVE is Simpler than LRU" (NSDI 2024): the hand
    moves from the oldest block to the newest, clears the mark of each used one, and evicts the
    first without a mark, from where it goes on next time. Deviations: it passes over a block that
    is in use or has a cached child as over a marked one, and clears its mark; once its last child
    is evicted, such a block leaves next if it has no mark by then.
    """

    keys_may_grow = True

    def event_function(self) -> Callable[..., float]:
        return _event

    def new_state(self, setting: Setting, cache: int) -> NDArray[np.int64]:
        state = np.zeros(1, STATE)
        state["queues"] = make_queues(setting, 1, has_first=False)
        state["hand"] = state["next_victim"] = NOBODY
        return state.view(np.int64)
