"""Evict the block used least often since it was cached; among those, the longest unused."""

from __future__ import annotations

from .base import Block, ScorePolicy


class Lfu(ScorePolicy):
    """Evict the block used least often since it was cached; among those, the longest unused."""

    compiled = True

    @staticmethod
    def score(block: Block) -> float:
        return block.n_hits
