"""Evict the block least likely to be reused soon, by a regression on the start of the trace."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from .base import Binding, Block, History, Setting
from .sampled import Moment, SampledPolicy

AGES_S = (0.0, 1.0, 4.0, 15.0, 60.0, 240.0, 960.0)
"""Ages at which the training asks whether a block is about to be reused."""
MOST_ACCESSES = 100_000
"""Accesses that the training looks at, drawn evenly if there are more."""
RIDGE = 1.0
"""Weight of the penalty on all coefficients, in samples."""
N_ROUNDS = 25
BIAS, AGE, HITS, DEPTH, TRAINED_S, N_PARAMS = range(6)


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
        return (
            p[BIAS]
            + p[AGE] * math.log1p(now.now_s - block.last_access_s)
            + p[HITS] * math.log1p(block.n_hits)
            + p[DEPTH] * math.log1p(block.depth)
        )

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
        x, is_reused, weight = samples(history, n_categories, self.life_s, rng)
        if len(is_reused) and 0 < is_reused.mean() < 1:
            found = fit_logistic(x, is_reused, weight)
            made[:, BIAS] = found[:n_categories]
            made[:, [AGE, HITS, DEPTH]] = found[n_categories:]
            made[:, TRAINED_S] = history.arrival_s[-1]
        return made


def samples(
    history: History, n_categories: int, life_s: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """Ask of each access, at each age, whether the block is about to be reused.

    Returns features (n, n_categories + 3), answers (n,) and weights (n,), which are blocks.
    """
    segment, row = accesses(history)
    order = np.lexsort((row, segment))
    segment, row = segment[order], row[order]
    at_s = history.arrival_s[row]
    is_last = np.append(segment[1:] != segment[:-1], True)[: len(segment)]
    gap_s = np.where(is_last, np.inf, np.append(at_s[1:], 0.0)[: len(at_s)] - at_s)
    first = np.flatnonzero(np.append(True, is_last[:-1])[: len(segment)])
    n_hits = np.arange(len(segment)) - np.repeat(first, np.diff(np.append(first, len(segment))))
    if len(segment) > MOST_ACCESSES:
        kept = np.sort(rng.choice(len(segment), MOST_ACCESSES, replace=False))
        segment, row, n_hits = segment[kept], row[kept], n_hits[kept]
        at_s, gap_s = at_s[kept], gap_s[kept]
    depth = history.depth[segment] + history.n_blocks[segment] - 1
    end_s = history.arrival_s[-1] if len(history.arrival_s) else 0.0
    parts = []
    for age_s in AGES_S:
        is_asked = (gap_s > age_s) & (at_s + age_s + life_s <= end_s)
        x = np.zeros((int(is_asked.sum()), n_categories + 3))
        x[np.arange(len(x)), history.category[row[is_asked]]] = 1.0
        x[:, n_categories] = np.log1p(age_s)
        x[:, n_categories + 1] = np.log1p(n_hits[is_asked])
        x[:, n_categories + 2] = np.log1p(depth[is_asked])
        weight = history.n_blocks[segment[is_asked]].astype(np.float64)
        parts.append((x, gap_s[is_asked] <= age_s + life_s, weight))
    xs, answers, weights = zip(*parts, strict=True)
    return np.concatenate(xs), np.concatenate(answers), np.concatenate(weights)


def accesses(history: History) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Segments that the requests pass through, and the requests' rows: one pair an access."""
    segment = history.end.astype(np.int64)
    row = np.flatnonzero(segment >= 0)
    segment = segment[row]
    segments, rows = [], []
    while len(segment):
        segments.append(segment)
        rows.append(row)
        segment = history.parent[segment].astype(np.int64)
        row, segment = row[segment >= 0], segment[segment >= 0]
    none = np.zeros(0, np.int64)
    return np.concatenate([none, *segments]), np.concatenate([none, *rows])


def fit_logistic(
    x: NDArray[np.float64], is_true: NDArray[np.bool_], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Coefficients of greatest penalised likelihood, by Newton's method.

    Minimises sum w_i ln(1 + exp(-s_i x_i b)) + RIDGE / 2 * |b|^2, s_i being 1 or -1 and the
    weights scaled to a mean of 1.
    """
    weight = weight / weight.mean()
    found = np.zeros(x.shape[1])
    penalty = RIDGE * np.eye(x.shape[1])
    for _ in range(N_ROUNDS):
        chance = 0.5 * (1.0 + np.tanh(0.5 * (x @ found)))
        slope = x.T @ (weight * (is_true - chance)) - RIDGE * found
        bend = (x * (weight * chance * (1.0 - chance))[:, None]).T @ x + penalty
        step = np.linalg.solve(bend, slope)
        found = found + step
        if np.abs(step).max() < 1e-9:
            break
    return found
