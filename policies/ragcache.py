"""Evict the block with the least aged frequency, weighted by what it costs to compute again."""

from __future__ import annotations

from .base import Block, ScorePolicy
from .pensieve import BREAK_EVEN_BLOCKS


class RagCache(ScorePolicy):
    """Evict the block with the least aged frequency, weighted by what it costs to compute again.

    RAGCache (Jin et al., 2024, arXiv 2404.12457): greedy dual size frequency that knows prefixes.
    The priority of a node of the knowledge tree is clock + frequency * cost / size, where the
    cost of computing it again depends on what stands before it, and only leaves go. Here

        score = clock + uses * (1 + depth / 1900)

    in units of the cost of a block with nothing before it; blocks have one size.

    Deviations: the cost is counted from FLOPs (see `pensieve`), not measured by trial prefills;
    frequency counts from when a block was cached; there are no documents, so a node is a block.
    """

    has_rising_scores = True
    compiled = True

    @staticmethod
    def score(block: Block) -> float:
        return block.clock + (block.n_hits + 1) * (1.0 + block.depth / BREAK_EVEN_BLOCKS)
