"""Laws that every eviction policy obeys, checked on small random caches. Knows no simulator.

For authors of policies: `check_policy("my_policy.py:MyPolicy")` in a test of your own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import kernel
from .base import Binding, Block, Policy, Setting
from .order import (
    EVENT_EVICT,
    EVENT_HIT,
    EVENT_INSERT,
    EVENT_MISS,
    HOOKED,
    ITEM,
    Items,
    add,
    make_orders,
    notify,
    remove,
    rest,
    victim,
)
from .plain import Chooser, Look, Optimum, plain_face
from .registry import make_policy

CATEGORIES = ("chat-1", "chat-2", "code-1")

Path = tuple[int, ...]
Heaps = NDArray[Any]


def check_policy(policy: Policy | str, *, seed: int = 0, n_cases: int = 20) -> None:
    """Check that a policy keeps its contract, on `n_cases` small random traces.

    It names candidates only; it names the same ones compiled and in plain Python, and run
    after run; two caches that it orders do not influence each other; no more is hit than the
    offline optimum hits; and if it `is_uniform`, blocks of one run score alike.

    Raises:
        AssertionError: a law is broken; the message says which, and on what.
        PolicyError: the policy raised, gave NaN, or named a block that is no candidate.
        ConfigError: unknown name or parameter.

    >>> check_policy("lru")
    """
    name = policy if isinstance(policy, str) else type(policy).__name__
    made = make_policy(policy) if isinstance(policy, str) else policy
    rng = np.random.default_rng(seed)
    for n in range(n_cases):
        trace, other = _random_trace(rng), _random_trace(rng)
        try:
            _check_on(made, name, trace, other, rng)
        except AssertionError as error:
            raise AssertionError(
                f"policy {name}: {error} (seed {seed}, case {n}: capacity {trace.capacity}, paths"
                f" {trace.paths})"
            ) from None


class _Trace(NamedTuple):
    paths: list[Path]
    categories: list[int]
    times_s: list[float]
    capacity: int


def _random_trace(rng: np.random.Generator) -> _Trace:
    n = int(rng.integers(1, 60))
    paths = [
        tuple(int(x) for x in rng.choice((0, 0, 1, 2), size=int(rng.integers(1, 7))))
        for _ in range(n)
    ]
    gaps_s = rng.choice((0.0, 0.5, 1.0, 3.0, 20.0), size=n)
    return _Trace(
        paths=paths,
        categories=rng.integers(0, len(CATEGORIES), size=n).tolist(),
        times_s=np.cumsum(gaps_s).tolist(),
        capacity=max(len(p) for p in paths) + int(rng.integers(0, 12)),
    )


def _check_on(
    policy: Policy, name: str, trace: _Trace, other: _Trace, rng: np.random.Generator
) -> None:
    params = np.column_stack(
        (rng.exponential(0.5, len(CATEGORIES)), rng.uniform(0.1, 1, len(CATEGORIES)))
    )
    alone = _Run(policy, name, [trace], params).hits()[0]
    again = _Run(policy, name, [trace], params).hits()[0]
    assert alone == again, f"hits differ from run to run: {alone}, then {again}"
    beside = _Run(policy, name, [trace, other], params).hits()[0]
    assert alone == beside, f"a second cache changes the first one's hits: {alone} to {beside}"
    best = sum(_Cache(trace, [Optimum()]).run())
    assert sum(alone) <= best, f"{sum(alone)} hits, but the offline optimum has {best}"


class _Cache:
    """A prefix cache in plain Python: counts, and asks all its choosers for each victim."""

    def __init__(
        self,
        trace: _Trace,
        choosers: list[Chooser],
        *,
        keys: dict[Path, int] | None = None,
        first_id: int = 0,
        is_retagged: bool = False,
        takes_any: bool = False,
        window: int = 0,
        refresh_steps: int = 1,
    ) -> None:
        self._trace = trace
        self._window = window
        self._refresh_steps = refresh_steps
        self._looked_at = -refresh_steps
        self._is_retagged = is_retagged
        self._takes_any = takes_any
        self._choosers = choosers
        self._blocks: dict[Path, Block] = {}
        self._free_ids = list(range(first_id + trace.capacity - 1, first_id - 1, -1))
        self._candidates: dict[int, Path] = {}
        self._keys = _keys([trace]) if keys is None else keys
        self._next_use = _next_uses(trace)

    def run(self) -> list[int]:
        """Blocks that each request hits."""
        return list(self.steps())

    def steps(self) -> Iterator[int]:
        """The same, a request at a time."""
        for t, path in enumerate(self._trace.paths):
            yield self._place(t, [path[: d + 1] for d in range(len(path))])

    def _place(self, t: int, names: list[Path]) -> int:
        now_s = self._trace.times_s[t]
        clock = self._choosers[0].clock
        n_hits = next((n for n, name in enumerate(names) if name not in self._blocks), len(names))
        for name in reversed(names[n_hits:]):
            if name in self._blocks:  # an orphan, which is computed again
                self._evict(name, names)
        for name in reversed(names[:n_hits]):
            old = self._blocks[name]
            if old.block_id in self._candidates:
                self._withdraw(name)
            category = self._trace.categories[t] if self._is_retagged else old.category
            block = old._replace(
                category=category,
                last_access=t,
                last_access_s=now_s,
                n_hits=old.n_hits + 1,
                next_use=self._next_use[t, name],
                clock=clock,
            )
            self._blocks[name] = block
            for chooser in self._choosers:
                chooser.hit(block)
        for name in reversed(names[n_hits:]):
            self._miss(t, name)
        while len(self._free_ids) < len(names) - n_hits:
            if self._window and t >= self._looked_at + self._refresh_steps:
                self._look(t)
            self._make_room(now_s, names)
        for name in reversed(names[n_hits:]):
            block = self._new(t, name, self._free_ids.pop())._replace(clock=clock)
            self._blocks[name] = block
            for chooser in self._choosers:
                chooser.insert(block)
        for name in reversed(names if self._takes_any else names[-1:]):
            self._offer(name, ())
        return n_hits

    def _new(self, t: int, name: Path, block_id: int) -> Block:
        """A block that request t brings."""
        return Block(
            block_id=block_id,
            key=self._keys.setdefault(name, len(self._keys)),
            depth=len(name) - 1,
            category=self._trace.categories[t],
            last_access=t,
            last_access_s=self._trace.times_s[t],
            inserted=t,
            inserted_s=self._trace.times_s[t],
            n_hits=0,
            next_use=self._next_use[t, name],
            clock=0.0,
        )

    def _miss(self, t: int, name: Path) -> None:
        block = self._new(t, name, -1)
        for chooser in self._choosers:
            chooser.miss(block)

    def _look(self, t: int) -> None:
        """Take the requests after `t` for the waiting queue, as if all had arrived."""
        self._looked_at = t
        waiting = self._trace.paths[t + 1 : t + 1 + self._window]
        demands: dict[int, tuple[int, int]] = {}
        for name, block in self._blocks.items():
            users = [place for place, path in enumerate(waiting) if path[: len(name)] == name]
            if users:
                demands[block.block_id] = users[0], len(users)
        for chooser in self._choosers:
            chooser.look(Look(demands, t, len(waiting)))

    def _offer(self, name: Path, in_use: list[Path] | tuple[()]) -> None:
        """Make a block a candidate if it is idle and, unless any may go, has no cached child."""
        has_child = any(other[:-1] == name for other in self._blocks)
        if name in in_use or (has_child and not self._takes_any):
            return
        self._candidates[self._blocks[name].block_id] = name
        for chooser in self._choosers:
            chooser.add(self._blocks[name])

    def _withdraw(self, name: Path) -> None:
        del self._candidates[self._blocks[name].block_id]
        for chooser in self._choosers:
            chooser.remove(self._blocks[name])

    def _make_room(self, now_s: float, in_use: list[Path]) -> None:
        """Evict what all choosers name, and what has to go with it."""
        named = [chooser.victim(now_s) for chooser in self._choosers]
        first = self._candidates[named[0]]
        for chosen in named[1:]:
            assert chosen == named[0], (
                f"compiled it evicts {self._blocks[first]}, in plain Python"
                f" {self._blocks[self._candidates[chosen]]}"
            )
        self._evict(first, in_use)
        while (x := self._choosers[0].rest()) >= 0:
            self._evict(self._candidates[x], in_use)

    def _evict(self, first: Path, in_use: list[Path]) -> None:
        self._withdraw(first)
        block = self._blocks.pop(first)
        self._free_ids.append(block.block_id)
        for chooser in self._choosers:
            chooser.evict(block)
        if first[:-1] and not self._takes_any:
            self._offer(first[:-1], in_use)


def _keys(traces: list[_Trace]) -> dict[Path, int]:
    """Number all blocks in order of first sight."""
    found: dict[Path, int] = {}
    for trace in traces:
        for path in trace.paths:
            for depth in range(1, len(path) + 1):
                found.setdefault(path[:depth], len(found))
    return found


def _next_uses(trace: _Trace) -> dict[tuple[int, Path], float]:
    found: dict[tuple[int, Path], float] = {}
    after: dict[Path, float] = {}
    for t in range(len(trace.paths) - 1, -1, -1):
        path = trace.paths[t]
        for depth in range(1, len(path) + 1):
            found[t, path[:depth]] = after.get(path[:depth], math.inf)
            after[path[:depth]] = float(t)
    return found


class _Run:
    """One binding of a policy, and a cache a trace."""

    def __init__(
        self, policy: Policy, name: str, traces: list[_Trace], params: NDArray[np.float64]
    ) -> None:
        size = max(trace.capacity for trace in traces)
        keys = _keys(traces)
        above = np.array([keys.get(name[:-1], -1) for name in keys], np.int32)
        setting = Setting(
            n_items=size * len(traces),
            n_caches=len(traces),
            n_keys=len(keys),
            capacity_blocks=traces[0].capacity,
            category_names=CATEGORIES,
            seed=0,
            parent_keys=lambda: above,
        )
        binding = policy.bind(setting)
        if binding.fit_arguments is not None:
            binding.params[:, :2] = params  # what a fit may write
        bound = _Bound(name, binding, setting, policy)
        self._caches = []
        for i, trace in enumerate(traces):
            plain = plain_face(policy, setting, binding, i)
            choosers = [_BoundCache(bound, i, size), *([plain] if plain else [])]
            cache = _Cache(
                trace,
                choosers,
                keys=keys,
                first_id=i * size,
                is_retagged=binding.is_retagged,
                takes_any=policy.takes_any,
                window=binding.window,
                refresh_steps=binding.refresh_steps,
            )
            self._caches.append(cache)

    def hits(self) -> list[list[int]]:
        """Blocks that each request hits, a list a cache; the caches take turns."""
        hits: list[list[int]] = [[] for _ in self._caches]
        steps = [cache.steps() for cache in self._caches]
        is_open = [True] * len(steps)
        while any(is_open):
            for i, step in enumerate(steps):
                n = next(step, None)
                is_open[i] = n is not None
                if n is not None:
                    hits[i].append(n)
        return hits


class _Bound:
    """A policy as the simulator calls it: through its C functions."""

    def __init__(self, name: str, binding: Binding, setting: Setting, policy: Policy) -> None:
        self.name = name
        self.binding = binding
        self.needs_future = policy.needs_future
        self.items = np.zeros(setting.n_items + 1, ITEM)  # the last one for what is missing
        self.orders, self.heaps = make_orders(
            binding, n_caches=setting.n_caches, n_items=setting.n_items
        )

    def raise_failure(self) -> None:
        if self.orders["error"].any():
            raise self.binding.failure(self.name, self.orders)


class _BoundCache(Chooser):
    """The bound policy for one cache."""

    def __init__(self, bound: _Bound, cache: int, size: int) -> None:
        self._bound = bound
        self._cache = cache
        self._size = size

    def _call(self, function: Callable[..., None], block: Block, *more: int) -> None:
        x = block.block_id if block.block_id >= 0 else len(self._bound.items) - 1
        item = self._bound.items[x]
        item["key"], item["depth"], item["category"] = block.key, block.depth, block.category
        item["last"], item["last_s"] = block.last_access, block.last_access_s
        item["inserted"], item["inserted_s"] = block.inserted, block.inserted_s
        item["hits"], item["clock"] = block.n_hits, block.clock
        item["next_use"] = block.next_use if self._bound.needs_future else 0.0
        b = self._bound
        function(b.orders, b.items, b.heaps, self._cache, x, *more)
        b.raise_failure()

    def miss(self, block: Block) -> None:
        if self._bound.binding.hears_misses:
            self._call(_notify, block, EVENT_MISS)

    def insert(self, block: Block) -> None:
        self._call(_notify, block, EVENT_INSERT)

    def hit(self, block: Block) -> None:
        self._call(_notify, block, EVENT_HIT)

    def evict(self, block: Block) -> None:
        self._call(_notify, block, EVENT_EVICT)

    def add(self, block: Block) -> None:
        self._call(_add, block)

    def remove(self, block: Block) -> None:
        self._call(_remove, block)

    def look(self, queue: Look) -> None:
        order = self._bound.orders[self._cache]
        order["n_scans"] += 1
        order["n_known"] = queue.n_known
        order["n_waiting"] = queue.n_waiting
        demands: Any = self._bound.binding.demands
        for block_id, (next_start, n_users) in queue.demands.items():
            demands[block_id] = next_start, n_users, order["n_scans"]

    def victim(self, now_s: float) -> int:
        b, lo = self._bound, self._cache * self._size
        params = b.binding.params
        found = _victim(b.orders, b.items, b.heaps, params, self._cache, lo, self._size, now_s)
        b.raise_failure()
        self.clock = float(b.orders["clock"][self._cache])
        return int(found)

    def rest(self) -> int:
        b, lo = self._bound, self._cache * self._size
        if not b.binding.drops_whole:
            return -1
        found = _rest(b.orders, b.items, self._cache, lo, self._size)
        b.raise_failure()
        return int(found)


@kernel
def _add(orders: NDArray[Any], items: Items, heaps: Heaps, cache: int, x: int) -> None:
    add(orders[cache], items, heaps, x)


@kernel
def _remove(orders: NDArray[Any], items: Items, heaps: Heaps, cache: int, x: int) -> None:
    remove(orders[cache], items, heaps, x)


@kernel
def _notify(
    orders: NDArray[Any], items: Items, heaps: Heaps, cache: int, x: int, event: int
) -> None:
    if orders[cache].mode == HOOKED:
        notify(orders[cache], items, x, event)


@kernel
def _victim(
    orders: NDArray[Any],
    items: Items,
    heaps: Heaps,
    params: NDArray[np.float64],
    cache: int,
    lo: int,
    size: int,
    now_s: float,
) -> int:
    return int(victim(orders[cache], items, heaps, params, lo, lo + size, now_s))


@kernel
def _rest(orders: NDArray[Any], items: Items, cache: int, lo: int, size: int) -> int:
    return int(rest(orders[cache], items, lo, lo + size))
