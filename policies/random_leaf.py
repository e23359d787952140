"""Evict a candidate chosen evenly at random: the floor that a policy must beat."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .base import CompiledPolicy, Setting
from .order import EVENT_ADD, EVENT_REMOVE, EVENT_VICTIM, ints_at

GENERATOR, N_CANDIDATES, N_ITEMS, HEADER = 0, 1, 2, 3


def _event(
    event: int,
    state: int,
    block_id: int,
    key: float,
    depth: float,
    category: float,
    last: float,
    last_s: float,
    inserted: float,
    inserted_s: float,
    hits: float,
    next_use: float,
    clock: float,
) -> float:
    """State: header, then the candidates, then the place of each block among them."""
    n_items = ints_at(state, HEADER)[N_ITEMS]
    s = ints_at(state, HEADER + 2 * n_items)
    place = HEADER + n_items
    if event == EVENT_ADD:
        s[HEADER + s[N_CANDIDATES]] = block_id
        s[place + block_id] = s[N_CANDIDATES]
        s[N_CANDIDATES] += 1
    elif event == EVENT_REMOVE:
        s[N_CANDIDATES] -= 1
        last_one = s[HEADER + s[N_CANDIDATES]]
        s[HEADER + s[place + block_id]] = last_one
        s[place + last_one] = s[place + block_id]
    elif event == EVENT_VICTIM:
        # splitmix64 (Steele, Lea, Flood 2014)
        z = np.uint64(s[GENERATOR]) + np.uint64(0x9E3779B97F4A7C15)
        s[GENERATOR] = np.int64(z)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
        return float(s[HEADER + np.int64(z % np.uint64(s[N_CANDIDATES]))])
    return 0.0


class RandomLeaf(CompiledPolicy):
    """Evict a candidate chosen evenly at random: the floor that a policy must beat."""

    def event_function(self) -> Callable[..., float]:
        return _event

    def new_state(self, setting: Setting, cache: int) -> NDArray[np.int64]:
        state = np.zeros(HEADER + 2 * setting.n_items, np.int64)
        state[GENERATOR] = np.random.SeedSequence([setting.seed, cache]).generate_state(1)[0]
        state[N_ITEMS] = setting.n_items
        return state
