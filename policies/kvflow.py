"""Evict the block whose next waiting user is furthest from its start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .base import Block
from .sampled import Moment, SampledPolicy


@dataclass(frozen=True, kw_only=True)
class KvFlow(SampledPolicy):
    """Evict the block whose next waiting user is furthest from its start.

    KVFlow (NeurIPS 2025) knows the graph of a workflow of agents, and evicts by *steps to
    execution*, the most first: a node that several agents share takes the nearest one's, and
    suffixes go before their prefixes. Here the steps of a block are the waiting requests before the
    first one that needs it, infinite for a block that nobody waits for; equal steps: lru.

    Deviations: there is no workflow, only the queue, so nothing is known of an agent that has not
    asked yet; no prefetch from the host; the least is sought in a random sample of the
    candidates, unless `n_samples` is 0.
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
        return -now.next_start
