"""Evict a candidate chosen evenly at random: the floor that a policy must beat."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..kernels import view
from .base import Block, CompiledPolicy, Setting
from .candidates import NOBODY, drawn, follower, hear, make_candidates, named
from .draws import make_generator
from .order import EVENT_VICTIM

STATE = np.dtype([("candidates", "i8"), ("generator", "i8")])


def _event(event: int, state: int, block: Block) -> float:
    s = view(state, (1,), STATE)[0]
    if event == EVENT_VICTIM:
        x = follower(s.candidates)
        return named(s.candidates, x if x != NOBODY else drawn(s.candidates, s.generator))
    hear(s.candidates, event, block)
    return 0.0


class RandomLeaf(CompiledPolicy):
    """Evict a candidate chosen evenly at random: the floor that a policy must beat.

    After it go the blocks above it that share its past, one by one, as long as the request needs
    room; only then is the next one drawn.
    """

    keys_may_grow = True

    def event_function(self) -> Callable[..., float]:
        return _event

    def new_state(self, setting: Setting, cache: int) -> NDArray[np.int64]:
        state = np.zeros(1, STATE)
        state["candidates"] = make_candidates(setting)
        state["generator"] = make_generator(setting, cache)
        return state.view(np.int64)
