"""Balance recency against frequency by what is missed of either (ARC)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, view
from .base import Block, CompiledPolicy, Setting
from .ghosts import (
    change_list,
    deepest_ghost,
    drop_oldest,
    ghosts,
    make_ghosts,
    n_ghosts,
    remember,
)
from .order import (
    EVENT_ADD,
    EVENT_EVICT,
    EVENT_HIT,
    EVENT_INSERT,
    EVENT_MISS,
    EVENT_REMOVE,
    EVENT_VICTIM,
    MANY,
)
from .queues import (
    NOBODY,
    deepest,
    first,
    join_above,
    leave,
    leaving,
    make_queues,
    move,
    n_blocks,
    offer,
    spans,
    withdraw,
)
from .remembered import enter_by_ghosts

ONCE, OFTEN, RETURNING = 0, 1, 2
"""Queues, and lists of ghosts; RETURNING are ghosts that a request brings back."""

STATE = np.dtype(
    [(name, "i8") for name in ("queues", "ghosts", "capacity_blocks", "is_often_back")]
    + [("once_target", "f8")]
)

State = Any  # a record of STATE


@inner
def _adapt(s: State, home: int) -> None:
    """Shift the target for the ghosts of a run that returns."""
    ghost = deepest_ghost(s.ghosts, home)
    while ghost != NOBODY:
        known = ghosts(s.ghosts)[ghost]
        which = int(known.list)
        if which != RETURNING:
            n_own, n_other = n_ghosts(s.ghosts, which), n_ghosts(s.ghosts, ONCE + OFTEN - which)
            end = float(s.capacity_blocks) if which == ONCE else 0.0
            for _ in range(known.n_blocks):
                if s.once_target == end:
                    break
                shift = n_other / n_own if n_other > n_own else 1.0
                if which == ONCE:
                    s.once_target = min(s.once_target + shift, end)
                else:
                    s.once_target = max(s.once_target - shift, end)
                n_own -= 1
            if which == OFTEN:
                s.is_often_back = 1
            change_list(s.ghosts, ghost, RETURNING)
        ghost = int(known.above)
    # what a request was told to lack may never come, if a timed run has no room for it
    drop_oldest(s.ghosts, RETURNING, n_ghosts(s.ghosts, RETURNING) - 2 * s.capacity_blocks)


@inner
def _insert(s: State, block: Block) -> None:
    s.is_often_back = 0
    enter_by_ghosts(s.queues, s.ghosts, block, OFTEN, ONCE)
    n_once, n_often = n_blocks(s.queues, ONCE), n_blocks(s.queues, OFTEN)
    drop_oldest(s.ghosts, ONCE, n_once + n_ghosts(s.ghosts, ONCE) - s.capacity_blocks)
    n_known = n_once + n_often + n_ghosts(s.ghosts, ONCE) + n_ghosts(s.ghosts, OFTEN)
    drop_oldest(s.ghosts, OFTEN, n_known - 2 * s.capacity_blocks)


@inner
def _victim(s: State) -> float:
    q = s.queues
    spare = n_blocks(q, ONCE) - s.once_target
    n_over = math.floor(spare) + 1 if s.is_often_back else math.ceil(spare)
    x = first(q, ONCE) if n_over > 0 else first(q, OFTEN)
    if x != NOBODY:
        return leaving(q, x, n_over if n_over > 0 else MANY)
    return leaving(q, first(q, OFTEN) if n_over > 0 else first(q, ONCE), MANY)


def _event(event: int, state: int, block: Block) -> float:
    s = view(state, (1,), STATE)[0]
    q = s.queues
    if event == EVENT_VICTIM:
        return _victim(s)
    if event == EVENT_MISS:
        _adapt(s, int(block.key))
    elif event == EVENT_INSERT:
        _insert(s, block)
    elif event == EVENT_HIT:
        x = deepest(q, block.block_id)
        while x != NOBODY:
            move(q, x, OFTEN)
            x = int(spans(q)[x].above)
        join_above(q, deepest(q, block.block_id))
    elif event == EVENT_ADD:
        offer(q, block.block_id)
    elif event == EVENT_REMOVE:
        withdraw(q, block.block_id)
    elif event == EVENT_EVICT:
        span = spans(q)[deepest(q, block.block_id)]
        remember(s.ghosts, span.home, int(block.depth), int(block.n_blocks), span.queue, 0)
        leave(q, block)
    return 0.0


class Arc(CompiledPolicy):
    """Balance recency against frequency by what is missed of either (ARC).

    Megiddo and Modha, "ARC: A Self-Tuning, Low Overhead Replacement Cache" (FAST 2003): one queue
    of blocks used once and one of blocks used more often, both in order of last use, and the
    ghosts of either. A missed block found among the ghosts of one queue shifts the target length
    of the first queue in that one's favour. A request shifts it for all its ghosts before room is
    made for its first block. Deviation: if the queue whose turn
    it is has no candidate, the other one gives up a block.
    """

    keys_may_grow = True
    hears_misses = True

    def event_function(self) -> Callable[..., float]:
        return _event

    def new_state(self, setting: Setting, cache: int) -> NDArray[np.int64]:
        state = np.zeros(1, STATE)
        state["queues"] = make_queues(setting, 2)
        state["ghosts"] = make_ghosts(setting, 5 * setting.capacity_blocks, 3)
        state["capacity_blocks"] = setting.capacity_blocks
        return state.view(np.int64)
