"""Evict the block whose next use is furthest away: the offline optimum."""

from __future__ import annotations

from .base import Binding, Block, ScorePolicy, Setting


class Belady(ScorePolicy):
    """Evict the block whose next use is furthest away: the offline optimum.

    Leaf-first Belady is optimal for equal blocks under a fixed order of requests (a prefix is
    used whenever its extension is, so the furthest block can always be a leaf). In a timed run
    with several instances it takes every later request to be able to come to any of them.

    In a tier below the GPU it is no optimum: see `Below`.
    """

    needs_future = True
    compiled = True

    @staticmethod
    def score(block: Block) -> float:
        return -block.next_use

    def bind(self, setting: Setting) -> Binding:
        return Below().bind(setting) if setting.is_below else super().bind(setting)


class Below(ScorePolicy):
    """Evict the block whose next request is furthest away, and of a path the deepest block first.

    Which block of a tier is used next is no fact about the trace: a request asks it only for what
    the GPU has lost by then. What is known is the next request whose path a block is on. Whatever
    that finds in the GPU, a block is worth nothing without those before it, so the deepest goes
    first; in the GPU's own pool nothing else is a candidate.
    """

    needs_future = True
    compiled = True

    @staticmethod
    def score(block: Block) -> float:
        return -(block.next_use + block.depth * 2.0**-21)
