"""Balance recency against frequency by what is missed of either (ARC)."""

from __future__ import annotations

from collections.abc import Callable

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

ONCE, OFTEN = 0, 1

STATE = np.dtype(
    [(n, "i8") for n in ("queues", "once_ghosts", "often_ghosts", "once_target", "capacity_blocks")]
)


def _event(event: int, state: int, block: Block) -> float:
    s = view(state, (1,), STATE)[0]
    q, once, often = s.queues, s.once_ghosts, s.often_ghosts
    if event == EVENT_VICTIM:
        chosen = ONCE if n_blocks(q, ONCE) > s.once_target else OFTEN
        x = first(q, chosen)
        return float(x if x != NOBODY else first(q, ONCE + OFTEN - chosen))
    if event == EVENT_INSERT:
        name = int(block.key)
        n_once, n_often = n_ghosts(once), n_ghosts(often)
        if is_ghost(once, name):
            s.once_target = min(s.once_target + max(n_often // n_once, 1), s.capacity_blocks)
            forget(once, name)
            append(q, block.block_id, OFTEN)
        elif is_ghost(often, name):
            s.once_target = max(s.once_target - max(n_once // n_often, 1), 0)
            forget(often, name)
            append(q, block.block_id, OFTEN)
        else:
            append(q, block.block_id, ONCE)
        while n_ghosts(once) and n_blocks(q, ONCE) + n_ghosts(once) > s.capacity_blocks:
            drop_oldest(once)
        n_cached = n_blocks(q, ONCE) + n_blocks(q, OFTEN)
        while n_ghosts(often) and (
            n_cached + n_ghosts(once) + n_ghosts(often) > 2 * s.capacity_blocks
        ):
            drop_oldest(often)
    elif event == EVENT_HIT:
        move(q, block.block_id, OFTEN)
    elif event == EVENT_ADD:
        offer(q, block.block_id)
    elif event == EVENT_REMOVE:
        withdraw(q, block.block_id)
    elif event == EVENT_EVICT:
        unlink(q, block.block_id)
        remember(once if nodes(q)[block.block_id].queue == ONCE else often, int(block.key))
    return 0.0


class Arc(CompiledPolicy):
    """Balance recency against frequency by what is missed of either (ARC).

    Megiddo and Modha, "ARC: A Self-Tuning, Low Overhead Replacement Cache" (FAST 2003): one queue
    of blocks used once and one of blocks used more often, both in order of last use, and the
    ghosts of either. A missed block found among the ghosts of one queue shifts the target length
    of the first queue in that one's favour. Deviations: room is made before it is known what
    comes, so a block found among the ghosts shifts the target for the evictions after its own;
    if the queue whose turn it is has no candidate, the other one gives up a block.
    """

    def event_function(self) -> Callable[..., float]:
        return _event

    def new_state(self, setting: Setting, cache: int) -> NDArray[np.int64]:
        state = np.zeros(1, STATE)
        state["queues"] = make_queues(setting, 2)
        state["once_ghosts"] = make_ghosts(setting, 2 * setting.capacity_blocks)
        state["often_ghosts"] = make_ghosts(setting, 3 * setting.capacity_blocks)
        state["capacity_blocks"] = setting.capacity_blocks
        return state.view(np.int64)
