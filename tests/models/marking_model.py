"""Randomised marking in plain Python, with the draws that kvsim makes."""

from __future__ import annotations

import numpy as np

from kvsim.policies import Block, EvictionPolicy
from kvsim.policies.base import Setting


class RltByEvents(EvictionPolicy):
    """Marking in plain Python, with the same draws: a row of candidates, unmarked ones first."""

    def __init__(self, generator: int = 0) -> None:
        self.generator = generator
        self.row: list[int] = []
        self.n_unmarked = 0
        self.phase = 0
        self.phase_of: dict[int, int] = {}
        self.past: dict[int, tuple[int, int, int]] = {}
        self.named = self.next = self.left = -1

    def fresh(self, setting: Setting) -> RltByEvents:
        seeds = np.random.SeedSequence([setting.seed, 0]).generate_state(1)
        return RltByEvents(int(seeds[0]))

    def on_insert(self, block: Block) -> None:
        self.close()
        self.named = self.next = -1
        self.phase_of[block.block_id] = self.phase
        self.past[block.block_id] = block.inserted, block.last_access, block.n_hits

    on_hit = on_insert

    def add(self, block: Block) -> None:
        x = block.block_id
        self.named = self.next = -1
        if self.left >= 0 and self.past[self.left] == self.past[x]:
            self.row[self.row.index(self.left)] = x
            self.left, self.next = -1, x
            return
        self.close()
        self.row.append(x)
        if self.phase_of[x] < self.phase:  # the first marked one makes room, and goes to the end
            self.swap(len(self.row) - 1, self.n_unmarked)
            self.n_unmarked += 1

    def remove(self, block: Block) -> None:
        self.close()
        self.left = block.block_id
        if self.left != self.named:
            self.close()
        self.named = self.next = -1

    def swap(self, i: int, j: int) -> None:
        self.row[i], self.row[j] = self.row[j], self.row[i]

    def close(self) -> None:
        """Let others move up to the place of a victim that nobody followed."""
        if self.left < 0:
            return
        at = self.row.index(self.left)
        if at < self.n_unmarked:
            self.n_unmarked -= 1
            self.swap(at, self.n_unmarked)
            at = self.n_unmarked
        self.swap(at, len(self.row) - 1)
        self.row.pop()
        self.left = -1

    def victim(self) -> int:
        self.named, self.next = self.next, -1
        if self.named < 0:
            self.named = self.drawn()
        return self.named

    def drawn(self) -> int:
        self.close()
        if self.n_unmarked == 0:
            self.phase += 1
            self.n_unmarked = len(self.row)
        mask = (1 << 64) - 1
        self.generator = z = (self.generator + 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return self.row[((z ^ (z >> 31)) >> 32) * self.n_unmarked >> 32]
