"""t-lru for a tier below the GPU, which is told how long paths are: it sees blocks alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, view
from .base import Block, CompiledPolicy, Setting
from .classes import first_to_go, make_classes, put, take
from .order import EVENT_ADD, EVENT_REMOVE, EVENT_VICTIM
from .path_lengths import longest_through

STATE = np.dtype([(name, "i8") for name in ("spare_blocks", "candidates", "path_lengths")])

State = Any  # a record of STATE


@inner
def _offer(s: State, block: Block) -> None:
    """Let a block be a candidate: in class 0 if it is safe to lose, else in 1."""
    depth = int(block.depth)
    length = max(depth + 1, longest_through(s.path_lengths, int(block.key)))
    of_class = 0 if depth >= length - s.spare_blocks else 1
    put(s.candidates, block.block_id, of_class, int(block.last_access), depth)


def _event(event: int, state: int, block: Block) -> float:
    s = view(state, (1,), STATE)[0]
    if event == EVENT_VICTIM:
        return float(first_to_go(s.candidates))
    if event == EVENT_ADD:
        _offer(s, block)
    elif event == EVENT_REMOVE:
        take(s.candidates, block.block_id)
    return 0.0


@dataclass(frozen=True, kw_only=True)
class TLruBelow(CompiledPolicy):
    """Evict first, in lru order, what is no further from the end of the longest path through it."""

    spare_blocks: int
    """Blocks at the end of a path that are safe to lose."""

    hears_hits = False

    def event_function(self) -> Callable[..., float]:
        return _event

    def new_state(self, setting: Setting, cache: int) -> NDArray[np.int64]:
        assert setting.path_lengths is not None
        state = np.zeros(1, STATE)
        state["spare_blocks"] = self.spare_blocks
        state["candidates"] = make_classes(setting, 2, n_places=setting.n_uses)
        state["path_lengths"] = setting.path_lengths(cache)
        return state.view(np.int64)
