"""A plain model of the tiers below a GPU's cache, behind the plain model of the scheduler."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import scheduler_model as model
from scheduler_model import Request, ceil_div


@dataclass(kw_only=True)
class Held:
    """A key of a tier, to whatever orders it."""

    key: int
    depth: int
    last: int
    """Number of its last use, of all uses of the tier."""
    last_s: float


Order = Callable[[list[Held], float], Held]
"""Who of the candidates leaves, at a time."""


@dataclass(kw_only=True)
class Tier:
    """One tier of one instance; least recently used blocks leave it. Times in seconds a block."""

    name: str
    n_blocks: int
    write: str
    min_hits: int
    is_exclusive: bool
    own_s: float
    """Over its own link, each way; 0 without one."""
    start_s: float

    ready_s: OrderedDict[int, float] = field(default_factory=OrderedDict)
    """Key -> when its transfer ends; the next to leave first."""
    order: Order | None = None
    """Who leaves first, if that is not the least recently used."""
    history: dict[int, Held] = field(default_factory=dict)
    n_uses: int = 0
    pins: dict[int, int] = field(default_factory=dict)
    n_hits: dict[int, int] = field(default_factory=dict)
    up_free_s: float = 0.0
    down_free_s: float = 0.0
    n_stored: int = 0
    n_kept: int = 0
    n_loaded: int = 0
    n_evicted: int = 0
    n_refused: int = 0
    n_unloaded: int = 0

    @property
    def crosses(self) -> bool:
        return self.name != "peer"

    def make_room(self, now_s: float) -> tuple[bool, int | None]:
        """Whether there is room for a block, and the key that had to go for it."""
        if len(self.ready_s) < self.n_blocks:
            return True, None
        free = [key for key in self.ready_s if self.pins.get(key, 0) == 0]
        if not free:
            return False, None
        leaving = free[0]
        if self.order is not None:
            leaving = self.order([self.history[key] for key in free], now_s).key
        del self.ready_s[leaving]
        self.n_evicted += 1
        return True, leaving

    def put(self, key: int, depth: int, ready_s: float, now_s: float) -> None:
        self.ready_s[key] = ready_s
        self.n_hits[key] = 0
        self.history[key] = Held(key=key, depth=depth, last=self.n_uses, last_s=now_s)
        self.n_uses += 1

    def use(self, key: int, now_s: float) -> None:
        if self.pins.get(key, 0) == 0:
            self.ready_s.move_to_end(key)
        self.n_hits[key] += 1
        self.history[key].last = self.n_uses
        self.history[key].last_s = now_s
        self.n_uses += 1


@dataclass(frozen=True, kw_only=True)
class LinkSettings:
    """Between host and GPU: seconds a block, and to start."""

    up_s: float
    down_s: float
    start_s: float


class TierPool(model.Pool):
    """A pool that says what it evicts and what it uses again."""

    def __init__(self, n_blocks: int) -> None:
        super().__init__(n_blocks)
        self.evicted: list[int] = []
        self.n_hits: dict[int, int] = {}

    def take(self) -> int:
        block = self.next_victim()
        if block in self.key_of:
            self.evicted.append(self.key_of[block])
        self.n_hits[block] = 0
        return super().take()

    def touch(self, block: int) -> None:
        super().touch(block)
        self.n_hits[block] += 1


class Turns:
    """Who of all requests has been admitted, and who uses a key next."""

    def __init__(
        self, requests: list[Request], names: model.Names, settings: model.Settings
    ) -> None:
        size = settings.block_size
        self.requests = requests
        self.paths: list[set[int]] = []
        for r in requests:
            named = min(r.covered_tokens, r.input_tokens + r.output_tokens - 1)
            self.paths.append(set(names.keys(r, named, size)))
        self.done: set[int] = set()
        self.last: dict[int, int] = {}
        """Instance -> last row of those that it admitted."""

    def admitted(self, instance: int, r: Request) -> None:
        self.done.add(r.row)
        self.last[instance] = max(self.last.get(instance, -1), r.row)

    def next_use(self, instance: int, key: int) -> float:
        """Of a cache that only this instance uses."""
        for r, path in zip(self.requests, self.paths, strict=True):
            if r.is_rejected or key not in path:
                continue
            is_over = r.row in self.done
            if r.instance not in (-1, instance):
                is_over = r.row <= self.last.get(instance, -1)
            if not is_over:
                return r.row
        return math.inf


class TierInstance(model.Instance):
    """One instance with tiers of its own, whose links serve one block after the other."""

    tiers: list[Tier]
    link: LinkSettings

    def __init__(self, settings: model.Settings, names: model.Names | None = None) -> None:
        super().__init__(settings, names)
        self.pool: TierPool = TierPool(settings.n_blocks)
        self.up_free_s = self.down_free_s = 0.0
        self.now_s = 0.0
        self.number = 0
        self.turns: Turns | None = None
        self.lengths: dict[int, int] = {}
        """Key -> blocks of the longest request through it that was here."""

    # what is known of whole requests

    def admitted(self, r: Request) -> None:
        if self.turns is not None:
            self.turns.admitted(self.number, r)
        self.note_length(r, r.n_known)

    def leave(self, r: Request) -> None:
        self.note_length(r, r.n_published * self.settings.block_size)
        super().leave(r)

    def note_length(self, r: Request, n_tokens: int) -> None:
        keys = self.keys(r, n_tokens)
        for key in keys:
            self.lengths[key] = max(self.lengths.get(key, 0), len(keys))

    # what enters

    def send(self, number: int, key: int, now_s: float, *, from_gpu: bool) -> None:
        """Store a key in a tier, and whatever that leads to further down."""
        tier = self.tiers[number]
        if key in tier.ready_s or self.is_aside(tier, key):
            return
        has_room, dropped = tier.make_room(now_s)
        if not has_room:
            tier.n_refused += 1
            return
        tier.n_stored += 1
        at_s = self.sent_s(tier, now_s, now_s, from_gpu=from_gpu and tier.crosses)
        tier.put(key, self.names.depth(key), at_s, now_s)
        self.pass_on(number, key, dropped, at_s, now_s)

    def pass_on(
        self, number: int, key: int, dropped: int | None, at_s: float, now_s: float
    ) -> None:
        if number + 1 == len(self.tiers):
            return
        below = self.tiers[number + 1]
        crosses = self.tiers[number].name == "peer"
        if below.write == "write-back" and dropped is not None:
            self.send(number + 1, dropped, now_s, from_gpu=crosses)
        elif (
            below.write == "write-through"
            and key not in below.ready_s
            and not self.is_aside(below, key)
        ):
            has_room, next_dropped = below.make_room(now_s)
            if not has_room:
                below.n_refused += 1
                return
            below.n_stored += 1
            at_s = self.sent_s(below, now_s, at_s, from_gpu=crosses)
            below.put(key, self.names.depth(key), at_s, now_s)
            self.pass_on(number + 1, key, next_dropped, at_s, now_s)

    def sent_s(self, tier: Tier, now_s: float, at_s: float, *, from_gpu: bool) -> float:
        """When a block is there that leaves the tier above at `at_s`."""
        if from_gpu:
            if self.down_free_s <= now_s:
                self.down_free_s = now_s + self.link.start_s
            self.down_free_s += self.link.down_s
            at_s = max(at_s, self.down_free_s)
        if tier.own_s:
            if tier.down_free_s <= at_s:
                tier.down_free_s = at_s + tier.start_s
            tier.down_free_s += tier.own_s
            at_s = tier.down_free_s
        return at_s

    def filled(self, r: Request) -> None:
        if self.tiers[0].write != "write-through":
            return
        assert self.ends_s is not None
        keys = self.keys(r, min(r.n_computed, r.n_published * self.settings.block_size))
        for k in range(r.n_stored, len(keys)):
            self.send(0, keys[k], self.ends_s, from_gpu=True)
        r.n_stored = max(r.n_stored, len(keys))

    def grow(self, r: Request, upto: int) -> None:
        for _ in range(self.n_missing(r, upto)):
            r.blocks.append(self.pool.take())
            self.demote()
        super().grow(r, upto)

    def demote(self) -> None:
        if self.tiers[0].write == "write-back":
            for key in self.pool.evicted:
                self.send(0, key, self.now_s, from_gpu=True)
        self.pool.evicted.clear()

    def hold(self, r: Request, hits: list[int]) -> None:
        first = self.tiers[0]
        for block in hits:
            self.pool.touch(block)
            if first.write == "selective" and self.pool.n_hits[block] == first.min_hits:
                self.send(0, self.pool.key_of[block], self.now_s, from_gpu=True)
        r.blocks = list(hits)
        r.n_published = len(hits)

    def take_hits(self, r: Request, hits: list[int], upto: int) -> None:
        self.hold(r, hits)
        self.grow(r, upto)

    # what is loaded

    def schedule(self, now_s: float) -> None:
        self.now_s = now_s
        super().schedule(now_s)

    def is_aside(self, tier: Tier, key: int) -> bool:
        """Whether another part of a tier's memory holds a key."""
        return False

    def searched(self) -> list[Tier]:
        """Where a key is looked for, in order."""
        return self.tiers

    def pinned(self, tier: Tier, key: int) -> None:
        """A key is being loaded."""

    def holder(self, key: int, now_s: float) -> Tier | None:
        for tier in self.searched():
            if key in tier.ready_s and tier.ready_s[key] <= now_s:
                return tier
        return None

    def host_hits(self, r: Request, n_hits: int, now_s: float) -> int:
        keys = self.keys(r, self.lookup_limit(r))
        for number, tier in enumerate(self.tiers):
            for key in reversed(keys):
                if key not in tier.ready_s:
                    continue
                tier.use(key, now_s)
                if number + 1 == len(self.tiers):
                    continue
                below = self.tiers[number + 1]
                if below.write == "selective" and tier.n_hits[key] == below.min_hits:
                    self.send(number + 1, key, now_s, from_gpu=tier.name == "peer")
        if len(self.loading) >= self.settings.max_num_seqs:
            return 0
        n = 0
        for key in keys[n_hits:]:
            if self.holder(key, now_s) is None:
                break
            n += 1
        return n

    def owed(self) -> int:
        return sum(
            ceil_div(r.n_known, self.settings.block_size) - len(r.blocks) for r in self.loading
        )

    def start_load(self, r: Request, hits: list[int], n: int, now_s: float) -> None:
        keys = self.keys(r, self.lookup_limit(r))[len(hits) : len(hits) + n]
        r.loaded_s = now_s
        for key in keys:
            tier = self.holder(key, now_s)
            assert tier is not None
            tier.pins[key] = tier.pins.get(key, 0) + 1
            tier.n_loaded += 1
            self.pinned(tier, key)
            at_s = now_s
            if tier.own_s:
                tier.up_free_s = max(tier.up_free_s, now_s + tier.start_s) + tier.own_s
                at_s = tier.up_free_s
            if tier.crosses:
                self.up_free_s = max(self.up_free_s, now_s + self.link.start_s, at_s)
                self.up_free_s += self.link.up_s
                at_s = self.up_free_s
            r.loaded_s = max(r.loaded_s, at_s)

    def load(self, r: Request, hits: list[int], n: int, now_s: float) -> None:
        self.start_load(r, hits, n, now_s)
        self.hold(r, hits)
        self.make_place(r, hits, n)
        self.loading.append(r)

    def make_place(self, r: Request, hits: list[int], n: int) -> None:
        for _ in range(n):
            r.blocks.append(self.pool.take())
            self.demote()
        r.n_loading = n
        r.n_computed = len(hits) * self.settings.block_size

    def arrive(self, r: Request, now_s: float) -> None:
        """Publish the blocks that a request waited for."""
        size = self.settings.block_size
        keys = self.keys(r, len(r.blocks) * size)[-r.n_loading :]
        for key in reversed(keys):
            self.unpin(key, now_s)
        r.n_computed = len(r.blocks) * size
        self.grow(r, r.n_computed)

    def finish_loads(self, now_s: float) -> list[Request]:
        """Those that have all they waited for, in the order in which that was found."""
        size = self.settings.block_size
        for r in self.loading:
            if r.loaded_s > now_s or r.n_computed == len(r.blocks) * size:
                continue
            self.arrive(r, now_s)
            self.ready.append(r)
        self.ready = [r for r in self.ready if r in self.loading]
        return self.ready

    def unpin(self, key: int, now_s: float) -> None:
        tier = next(tier for tier in self.searched() if tier.pins.get(key, 0) > 0)
        tier.pins[key] -= 1
        if tier.pins[key] == 0:
            if tier.is_exclusive:
                del tier.ready_s[key]
            else:
                tier.ready_s.move_to_end(key)
        if tier.name != "disk":
            return
        for number, host in enumerate(self.tiers):
            if self.is_aside(host, key):
                continue
            if host.name == "host" and not host.is_exclusive and key not in host.ready_s:
                has_room, dropped = host.make_room(now_s)
                if has_room:
                    host.n_kept += 1
                    host.put(key, self.names.depth(key), now_s, now_s)
                if dropped is not None and tier.write == "write-back":
                    self.send(number + 1, dropped, now_s, from_gpu=False)
