"""A plain model of the host's part of the cache, behind the plain model of the scheduler."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import scheduler_model as model
from scheduler_model import Request, ceil_div


@dataclass(frozen=True, kw_only=True)
class HostSettings:
    """Sizes in blocks, times in seconds."""

    n_blocks: int
    write: str
    min_hits: int
    up_s: float
    """To move one block to the GPU."""
    down_s: float
    start_s: float


class HostPool(model.Pool):
    """A pool that says what it evicts and what it uses again."""

    def __init__(self, n_blocks: int) -> None:
        super().__init__(n_blocks)
        self.evicted: list[int] = []
        self.used_again: list[int] = []
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


class HostInstance(model.Instance):
    """One instance with a host buffer; least recently used blocks leave it."""

    host_settings: HostSettings

    def __init__(self, settings: model.Settings, names: model.Names | None = None) -> None:
        super().__init__(settings, names)
        self.pool: HostPool = HostPool(settings.n_blocks)
        self.host: OrderedDict[int, float] = OrderedDict()
        """Key -> when its transfer ends; the next to leave first."""
        self.pins: dict[int, int] = {}
        self.up_free_s = self.down_free_s = 0.0
        self.now_s = 0.0
        self.n_stored = self.n_loaded = self.n_evicted = self.n_refused = 0

    # what enters

    def store(self, key: int, now_s: float) -> None:
        h = self.host_settings
        if key in self.host:
            return
        if len(self.host) == h.n_blocks:
            free = [k for k in self.host if self.pins.get(k, 0) == 0]
            if not free:
                self.n_refused += 1
                return
            del self.host[free[0]]
            self.n_evicted += 1
        if self.down_free_s <= now_s:
            self.down_free_s = now_s + h.start_s
        self.down_free_s += h.down_s
        self.host[key] = self.down_free_s
        self.n_stored += 1

    def filled(self, r: Request) -> None:
        if self.host_settings.write != "write-through":
            return
        keys = self.keys(r, min(r.n_computed, r.n_published * self.settings.block_size))
        for k in range(r.n_stored, len(keys)):
            self.store(keys[k], self.ends_s)
        r.n_stored = max(r.n_stored, len(keys))

    def grow(self, r: Request, upto: int) -> None:
        for _ in range(self.n_missing(r, upto)):
            r.blocks.append(self.pool.take())
            self.demote()
        super().grow(r, upto)

    def demote(self) -> None:
        if self.host_settings.write == "write-back":
            for key in self.pool.evicted:
                self.store(key, self.now_s)
        self.pool.evicted.clear()

    def hold(self, r: Request, hits: list[int]) -> None:
        for block in hits:
            self.pool.touch(block)
            if (
                self.host_settings.write == "selective"
                and self.pool.n_hits[block] == self.host_settings.min_hits
            ):
                self.store(self.pool.key_of[block], self.now_s)
        r.blocks = list(hits)
        r.n_published = len(hits)

    def take_hits(self, r: Request, hits: list[int], upto: int) -> None:
        self.hold(r, hits)
        self.grow(r, upto)

    # what is loaded

    def schedule(self, now_s: float) -> None:
        self.now_s = now_s
        super().schedule(now_s)

    def host_hits(self, r: Request, n_hits: int, now_s: float) -> int:
        keys = self.keys(r, self.lookup_limit(r))
        for key in reversed(keys):
            if key in self.host and self.pins.get(key, 0) == 0:
                self.host.move_to_end(key)
        if len(self.loading) >= self.settings.max_num_seqs:
            return 0
        n = 0
        for key in keys[n_hits:]:
            if key not in self.host or self.host[key] > now_s:
                break
            n += 1
        return n

    def owed(self) -> int:
        return sum(
            ceil_div(r.n_known, self.settings.block_size) - len(r.blocks) for r in self.loading
        )

    def load(self, r: Request, hits: list[int], n: int, now_s: float) -> None:
        h = self.host_settings
        keys = self.keys(r, self.lookup_limit(r))[len(hits) : len(hits) + n]
        for key in keys:
            self.pins[key] = self.pins.get(key, 0) + 1
        self.n_loaded += n
        self.up_free_s = max(self.up_free_s, now_s + h.start_s)
        self.up_free_s += n * h.up_s
        r.loaded_s = self.up_free_s
        self.hold(r, hits)
        for _ in range(n):
            r.blocks.append(self.pool.take())
            self.demote()
        r.n_loading = n
        r.n_computed = len(hits) * self.settings.block_size
        self.loading.append(r)

    def finish_loads(self, now_s: float) -> list[Request]:
        ready = []
        for r in self.loading:
            if r.loaded_s > now_s:
                break
            ready.append(r)
            size = self.settings.block_size
            if r.n_computed < len(r.blocks) * size:
                keys = self.keys(r, len(r.blocks) * size)[-r.n_loading :]
                for key in reversed(keys):
                    self.pins[key] -= 1
                    if self.pins[key] > 0:
                        continue
                    if self.host_settings.write == "write-back":
                        del self.host[key]
                    else:
                        self.host.move_to_end(key)
                r.n_computed = len(r.blocks) * size
                self.grow(r, r.n_computed)
        return ready
