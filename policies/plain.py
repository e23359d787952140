"""Policies in plain Python, as they would choose for one cache: what compiled code must equal."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import PolicyError
from .base import (
    Binding,
    Block,
    EvictionPolicy,
    Policy,
    QueuePolicy,
    ScorePolicy,
    Setting,
)
from .sampled import Moment, SampledPolicy


class Look(NamedTuple):
    """What a look at a waiting queue found."""

    demands: dict[int, tuple[int, int]]
    """Place of the first waiting request that uses a block, and how many do, by block id."""
    n_known: float
    """Order number of insertion from which on blocks are fresh."""
    n_waiting: int
    """Waiting requests looked at."""


class Chooser(ABC):
    """One face of a policy, for one cache; `clock` is the highest score evicted."""

    clock = 0.0

    def miss(self, block: Block) -> None:  # noqa: B027  (optional)
        """A request lacks `block`, which has no number yet."""

    def insert(self, block: Block) -> None:  # noqa: B027  (optional)
        """`block` was cached."""

    def hit(self, block: Block) -> None:  # noqa: B027  (optional)
        """A request reused `block`."""

    def evict(self, block: Block) -> None:  # noqa: B027  (optional)
        """`block` was evicted, and is no candidate any more."""

    @abstractmethod
    def add(self, block: Block) -> None:
        """`block` became a candidate."""

    @abstractmethod
    def remove(self, block: Block) -> None:
        """`block` is no candidate any more."""

    def look(self, queue: Look) -> None:  # noqa: B027  (optional)
        """The waiting queue was looked at."""

    @abstractmethod
    def victim(self, now_s: float) -> int:
        """Name the candidate to evict."""

    def rest(self) -> int:
        """Name the candidate that has to go with the last victim; -1 if none has."""
        return -1


def plain_face(policy: Policy, setting: Setting, binding: Binding, cache: int) -> Chooser | None:
    """The policy's Python face for one cache, if it has one."""
    if isinstance(policy, ScorePolicy):
        return _Scores(policy)
    if isinstance(policy, QueuePolicy):
        return _Queues(policy, binding.params)
    if isinstance(policy, SampledPolicy):
        return _Samples(policy, binding, binding.generators[cache])
    if isinstance(policy, EvictionPolicy):
        return _Events(policy.fresh(setting))
    return None


class _Scores(Chooser):
    """The lowest score leaves; equal: longer unused, then deeper."""

    def __init__(self, policy: ScorePolicy) -> None:
        self._policy = policy
        self._ranks: dict[int, tuple[float, float, float]] = {}

    def _score(self, block: Block) -> float:
        seen = block if self._policy.needs_future else block._replace(next_use=0.0)
        score = float(self._policy.score(seen))
        if math.isnan(score):
            raise PolicyError(f"policy {type(self._policy).__name__}: score of {seen} is NaN")
        if self._policy.is_uniform:
            for name in ("depth", "key", "block_id"):
                changed: Block = seen._replace(**{name: getattr(seen, name) + 1})
                other = float(self._policy.score(changed))
                if name == "depth" and self._policy.has_rising_scores:
                    assert other >= score, "its score falls with a block's depth"
                    continue
                assert other == score, (
                    f"its score depends on a block's {name}: say is_uniform = False in the class"
                )
        return score

    def add(self, block: Block) -> None:
        self._ranks[block.block_id] = self._score(block), block.last_access, -block.depth

    def remove(self, block: Block) -> None:
        del self._ranks[block.block_id]

    def victim(self, now_s: float) -> int:
        found = min(self._ranks, key=self._ranks.__getitem__)
        self.clock = max(self.clock, self._ranks[found][0])
        return found


class _Queues(Chooser):
    """A queue a category in order of last use; the head of the lowest value leaves."""

    def __init__(self, policy: QueuePolicy, params: NDArray[np.float64]) -> None:
        self._policy = policy
        self._params = params
        self._blocks: dict[int, Block] = {}

    def add(self, block: Block) -> None:
        self._blocks[block.block_id] = block

    def remove(self, block: Block) -> None:
        del self._blocks[block.block_id]

    def victim(self, now_s: float) -> int:
        heads: dict[int, Block] = {}
        for block in sorted(self._blocks.values(), key=lambda b: (b.last_access, -b.depth)):
            heads.setdefault(block.category, block)

        def rank(block: Block) -> tuple[float, int, int]:
            a, b, c = self._params[block.category].tolist()
            value = self._policy.value(block.category, now_s - block.last_access_s, a, b, c)
            return value, -block.depth, block.last_access

        return min(heads.values(), key=rank).block_id


