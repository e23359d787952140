"""A plain cache-only replay, block by block, under any policy; of kvsim what a policy sees.

A path is a tuple of branches; a block is a path's leading part. Each request is looked up,
placed and released at once; its whole path is in use while it is placed.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kvsim.policies.base import Block
from kvsim.policies.sampled import Moment

Path = tuple[int, ...]


class Access(NamedTuple):
    path: Path
    now_s: float
    category: int


@dataclass
class Cached:
    """A cached block's history."""

    name: Path
    inserted: int
    inserted_s: float
    category: int
    last: int = -1
    last_s: float = math.nan
    n_hits: int = 0
    next_use: float = 0.0
    clock: float = 0.0

    def seen(self) -> Block:
        """What a policy is told; id and key stay out of it."""
        return Block(
            -1,
            -1,
            len(self.name) - 1,
            self.category,
            self.last,
            self.last_s,
            self.inserted,
            self.inserted_s,
            self.n_hits,
            self.next_use,
            self.clock,
        )


@dataclass
class Rule(ABC):
    """How victims are chosen; the base keeps nothing and knows nothing."""

    def arrive(self, access: Access) -> None:  # noqa: B027  (optional)
        """A request arrived; called for each, before its look-up."""

    def missed(self, name: Path) -> None: ...  # noqa: B027  (optional)

    def inserted(self, block: Cached) -> None: ...  # noqa: B027  (optional)

    def hit(self, block: Cached) -> None: ...  # noqa: B027  (optional)

    def evicted(self, block: Cached) -> None: ...  # noqa: B027  (optional)

    def idle(self, block: Cached) -> None: ...  # noqa: B027  (optional)

    @abstractmethod
    def choose(self, candidates: list[Cached], now_s: float) -> Cached:
        """Name the candidate that leaves."""


@dataclass
class Scored(Rule):
    """The lowest score leaves; equal: longer unused, then deeper."""

    score: Callable[[Block], float]
    clock: float = 0.0

    def choose(self, candidates: list[Cached], now_s: float) -> Cached:
        found = min(candidates, key=lambda b: (self.score(b.seen()), b.last, -len(b.name)))
        self.clock = max(self.clock, self.score(found.seen()))
        return found


@dataclass
class Queued(Rule):
    """One queue a category in order of last use; the head with the lowest value leaves."""

    value: Callable[[int, float, float, float, float], float]
    params: list[list[float]]
    profiler: Profiler | None = None

    def arrive(self, access: Access) -> None:
        if self.profiler is not None:
            self.profiler.arrive(access, self.params)

    def choose(self, candidates: list[Cached], now_s: float) -> Cached:
        heads: dict[int, Cached] = {}
        for block in sorted(candidates, key=lambda b: (b.last, -len(b.name))):
            heads.setdefault(block.category, block)

        def rank(block: Cached) -> tuple[float, int, int]:
            value = self.value(block.category, now_s - block.last_s, *self.params[block.category])
            return value, -len(block.name), block.last

        return min(heads.values(), key=rank)


@dataclass
class Streaks(Rule):
    """After a victim goes what stands above it and shares its past, while there is need."""

    named: Cached | None = None

    def arrive(self, access: Access) -> None:
        self.named = None

    @abstractmethod
    def pick(self, candidates: list[Cached], now_s: float) -> Cached:
        """Choose whatever went before."""

    def choose(self, candidates: list[Cached], now_s: float) -> Cached:
        for block in candidates:
            if self.named is not None and block.name == self.named.name[:-1]:
                before = self.named.inserted, self.named.last, self.named.n_hits
                if (block.inserted, block.last, block.n_hits) == before:
                    self.named = block
                    return block
        self.named = self.pick(candidates, now_s)
        return self.named


