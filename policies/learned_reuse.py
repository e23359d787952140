"""Evict the block least likely to be reused soon, by a regression on the start of the trace."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from ..kernels import kernel
from .base import Binding, Block, History, Setting
from .sampled import Moment, SampledPolicy

AGES_S = (0.0, 1.0, 4.0, 15.0, 60.0, 240.0, 960.0)
"""Ages at which the training asks whether a block is about to be reused."""
MOST_ACCESSES = 100_000
"""Accesses that the training looks at, drawn evenly if there are more."""
RIDGE = 1.0
"""Weight of the penalty on all coefficients, in samples."""
N_ROUNDS = 25
STRIDE = 16
"""The fit to every so manieth sample is where the fit to all starts."""
SMALL_STEP = 1e-4
"""Of Newton's method; the next one would be of the order of its square."""
N_TERMS = 3
"""Age, hits and depth."""
N_HITS, N_DEPTHS = 64, 1024
"""Hits and depths, from 0 on, whose terms `params` has ready."""
BIAS, AGE, HITS, DEPTH, TRAINED_S, BY_HITS = range(6)
BY_DEPTH = BY_HITS + N_HITS
N_PARAMS = BY_DEPTH + N_DEPTHS


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
        # the logarithm itself takes half as long as log1p, and ages are not that small
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
        asked = samples(history, self.life_s, rng)
        if len(asked.is_reused) and 0 < asked.is_reused.mean() < 1:
            found = fit_logistic(asked, n_categories)
            made[:, BIAS] = found[:n_categories]
            made[:, [AGE, HITS, DEPTH]] = found[n_categories:]
            made[:, BY_HITS:BY_DEPTH] = made[:, HITS, None] * np.log1p(np.arange(N_HITS))
            made[:, BY_DEPTH:] = made[:, DEPTH, None] * np.log1p(np.arange(N_DEPTHS))
            made[:, TRAINED_S] = history.arrival_s[-1]
        return made


class Accesses(NamedTuple):
    """The runs that requests pass through, request by request and each from its end up."""

    run: NDArray[np.int32]
    row: NDArray[np.int32]
    """The request."""
    n_hits: NDArray[np.int32]
    """Accesses of the run before."""
    gap_s: NDArray[np.float64]
    """Seconds to the next access of the run, infinite for the last one."""


class Samples(NamedTuple):
    """Questions, the answers, and how many blocks each was asked of."""

    category: NDArray[np.int32]
    terms: NDArray[np.float64]
    """(n, N_TERMS): logarithms of 1 + age, hits and depth."""
    is_reused: NDArray[np.bool_]
    weight: NDArray[np.float64]


