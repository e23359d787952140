"""Evict what is old and saves few FLOPs a byte, both on the scale of the other candidates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from ..kernels import inner, view
from .base import Binding, Policy, Setting
from .calls import c_function_of
from .draws import seed_of
from .order import SAMPLED
from .records import Items, heaps_at, items_at
from .sampling import ENTRY_BYTES, first_place, place_in, stretch_of

ALPHAS = tuple(i / 10 for i in range(21))
"""What is tried for alpha: as many as the authors try."""

LEAST_AGE_S = 1e-6
ROUNDING = 1e-12
"""More than the error of values reckoned with fewer divisions, as a share of 1 + alpha."""

ALPHA, ALPHA_FROM_S, N_PARAMS = range(3)
"""`params`: alpha, and from when on."""


@inner
def _share(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 1.0


@inner
def _per_unit(low: float, high: float) -> float:
    return 1.0 / (high - low) if high > low else 0.0


@inner
def _goes_first(items: Items, x: int, y: int) -> bool:
    """Whether `x` is evicted before `y` of equal value: longer unused, then deeper."""
    a: Any = items[x]
    b: Any = items[y]
    return bool(a.last < b.last or (a.last == b.last and a.depth > b.depth))


@inner
def _range(values: NDArray[np.float64], n: int, room: int) -> tuple[float, float]:
    """Return the least and the greatest of n numbers that are at least 0; `room` is for two.

    As whole numbers their bits have the same order, and of those the processor compares several at
    once.
    """
    bits = view(values.ctypes.data, (n,), np.int64)
    least = bits[0]
    greatest = bits[0]
    for k in range(n):
        least = min(least, bits[k])
        greatest = max(greatest, bits[k])
    found = view(room, (2,), np.int64)
    found[0], found[1] = least, greatest
    numbers = view(room, (2,), np.float64)
    return numbers[0], numbers[1]


def _search(
    items_address: int,
    row_address: int,
    n: int,
    n_drawn: int,
    generator: int,
    params: int,
    n_params: int,
    demands: int,
    n_scans: int,
    n_known: int,
    now_s: float,
    n_waiting: float,
) -> float:
    """Return the candidate that leaves: the search of a sample, see `sampling.lowest_by`.

    Entries of candidates tell of their last use and depth. Behind them it is noted what the members
    of the sample are compared by, and then about the value: only those may have the least whose
    value is about that.
    """
    items, row = items_at(items_address, 1), heaps_at(row_address, n + 1)
    p = view(params, (N_PARAMS,), np.float64)
    size = n_drawn if n_drawn else n
    room = row_address + n * ENTRY_BYTES
    values = view(room, (size,), np.float64)
    depths = view(room + 8 * size, (size,), np.float64)
    places, found = view(room + 16 * size, (size,), np.int64), room + 24 * size
    stretch = stretch_of(n, size)
    first = first_place(generator, n)
    for k in range(size):
        place = place_in(k, first, stretch, n, generator) if n_drawn else k
        places[k] = place
        depths[k] = float(row[place].depth)
        values[k] = max(now_s - row[place].rank, LEAST_AGE_S)
    youngest_s, oldest_s = _range(values, size, found)
    shallowest, deepest = _range(depths, size, found)
    alpha = p[ALPHA] if now_s > p[ALPHA_FROM_S] else 0.0
    low, high = 1.0 / oldest_s, 1.0 / youngest_s
    recency_unit = _per_unit(low, high)
    depth_unit = alpha * _per_unit(shallowest, deepest)
    base = 1.0 + (0.0 if high > low else 1.0) + (0.0 if deepest > shallowest else alpha)
    for k in range(size):
        recency = (1.0 / values[k] - low) * recency_unit
        values[k] = base + recency + (depths[k] - shallowest) * depth_unit
    limit = _range(values, size, found)[0] + ROUNDING * (1.0 + alpha)
    best = -1
    least = np.inf
    for k in range(size):
        if values[k] > limit:
            continue
        x = int(row[places[k]].x)
        recency = 1.0 / max(now_s - items[x].last_s, LEAST_AGE_S)
        value = _share(recency, low, high)
        value += alpha * _share(depths[k], shallowest, deepest)
        if best < 0 or value < least or (value == least and _goes_first(items, x, best)):
            best, least = x, value
    row[n if n_drawn else 0].rank = least  # for who asks by which value it was chosen
    return float(best)


@dataclass(frozen=True, kw_only=True)
class Marconi(Policy):
    """Evict what is old and saves few FLOPs a byte, both on the scale of the other candidates.

    Marconi (Pan et al., MLSys 2025, arXiv 2411.19379): of the nodes of the prefix tree with at
    most one child the one of the lowest utility leaves,

        norm(1 / age) + alpha * norm(FLOPs saved / bytes)

    norm mapping the least of all candidates to 0 and the greatest to 1 (all to 1 if they are
    equal). alpha is chosen once: the requests up to the first eviction, times `bootstrap`, are
    replayed with 0, 0.1, ... 2, and the alpha of most hits holds from then on; before, 0.

    The FLOPs that a block of attention saves are a + b * (blocks before it), and all blocks have
    one size: so norm(FLOPs saved / bytes) is norm(blocks before it), whatever the model. What
    concerns states of SSM layers does not carry over: that they are only kept at branches and
    ends of paths, and leave without the KV around them, which is why nodes with one child are
    candidates there and are none here.

    Deviations: a candidate is a block, the deepest one of what can leave, and after the victim go
    the blocks above it that were cached and last used by the same requests, one by one, as long as
    the request needs room; a use refreshes all blocks of a path, theirs only the last node; the
    range is that of a random sample, unless `n_samples` is 0; ages below a microsecond count as
    one; alpha is tried by a cache-only replay in one cache as large as all, and, in a tier below
    the GPU, as if that were the only one.
    """

    keys_may_grow = True

    alpha: float = -1.0
    """Weight of the FLOPs; below 0: chosen as described."""
    bootstrap: float = 5.0
    """Requests that alpha is chosen on, as a multiple of those up to the first eviction."""
    n_samples: int = 32
    """Candidates drawn at an eviction; 0 for all."""

    def bind(self, setting: Setting) -> Binding:
        if not self.alpha < np.inf:
            raise ConfigError(f"marconi: alpha must be finite, got {self.alpha}")
        if not self.bootstrap >= 1:
            raise ConfigError(f"marconi: bootstrap must be at least 1, got {self.bootstrap}")
        if self.n_samples < 0:
            raise ConfigError(f"marconi: n_samples must be at least 0, got {self.n_samples}")
        binding = Binding(mode=SAMPLED, value=c_function_of(Marconi, _search, 10, 2))
        binding.is_searched = True
        binding.n_samples = self.n_samples
        binding.generators = [seed_of(setting, cache) for cache in range(setting.n_caches)]
        known = (self.alpha, -np.inf) if self.alpha >= 0 else self.tuned(setting)
        binding.params = np.array([known])
        return binding

    def tuned(self, setting: Setting) -> tuple[float, float]:
        """Return the alpha of most hits at the start of the trace, and when it was known."""
        if setting.first_part is None or setting.rehearse is None:
            return 0.0, np.inf
        history = setting.first_part(1.0)
        n_requests = len(history.end)
        n_blocks = np.concatenate(([0], np.cumsum(history.n_blocks)))
        n_seen = n_blocks[np.maximum.accumulate(history.end) + 1]
        capacity_blocks = setting.capacity_blocks * setting.n_caches
        n_fitting = int(np.searchsorted(n_seen, capacity_blocks, "right"))
        n = int(self.bootstrap * (n_fitting + 1))
        if n >= n_requests:
            return 0.0, np.inf
        share = (n + 0.5) / n_requests
        tried = [replace(self, alpha=alpha) for alpha in ALPHAS]
        hits = [setting.rehearse(policy, share, capacity_blocks) for policy in tried]
        return ALPHAS[int(np.argmax(hits))], float(history.arrival_s[n - 1])
