"""Keep blocks whose last two uses are close together: inter-reference recency (LIRS)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, view
from .base import Block, CompiledPolicy, Setting
from .ghosts import (
    cut_once,
    deepest_ghost,
    drop_oldest,
    forget,
    ghosts,
    is_at,
    make_ghosts,
    n_alike,
    oldest_ghost,
    remember,
)
from .lines import NOBODY
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
    Queues,
    cut,
    deepest,
    enter,
    first,
    join_above,
    leave,
    leaving,
    make_queues,
    move,
    n_blocks,
    offer,
    oldest,
    spans,
    withdraw,
)

HOT, COLD = 0, 1

SIZES = ("hot_blocks", "n_uses", "bottom", "bottom_before", "last")
STATE = np.dtype([(name, "i8") for name in ("queues", "ghosts", *SIZES)])
"""`bottom`: number of the last use of the hot block unused for longest. What was used after it is
on the stack of the paper, and only that. `bottom_before`: the same before the current request,
whose blocks were last used as number `last` of all requests.

Uses are numbered block by block, from the deepest of a run up. The mark of a span is the number of
the last use of any of its blocks plus the block's depth; that of a ghost, plus its key."""

State = Any  # a record of STATE


@inner
def _used(q: Queues, x: int) -> int:
    """Return the number of the last use of a span's deepest block."""
    return int(spans(q)[x].mark - spans(q)[x].depth)


@inner
def _begin(s: State, block: Block) -> None:
    """Note where the stack ended before a request."""
    if int(block.last_access) != s.last:
        s.last = int(block.last_access)
        s.bottom_before = s.bottom


@inner
def _use(s: State, x: int) -> None:
    """Number a use of the blocks of a span."""
    span = spans(s.queues)[x]
    span.mark = s.n_uses + 1 + span.depth
    s.n_uses += span.n_blocks


@inner
def _prune(s: State) -> None:
    """Cut the stack below the hot block unused for longest."""
    x = oldest(s.queues, HOT)
    if x != NOBODY:
        s.bottom = max(s.bottom, _used(s.queues, x))


@inner
def _cool(s: State) -> None:
    """Turn the hot blocks unused for longest cold while there are too many."""
    n_over = n_blocks(s.queues, HOT) - s.hot_blocks
    while n_over > 0:
        x = oldest(s.queues, HOT)
        cut(s.queues, x, n_over)
        n_cooled = spans(s.queues)[x].n_blocks
        n_over -= n_cooled
        s.bottom = max(s.bottom, _used(s.queues, x) + n_cooled)
        move(s.queues, x, COLD)
    _prune(s)


@inner
def _insert(s: State, block: Block) -> None:
    depth, n = int(block.depth), int(block.n_blocks)
    known_deepest = ghost = deepest_ghost(s.ghosts, int(block.key))
    done = 0
    while done < n:
        is_known = is_at(s.ghosts, ghost, depth - done)
        n_part = n_alike(s.ghosts, ghost, depth - done, n - done)
        is_hot = False
        if is_known:
            known = ghosts(s.ghosts)[ghost]
            is_hot = known.mark - known.depth >= s.bottom_before
            ghost = int(known.above)
        end = done + n_part
        while done < end:
            room = s.hot_blocks - n_blocks(s.queues, HOT)
            n_now = min(room, end - done) if room > 0 and not is_hot else end - done
            queue = HOT if is_hot or room > 0 else COLD
            _use(s, enter(s.queues, block, done, n_now, queue))
            _cool(s)
            done += n_now
    forget(s.ghosts, known_deepest)


@inner
def _hit(s: State, x: int) -> None:
    q = s.queues
    span = deepest(q, x)
    while span != NOBODY:
        above = int(spans(q)[span].above)  # it may be cut itself
        is_hot = spans(q)[span].queue == HOT or _used(q, span) >= s.bottom_before
        move(q, span, HOT if is_hot else COLD)
        _use(s, span)
        _cool(s)
        span = above
    join_above(q, deepest(q, x))


@inner
def _evict(s: State, block: Block) -> None:
    cut_once(s.ghosts)
    x = deepest(s.queues, block.block_id)
    span, depth = spans(s.queues)[x], int(block.depth)
    used = _used(s.queues, x)
    if span.queue == COLD and used >= s.bottom:
        remember(s.ghosts, span.home, depth, int(block.n_blocks), 0, used + depth)
    leave(s.queues, block)
    _prune(s)
    ghost = oldest_ghost(s.ghosts, 0)
    while (
        ghost != NOBODY and ghosts(s.ghosts)[ghost].mark - ghosts(s.ghosts)[ghost].depth < s.bottom
    ):
        drop_oldest(s.ghosts, 0, ghosts(s.ghosts)[ghost].n_blocks)
        ghost = oldest_ghost(s.ghosts, 0)


def _event(event: int, state: int, block: Block) -> float:
    s = view(state, (1,), STATE)[0]
    q = s.queues
    if event == EVENT_VICTIM:
        x = first(q, COLD)
        return leaving(q, x if x != NOBODY else first(q, HOT), MANY)
    if event == EVENT_INSERT:
        _begin(s, block)
        _insert(s, block)
    elif event == EVENT_HIT:
        _begin(s, block)
        _hit(s, block.block_id)
    elif event == EVENT_MISS:
        _begin(s, block)
    elif event == EVENT_ADD:
        offer(q, block.block_id)
    elif event == EVENT_REMOVE:
        withdraw(q, block.block_id)
    elif event == EVENT_EVICT:
        _evict(s, block)
    return 0.0


@dataclass(frozen=True, kw_only=True)
class Lirs(CompiledPolicy):
    """Keep blocks whose last two uses are close together: inter-reference recency (LIRS).

    Jiang and Zhang, "LIRS: An Efficient Low Inter-reference Recency Set Replacement Policy to
    Improve Buffer Cache Performance" (SIGMETRICS 2002): most of the cache holds hot blocks, and
    only cold ones leave. A cold block, cached or evicted lately, that is used again after the
    hot block unused for longest was turns hot, and that one turns cold. Deviations: if no cold
    block is a candidate, the hot candidate unused for longest leaves; whether a block turns hot is
    judged by the uses before its request; ghosts are forgotten when a block is evicted.
    """

    keys_may_grow = True
    hears_misses = True

    cold_share: float = 0.01
    """Share of the cache that is left to cold blocks; one block at least."""
    ghost_share: float = 1.0
    """Evicted blocks that are remembered at most, as a share of the cache."""

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
        state["last"] = -1
        state["hot_blocks"] = capacity - max(1, int(capacity * self.cold_share))
        return state.view(np.int64)
