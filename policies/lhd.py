"""Evict the block with the least expected hits per time it takes up, of a sample (LHD)."""

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
from .order import EVENT_EVICT, EVENT_HIT, EVENT_INSERT, EVENT_MISS, EVENT_VICTIM

N_CLASSES = 16
N_AGES = 2048
AGES_PER_CACHE = 64
"""Steps of age in which as many blocks are used as the cache has."""
KEPT = 0.9
"""What counts of hits and evictions are multiplied by at each refit."""
LEAST_REFIT_USES = 4096

BLOCK = np.dtype([("used", "i8"), ("last_age", "i4"), ("of_class", "i4")])
ADDRESSES = ("candidates", "generator", "blocks", "hits", "evictions", "densities")
SIZES = ("n_items", "n_samples", "uses_per_age", "refit_uses", "n_uses")
MOMENT = ("n_before", "last", "next_refit")
STATE = np.dtype([(name, "i8") for name in (*ADDRESSES, *SIZES, *MOMENT)])
"""BLOCK: uses of any block before the request that used this one last, its age at its last hit, and
its class. STATE: such uses before the current request, whose order number is `last`."""

StateAddress = int  # of a record of STATE


@inner
def _sizes(state: StateAddress) -> Any:
    return view(state, (1,), STATE)[0]


@inner
def _blocks(state: StateAddress) -> NDArray[Any]:
    return view(_sizes(state).blocks, (_sizes(state).n_items,), BLOCK)


@inner
def _table(address: int) -> NDArray[np.float64]:
    """Hits, evictions or hit densities by class and age."""
    return view(address, (N_CLASSES, N_AGES), np.float64)


@inner
def _steps(n_uses: int, uses_per_age: float) -> int:
    """Return the age after so many uses, in steps.

    Exact: quotients of such numbers are further from a whole number than a rounding is.
    """
    return int(min(float(n_uses) / uses_per_age, N_AGES - 1.0))


@inner
def _age(state: StateAddress, x: int) -> int:
    s = _sizes(state)
    return _steps(s.n_before - _blocks(state)[x].used, float(s.uses_per_age))


@inner
def _class(last_age: int, age_before: int) -> int:
    """Class of a block: the shorter its last two ages at a hit, the higher, by powers of two."""
    found, age = 0, last_age + age_before
    while age < N_AGES and found < N_CLASSES - 1:
        age *= 2
        found += 1
    return found


@inner
def _refit(state: StateAddress) -> None:
    """Turn what happened at each age into hits to expect per age to go, from the oldest down."""
    s = _sizes(state)
    hits, evictions, densities = _table(s.hits), _table(s.evictions), _table(s.densities)
    for c in range(N_CLASSES):
        n_hits = n_events = lifetime = 0.0
        for age in range(N_AGES - 1, -1, -1):
            hits[c, age] *= KEPT
            evictions[c, age] *= KEPT
            n_hits += hits[c, age]
            n_events += hits[c, age] + evictions[c, age]
            lifetime += n_events
            densities[c, age] = n_hits / lifetime if lifetime > 1e-5 else 0.0


@inner
def _begin(state: StateAddress, block: Block) -> None:
    """Note how many uses there were before a request; refit if it is time."""
    s = _sizes(state)
    if int(block.last_access) != s.last:
        s.last = int(block.last_access)
        s.n_before = s.n_uses
        if s.n_uses >= s.next_refit:
            s.next_refit = s.n_uses + s.refit_uses
            _refit(state)


@inner
def _use(state: StateAddress, event: int, block: Block) -> None:
    s, record = _sizes(state), _blocks(state)[block.block_id]
    if event == EVENT_HIT:
        age = _age(state, block.block_id)
        _table(s.hits)[record.of_class, age] += block.n_blocks
        record.of_class = _class(age, record.last_age)
        record.last_age = age
    else:
        record.of_class = _class(0, N_AGES)
        record.last_age = 0
    record.used = s.n_before
    s.n_uses += int(block.n_blocks)


