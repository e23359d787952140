"""Evict the longest unused of the blocks used less than twice again; then of the others."""

from __future__ import annotations

from .base import Block, ScorePolicy

PROTECTED_AT = 2


class SglangSlru(ScorePolicy):
    """Evict the longest unused of the blocks used less than twice again; then of the others.

    SGLang's radix cache with its policy `slru` (evict_policy.py): leaves in order of (hits >= 2,
    last access). The two segments have no sizes, and nothing is demoted.

    Deviation: SGLang evicts a whole leaf node of its tree at once, this one block after block.
    """

    compiled = True

    @staticmethod
    def score(block: Block) -> float:
        # order numbers are far below 2^50, and exact beside it
        return block.last_access + (2.0**50 if block.n_hits >= PROTECTED_AT else 0.0)
