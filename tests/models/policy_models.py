"""Classic policies as their papers tell them, on plain lists: oldest first, block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from prefix_cache_model import Access, Cached, Path, Rule, Streaks


@dataclass
class Handed(Rule):
    """A hand over a queue; what stands above a victim goes next if it has no uses left."""

    queue: list[Cached] = field(default_factory=list)
    uses: dict[Path, int] = field(default_factory=dict)
    above: Cached | None = None
    t: int = -1

    def arrive(self, access: Access) -> None:
        self.t += 1

    def inserted(self, block: Cached) -> None:
        self.queue.append(block)
        self.uses[block.name] = 0

    def hit(self, block: Cached) -> None:
        if block == self.above:
            self.above = None

    def evicted(self, block: Cached) -> None:
        self.queue.remove(block)
        self.above = None
        for other in self.queue:
            has_child = any(b.name[:-1] == other.name for b in self.queue)
            is_free = not has_child and other.last < self.t and self.uses[other.name] == 0
            if other.name == block.name[:-1] and is_free:
                self.above = other


@dataclass
class Clock(Handed):
    """Second chances; whatever is passed over loses a use and goes to the end."""

    most_uses: int = 1

    def hit(self, block: Cached) -> None:
        super().hit(block)
        self.uses[block.name] = min(self.most_uses, self.uses[block.name] + 1)

    def choose(self, candidates: list[Cached], now_s: float) -> Cached:
        if self.above is not None:
            return self.above
        while True:
            block = self.queue[0]
            if block in candidates and self.uses[block.name] == 0:
                return block
            self.uses[block.name] = max(0, self.uses[block.name] - 1)
            self.queue = [*self.queue[1:], block]


@dataclass
class Sieve(Handed):
    """The hand goes from old to new, clears marks, and stays where it evicts."""

    at: int = 0

    def hit(self, block: Cached) -> None:
        super().hit(block)
        self.uses[block.name] = 1

    def evicted(self, block: Cached) -> None:
        if self.queue.index(block) < self.at:
            self.at -= 1
        super().evicted(block)
        if self.at == len(self.queue):
            self.at = 0

    def choose(self, candidates: list[Cached], now_s: float) -> Cached:
        if self.above is not None:
            return self.above
        while True:
            block = self.queue[self.at]
            if block in candidates and self.uses[block.name] == 0:
                return block
            self.uses[block.name] = 0
            self.at = (self.at + 1) % len(self.queue)


def first(queue: list[Cached], candidates: list[Cached]) -> Cached | None:
    """The oldest candidate of a queue."""
    return next((block for block in queue if block in candidates), None)


@dataclass
class Queues(Rule):
    """Several queues, each oldest first."""

    capacity: int
    n_queues: int = 2
    queues: list[list[Cached]] = field(init=False)

    def __post_init__(self) -> None:
        self.queues = [[] for _ in range(self.n_queues)]

    def queue_of(self, block: Cached) -> int:
        return next(i for i, queue in enumerate(self.queues) if block in queue)

    def move(self, block: Cached, to: int) -> None:
        self.queues[self.queue_of(block)].remove(block)
        self.queues[to].append(block)

    def along(self, block: Cached, uses: dict[Path, int]) -> list[Cached]:
        """The block and those right above it in tree and queue, cached with it, used as often."""
        queue = self.queues[self.queue_of(block)]
        found = [block]
        for other in queue[queue.index(block) + 1 :]:
            is_above = other.name == found[-1].name[:-1] and other.inserted == block.inserted
            if not is_above or uses[other.name] != uses[block.name]:
                break
            found.append(other)
        return found

    def either(self, chosen: int, candidates: list[Cached]) -> Cached:
        """The oldest candidate of one of two queues, of the other one if it has none."""
        found = first(self.queues[chosen], candidates) or first(self.queues[1 - chosen], candidates)
        assert found is not None
        return found


def last(names: list[Path], n: int) -> list[Path]:
    """The n last of a list."""
    return names[-n:] if n else []


@dataclass
class S3Fifo(Queues):
    """Small and main queue and ghosts; what is no candidate is passed over."""

    promote_at: int = 2
    uses: dict[Path, int] = field(default_factory=dict)
    ghosts: list[Path] = field(default_factory=list)
    has_evicted: bool = False
    is_cut_due: bool = False

    def inserted(self, block: Cached) -> None:
        n_small = max(1, int(self.capacity * 0.1))
        is_early = not self.has_evicted and len(self.queues[0]) >= n_small
        self.queues[is_early or block.name in self.ghosts].append(block)
        self.uses[block.name] = 0
        self.ghosts = [name for name in self.ghosts if name != block.name]
        self.is_cut_due = True

    def go_round(self, block: Cached, uses: int) -> None:
        for moved in self.along(block, self.uses):
            self.move(moved, 1)
            self.uses[moved.name] = uses

    def hit(self, block: Cached) -> None:
        self.uses[block.name] = min(3, self.uses[block.name] + 1)

    def evicted(self, block: Cached) -> None:
        self.has_evicted = True
        if self.is_cut_due:
            self.ghosts = last(self.ghosts, int(self.capacity * 0.9))
        self.is_cut_due = False
        queue = self.queue_of(block)
        self.queues[queue].remove(block)
        if queue == 0:
            self.ghosts.append(block.name)

    def choose(self, candidates: list[Cached], now_s: float) -> Cached:
        small, main = self.queues
        is_short = len(small) < max(1, int(self.capacity * 0.1))
        if not (is_short and first(main, candidates)):
            while block := first(small, candidates):
                if self.uses[block.name] < self.promote_at:
                    return block
                self.go_round(block, 0)
        while block := first(main, candidates):
            if self.uses[block.name] == 0:
                return block
            self.go_round(block, self.uses[block.name] - 1)
        raise AssertionError("no candidate")


@dataclass
class TwoQ(Queues):
    """A first-in-first-out queue, a queue in order of use, and the ghosts of the first."""

    ghosts: list[Path] = field(default_factory=list)
    is_cut_due: bool = False

    def inserted(self, block: Cached) -> None:
        self.queues[block.name in self.ghosts].append(block)
        self.ghosts = [name for name in self.ghosts if name != block.name]
        self.is_cut_due = True

    def hit(self, block: Cached) -> None:
        if block in self.queues[1]:
            self.move(block, 1)

    def evicted(self, block: Cached) -> None:
        if self.is_cut_due:
            self.ghosts = last(self.ghosts, int(self.capacity * 0.5))
        self.is_cut_due = False
        if block in self.queues[0]:
            self.ghosts.append(block.name)
        self.queues[self.queue_of(block)].remove(block)

    def choose(self, candidates: list[Cached], now_s: float) -> Cached:
        is_long = len(self.queues[0]) > int(self.capacity * 0.25)
        return self.either(0 if is_long else 1, candidates)


@dataclass
class Slru(Queues):
    """Segments through which blocks rise."""

    n_queues: int = 4

    def room(self, segment: int) -> int:
        """Its length less the blocks in it; the lower segments take what is left over."""
        length = self.capacity // self.n_queues + (segment < self.capacity % self.n_queues)
        return length - len(self.queues[segment])

    def inserted(self, block: Cached) -> None:
        free = [i for i in range(self.n_queues) if self.room(i) > 0]
        self.queues[free[0] if free else 0].append(block)

    def hit(self, block: Cached) -> None:
        self.move(block, min(self.queue_of(block) + 1, self.n_queues - 1))
        for segment in range(self.n_queues - 1, 0, -1):
            while self.room(segment) < 0:
                self.move(self.queues[segment][0], segment - 1)

    def evicted(self, block: Cached) -> None:
        self.queues[self.queue_of(block)].remove(block)

    def choose(self, candidates: list[Cached], now_s: float) -> Cached:
        return next(block for queue in self.queues for block in queue if block in candidates)


@dataclass
class Arc(Queues):
    """Used once, used more often, and the ghosts of either."""

    target: float = 0.0
    ghosts: list[list[Path]] = field(default_factory=lambda: [[], []])
    returning: set[Path] = field(default_factory=set)
    is_often_back: bool = False

    def arrive(self, access: Access) -> None:
        self.returning = set()
        self.is_often_back = False

    def missed(self, name: Path) -> None:
        once, often = self.ghosts
        if name in once:
            self.target = min(self.capacity, self.target + max(1.0, len(often) / len(once)))
        if name in often:
            self.target = max(0.0, self.target - max(1.0, len(once) / len(often)))
            self.is_often_back = True
        for ghosts in self.ghosts:
            if name in ghosts:
                ghosts.remove(name)
                self.returning.add(name)

    def inserted(self, block: Cached) -> None:
        once, often = self.ghosts
        self.queues[block.name in self.returning].append(block)
        n_once, n_cached = len(self.queues[0]), sum(map(len, self.queues))
        while once and n_once + len(once) > self.capacity:
            del once[0]
        while often and n_cached + len(once) + len(often) > 2 * self.capacity:
            del often[0]

    def hit(self, block: Cached) -> None:
        self.move(block, 1)

    def evicted(self, block: Cached) -> None:
        queue = self.queue_of(block)
        self.queues[queue].remove(block)
        self.ghosts[queue].append(block.name)

    def choose(self, candidates: list[Cached], now_s: float) -> Cached:
        n_once = len(self.queues[0])
        is_long = n_once > self.target or (n_once == self.target and self.is_often_back)
        return self.either(0 if is_long else 1, candidates)


@dataclass
class Lirs(Rule):
    """A stack in order of last use, pruned at its bottom, and a queue of cold cached blocks."""

    capacity: int
    hot: set[Path] = field(default_factory=set)
    stack: list[Path] = field(default_factory=list)
    """Hot blocks, and cold ones used since the lowest hot one; the latest last."""
    cold: list[Cached] = field(default_factory=list)
    blocks: dict[Path, Cached] = field(default_factory=dict)
    ghosts: list[Path] = field(default_factory=list)
    before: set[Path] = field(default_factory=set)
    """What was on the stack before the request."""
    is_cut_due: bool = False

    def arrive(self, access: Access) -> None:
        if 0 < len(access.path) <= self.capacity:
            self.before = set(self.stack)

    def put_on_stack(self, block: Cached, *, is_hot: bool) -> None:
        if block in self.cold:
            self.cold.remove(block)
        self.stack = [*(name for name in self.stack if name != block.name), block.name]
        if is_hot:
            self.hot.add(block.name)
        else:
            self.cold.append(block)
        while len(self.hot) > self.n_hot:
            lowest = next(name for name in self.stack if name in self.hot)
            self.hot.remove(lowest)
            self.cold.append(self.blocks[lowest])
            del self.stack[: self.stack.index(lowest) + 1]
        self.prune()

    @property
    def n_hot(self) -> int:
        return self.capacity - max(1, int(self.capacity * 0.01))

    def prune(self) -> None:
        while self.hot and self.stack[0] not in self.hot:
            del self.stack[0]

    def inserted(self, block: Cached) -> None:
        is_ghost = block.name in self.ghosts and block.name in self.before
        is_hot = len(self.hot) < self.n_hot or is_ghost
        self.blocks[block.name] = block
        self.ghosts = [name for name in self.ghosts if name != block.name]
        self.put_on_stack(block, is_hot=is_hot)
        self.is_cut_due = True

    def hit(self, block: Cached) -> None:
        self.put_on_stack(block, is_hot=block.name in self.hot or block.name in self.before)

    def evicted(self, block: Cached) -> None:
        if self.is_cut_due:
            self.ghosts = last(self.ghosts, self.capacity)
        self.is_cut_due = False
        if block in self.cold:
            self.cold.remove(block)
            if block.name in self.stack:
                self.ghosts.append(block.name)
        else:
            self.hot.remove(block.name)
            self.stack.remove(block.name)
        self.prune()
        while self.ghosts and self.ghosts[0] not in self.stack:
            del self.ghosts[0]

    def choose(self, candidates: list[Cached], now_s: float) -> Cached:
        hot = [self.blocks[name] for name in self.stack if name in self.hot]
        found = first(self.cold, candidates) or first(hot, candidates)
        assert found is not None
        return found


@dataclass
class WTinyLfu(Queues):
    """Window, probation and protected; the window's oldest meets the main cache's."""

    n_queues: int = 3
    uses: dict[Path, int] = field(default_factory=dict)
    n_uses: int = 0

    @property
    def n_main(self) -> int:
        return self.capacity - max(1, int(self.capacity * 0.01))

    @property
    def n_protected(self) -> int:
        return int(self.n_main * 0.8)

    def arrive(self, access: Access) -> None:
        if self.n_uses >= 10 * self.capacity and 0 < len(access.path) <= self.capacity:
            self.n_uses //= 2
            self.uses = {name: n // 2 for name, n in self.uses.items()}

    def count(self, block: Cached) -> None:
        self.uses[block.name] = min(15, self.uses.get(block.name, 0) + 1)
        self.n_uses += 1

    def inserted(self, block: Cached) -> None:
        self.count(block)
        self.queues[0].append(block)

    def hit(self, block: Cached) -> None:
        self.count(block)
        self.move(block, 0 if block in self.queues[0] else 2)
        if len(self.queues[2]) > self.n_protected:
            self.move(self.queues[2][0], 1)

    def fill_main(self) -> None:
        window, probation, protected = self.queues
        while window and len(probation) + len(protected) < self.n_main:
            is_full = len(probation) >= self.n_main - self.n_protected
            self.move(window[0], 2 if is_full else 1)

    def evicted(self, block: Cached) -> None:
        self.queues[self.queue_of(block)].remove(block)
        self.fill_main()

    def choose(self, candidates: list[Cached], now_s: float) -> Cached:
        self.fill_main()
        window, probation, protected = self.queues
        x = first(window, candidates)
        y = first(probation, candidates) or first(protected, candidates)
        if y is None:
            assert x is not None
            return x
        if len(probation) + len(protected) <= self.n_main and x is not None:
            if self.uses[x.name] <= self.uses[y.name]:
                return x
            for block in self.along(x, self.uses):
                self.move(block, 1)
        return y


@dataclass
class Lhd(Streaks):
    """The lowest hit density leaves, of all candidates; uses are numbered request by request."""

    capacity: int = 0
    refit_uses: int = 4096
    blocks: dict[Path, tuple[int, int, int]] = field(default_factory=dict)
    """Uses of any block before the request of the last use, and the ages at the last two hits."""
    n_uses: int = 0
    n_before: int = 0
    next_refit: int = 0
    hits: dict[tuple[int, int], float] = field(default_factory=dict)
    evictions: dict[tuple[int, int], float] = field(default_factory=dict)
    densities: dict[tuple[int, int], float] | None = None

    def __post_init__(self) -> None:
        self.next_refit = self.refit_uses

    def arrive(self, access: Access) -> None:
        super().arrive(access)
        if 0 < len(access.path) <= self.capacity:
            self.n_before = self.n_uses
            if self.n_uses >= self.next_refit:
                self.next_refit = self.n_uses + self.refit_uses
                self.refit()

    def cell(self, block: Cached) -> tuple[int, int]:
        """Class and age: a class up each time that the last two ages are halved."""
        used, last_age, age_before = self.blocks[block.name]
        ages = last_age + age_before
        kind = next((k for k in range(15) if ages * 2**k >= 2048), 15)
        return kind, min((self.n_before - used) // max(1, self.capacity // 64), 2047)

    def refit(self) -> None:
        self.densities = {}
        self.hits = {cell: 0.9 * n for cell, n in self.hits.items()}
        self.evictions = {cell: 0.9 * n for cell, n in self.evictions.items()}
        for kind in range(16):
            n_hits = n_events = lifetime = 0.0
            for age in range(2047, -1, -1):
                hits = self.hits.get((kind, age), 0.0)
                n_hits += hits
                n_events += hits + self.evictions.get((kind, age), 0.0)
                lifetime += n_events
                self.densities[kind, age] = n_hits / lifetime if lifetime > 1e-5 else 0.0

    def use(self, block: Cached, last_age: int, age_before: int) -> None:
        self.blocks[block.name] = self.n_before, last_age, age_before
        self.n_uses += 1

    def inserted(self, block: Cached) -> None:
        self.use(block, 0, 2048)

    def hit(self, block: Cached) -> None:
        cell = self.cell(block)
        self.hits[cell] = self.hits.get(cell, 0.0) + 1
        self.use(block, cell[1], self.blocks[block.name][1])

    def evicted(self, block: Cached) -> None:
        cell = self.cell(block)
        self.evictions[cell] = self.evictions.get(cell, 0.0) + 1

    def density(self, block: Cached) -> float:
        kind, age = self.cell(block)
        return (kind + 1) / (age + 1) if self.densities is None else self.densities[kind, age]

    def pick(self, candidates: list[Cached], now_s: float) -> Cached:
        return min(candidates, key=lambda b: (self.density(b), self.blocks[b.name][0]))


MASK = 2**64 - 1


def mixed(z: int) -> int:
    """The output function of splitmix64."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def shares(seed: int) -> Iterator[float]:
    """What a policy draws in the first cache of a run."""
    state = int(np.random.SeedSequence([seed, 0]).generate_state(1)[0])
    while True:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        yield (mixed(state) >> 11) / 2**53


