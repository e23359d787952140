"""Evict, of a sample, the block with the fewest uses per second since it was cached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from ..kernels import inner, view
from .base import Block, CompiledPolicy, Setting
from .candidates import (
    NOBODY,
    follower,
    hear,
    make_candidates,
    members,
    n_candidates,
    named,
    place_of_sample,
)
from .draws import make_generator
from .order import EVENT_HIT, EVENT_INSERT, EVENT_VICTIM

BLOCK = np.dtype([("uses", "f8"), ("inserted_s", "f8")])
STATE = np.dtype(
    [(name, "i8") for name in ("candidates", "generator", "blocks", "n_items", "n_samples")]
    + [("now_s", "f8")]
)

State = Any  # a record of STATE
Record = Any  # of dtype BLOCK


@inner
def _uses_per_s(block: Record, now_s: float) -> float:
    age_s = now_s - block.inserted_s
    return float(block.uses / age_s) if age_s > 0 else np.inf


@inner
def _worst(s: State, blocks: NDArray[Any]) -> int:
    """Return the block with the fewest uses per second of a sample."""
    found, least = NOBODY, np.inf
    n = n_candidates(s.candidates)
    for i in range(min(n, s.n_samples)):
        x = int(members(s.candidates)[place_of_sample(i, n, s.n_samples, s.generator)])
        value = _uses_per_s(blocks[x], s.now_s)
        if found == NOBODY or value < least:
            found, least = x, value
    return found


def _event(event: int, state: int, block: Block) -> float:
    s = view(state, (1,), STATE)[0]
    blocks = view(s.blocks, (s.n_items,), BLOCK)
    if event == EVENT_VICTIM:
        x = follower(s.candidates)
        return named(s.candidates, x if x != NOBODY else _worst(s, blocks))
    hear(s.candidates, event, block)
    if event in (EVENT_INSERT, EVENT_HIT):
        record = blocks[block.block_id]
        record.uses = block.n_hits + 1
        record.inserted_s = block.inserted_s
        s.now_s = block.last_access_s
    return 0.0


@dataclass(frozen=True, kw_only=True)
class Hyperbolic(CompiledPolicy):
    """Evict, of a sample, the block with the fewest uses per second since it was cached.

    Blankstein, Sen and Freedman, "Hyperbolic Caching: Flexible Caching for Web Applications"
    (USENIX ATC 2017), at equal sizes and costs. What blocks are worth falls with time at different
    rates, so no order can be kept: some candidates are drawn, and the worst one leaves. Deviation:
    after it go the blocks above it that have the same history, one by one, as long as the request
    needs room; only then is the next sample drawn. The time is that of the last use of any block.
    """

    keys_may_grow = True

    n_samples: int = 64
    """Candidates drawn, with replacement, at each choice; all of them if they are no more."""

    def __post_init__(self) -> None:
        if self.n_samples < 1:
            raise ConfigError(f"hyperbolic: n_samples must be at least 1, got {self.n_samples}")

    def event_function(self) -> Callable[..., float]:
        return _event

    def new_state(self, setting: Setting, cache: int) -> NDArray[np.int64]:
        blocks = np.zeros(setting.n_items, BLOCK)
        setting.keep(blocks)
        state = np.zeros(1, STATE)
        state["candidates"] = make_candidates(setting)
        state["generator"] = make_generator(setting, cache)
        state["blocks"] = blocks.ctypes.data
        state["n_items"] = setting.n_items
        state["n_samples"] = self.n_samples
        return state.view(np.int64)
