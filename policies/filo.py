"""Evict the block cached last, however often it was used since."""

from __future__ import annotations

from .base import Block, ScorePolicy


class Filo(ScorePolicy):
    """Evict the block cached last, however often it was used since.

    First in, last out: what fills the cache first is kept. Of blocks cached by one request the
    longest unused leaves first, then the deeper one.
    """

    compiled = True

    @staticmethod
    def score(block: Block) -> float:
        return -block.inserted
