"""Evict one-hit blocks early: a small and a main FIFO queue and a ghost list (S3-FIFO)."""

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

SMALL, MAIN = 0, 1
MOST_USES = 3

NUMBERS = ("small_blocks", "ghost_blocks", "promote_at", "has_evicted")
STATE = np.dtype([(name, "i8") for name in ("queues", "ghosts", *NUMBERS)])


def _event(event: int, state: int, block: Block) -> float:
    s = view(state, (1,), STATE)[0]
    q, ghosts = s.queues, s.ghosts
    if event == EVENT_VICTIM:
        x = first(q, SMALL)
        is_small_short = n_blocks(q, SMALL) < s.small_blocks
        if not (is_small_short and first(q, MAIN) != NOBODY):
            while x != NOBODY:
                if nodes(q)[x].uses < s.promote_at:
                    return float(x)
                nodes(q)[x].uses = 0
                move(q, x, MAIN)
                x = first(q, SMALL)
        x = first(q, MAIN)
        while nodes(q)[x].uses > 0:
            nodes(q)[x].uses -= 1
            move(q, x, MAIN)
            x = first(q, MAIN)
        return float(x)
    node = nodes(q)[block.block_id]
    if event == EVENT_INSERT:
        node.uses = 0
        name = int(block.key)
        is_early = s.has_evicted == 0 and n_blocks(q, SMALL) >= s.small_blocks
        append(q, block.block_id, MAIN if is_early or is_ghost(ghosts, name) else SMALL)
        forget(ghosts, name)
        while n_ghosts(ghosts) > s.ghost_blocks:
            drop_oldest(ghosts)
    elif event == EVENT_HIT:
        node.uses = min(node.uses + 1, MOST_USES)
    elif event == EVENT_ADD:
        offer(q, block.block_id)
    elif event == EVENT_REMOVE:
        withdraw(q, block.block_id)
    elif event == EVENT_EVICT:
        s.has_evicted = 1
        unlink(q, block.block_id)
        if node.queue == SMALL:
            remember(ghosts, int(block.key))
    return 0.0


@dataclass(frozen=True, kw_only=True)
class S3Fifo(CompiledPolicy):
    """Evict one-hit blocks early: a small and a main FIFO queue and a ghost list (S3-FIFO).

    Yang et al., "FIFO Queues are All You Need for Cache Eviction" (SOSP 2023): blocks enter the
    small queue and move to the main one if used twice before they reach its end; an evicted block
    that returns soon enters the main queue; the main queue gives a block one more round for each
    use, up to three. As in the authors' later version, what no longer fits into the small queue
    goes to the main one until the first eviction. Deviations: a block that is in use or has a
    cached child is passed over, and keeps its place; the ghost list is cut to its length when a
    block is cached, not when one is evicted.
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
        capacity = setting.capacity_blocks
        ghost_blocks = int(capacity * self.ghost_share)
        state = np.zeros(1, STATE)
        state["queues"] = make_queues(setting, 2)
        state["ghosts"] = make_ghosts(setting, ghost_blocks + capacity)
        state["small_blocks"] = max(1, int(capacity * self.small_share))
        state["ghost_blocks"] = ghost_blocks
        state["promote_at"] = self.promote_at
        return state.view(np.int64)
