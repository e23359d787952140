"""The chance that a block is reused soon, fitted to the accesses of the start of a trace."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, kernel
from .base import History

AGES_S = (0.0, 1.0, 4.0, 15.0, 60.0, 240.0, 960.0)
"""Ages at which the training asks whether a block is about to be reused."""
MOST_ACCESSES = 100_000
"""Accesses that the training looks at, drawn evenly if there are more."""
RIDGE = 1.0
"""Weight of the penalty on all coefficients, in samples."""
N_ROUNDS = 25
FIRST_ACCESSES = 4_000
"""If there are many more, the fit to about so many is where the fit to all starts."""
SMALL_STEP = 1e-3
"""After a step of Newton's method that is smaller than this the next one would be of the order of
its square."""
N_TERMS = 3
"""Age, hits and depth."""


class Accesses(NamedTuple):
    """Runs that requests pass through, (n_accesses,) each, request by request from its end up."""

    run: NDArray[np.int32]
    row: NDArray[np.int32]
    """The request."""
    n_hits: NDArray[np.int32]
    """Accesses of the run before."""
    gap_s: NDArray[np.float64]
    """Seconds to the next access of the run, infinite for the last one."""


def accesses(history: History) -> Accesses:
    """List all accesses of a history."""
    parent, end = np.ascontiguousarray(history.parent), np.ascontiguousarray(history.end)
    n = _count_accesses(parent, end)
    run, row, n_hits = np.empty((3, n), np.int32)
    found = Accesses(run, row, n_hits, np.empty(n))
    before = np.full(len(parent), -1)
    _list_accesses(parent, end, np.ascontiguousarray(history.arrival_s), before, found)
    return found


def drawn(found: Accesses, rng: np.random.Generator) -> Accesses:
    """Draw one of each of MOST_ACCESSES equal parts, if there are more."""
    n = len(found.run)
    if n <= MOST_ACCESSES:
        return found
    part = np.arange(MOST_ACCESSES + 1) * n // MOST_ACCESSES
    kept = part[:-1] + (rng.random(MOST_ACCESSES) * np.diff(part)).astype(np.int64)
    return Accesses._make(each[kept] for each in found)


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


class Asked(NamedTuple):
    """What accesses are asked at the ages, (n_ages,): reused within `life_s`?

    That is asked at each age at which the block was not reused yet, up to the last one at which
    `left_s`, the seconds to the end of what is known, hold the answer.
    """

    age_s: NDArray[np.float64]
    by_age: NDArray[np.float64]
    """ln(1 + age)"""
    life_s: float
    gap_s: NDArray[np.float64]
    left_s: NDArray[np.float64]
    category: NDArray[np.int32]
    by_hits: NDArray[np.float64]
    """ln(1 + hits)"""
    by_depth: NDArray[np.float64]
    """ln(1 + depth), of the deepest block."""
    weight: NDArray[np.float64]
    """Blocks."""


def coefficients(
    found: Accesses, history: History, n_categories: int, life_s: float
) -> NDArray[np.float64] | None:
    """Fit the chance of reuse: the bias of each category, then the factors of age, hits and depth.

    The coefficients are those of greatest penalised likelihood, by Newton's method: they minimise
    sum w_i ln(1 + exp(-s_i x_i b)) + RIDGE / 2 * |b|^2, s_i being 1 or -1, the answer to a
    question, and w_i its blocks, scaled to a mean of 1. None if all answers are the same.
    """
    if not len(found.run):
        return None
    n_blocks = history.n_blocks[found.run]
    asked = Asked(
        age_s=np.array(AGES_S),
        by_age=np.log1p(AGES_S),
        life_s=life_s,
        gap_s=found.gap_s,
        left_s=history.arrival_s[-1] - history.arrival_s[found.row],
        category=history.category[found.row],
        by_hits=np.log1p(found.n_hits),
        by_depth=np.log1p(history.depth[found.run] + n_blocks - 1),
        weight=n_blocks.astype(np.float64),
    )
    n_asked, n_reused, total = _count_questions(asked)
    asked = asked._replace(weight=asked.weight * (n_asked / max(total, 1.0)))
    n = n_categories + N_TERMS
    at = np.zeros(n)
    slope, bend = np.zeros(n), np.zeros((n, n))
    n_accesses = len(found.run)
    strides = (n_accesses // FIRST_ACCESSES, 1) if n_accesses > 2 * FIRST_ACCESSES else (1,)
    for stride in strides:
        for _ in range(N_ROUNDS):
            slope[:] = -RIDGE * at
            bend[:] = RIDGE * np.eye(n)
            _add_slope_and_bend(asked, stride, n_categories, at, slope, bend)
            step = np.linalg.solve(np.tril(bend) + np.tril(bend, -1).T, slope)
            at += step
            if np.abs(step).max() < SMALL_STEP:
                break
    return at if 0 < n_reused < n_asked else None


@inner
def _is_asked(asked: Asked, i: int, age: int) -> bool:
    """Whether an access is asked at an age; if not, neither at a later one."""
    age_s = asked.age_s[age]
    return bool(asked.gap_s[i] > age_s and age_s + asked.life_s <= asked.left_s[i])


@kernel
def _count_questions(asked: Asked) -> tuple[int, int, float]:
    """Count questions, those answered with yes, and blocks asked about."""
    n = n_reused = 0
    total = 0.0
    for i in range(len(asked.gap_s)):
        age = 0
        while age < len(asked.age_s) and _is_asked(asked, i, age):
            n += 1
            n_reused += int(asked.gap_s[i] <= asked.age_s[age] + asked.life_s)
            total += asked.weight[i]
            age += 1
    return n, n_reused, total


@kernel
def _add_slope_and_bend(
    asked: Asked,
    stride: int,
    n_categories: int,
    found: NDArray[np.float64],
    slope: NDArray[np.float64],
    bend: NDArray[np.float64],
) -> None:
    """Add the first and the negative second derivative of the likelihood of some accesses' answers.

    The second is a symmetric matrix, of which only the lower triangle is added to.
    """
    n = n_categories
    for i in range(0, len(asked.gap_s), stride):
        y, z = asked.by_hits[i], asked.by_depth[i]
        rest = found[asked.category[i]] + found[n + 1] * y + found[n + 2] * z
        miss = miss_x = spread = spread_x = spread_xx = 0.0
        age = 0
        while age < len(asked.age_s) and _is_asked(asked, i, age):
            x = asked.by_age[age]
            chance = 1.0 / (1.0 + math.exp(-(rest + found[n] * x)))
            is_reused = asked.gap_s[i] <= asked.age_s[age] + asked.life_s
            off = (1.0 if is_reused else 0.0) - chance
            bent = chance * (1.0 - chance)
            miss, miss_x = miss + off, miss_x + off * x
            spread, spread_x, spread_xx = (
                spread + bent,
                spread_x + bent * x,
                spread_xx + bent * x * x,
            )
            age += 1
        w = asked.weight[i]
        category = asked.category[i]
        slope[category] += w * miss
        slope[n] += w * miss_x
        slope[n + 1] += w * miss * y
        slope[n + 2] += w * miss * z
        bend[category, category] += w * spread
        bend[n, category] += w * spread_x
        bend[n + 1, category] += w * spread * y
        bend[n + 2, category] += w * spread * z
        bend[n, n] += w * spread_xx
        bend[n + 1, n] += w * spread_x * y
        bend[n + 2, n] += w * spread_x * z
        bend[n + 1, n + 1] += w * spread * y * y
        bend[n + 2, n + 1] += w * spread * y * z
        bend[n + 2, n + 2] += w * spread * z * z
