"""Evict the block used least often, where the counts of evicted blocks age the others (LFU-DA)."""

from __future__ import annotations

from .base import Block, ScorePolicy


class Lfuda(ScorePolicy):
    """Evict the block used least often, where the counts of evicted blocks age the others (LFU-DA).

    Arlitt, Cherkasova, Dilley, Friedrich and Jin, "Evaluating Content Management Techniques for
    Web Proxy Caches" (WISP 1999): a block's key is its uses, the first one included, plus the
    cache's age at its last use; the age is the highest key evicted so far. Blocks cost and weigh
    the same, so `gdsf` evicts the same ones.
    """

    compiled = True

    @staticmethod
    def score(block: Block) -> float:
        return block.n_hits + 1 + block.clock
