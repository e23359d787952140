"""Evict one-hit blocks early: a small and a main FIFO queue and a ghost list (S3-FIFO)."""

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
    forget,
    ghosts,
    is_at,
    make_ghosts,
    n_alike,
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
    Queues,
    continued,
    deepest,
    enter,
    first,
    leaving,
    make_queues,
    move,
    n_blocks,
    offer,
    spans,
    withdraw,
)
from .remembered import leave_to_ghosts

SMALL, MAIN = 0, 1
MOST_USES = 3

NUMBERS = ("small_blocks", "promote_at", "has_evicted")
STATE = np.dtype([(name, "i8") for name in ("queues", "ghosts", *NUMBERS)])

State = Any  # a record of STATE


@inner
def _go_round(q: Queues, s: int, uses: int) -> None:
    """Move a span, and those above it that share its past, to the end of the main queue."""
    while s != NOBODY:
        above = continued(q, s)
        spans(q)[s].uses = uses
        move(q, s, MAIN)
        s = above


@inner
def _victim(s: State) -> float:
    q = s.queues
    x = first(q, SMALL)
    is_small_short = n_blocks(q, SMALL) < s.small_blocks
    if not (is_small_short and first(q, MAIN) != NOBODY):
        while x != NOBODY:
            if spans(q)[x].uses < s.promote_at:
                until_short = n_blocks(q, SMALL) - s.small_blocks + 1
                return leaving(q, x, MANY if first(q, MAIN) == NOBODY else until_short)
            _go_round(q, x, 0)
            x = first(q, SMALL)
    x = first(q, MAIN)
    while spans(q)[x].uses > 0:
        _go_round(q, x, spans(q)[x].uses - 1)
        x = first(q, MAIN)
    return leaving(q, x, MANY)


@inner
def _insert(s: State, block: Block) -> None:
    q, depth, n = s.queues, int(block.depth), int(block.n_blocks)
    known_deepest = ghost = deepest_ghost(s.ghosts, int(block.key))
    done = 0
    while done < n:
        is_known = is_at(s.ghosts, ghost, depth - done)
        n_part = n_alike(s.ghosts, ghost, depth - done, n - done)
        queue = MAIN if is_known else SMALL
        if not s.has_evicted and not is_known:
            room = s.small_blocks - n_blocks(q, SMALL)
            queue = SMALL if room > 0 else MAIN
            n_part = min(n_part, room) if room > 0 else n_part
        elif is_known:
            ghost = int(ghosts(s.ghosts)[ghost].above)
        enter(q, block, done, n_part, queue)
        done += n_part
    forget(s.ghosts, known_deepest)


def _event(event: int, state: int, block: Block) -> float:
    s = view(state, (1,), STATE)[0]
    q = s.queues
    if event == EVENT_VICTIM:
        return _victim(s)
    if event == EVENT_INSERT:
        _insert(s, block)
    elif event == EVENT_HIT:
        x = deepest(q, block.block_id)
        while x != NOBODY:
            span = spans(q)[x]
            span.uses = min(span.uses + 1, MOST_USES)
            x = int(span.above)
    elif event == EVENT_ADD:
        offer(q, block.block_id)
    elif event == EVENT_REMOVE:
        withdraw(q, block.block_id)
    elif event == EVENT_EVICT:
        s.has_evicted = 1
        leave_to_ghosts(q, s.ghosts, block, SMALL)
    return 0.0


@dataclass(frozen=True, kw_only=True)
class S3Fifo(CompiledPolicy):
    """Evict one-hit blocks early: a small and a main FIFO queue and a ghost list (S3-FIFO).

    Yang et al., "FIFO Queues are All You Need for Cache Eviction" (SOSP 2023): blocks enter the
    small queue and move to the main one if used twice before they reach its end; an evicted block
    that returns soon enters the main queue; the main queue gives a block one more round for each
    use, up to three. As in the authors' later version, what no longer fits into the small queue
    goes to the main one until the first eviction. Deviations: a block that is in use or has a
    cached child is passed over, and keeps its place, but one that moves takes those right above it
    along that were cached with it and used as often; the ghost list is cut to its length once a
    request, before its first eviction.
    """

    keys_may_grow = True

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
        state["ghosts"] = make_ghosts(
            setting, ghost_blocks + 2 * capacity, list_blocks=ghost_blocks
        )
        state["small_blocks"] = max(1, int(capacity * self.small_share))
        state["promote_at"] = self.promote_at
        return state.view(np.int64)
