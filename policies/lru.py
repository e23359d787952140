"""Evict the block unused for longest: vLLM's own order."""

from __future__ import annotations

from .base import Block, ScorePolicy


class Lru(ScorePolicy):
    """Evict the block unused for longest: vLLM's own order."""

    compiled = True

    @staticmethod
    def score(block: Block) -> float:
        return block.last_access
