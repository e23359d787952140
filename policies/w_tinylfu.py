"""Admit from a small window to the main cache what is used more often (W-TinyLFU)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from ..kernels import inner, view
from .base import Block, CompiledPolicy, Setting
from .frequency import count_use, estimate, make_sketch
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
    Queues,
    append,
    first,
    make_queues,
    move,
    n_blocks,
    nodes,
    offer,
    oldest,
    unlink,
    withdraw,
)

WINDOW, PROBATION, PROTECTED = 0, 1, 2

SIZES = ("main_blocks", "protected_blocks")
STATE = np.dtype([(name, "i8") for name in ("queues", "sketch", *SIZES)])


@inner
def _fill_main(q: Queues, main_blocks: int, protected_blocks: int) -> None:
    """Move the window's oldest blocks to the main cache while that has room."""
    while n_blocks(q, PROBATION) + n_blocks(q, PROTECTED) < main_blocks and (
        n_blocks(q, WINDOW) > 0
    ):
        is_full = n_blocks(q, PROBATION) >= main_blocks - protected_blocks
        move(q, oldest(q, WINDOW), PROTECTED if is_full else PROBATION)


def _event(event: int, state: int, block: Block) -> float:
    s = view(state, (1,), STATE)[0]
    q = s.queues
    if event == EVENT_VICTIM:
        _fill_main(q, s.main_blocks, s.protected_blocks)
        x = first(q, WINDOW)
        y = first(q, PROBATION)
        if y == NOBODY:
            y = first(q, PROTECTED)
        if x == NOBODY or y == NOBODY:
            return float(max(x, y))
        if estimate(s.sketch, nodes(q)[x].key) <= estimate(s.sketch, nodes(q)[y].key):
            return float(x)
        move(q, x, PROBATION)
        return float(y)
    if event == EVENT_INSERT:
        nodes(q)[block.block_id].key = int(block.key)
        append(q, block.block_id, WINDOW)
        count_use(s.sketch, int(block.key))
    elif event == EVENT_HIT:
        count_use(s.sketch, int(block.key))
        move(q, block.block_id, WINDOW if nodes(q)[block.block_id].queue == WINDOW else PROTECTED)
        if n_blocks(q, PROTECTED) > s.protected_blocks:
            move(q, oldest(q, PROTECTED), PROBATION)
    elif event == EVENT_ADD:
        offer(q, block.block_id)
    elif event == EVENT_REMOVE:
        withdraw(q, block.block_id)
    elif event == EVENT_EVICT:
        unlink(q, block.block_id)
    return 0.0


@dataclass(frozen=True, kw_only=True)
class WTinyLfu(CompiledPolicy):
    """Admit from a small window to the main cache what is used more often (W-TinyLFU).

    Einziger, Friedman and Manes, "TinyLFU: A Highly Efficient Cache Admission Policy" (ACM TOS
    2017): new blocks enter a window in order of last use; its oldest block meets the one that the
    main cache, a segmented LRU of two segments, would give up, and the less often used one of the
    two leaves. Uses are counted in a sketch, by content, cached or not; all counts are halved
    every so often. Deviation: where one of the two has no candidate, the other gives up a block.
    """

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
        state["sketch"] = make_sketch(setting, self.sample_factor * capacity)
        state["main_blocks"] = main_blocks
        state["protected_blocks"] = int(main_blocks * self.protected_share)
        return state.view(np.int64)
