"""Evict the block with the least aged frequency (GreedyDual-Size-Frequency)."""

from __future__ import annotations

from .base import Block, ScorePolicy


class Gdsf(ScorePolicy):
    """Evict the block with the least aged frequency (GreedyDual-Size-Frequency)."""

    compiled = True

    @staticmethod
    def score(block: Block) -> float:
        return block.clock + block.n_hits + 1
