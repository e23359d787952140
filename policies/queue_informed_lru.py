"""Evict the block unused for longest, but last what a waiting request is about to use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .base import Block
from .sampled import Moment, SampledPolicy


@dataclass(frozen=True, kw_only=True)
class QueueInformedLru(SampledPolicy):
    """Evict the block unused for longest, but last what a waiting request is about to use.

    The proposal of vLLM RFC 48485: before an eviction the prefixes of the first waiting requests
    are looked up, as many as may run at once, and other blocks go first.

    Deviations: the look is taken once a scheduler step; lru on either side is over a random
    sample of the candidates, unless `n_samples` is 0.
    """

    window: int = 256
    """Waiting requests looked at; vLLM's max_num_seqs is 256 unless set."""
    n_samples: int = 32
    """Candidates compared at an eviction; 0 for all."""
    refresh_steps: int = 1
    """Scheduler steps between two looks."""

    compiled = True
    needs_queue = True

    @staticmethod
    def value(block: Block, now: Moment, p: Sequence[float]) -> float:
        # order numbers are far below 2^50, and exact beside it
        waited_for = 0.0 if now.next_start == math.inf else 2.0**50
        return waited_for + block.last_access
