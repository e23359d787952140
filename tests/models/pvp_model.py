"""A plain model of blocks promoted before their turn, and of the ring that keeps them for it."""

from __future__ import annotations

from dataclasses import dataclass, field

import scheduler_model as model
from scheduler_model import Request, ceil_div
from tier_model import Tier, TierInstance


@dataclass(kw_only=True)
class Ring(Tier):
    """What the queue is about to need of what the GPU gave up."""

    window: int
    line: list[int] = field(default_factory=list)
    """Keys that are not being loaded: the one whose user starts last first."""
    user_of: dict[int, int] = field(default_factory=dict)


class PvpInstance(TierInstance):
    """One instance with tiers of its own, a ring in its host's memory, and promotions."""

    lead: int
    ring: Ring | None

    def __init__(self, settings: model.Settings, names: model.Names | None = None) -> None:
        super().__init__(settings, names)
        self.coming: set[int] = set()
        self.there: set[int] = set()
        """Rows of promoted requests, whose blocks are on their way or have come."""
        self.n_blocks = dict.fromkeys(("promoted", "in_time", "late", "useless"), 0)

    # promotions

    def room_for_promotions(self) -> int:
        return len(self.pool.queue) - self.owed()

    def promote(self, now_s: float) -> None:
        room = self.room_for_promotions()
        for place, r in enumerate(self.waiting[: self.lead]):
            if self.up_free_s > now_s:
                return
            if r.row not in self.coming | self.there and self.n_promoted() < self.lead:
                keys = self.keys(r, self.lookup_limit(r))
                hits = self.pool.lookup(keys)
                n = 0
                while len(hits) + n < len(keys) and self.holder(keys[len(hits) + n], now_s):
                    n += 1
                n_idle = sum(self.pool.ref[b] == 0 for b in hits)
                if n > 0 and n + n_idle <= room:
                    self.coming.add(r.row)
                    self.start_load(r, hits, n, now_s)
                    super().hold(r, hits)
                    self.make_place(r, hits, n)
                    self.n_blocks["promoted"] += n
                    room -= n + n_idle
            if place == 0:
                room -= ceil_div(r.n_known, self.settings.block_size) - len(r.blocks)

    def n_promoted(self) -> int:
        return len(self.coming) + len(self.there)

    def finish_promotions(self, now_s: float) -> None:
        for r in self.waiting:
            if r.row in self.coming and r.loaded_s <= now_s:
                self.coming.remove(r.row)
                self.there.add(r.row)
                self.arrive(r, now_s)

    def next_loads_s(self) -> list[float]:
        on_their_way = [r.loaded_s for r in self.waiting if r.row in self.coming]
        return super().next_loads_s() + on_their_way

    def make_way(self, *, but_head: bool) -> bool:
        for r in reversed(self.waiting[1:] if but_head else self.waiting):
            if r.row in self.there:
                self.leave(r)
                r.n_computed = 0
                self.there.remove(r.row)
                self.n_blocks["useless"] += r.n_loading
                return True
        return False

    def waits_for_promotion(self, r: Request) -> bool:
        return r.row in self.coming

    def join_loading(self, r: Request, now_s: float) -> None:
        self.coming.remove(r.row)
        self.n_blocks["late"] += r.n_loading
        self.loading.append(r)
        self.empty_ring_of(r, now_s)

    def hold(self, r: Request, hits: list[int]) -> None:
        """A request leaves the queue with what was found for it."""
        if r.row in self.there:
            self.there.remove(r.row)
            self.n_blocks["in_time"] += r.n_loading
        held = r.blocks
        super().hold(r, hits[len(held) :])
        r.blocks = list(hits)
        r.n_published = len(hits)
        self.empty_ring_of(r, self.now_s)

    # the ring

    def searched(self) -> list[Tier]:
        if self.ring is None:
            return self.tiers
        at = [tier.name for tier in self.tiers].index("host")
        return [*self.tiers[:at], self.ring, *self.tiers[at:]]

    def host(self) -> Tier:
        return next(tier for tier in self.tiers if tier.name == "host")

    def is_aside(self, tier: Tier, key: int) -> bool:
        return self.ring is not None and tier.name == "host" and key in self.ring.ready_s

    def pinned(self, tier: Tier, key: int) -> None:
        if self.ring is not None and tier is self.ring and key in self.ring.line:
            self.ring.line.remove(key)

    def demote(self) -> None:
        evicted = list(self.pool.evicted)
        self.pool.evicted.clear()
        for key in evicted:
            if not self.keep_for_queue(key) and self.tiers[0].write == "write-back":
                self.send(0, key, self.now_s, from_gpu=True)

    def keep_for_queue(self, key: int) -> bool:
        ring = self.ring
        if ring is None:
            return False
        users = [
            r.row for r in self.waiting[: ring.window] if key in self.keys(r, self.lookup_limit(r))
        ]
        if not users:
            return False
        host, user = self.host(), users[0]
        if key in ring.ready_s:
            return True
        is_known = key in host.ready_s
        if is_known and (host.pins.get(key, 0) > 0 or host.ready_s[key] > self.now_s):
            return True
        is_full = len(ring.ready_s) == ring.n_blocks
        if is_full and (not ring.line or ring.user_of[ring.line[0]] < user):
            return False
        if is_known:
            del host.ready_s[key]
            host.n_unloaded += 1
        if is_full:
            self.fall(ring.line[0], self.now_s)
        if is_known:
            ring.n_kept += 1
            ring.put(key, self.names.depth(key), self.now_s, self.now_s)
        else:
            ring.n_stored += 1
            sent_s = self.sent_s(ring, self.now_s, self.now_s, from_gpu=True)
            ring.put(key, self.names.depth(key), sent_s, self.now_s)
        ring.user_of[key] = user
        n_later = sum(ring.user_of[other] >= user for other in ring.line)
        ring.line.insert(n_later, key)
        return True

    def fall(self, key: int, now_s: float) -> None:
        """Move a key to the normal part of the host's memory."""
        ring, host = self.ring, self.host()
        assert ring is not None
        ready_s = ring.ready_s.pop(key)
        ring.line.remove(key)
        ring.n_evicted += 1
        has_room, dropped = host.make_room(now_s)
        if not has_room:
            host.n_refused += 1
            return
        host.n_kept += 1
        host.put(key, self.names.depth(key), ready_s, now_s)
        below = self.tiers.index(host) + 1
        is_passed_on = below < len(self.tiers) and self.tiers[below].write == "write-back"
        if dropped is not None and is_passed_on:
            self.send(below, dropped, now_s, from_gpu=False)

    def empty_ring_of(self, r: Request, now_s: float) -> None:
        if self.ring is not None:
            for key in reversed(list(self.ring.line)):
                if self.ring.user_of[key] == r.row:
                    self.fall(key, now_s)