def _share_past(block: Block, other: Block) -> bool:
    """Whether the same requests cached and last used two blocks."""
    past = block.inserted, block.last_access, block.n_hits
    return past == (other.inserted, other.last_access, other.n_hits)


class _Samples(Chooser):
    """The lowest value of a random sample leaves; equal: longer unused, then deeper.

    After it go the blocks above that share its past.
    """

    def __init__(self, policy: SampledPolicy, binding: Binding, generator: int) -> None:
        self._policy = policy
        self._params = binding.params
        self._generator = generator
        self._candidates: list[Block] = []
        self._queue = Look({}, math.inf, 0)
        self._named = self._follower = -1
        self._left: Block | None = None

    def add(self, block: Block) -> None:
        left = self._left
        is_next = left is not None and _share_past(left, block)
        self._named, self._follower = -1, block.block_id if is_next else -1
        if left is not None and is_next:
            self._candidates[self._candidates.index(left)] = block
            self._left = None
        else:
            self._close()
            self._candidates.append(block)

    def remove(self, block: Block) -> None:
        self._close()
        self._left = next(b for b in self._candidates if b.block_id == block.block_id)
        if block.block_id != self._named:
            self._close()
        self._named = self._follower = -1

    def _close(self) -> None:
        """Let the last candidate take the place of a victim that nobody followed."""
        if self._left is not None:
            self._candidates[self._candidates.index(self._left)] = self._candidates[-1]
            self._candidates.pop()
            self._left = None

    def look(self, queue: Look) -> None:
        self._queue = queue

    def _draw(self, n: int) -> int:
        mask = (1 << 64) - 1
        self._generator = z = (self._generator + 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return (((z ^ (z >> 31)) >> 32) * n) >> 32

    def _rank(self, block: Block, now_s: float) -> tuple[float, int, int]:
        queue = self._queue
        is_fresh = block.inserted >= queue.n_known
        next_start, n_users = queue.demands.get(block.block_id, (math.inf, 0))
        now = Moment(
            now_s=now_s,
            next_start=math.inf if is_fresh else next_start,
            n_waiting_users=0.0 if is_fresh else float(n_users),
            is_fresh=float(is_fresh),
            n_waiting=float(queue.n_waiting),
        )
        p = self._params[block.category].tolist()
        value = float(self._policy.value(block._replace(next_use=0.0), now, p))
        if math.isnan(value):
            raise PolicyError(f"policy {type(self._policy).__name__}: value of {block} is NaN")
        return value, block.last_access, -block.depth

    def victim(self, now_s: float) -> int:
        if self._follower < 0:
            self._named = self._lowest(now_s)
        else:
            self._named, self._follower = self._follower, -1
        return self._named

    def _lowest(self, now_s: float) -> int:
        self._close()
        found = self._candidates
        n = len(found)
        if 0 < self._policy.n_samples < n:
            n_drawn = self._policy.n_samples
            stretch = -(-(n << 32) // n_drawn)
            start = self._draw(n)
            ends = [(k * stretch) >> 32 for k in range(n_drawn + 1)]
            places = [start + lo + self._draw(hi - lo) for lo, hi in pairwise(ends)]
            found = [found[place % n] for place in places]
        return min(found, key=lambda block: self._rank(block, now_s)).block_id


class _Events(Chooser):
    """A policy with its own order, told of every event directly."""

    def __init__(self, policy: EvictionPolicy) -> None:
        self._policy = policy

    def _seen(self, block: Block) -> Block:
        return block if self._policy.needs_future else block._replace(next_use=0.0)

    def miss(self, block: Block) -> None:
        if self._policy.hears_misses:
            self._policy.on_miss(self._seen(block))

    def insert(self, block: Block) -> None:
        self._policy.on_insert(self._seen(block))

    def hit(self, block: Block) -> None:
        self._policy.on_hit(self._seen(block))

    def evict(self, block: Block) -> None:
        self._policy.on_evict(self._seen(block))

    def add(self, block: Block) -> None:
        self._policy.add(self._seen(block))

    def remove(self, block: Block) -> None:
        self._policy.remove(self._seen(block))

    def victim(self, now_s: float) -> int:
        return int(self._policy.victim())


class Optimum(Chooser):
    """The block whose next use is furthest leaves."""

    def __init__(self) -> None:
        self._ranks: dict[int, tuple[float, int]] = {}

    def add(self, block: Block) -> None:
        self._ranks[block.block_id] = block.next_use, block.depth

    def remove(self, block: Block) -> None:
        del self._ranks[block.block_id]

    def victim(self, now_s: float) -> int:
        return max(self._ranks, key=self._ranks.__getitem__)
