"""Evict the block least likely to be reused soon, by a regression on the start of the trace."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from .base import Binding, Block, Setting
from .reuse_regression import accesses, coefficients, drawn
from .sampled import Moment, SampledPolicy

N_HITS, N_DEPTHS = 64, 1024
"""Hits and depths, from 0 on, whose terms `params` has ready."""
BIAS, AGE, HITS, DEPTH, TRAINED_S, BY_HITS = range(6)
BY_DEPTH = BY_HITS + N_HITS
N_PARAMS = BY_DEPTH + N_DEPTHS
"""Columns of `params`: the coefficients, when they were known, and terms."""


@dataclass(frozen=True, kw_only=True)
class LearnedReuse(SampledPolicy):
    """Evict the block least likely to be reused soon, by a regression on the start of the trace.

    Logistic regression of "reused within `life_s`, if not before this age" on the category of the
    last user, which is request type and turn, and on age, hits and depth:

        value = bias[category] + a * ln(1 + age) + b * ln(1 + hits) + c * ln(1 + depth)

    It is trained once, on the first `train_share` of the requests, as an unbounded cache would
    see them; a question whose answer lies beyond that part is not asked. Until the last of
    these requests has arrived the policy is lru, and nothing is learned afterwards.

    Own design: the plainest of the learned policies, as a yardstick for others. In a closed loop
    the training sees the arrivals as the trace has them, not as they come to be.
    """

    train_share: float = 0.3
    """Share of the trace's requests that it learns from, above 0 and at most 1."""
    life_s: float = 300.0
    """Seconds within which a reuse counts."""
    n_samples: int = 32
    """Candidates compared at an eviction; 0 for all."""

    compiled = True

    @staticmethod
    def value(block: Block, now: Moment, p: Sequence[float]) -> float:
        if now.now_s <= p[TRAINED_S]:
            return block.last_access
        hits = int(block.n_hits)
        depth = int(block.depth)
        by_hits = p[BY_HITS + hits] if hits < N_HITS else p[HITS] * math.log1p(hits)
        by_depth = p[BY_DEPTH + depth] if depth < N_DEPTHS else p[DEPTH] * math.log1p(depth)
        # log takes half as long as log1p, and ages are not so small that it matters
        by_age = p[AGE] * math.log(1.0 + (now.now_s - block.last_access_s))
        return p[BIAS] + by_age + by_hits + by_depth

    def bind(self, setting: Setting) -> Binding:
        binding = super().bind(setting)
        binding.is_retagged = True
        return binding

    def params(self, setting: Setting) -> NDArray[np.float64]:
        if not 0 < self.train_share <= 1:
            raise ConfigError(
                f"learned-reuse: train_share must be in (0, 1], got {self.train_share}"
            )
        if not self.life_s > 0:
            raise ConfigError(f"learned-reuse: life_s must be positive, got {self.life_s}")
        n_categories = len(setting.category_names)
        made = np.zeros((n_categories, N_PARAMS))
        made[:, TRAINED_S] = np.inf
        if setting.first_part is None:
            return made
        history = setting.first_part(self.train_share)
        rng = np.random.default_rng([setting.seed, 0])
        found = coefficients(drawn(accesses(history), rng), history, n_categories, self.life_s)
        if found is not None:
            made[:, BIAS] = found[:n_categories]
            made[:, [AGE, HITS, DEPTH]] = found[n_categories:]
            made[:, BY_HITS:BY_DEPTH] = made[:, HITS, None] * np.log1p(np.arange(N_HITS))
            made[:, BY_DEPTH:] = made[:, DEPTH, None] * np.log1p(np.arange(N_DEPTHS))
            made[:, TRAINED_S] = history.arrival_s[-1]
        return made
