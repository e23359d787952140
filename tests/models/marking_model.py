"""Randomised marking in plain Python, with the draws that kvsim makes."""

from __future__ import annotations

import numpy as np

from kvsim.policies import Block, EvictionPolicy
from kvsim.policies.base import Setting


class RltByEvents(EvictionPolicy):
    """Marking in plain Python, with the same draws."""

    def __init__(self, generator: int = 0) -> None:
        self.generator = generator
        self.unmarked: list[int] = []
        self.marked: list[int] = []
        self.phase = 0
        self.phase_of: dict[int, int] = {}

    def fresh(self, setting: Setting) -> RltByEvents:
        seeds = np.random.SeedSequence([setting.seed, 0]).generate_state(1)
        return RltByEvents(int(seeds[0]))

    def on_insert(self, block: Block) -> None:
        self.phase_of[block.block_id] = self.phase

    on_hit = on_insert

    def add(self, block: Block) -> None:
        x = block.block_id
        if self.phase_of[x] == self.phase:
            self.marked.append(x)
            return
        self.unmarked.append(x)
        if self.marked:  # the first marked one makes room, and goes to the end
            self.marked.append(self.marked.pop(0))

    def remove(self, block: Block) -> None:
        x = block.block_id
        both = [*self.unmarked, *self.marked]
        n = len(self.unmarked)
        at = both.index(x)
        if at < n:
            n -= 1
            both[at], both[n] = both[n], both[at]
            at = n
        both[at] = both[-1]
        both.pop()
        self.unmarked, self.marked = both[:n], both[n:]

    def victim(self) -> int:
        if not self.unmarked:
            self.phase += 1
            self.unmarked, self.marked = self.marked, []
        mask = (1 << 64) - 1
        self.generator = z = (self.generator + 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return self.unmarked[(z ^ (z >> 31)) % len(self.unmarked)]
