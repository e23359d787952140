"""Evict the block cached first, however often it was used since."""

from __future__ import annotations

from .base import Block, ScorePolicy


class Fifo(ScorePolicy):
    """Evict the block cached first, however often it was used since."""

    compiled = True

    @staticmethod
    def score(block: Block) -> float:
        return block.inserted