@inner
def _victim(state: StateAddress) -> int:
    s = _sizes(state)
    found, least = follower(s.candidates), np.inf
    if found != NOBODY:
        return found
    # nothing is read again in the loop for fear that a draw changed it
    row, densities, blocks = members(s.candidates), _table(s.densities), _blocks(state)
    n, n_before, uses_per_age = n_candidates(s.candidates), s.n_before, float(s.uses_per_age)
    n_samples, generator, least_used = s.n_samples, s.generator, np.int64(0)
    for i in range(min(n, n_samples)):
        x = row[place_of_sample(i, n, n_samples, generator)]
        used = blocks[x].used
        density = densities[blocks[x].of_class, _steps(n_before - used, uses_per_age)]
        if density < least or (density == least and used < least_used):
            found, least, least_used = int(x), density, used
    return found


def _event(event: int, state: int, block: Block) -> float:
    s = _sizes(state)
    if event == EVENT_VICTIM:
        return named(s.candidates, _victim(state))
    if event == EVENT_EVICT:
        x = block.block_id
        _table(s.evictions)[_blocks(state)[x].of_class, _age(state, x)] += block.n_blocks
    elif event == EVENT_MISS:
        _begin(state, block)
    elif event in (EVENT_INSERT, EVENT_HIT):
        _begin(state, block)
        _use(state, event, block)
    hear(s.candidates, event, block)
    return 0.0


@dataclass(frozen=True, kw_only=True)
class Lhd(CompiledPolicy):
    """Evict the block with the least expected hits per time it takes up, of a sample (LHD).

    Beckmann, Chen and Cidon, "LHD: Improving Cache Hit Rate by Maximizing Hit Density" (NSDI
    2018), at equal sizes. Hits and evictions are counted by age, in uses of any block since the
    last one, and by class, from the ages at the last two hits; from them follows, for a block of a
    class and age, the chance of a hit over the time until it is hit or evicted. Deviations: the
    step of age is fixed by the size of the cache; uses are numbered by request, and refits are
    between two; after the victim go the blocks above it that share its past, as long as the request
    needs room; no blocks are kept on trial, and none are considered besides the sample.
    """

    keys_may_grow = True
    hears_misses = True

    n_samples: int = 64
    """Candidates drawn, with replacement, at each eviction; all of them if they are no more."""
    refit_caches: float = 4.0
    """Uses between two refits, as a multiple of the cache's blocks; 4,096 uses at least."""

    def __post_init__(self) -> None:
        if self.n_samples < 1:
            raise ConfigError(f"lhd: n_samples must be at least 1, got {self.n_samples}")

    def event_function(self) -> Callable[..., float]:
        return _event

    def new_state(self, setting: Setting, cache: int) -> NDArray[np.int64]:
        capacity = setting.capacity_blocks
        blocks = np.zeros(setting.n_items, BLOCK)
        hits, evictions, densities = np.zeros((3, N_CLASSES, N_AGES))
        # at first, as if a block had been used once more for each class up
        densities[:] = np.arange(1, N_CLASSES + 1)[:, None] / np.arange(1, N_AGES + 1)
        setting.keep(blocks, hits, evictions, densities)
        state = np.zeros(1, STATE)
        state["candidates"] = make_candidates(setting)
        state["generator"] = make_generator(setting, cache)
        state["blocks"], state["hits"] = blocks.ctypes.data, hits.ctypes.data
        state["evictions"], state["densities"] = evictions.ctypes.data, densities.ctypes.data
        state["n_items"] = setting.n_items
        state["n_samples"] = self.n_samples
        state["uses_per_age"] = max(1, capacity // AGES_PER_CACHE)
        state["last"] = -1
        refit_uses = max(LEAST_REFIT_USES, int(self.refit_caches * capacity))
        state["next_refit"] = state["refit_uses"] = refit_uses
        return state.view(np.int64)