def samples(history: History, life_s: float, rng: np.random.Generator) -> Samples:
    """Ask of each access, at each age, whether the block is about to be reused."""
    run, row, n_hits, gap_s = accesses(history)
    if len(run) > MOST_ACCESSES:
        part = np.arange(MOST_ACCESSES + 1) * len(run) // MOST_ACCESSES
        kept = part[:-1] + (rng.random(MOST_ACCESSES) * np.diff(part)).astype(np.int64)
        run, row, n_hits, gap_s = run[kept], row[kept], n_hits[kept], gap_s[kept]
    at_s = history.arrival_s[row]
    end_s = history.arrival_s[-1] if len(history.arrival_s) else 0.0
    by_hits = np.log1p(n_hits)
    by_depth = np.log1p(history.depth[run] + history.n_blocks[run] - 1)
    category, n_blocks = history.category[row], history.n_blocks[run].astype(np.float64)
    parts = []
    for age_s in AGES_S:
        asked = np.flatnonzero((gap_s > age_s) & (at_s + age_s + life_s <= end_s))
        terms = np.empty((len(asked), N_TERMS))
        terms[:, 0] = math.log1p(age_s)
        terms[:, 1] = by_hits[asked]
        terms[:, 2] = by_depth[asked]
        is_reused = gap_s[asked] <= age_s + life_s
        parts.append((category[asked], terms, is_reused, n_blocks[asked]))
    return Samples(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def accesses(history: History) -> Accesses:
    parent, end = np.ascontiguousarray(history.parent), np.ascontiguousarray(history.end)
    n = _count_accesses(parent, end)
    ints = [np.empty(n, np.int32) for _ in range(3)]
    found = Accesses(*ints, np.empty(n))
    before = np.full(len(parent), -1)
    _list_accesses(parent, end, np.ascontiguousarray(history.arrival_s), before, found)
    return found


@kernel
def _count_accesses(parent: NDArray[np.int32], end: NDArray[np.int32]) -> int:
    n = 0
    for t in range(len(end)):
        run = end[t]
        while run >= 0:
            n += 1
            run = parent[run]
    return n


@kernel
def _list_accesses(
    parent: NDArray[np.int32],
    end: NDArray[np.int32],
    arrival_s: NDArray[np.float64],
    before: NDArray[np.int64],
    found: Accesses,
) -> None:
    """Fill `found`; `before`, (n_runs,) of -1, keeps the last access of each run."""
    n = 0
    for t in range(len(end)):
        run = end[t]
        while run >= 0:
            last = before[run]
            found.n_hits[n] = 0
            if last >= 0:
                found.n_hits[n] = found.n_hits[last] + 1
                found.gap_s[last] = arrival_s[t] - arrival_s[found.row[last]]
            found.run[n] = run
            found.row[n] = t
            found.gap_s[n] = np.inf
            before[run] = n
            n += 1
            run = parent[run]


def fit_logistic(asked: Samples, n_categories: int) -> NDArray[np.float64]:
    """Coefficients of greatest penalised likelihood, by Newton's method: categories, then terms.

    Minimises sum w_i ln(1 + exp(-s_i x_i b)) + RIDGE / 2 * |b|^2, s_i being 1 or -1 and the
    weights scaled to a mean of 1.
    """
    n = n_categories + N_TERMS
    asked = asked._replace(weight=asked.weight / asked.weight.mean())
    found = np.zeros(n)
    slope, bend = np.zeros(n), np.zeros((n, n))
    for stride in (STRIDE, 1):
        for _ in range(N_ROUNDS):
            slope[:] = -RIDGE * found
            bend[:] = RIDGE * np.eye(n)
            _add_slope_and_bend(asked, stride, n_categories, found, slope, bend)
            bend[:n_categories, n_categories:] = bend[n_categories:, :n_categories].T
            step = np.linalg.solve(bend, slope)
            found += step
            if np.abs(step).max() < SMALL_STEP:
                break
    return found


@kernel
def _add_slope_and_bend(
    asked: Samples,
    stride: int,
    n_categories: int,
    found: NDArray[np.float64],
    slope: NDArray[np.float64],
    bend: NDArray[np.float64],
) -> None:
    """Add the first and the negative second derivative of every so manieth one's likelihood.

    Of a pair of a category and a term only the element below the diagonal is added to.
    """
    n = n_categories
    a, b, c = found[n], found[n + 1], found[n + 2]
    slope_a = slope_b = slope_c = aa = ab = ac = bb = bc = cc = 0.0
    for i in range(0, len(asked.weight), stride):
        category = asked.category[i]
        x, y, z = asked.terms[i, 0], asked.terms[i, 1], asked.terms[i, 2]
        chance = 1.0 / (1.0 + math.exp(-(found[category] + a * x + b * y + c * z)))
        miss = asked.weight[i] * ((1.0 if asked.is_reused[i] else 0.0) - chance)
        spread = asked.weight[i] * chance * (1.0 - chance)
        slope[category] += miss
        bend[category, category] += spread
        by_x, by_y, by_z = spread * x, spread * y, spread * z
        bend[n, category] += by_x
        bend[n + 1, category] += by_y
        bend[n + 2, category] += by_z
        slope_a, slope_b, slope_c = slope_a + miss * x, slope_b + miss * y, slope_c + miss * z
        aa, ab, ac = aa + by_x * x, ab + by_x * y, ac + by_x * z
        bb, bc, cc = bb + by_y * y, bc + by_y * z, cc + by_z * z
    slope[n] += slope_a
    slope[n + 1] += slope_b
    slope[n + 2] += slope_c
    bend[n, n] += aa
    bend[n + 1, n + 1] += bb
    bend[n + 2, n + 2] += cc
    bend[n, n + 1] += ab
    bend[n + 1, n] += ab
    bend[n, n + 2] += ac
    bend[n + 2, n] += ac
    bend[n + 1, n + 2] += bc
    bend[n + 2, n + 1] += bc