@dataclass
class Valued(Streaks):
    """The lowest value now leaves; equal: longer unused, then deeper. Nobody waits."""

    value: Callable[[Block, Moment, list[float]], float] = lambda *_: 0.0
    params: list[list[float]] = field(default_factory=list)

    def pick(self, candidates: list[Cached], now_s: float) -> Cached:
        now = Moment(now_s, math.inf, 0.0, 0.0, 0.0)

        def rank(block: Cached) -> tuple[float, int, int]:
            value = self.value(block.seen(), now, self.params[block.category])
            return value, block.last, -len(block.name)

        return min(candidates, key=rank)


@dataclass
class MultiLru(Rule):
    """Four lru queues by uses of late, counted beyond a block's time in the cache."""

    capacity: int
    uses: dict[Path, int] = field(default_factory=dict)
    n_uses: int = 0
    level: dict[Path, int] = field(default_factory=dict)

    def arrive(self, access: Access) -> None:
        if self.n_uses >= 10 * self.capacity and 0 < len(access.path) <= self.capacity:
            self.n_uses //= 2
            self.uses = {name: n // 2 for name, n in self.uses.items()}

    def inserted(self, block: Cached) -> None:
        self.uses[block.name] = min(15, self.uses.get(block.name, 0) + 1)
        self.n_uses += 1

    hit = inserted

    def idle(self, block: Cached) -> None:
        self.level[block.name] = sum(self.uses[block.name] >= n for n in (3, 8, 15))

    def choose(self, candidates: list[Cached], now_s: float) -> Cached:
        return min(candidates, key=lambda b: (self.level[b.name], b.last, -len(b.name)))


@dataclass
class Profiler:
    """Reuse rate and probability of each category, block by block, over recent windows.

    A re-access after more than `min_gap_s` is a reuse of the category of the access before it,
    whose own use may have left the windows by then.
    """

    n_categories: int
    refit_s: float
    window_s: float
    min_gap_s: float
    is_shifted: bool
    life_s: float = 5.0
    is_censored: bool = False
    next_refit_s: float = math.nan
    previous: dict[Path, tuple[float, int]] = field(default_factory=dict)
    windows: list[list[tuple[str, int, float]]] = field(default_factory=lambda: [[]])
    """Events of each period, the current one last: ("use" or "reuse", category, gap)."""

    def arrive(self, access: Access, params: list[list[float]]) -> None:
        now_s = access.now_s
        if math.isnan(self.next_refit_s):
            self.next_refit_s = now_s + self.refit_s
        if now_s >= self.next_refit_s:
            self.refit(params, now_s)
            while self.next_refit_s <= now_s:
                self.next_refit_s += self.refit_s
        for depth in range(len(access.path), 0, -1):
            name = access.path[:depth]
            if name in self.previous:
                before_s, category = self.previous[name]
                if now_s - before_s > self.min_gap_s:
                    self.windows[-1].append(("reuse", category, now_s - before_s))
            self.windows[-1].append(("use", access.category, 0.0))
            self.previous[name] = now_s, access.category

    def refit(self, params: list[list[float]], now_s: float) -> None:
        events = [event for window in self.windows for event in window]
        for category in range(self.n_categories):
            n_uses = sum(kind == "use" and c == category for kind, c, _ in events)
            gaps = [gap for kind, c, gap in events if kind == "reuse" and c == category]
            total = sum(gaps) - (len(gaps) * min(gaps) if self.is_shifted and gaps else 0.0)
            if gaps and total > 1e-12:
                params[category][0] = len(gaps) / total
                params[category][1] = len(gaps) / n_uses if n_uses > len(gaps) else 1.0
            else:
                params[category][0], params[category][1] = 0.0, 1.0
            if gaps and self.is_censored:
                ages = self.ages_of_unused(category, now_s)
                params[category][:2] = fit_with_unused(gaps, ages, params[category][0])
            params[category][2] = 1.0 - math.exp(-params[category][0] * self.life_s)
        if not math.isinf(self.window_s):
            self.windows.append([])
            self.windows = self.windows[-max(1, round(self.window_s / self.refit_s)) :]

    def ages_of_unused(self, category: int, now_s: float) -> list[float]:
        """How long blocks of the category, last used within the window, were not reused."""
        ages = [now_s - last_s for last_s, c in self.previous.values() if c == category]
        return [age for age in ages if self.min_gap_s < age <= self.window_s]


def fit_with_unused(gaps: list[float], ages: list[float], rate: float) -> tuple[float, float]:
    """Rate and probability of reuse by expectation and maximisation, ten rounds."""
    n = len(gaps) + len(ages)
    p = len(gaps) / n
    for _ in range(10):
        alive = [p * math.exp(-rate * age) for age in ages]
        to_come = [1.0 if p == 1 else x / (1 - p + x) for x in alive]
        exposure = sum(w * age for w, age in zip(to_come, ages, strict=True))
        rate, p = len(gaps) / (sum(gaps) + exposure), (len(gaps) + sum(to_come)) / n
    return rate, p


def next_uses(accesses: Sequence[Access], capacity: int) -> dict[tuple[int, Path], float]:
    """Row of the next request that uses a block, by (row, block)."""
    found: dict[tuple[int, Path], float] = {}
    after: dict[Path, float] = {}
    for t in range(len(accesses) - 1, -1, -1):
        path = accesses[t].path
        if len(path) > capacity:
            continue
        for depth in range(1, len(path) + 1):
            found[t, path[:depth]] = after.get(path[:depth], math.inf)
            after[path[:depth]] = float(t)
    return found


def has_child(cached: dict[Path, Cached], name: Path) -> bool:
    return any(other[:-1] == name for other in cached if other)


def replay(
    accesses: Sequence[Access],
    rule: Rule,
    capacity: int,
    *,
    is_retagged: bool = False,
    needs_future: bool = False,
    takes_any: bool = False,
) -> tuple[list[int], int]:
    """Hit blocks of each request; blocks cached right below an evicted one, if it `takes_any`."""
    n_orphaned = 0
    cached: dict[Path, Cached] = {}
    future = next_uses(accesses, capacity) if needs_future else {}
    hits = []
    for t, access in enumerate(accesses):
        rule.arrive(access)
        names = [access.path[: d + 1] for d in range(len(access.path))]
        if len(names) > capacity:
            hits.append(0)
            continue
        n_hits = next((n for n, name in enumerate(names) if name not in cached), len(names))
        for name in names[n_hits:]:
            cached.pop(name, None)  # an orphan is computed again
        clock = getattr(rule, "clock", 0.0)

        def use(block: Cached, t: int = t, access: Access = access, clock: float = clock) -> None:
            block.last, block.last_s, block.clock = t, access.now_s, clock
            block.next_use = future.get((t, block.name), 0.0)

        for name in reversed(names[:n_hits]):
            block = cached[name]
            use(block)
            block.n_hits += 1
            if is_retagged:
                block.category = access.category
            rule.hit(block)
        for name in reversed(names[n_hits:]):
            rule.missed(name)
        while len(cached) + len(names) - n_hits > capacity:
            parents = {name[:-1] for name in cached}
            free = [b for b in cached.values() if b.name not in names]
            if not takes_any:
                free = [b for b in free if b.name not in parents]
            victim = rule.choose(free, access.now_s)
            del cached[victim.name]
            n_orphaned += sum(name[:-1] == victim.name for name in cached)
            rule.evicted(victim)
            above = victim.name[:-1]
            if above in cached and above not in names and not has_child(cached, above):
                rule.idle(cached[above])
        for name in reversed(names[n_hits:]):
            block = Cached(name, inserted=t, inserted_s=access.now_s, category=access.category)
            use(block)
            cached[name] = block
            rule.inserted(block)
        if names and not has_child(cached, names[-1]):
            rule.idle(cached[names[-1]])
        hits.append(n_hits)
    return hits, n_orphaned
