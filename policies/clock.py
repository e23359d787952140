"""Give each used block a second chance: first in, first out, with a bit for each (CLOCK)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
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
    move,
    offer,
    oldest,
    spans,
    withdraw,
)

STATE = np.dtype([(n, "i8") for n in ("queues", "most_uses", "next_victim", "has_evicted")])
RING = 0


def _event(event: int, state: int, block: Block) -> float:
    s = view(state, (1,), STATE)[0]
    q = s.queues
    if event == EVENT_VICTIM and s.next_victim != NOBODY:
        return float(s.next_victim)
    if event == EVENT_VICTIM:  # the hand is where the oldest block is
        x = oldest(q, RING)
        while spans(q)[x].uses > 0 or not is_candidate(q, x):
            spans(q)[x].uses = max(0, spans(q)[x].uses - 1)
            move(q, x, RING)
            x = oldest(q, RING)
        return float(spans(q)[x].item)
    has_evicted = s.has_evicted
    s.has_evicted = event == EVENT_EVICT
    if event == EVENT_HIT:
        span = spans(q)[deepest(q, block.block_id)]
        span.uses = min(span.uses + 1, s.most_uses)
    elif event == EVENT_INSERT:
        enter(q, block, 0, int(block.n_blocks), RING)
    elif event == EVENT_ADD:
        offer(q, block.block_id)
        if has_evicted and spans(q)[deepest(q, block.block_id)].uses == 0:
            s.next_victim = block.block_id
    elif event == EVENT_REMOVE:
        withdraw(q, block.block_id)
        if block.block_id == s.next_victim:
            s.next_victim = NOBODY
    elif event == EVENT_EVICT:
        leave(q, block)
    return 0.0


@dataclass(frozen=True, kw_only=True)
class Clock(CompiledPolicy):
    """Give each used block a second chance: first in, first out, with a bit for each (CLOCK).

    Corbato, "A Paging Experiment with the Multics System" (1968): a hand goes round the blocks
    in order of arrival, takes away one use of each that has any, and evicts the first that has
    none; new blocks come in behind it. Deviations: the hand passes over a block that is in use or
    has a cached child as over any other, and takes a use of it, but cannot evict it; once its last
    child is evicted, such a block leaves next if it has no uses left by then.
    """

    keys_may_grow = True

    n_bits: int = 1
    """Bits that count a block's uses: it gets up to 2**n_bits - 1 more chances."""

    def __post_init__(self) -> None:
        if not 1 <= self.n_bits <= 16:
            raise ConfigError(f"clock: n_bits must be 1 to 16, got {self.n_bits}")

    def event_function(self) -> Callable[..., float]:
        return _event

    def new_state(self, setting: Setting, cache: int) -> NDArray[np.int64]:
        state = np.zeros(1, STATE)
        state["queues"] = make_queues(setting, 1, has_first=False)
        state["next_victim"] = NOBODY
        state["most_uses"] = 2**self.n_bits - 1
        return state.view(np.int64)
