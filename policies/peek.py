"""Evict the block whose prefix fewest waiting requests share, shallow ones first; else lru."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .base import Block
from .sampled import Moment, SampledPolicy


@dataclass(frozen=True, kw_only=True)
class Peek(SampledPolicy):
    """Evict the block whose prefix fewest waiting requests share, shallow ones first; else lru.

    PEEK (arXiv 2607.02525), in its form for vLLM: the priority of a block is

        waiting requests that share it * (1 + blocks before it)

    and blocks of equal priority, above all those that nobody waits for, leave in lru order.

    Most of PEEK's gain comes from admitting clusters of requests that share a prefix together,
    which is the scheduler's business: `--set engine.admission=cluster-first`.

    Deviations: the look is taken once a step, and lru is over a random sample of the candidates,
    unless `n_samples` is 0.
    """

    window: int = 256
    """Waiting requests looked at."""
    n_samples: int = 32
    """Candidates compared at an eviction; 0 for all."""
    refresh_steps: int = 1
    """Scheduler steps between two looks."""

    compiled = True
    needs_queue = True

    @staticmethod
    def value(block: Block, now: Moment, p: Sequence[float]) -> float:
        return now.n_waiting_users * (1.0 + block.depth)