@dataclass
class Lecar(Streaks):
    """LRU or LFU, by weights that their mistakes shift."""

    capacity: int = 0
    draws: Iterator[float] = field(default_factory=lambda: shares(1))
    weights: list[float] = field(default_factory=lambda: [0.5, 0.5])
    ghosts: list[dict[Path, int]] = field(default_factory=lambda: [{}, {}])
    used: dict[Path, int] = field(default_factory=dict)
    n_uses: int = 0
    chosen: int = 0
    is_cut_due: bool = False

    def hit(self, block: Cached) -> None:
        self.n_uses += 1
        self.used[block.name] = self.n_uses

    def inserted(self, block: Cached) -> None:
        self.hit(block)
        self.is_cut_due = True

    def missed(self, name: Path) -> None:
        for rule, ghosts in enumerate(self.ghosts):
            if name in ghosts:
                away = self.n_uses - ghosts.pop(name)
                regret = (0.005 ** (1 / self.capacity)) ** away
                self.weights[rule] *= math.exp(-0.45 * regret)
                lru = self.weights[0] / sum(self.weights)
                lru = min(max(lru, 0.01), 0.99)
                self.weights = [lru, 1 - lru]

    def evicted(self, block: Cached) -> None:
        for ghosts in self.ghosts:
            while self.is_cut_due and len(ghosts) > self.capacity:
                del ghosts[next(iter(ghosts))]
        self.is_cut_due = False
        self.ghosts[self.chosen][block.name] = self.n_uses

    def pick(self, candidates: list[Cached], now_s: float) -> Cached:
        self.chosen = 0 if next(self.draws) < self.weights[0] else 1
        if self.chosen == 0:
            return min(candidates, key=lambda b: self.used[b.name])
        return min(candidates, key=lambda b: (b.n_hits, self.used[b.name]))
