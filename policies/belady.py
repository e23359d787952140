"""Evict the block whose next use is furthest away: the offline optimum."""

from __future__ import annotations

from .base import Block, ScorePolicy


class Belady(ScorePolicy):
    """Evict the block whose next use is furthest away: the offline optimum.

    Leaf-first Belady is optimal for equal blocks under a fixed order of requests (a prefix is
    used whenever its extension is, so the furthest block can always be a leaf). In a timed run
    with several instances it takes every later request to be able to come to any of them.
    """

    needs_future = True
    compiled = True

    @staticmethod
    def score(block: Block) -> float:
        return -block.next_use
