"""Evict the block used most recently: for loops longer than the cache."""

from __future__ import annotations

from .base import Block, ScorePolicy


class Mru(ScorePolicy):
    """Evict the block used most recently: for loops longer than the cache.

    Chou and DeWitt, "An Evaluation of Buffer Management Strategies for Relational Database
    Systems" (VLDB 1985). The path of the request that needs room is in use and stays.
    """

    compiled = True

    @staticmethod
    def score(block: Block) -> float:
        return -block.last_access
