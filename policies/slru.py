"""Let blocks rise by a segment at each use and sink as others rise: segmented LRU (SLRU)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from ..kernels import inner, view
from .base import Block, CompiledPolicy, Setting
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

STATE = np.dtype([(name, "i8") for name in ("queues", "n_segments", "share_blocks", "n_longer")])
"""Segments have even shares of the blocks, the lowest `n_longer` one more."""

State = Any  # a record of STATE


@inner
def _length(s: State, segment: int) -> int:
    """Return how many blocks a segment holds."""
    return int(s.share_blocks + (segment < s.n_longer))


@inner
def _sink(s: State, top: int) -> None:
    """Move what a segment that gained has too much to the next lower one, and so on down."""
    q = s.queues
    for segment in range(top, 0, -1):
        n_over = n_blocks(q, segment) - _length(s, segment)
        if n_over <= 0:
            return
        while n_over > 0:
            x = oldest(q, segment)
            cut(q, x, n_over)
            n_over -= spans(q)[x].n_blocks
            move(q, x, segment - 1)


@inner
def _insert(s: State, block: Block) -> None:
    """Let blocks enter the lowest segment with room; if there is none, the lowest."""
    q = s.queues
    n, done = int(block.n_blocks), 0
    for segment in range(s.n_segments):
        room = min(_length(s, segment) - n_blocks(q, segment), n - done)
        if room > 0:
            enter(q, block, done, room, segment)
            done += room
            if done == n:
                return
    enter(q, block, done, n - done, 0)


def _event(event: int, state: int, block: Block) -> float:
    s = view(state, (1,), STATE)[0]
    q = s.queues
    if event == EVENT_VICTIM:
        x, segment = first(q, 0), 1
        while x == NOBODY:
            x = first(q, segment)
            segment += 1
        return leaving(q, x, MANY)
    if event == EVENT_INSERT:
        _insert(s, block)
    elif event == EVENT_HIT:
        x = deepest(q, block.block_id)
        while x != NOBODY:
            above = int(spans(q)[x].above)  # it may be cut itself
            segment = min(spans(q)[x].queue + 1, s.n_segments - 1)
            move(q, x, segment)
            _sink(s, segment)
            x = above
        join_above(q, deepest(q, block.block_id))
    elif event == EVENT_ADD:
        offer(q, block.block_id)
    elif event == EVENT_REMOVE:
        withdraw(q, block.block_id)
    elif event == EVENT_EVICT:
        leave(q, block)
    return 0.0


@dataclass(frozen=True, kw_only=True)
class Slru(CompiledPolicy):
    """Let blocks rise by a segment at each use and sink as others rise: segmented LRU (SLRU).

    Karedla, Love and Wherry, "Caching Strategies to Improve Disk System Performance" (IEEE
    Computer 1994), with any number of segments: a used block moves to the most recent end of the
    next segment; a segment that is too long gives its least recent block to the one below. The
    lowest segment that has a candidate gives up its least recent one. A new block enters the
    lowest segment with room, so that the higher ones are not empty at first.
    """

    keys_may_grow = True

    n_segments: int = 4
    """Segments, of equal lengths."""

    def __post_init__(self) -> None:
        if self.n_segments < 1:
            raise ConfigError(f"slru: n_segments must be at least 1, got {self.n_segments}")

    def event_function(self) -> Callable[..., float]:
        return _event

    def new_state(self, setting: Setting, cache: int) -> NDArray[np.int64]:
        state = np.zeros(1, STATE)
        state["queues"] = make_queues(setting, self.n_segments)
        state["n_segments"] = self.n_segments
        state["share_blocks"] = setting.capacity_blocks // self.n_segments
        state["n_longer"] = setting.capacity_blocks % self.n_segments
        return state.view(np.int64)
