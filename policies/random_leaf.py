"""Evict a candidate chosen evenly at random: the floor that a policy must beat."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..kernels import view
from .base import Block, CompiledPolicy, Setting
from .candidates import drawn, join, leave, make_candidates
from .draws import make_generator
from .order import EVENT_ADD, EVENT_REMOVE, EVENT_VICTIM

STATE = np.dtype([("candidates", "i8"), ("generator", "i8")])


def _event(event: int, state: int, block: Block) -> float:
    s = view(state, (1,), STATE)[0]
    if event == EVENT_ADD:
        join(s.candidates, block.block_id)
    elif event == EVENT_REMOVE:
        leave(s.candidates, block.block_id)
    elif event == EVENT_VICTIM:
        return float(drawn(s.candidates, s.generator))
    return 0.0


class RandomLeaf(CompiledPolicy):
    """Evict a candidate chosen evenly at random: the floor that a policy must beat."""

    def event_function(self) -> Callable[..., float]:
        return _event

    def new_state(self, setting: Setting, cache: int) -> NDArray[np.int64]:
        state = np.zeros(1, STATE)
        state["candidates"] = make_candidates(setting)
        state["generator"] = make_generator(setting, cache)
        return state.view(np.int64)
