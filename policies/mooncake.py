"""Evict the object whose lease ended first, soft pins after the others: Mooncake Store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from .base import Block, Setting
from .sampled import Moment, SampledPolicy

LEASE_S, SOFT_PIN_S, IS_HARD = 0, 1, 2
TIER = 2.0**32
"""Seconds from one tier to the next: more than any trace lasts."""


@dataclass(frozen=True, kw_only=True)
class Mooncake(SampledPolicy):
    """Evict the object whose lease ended first, soft pins after the others: Mooncake Store.

    `BatchEvict` of its master (kvcache-ai/Mooncake, mooncake_master 0.3.12). A read grants an
    object a lease, a write one that ends at once; objects leave in order of the end of their
    leases: near lru, but one that was read counts as `lease_s` younger than one written then. An
    object under a soft pin, which each use renews, leaves after all others, one under a lease
    or a hard pin never: here, where room must be made, they leave last, in this order.

    Deviations: pins belong to categories, not to single objects; only childless blocks leave; a
    random sample is looked at, unless `n_samples` is 0. The cache asks when it is full and for no
    more than it needs, where the store, at 90 % of its memory, frees 5 % of its objects at once.
    """

    lease_s: float = 10.0
    """Seconds a read protects an object; 5 in older versions."""
    soft_pin_s: float = 1800.0
    """Seconds a soft pin lasts after the last use."""
    soft_pins: str = ""
    """Categories under a soft pin, joined by +."""
    hard_pins: str = ""
    """Categories under a hard pin, joined by +."""
    n_samples: int = 32
    """Candidates compared at an eviction; 0 for all."""

    compiled = True

    @staticmethod
    def value(block: Block, now: Moment, p: Sequence[float]) -> float:
        lease_end_s = block.last_access_s
        if block.n_hits > 0:
            lease_end_s += p[LEASE_S]
        if p[IS_HARD] > 0:
            return lease_end_s + 3 * TIER
        if lease_end_s > now.now_s:
            return lease_end_s + 2 * TIER
        if block.last_access_s + p[SOFT_PIN_S] > now.now_s:
            return lease_end_s + TIER
        return lease_end_s

    def params(self, setting: Setting) -> NDArray[np.float64]:
        for name in ("lease_s", "soft_pin_s"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ConfigError(f"mooncake: {name} must be at least 0, got {getattr(self, name)}")
        names = setting.category_names
        made = np.zeros((len(names), 3))
        made[:, LEASE_S] = self.lease_s
        made[self._rows("soft_pins", names), SOFT_PIN_S] = self.soft_pin_s
        made[self._rows("hard_pins", names), IS_HARD] = 1.0
        return made

    def _rows(self, which: str, names: tuple[str, ...]) -> list[int]:
        wanted = list(filter(None, getattr(self, which).split("+")))
        for name in wanted:
            if name not in names:
                raise ConfigError(
                    f"mooncake: {which} must be categories joined by +, got {name!r} (categories:"
                    f" {', '.join(names)})"
                )
        return [names.index(name) for name in wanted]
