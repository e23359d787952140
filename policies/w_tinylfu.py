"""Admit from a small window to the main cache what is used more often (W-TinyLFU)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from ..kernels import inner, view
from .base import Block, CompiledPolicy, Setting
from .frequency import begin, count_use, estimate, make_counts
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
    continued,
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

WINDOW, PROBATION, PROTECTED = 0, 1, 2

SIZES = ("main_blocks", "protected_blocks")
STATE = np.dtype([(name, "i8") for name in ("queues", "counts", *SIZES)])

State = Any  # a record of STATE


@inner
def _n_over(s: State) -> int:
    """Count the blocks that the main cache has too many."""
    return int(n_blocks(s.queues, PROBATION) + n_blocks(s.queues, PROTECTED) - s.main_blocks)


@inner
def _fill_main(s: State) -> None:
    """Move the window's oldest blocks to the main cache while that has room."""
    q = s.queues
    while _n_over(s) < 0 and n_blocks(q, WINDOW) > 0:
        x = oldest(q, WINDOW)
        n_probation = s.main_blocks - s.protected_blocks - n_blocks(q, PROBATION)
        cut(q, x, min(-_n_over(s), n_probation) if n_probation > 0 else -_n_over(s))
        move(q, x, PROBATION if n_probation > 0 else PROTECTED)


@inner
def _uses(s: State, x: int) -> int:
    return estimate(s.counts, spans(s.queues)[x].home)


@inner
def _admit(s: State, x: int) -> None:
    """Move a span, and those above it that share its past, to the main cache."""
    n_uses = _uses(s, x)
    while x != NOBODY and _uses(s, x) == n_uses:
        above = continued(s.queues, x)
        move(s.queues, x, PROBATION)
        x = above


@inner
def _victim(s: State) -> float:
    q = s.queues
    _fill_main(s)
    x = first(q, WINDOW)
    y = first(q, PROBATION)
    if y == NOBODY:
        y = first(q, PROTECTED)
    if y == NOBODY:
        return leaving(q, x, MANY)
    is_on_probation = spans(q)[y].queue == PROBATION
    if _n_over(s) <= 0:
        if x == NOBODY:
            # as long as what fills the room would go to the same queue one by one
            n_beyond = n_blocks(q, PROBATION) - (s.main_blocks - s.protected_blocks)
            return leaving(q, y, n_beyond if is_on_probation and n_beyond > 0 else MANY)
        if _uses(s, x) <= _uses(s, y):
            return leaving(q, x, MANY)
        _admit(s, x)
    is_next_too = is_on_probation or first(q, PROBATION) == NOBODY
    return leaving(q, y, _n_over(s) if is_next_too else 1)


@inner
def _hit(s: State, x: int) -> None:
    q = s.queues
    while x != NOBODY:
        above = int(spans(q)[x].above)  # it may be cut itself
        move(q, x, WINDOW if spans(q)[x].queue == WINDOW else PROTECTED)
        n_over = n_blocks(q, PROTECTED) - s.protected_blocks
        while n_over > 0:
            y = oldest(q, PROTECTED)
            cut(q, y, n_over)
            n_over -= spans(q)[y].n_blocks
            move(q, y, PROBATION)
        x = above


def _event(event: int, state: int, block: Block) -> float:
    s = view(state, (1,), STATE)[0]
    q = s.queues
    if event == EVENT_VICTIM:
        return _victim(s)
    if event == EVENT_INSERT:
        enter(q, block, 0, int(block.n_blocks), WINDOW)
        count_use(s.counts, int(block.key), block)
    elif event == EVENT_HIT:
        x = deepest(q, block.block_id)
        count_use(s.counts, spans(q)[x].home, block)
        _hit(s, x)
        join_above(q, deepest(q, block.block_id))
    elif event == EVENT_MISS:
        begin(s.counts, block)
    elif event == EVENT_ADD:
        offer(q, block.block_id)
    elif event == EVENT_REMOVE:
        withdraw(q, block.block_id)
    elif event == EVENT_EVICT:
        leave(q, block)
        _fill_main(s)
    return 0.0


@dataclass(frozen=True, kw_only=True)
class WTinyLfu(CompiledPolicy):
    """Admit from a small window to the main cache what is used more often (W-TinyLFU).

    Einziger, Friedman and Manes, "TinyLFU: A Highly Efficient Cache Admission Policy" (ACM TOS
    2017): new blocks enter a window in order of last use; its oldest block meets the one that the
    main cache, a segmented LRU of two segments, would give up, and the less often used one of the
    two leaves. Uses are counted by content, cached or not; all counts are halved every so often.
    Deviations: counts are exact, not those of a sketch, and halved between requests; a block that
    is admitted takes those right above it along that were cached with it and used as often, and
    the main cache gives up as many; where one of the two has no candidate, the other gives up one.
    """

    hears_misses = True

    window_share: float = 0.01
    """Share of the cache that is the window; one block at least."""
    protected_share: float = 0.8
    """Share of the main cache for blocks used again in it."""
    sample_factor: int = 10
    """Uses between two halvings of all counts, as a multiple of the cache's blocks."""

    def __post_init__(self) -> None:
        if self.sample_factor < 1:
            raise ConfigError(
                f"w-tinylfu: sample_factor must be at least 1, got {self.sample_factor}"
            )

    def event_function(self) -> Callable[..., float]:
        return _event

    def new_state(self, setting: Setting, cache: int) -> NDArray[np.int64]:
        capacity = setting.capacity_blocks
        main_blocks = capacity - max(1, int(capacity * self.window_share))
        state = np.zeros(1, STATE)
        state["queues"] = make_queues(setting, 3)
        state["counts"] = make_counts(setting, self.sample_factor * capacity)
        state["main_blocks"] = main_blocks
        state["protected_blocks"] = int(main_blocks * self.protected_share)
        return state.view(np.int64)
