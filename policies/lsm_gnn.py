"""Evict what nobody waits for and few use: a popularity score under a look at the queue."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from .base import Binding, Block, Setting
from .sampled import Moment, SampledPolicy
from .workload_aware import WorkloadAware

STATIC, DYNAMIC, HYBRID = 0.0, 1.0, 2.0
_MODES = {"static": STATIC, "dynamic": DYNAMIC, "hybrid": HYBRID}
_ORDERS = ("1234", "2134")
_STATICS = ("visits", "workload-aware")
MODE, ORDER_2134, IS_WORKLOAD_AWARE, NEAR, PRIOR_S = 3, 4, 5, 6, 7


@dataclass(frozen=True, kw_only=True)
class LsmGnn(SampledPolicy):
    """Evict what nobody waits for and few use: a popularity score under a look at the queue.

    LSM-GNN (Park et al., 2024, arXiv 2407.15264) evicts rows of graph nodes by a *static* score,
    their rank by reverse PageRank, and a *dynamic* one, the distance to their next use among the
    batches sampled ahead. Here a waiting request stands for a batch, and d is the number of
    waiting requests before the first one that needs the block. `static` evicts the lowest static
    score; `dynamic` blocks that nobody waits for, then fresh ones (cached since the last look),
    then the furthest; `hybrid` the lowest static score of the first of these classes that is not
    empty:

        1  nobody waits for it      3  fresh
        2  d > near                 4  d <= near

    or, for `order=2134`, class 2 before 1: where a lower tier brings back in time what is known
    to be needed. The static score is the share of requests that visit a block, which is what
    PageRank comes to on a tree whose edges weigh as much as they are used: uses per second since
    it was cached, one use in `prior_s` presumed, (uses + 1) / (time cached + prior_s); or the
    value of `workload-aware`, whose parameters come with it.

    Deviations: a block cached anew starts to count anew (theirs looks its score up in a table of
    all nodes); the score is compared as it is, not rounded to 8 bits; the next request is not
    left out of the look; only blocks without a cached child leave, which keeps the parent of a
    fresh block. Scores that differ by less than 1e-15 count as equal.
    """

    mode: str = "hybrid"
    """static, dynamic or hybrid."""
    order: str = "1234"
    """Order of the classes, 1234 or 2134."""
    static: str = "visits"
    """visits or workload-aware."""
    near: int = 0
    """Largest d of class 4, requests; 0 for an eighth of the window, at least 1."""
    prior_s: float = 600.0
    """Seconds in which a block never seen before is presumed to be used once."""
    life_s: float = 5.0
    """Expected lifespan of a block, seconds, for static=workload-aware."""
    refit_s: float = 20.0
    """Seconds between refits."""
    window_s: float = 840.0
    """Seconds of history a refit looks back on; inf for all of it."""
    min_gap_s: float = 0.3
    """Reuses after shorter gaps are not counted, seconds."""
    n_samples: int = 32
    """Candidates compared at an eviction; 0 for all."""
    window: int = 64
    """Waiting requests looked at."""
    refresh_steps: int = 1
    """Scheduler steps between two looks."""

    compiled = True
    needs_queue = True

    @staticmethod
    def value(block: Block, now: Moment, p: Sequence[float]) -> float:
        if p[MODE] == DYNAMIC:
            if now.is_fresh > 0:
                return 1.0
            if now.next_start == math.inf:
                return 0.0
            return 1.0 + 1.0 / (1.0 + now.next_start)
        # the static score a / b, mapped to a / (a + b), which is below 1, by a single division
        if p[IS_WORKLOAD_AWARE] > 0:
            a = p[1] * math.exp(-p[0] * (now.now_s - block.last_access_s)) * p[2]
            b = 1.0
        else:
            a = block.n_hits + 1.0
            b = now.now_s - block.inserted_s + p[PRIOR_S]
        below_1 = a / (a + b)
        if p[MODE] == STATIC:
            return below_1
        if now.is_fresh > 0:
            rank = 3.0
        elif now.next_start == math.inf:
            rank = 1.0
        elif now.next_start <= p[NEAR]:
            rank = 4.0
        else:
            rank = 0.5 if p[ORDER_2134] > 0 else 2.0
        return 2.0 * rank + below_1

    def params(self, setting: Setting) -> NDArray[np.float64]:
        fitted = self._workload_aware().params(setting)
        own = (
            _MODES[self.mode],
            float(self.order == "2134"),
            float(self.static == "workload-aware"),
            float(self.near or max(1, self.window // 8)),
            self.prior_s,
        )
        return np.column_stack((fitted, np.tile(own, (len(fitted), 1))))

    def bind(self, setting: Setting) -> Binding:
        for name, allowed in (("mode", _MODES), ("order", _ORDERS), ("static", _STATICS)):
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"lsm-gnn: {name} must be {' or '.join(allowed)}, got {getattr(self, name)!r}"
                )
        if not self.prior_s > 0:
            raise ConfigError(f"lsm-gnn: prior_s must be positive, got {self.prior_s}")
        binding = super().bind(setting)
        if self.static == "workload-aware":
            binding.fit_arguments = self._workload_aware().fit_arguments(setting.category_names)
        return binding

    def _workload_aware(self) -> WorkloadAware:
        return WorkloadAware(
            life_s=self.life_s,
            refit_s=self.refit_s,
            window_s=self.window_s,
            min_gap_s=self.min_gap_s,
        )
