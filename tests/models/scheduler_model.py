"""A plain model of the vLLM V1 scheduler (0.32.0), written from its description, token by token.

Simple and slow on purpose: tuples, dicts and lists, nothing of kvsim. It follows the sections
of the description in order: identity of blocks, pool, allocation, `schedule`, step time,
`update`; then a small world of several instances that moves from event to event.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One instance's settings; `n_blocks` counts the null block."""

    block_size: int
    n_blocks: int
    max_num_seqs: int
    max_num_batched_tokens: int
    long_prefill_token_threshold: int = 0
    watermark: float = 0.0
    reserve_full_isl: bool = True
    prefix_caching: bool = True
    latency: tuple[float, float, float, float] = (1e-3, 1e-4, 1e-4, 0.0)


@dataclass(kw_only=True)
class Request:
    """A request, and where it stands."""

    row: int
    arrival_s: float
    input_tokens: int
    output_tokens: int
    ids: tuple[int, ...]
    id_tokens: int
    covered_tokens: int
    """Leading positions whose content the ids name; the others are private."""

    n_sampled: int = 0
    n_computed: int = 0
    blocks: list[int] = field(default_factory=list)
    n_published: int = 0
    is_rejected: bool = False
    instance: int = -1
    first_scheduled_s: float | None = None
    first_token_s: float | None = None
    finish_s: float | None = None
    cached_tokens: int = 0
    recached_tokens: int = 0
    prefill_tokens: int = 0
    n_preemptions: int = 0
    loaded_s: float = math.nan
    n_loading: int = 0
    n_stored: int = 0

    @property
    def n_known(self) -> int:
        return self.input_tokens + self.n_sampled

    def token(self, position: int) -> object:
        if position < self.covered_tokens:
            return self.ids[position // self.id_tokens], position % self.id_tokens
        return "private", self.row, position


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


class Names:
    """Keys of full blocks: the same number for the same tokens after the same prefix."""

    def __init__(self) -> None:
        self.number: dict[object, int] = {}
        self.depths: list[int] = []

    def keys(self, request: Request, n_tokens: int, block_size: int) -> list[int]:
        """Keys of the full blocks among the first `n_tokens` tokens."""
        keys: list[int] = []
        for k in range(n_tokens // block_size):
            tokens = tuple(request.token(p) for p in range(k * block_size, (k + 1) * block_size))
            name = (keys[-1] if keys else None, tokens)
            if name not in self.number:
                self.depths.append(k)
            keys.append(self.number.setdefault(name, len(self.number)))
        return keys

    def depth(self, key: int) -> int:
        """Blocks before a key's."""
        return self.depths[key]


class Pool:
    """The blocks: a free queue, and an index from key to the blocks that carry it."""

    def __init__(self, n_blocks: int) -> None:
        self.queue = list(range(1, n_blocks))
        self.ref = dict.fromkeys(self.queue, 0)
        self.key_of: dict[int, int] = {}
        self.index: dict[int, list[int]] = {}
        self.n_evictions = 0
        self.n_duplicates = 0

    def next_victim(self) -> int:
        return self.queue[0]

    def take(self) -> int:
        block = self.next_victim()
        self.queue.remove(block)
        if block in self.key_of:
            key = self.key_of.pop(block)
            self.index[key].remove(block)
            if not self.index[key]:
                del self.index[key]
            self.n_evictions += 1
        self.ref[block] = 1
        return block

    def touch(self, block: int) -> None:
        if self.ref[block] == 0:
            self.queue.remove(block)
        self.ref[block] += 1

    def publish(self, block: int, key: int) -> None:
        self.key_of[block] = key
        self.n_duplicates += key in self.index
        self.index.setdefault(key, []).append(block)

    def lookup(self, keys: Sequence[int]) -> list[int]:
        """The oldest block of each leading key that is present."""
        found = []
        for key in keys:
            if key not in self.index:
                break
            found.append(self.index[key][0])
        return found

    def release(self, blocks: list[int]) -> None:
        freed = []
        for block in reversed(blocks):
            self.ref[block] -= 1
            if self.ref[block] == 0:
                freed.append(block)
        without_key = [b for b in freed if b not in self.key_of]
        with_key = [b for b in freed if b in self.key_of]
        self.queue = without_key + self.queue + with_key


Entry = tuple[Request, int, int]
"""Request, tokens of this step, tokens computed before."""


class Instance:
    """Scheduler, pool and clock of one instance."""

    def __init__(self, settings: Settings, names: Names | None = None) -> None:
        self.settings = settings
        self.names = names or Names()
        self.pool = Pool(settings.n_blocks)
        self.waiting: list[Request] = []
        self.running: list[Request] = []
        self.ends_s: float | None = None
        """End of the open step."""
        self.starts_s = 0.0
        self.entries: list[Entry] = []
        self.preempted: list[Request] = []
        self.loading: list[Request] = []
        """Wait for blocks from a lower tier, in order of asking."""
        self.ready: list[Request] = []
        """Of those, the ones whose blocks are there, in the order in which that was found."""
        self.last_admitted: Request | None = None
        self.n_passed: dict[int, int] = {}
        self.n_steps = 0
        self.n_same_step_hits = 0
        self.lines: list[str] = []
        self.steps: list[dict[str, object]] = []
        """Each step as the recorded hand-size vectors write it."""

    # fits, and identity

    def can_ever_fit(self, r: Request) -> bool:
        most = ceil_div(r.input_tokens + r.output_tokens - 1, self.settings.block_size)
        return most <= self.settings.n_blocks - 1

    def keys(self, r: Request, n_tokens: int) -> list[int]:
        if not self.settings.prefix_caching:
            return []
        return self.names.keys(r, n_tokens, self.settings.block_size)

    def admitted(self, r: Request) -> None:
        """A request has its turn."""

    def order_queue(self) -> None:
        """Put who is next at the head of the queue."""

    # the rules that a test may break, one method each

    def lookup_limit(self, r: Request) -> int:
        """Tokens that a lookup may find: at least one is always recomputed."""
        return r.n_known - 1

    def spare_blocks(self) -> int:
        if not self.running:
            return 0
        return math.floor(self.settings.watermark * self.settings.n_blocks)

    def threshold(self) -> int:
        if len(self.running) + len(self.waiting) <= 1:
            return 0
        return self.settings.long_prefill_token_threshold

    def take_hits(self, r: Request, hits: list[int], upto: int) -> None:
        """Hit blocks are held before new ones are taken."""
        for block in hits:
            self.pool.touch(block)
        r.blocks = list(hits)
        r.n_published = len(hits)
        self.grow(r, upto)

    def requeue(self, r: Request) -> None:
        self.waiting.insert(0, r)

    def may_admit(self) -> bool:
        return not self.preempted

    # allocation

    def n_missing(self, r: Request, upto: int) -> int:
        return max(0, ceil_div(upto, self.settings.block_size) - len(r.blocks))

    def grow(self, r: Request, upto: int) -> None:
        for _ in range(self.n_missing(r, upto)):
            r.blocks.append(self.pool.take())
        keys = self.keys(r, min(upto, r.n_known))
        for k in range(r.n_published, len(keys)):
            self.pool.publish(r.blocks[k], keys[k])
            r.n_published = k + 1

    def leave(self, r: Request) -> None:
        self.pool.release(r.blocks)
        r.n_stored = 0
        r.blocks = []
        r.n_published = 0

    # schedule()

    def schedule(self, now_s: float) -> None:
        self.starts_s = now_s
        self.entries = []
        self.preempted = []
        ready = self.finish_loads(now_s)
        self.finish_promotions(now_s)
        budget = self.settings.max_num_batched_tokens
        threshold = self.threshold()
        evictions_before = self.pool.n_evictions
        held_before = {r.row: list(r.blocks) for r in self.running}
        fresh: set[int] = set()

        def clip(n: int) -> int:
            return min(n, threshold) if threshold > 0 else n

        i = 0
        while i < len(self.running) and budget > 0:
            r = self.running[i]
            n = min(clip(r.n_known - r.n_computed), budget)
            while self.n_missing(r, r.n_computed + n) > len(self.pool.queue):
                if self.make_way(but_head=False):
                    continue
                victim = self.running.pop()
                self.leave(victim)
                victim.n_computed = 0
                victim.n_preemptions += 1
                self.requeue(victim)
                self.preempted.append(victim)
                if victim is r:
                    break
            if r in self.preempted:
                break
            self.grow(r, r.n_computed + n)
            fresh.update(r.blocks[len(held_before[r.row]) :])
            self.entries.append((r, n, r.n_computed))
            budget -= n
            i += 1

        while (
            self.may_admit()
            and budget > 0
            and ready
            and len(self.running) < self.settings.max_num_seqs
        ):
            r = ready[0]
            n = min(clip(r.n_known - r.n_computed), budget)
            length = r.n_known if self.settings.reserve_full_isl else r.n_computed + n
            needed = ceil_div(length, self.settings.block_size) - len(r.blocks)
            if needed + self.spare_blocks() > len(self.pool.queue):
                if self.make_way(but_head=True):
                    continue
                break
            self.loading.remove(ready.pop(0))
            self.start(r, n, now_s)
            self.grow(r, r.n_computed + n)
            budget -= n

        while (
            self.may_admit()
            and budget > 0
            and not ready
            and self.waiting
            and len(self.running) < self.settings.max_num_seqs
        ):
            self.order_queue()
            r = self.waiting[0]
            is_late = self.waits_for_promotion(r)
            n_held = len(r.blocks)
            hits = list(r.blocks)
            if not is_late:
                hits += self.pool.lookup(self.keys(r, self.lookup_limit(r))[n_held:])
            n_loading = 0 if n_held else self.host_hits(r, len(hits), now_s)
            cached = (len(hits) + n_loading) * self.settings.block_size
            n = min(clip(r.n_known - cached), budget)
            n_idle = sum(self.pool.ref[b] == 0 for b in hits)
            is_whole = self.settings.reserve_full_isl or n_loading > 0 or is_late
            length = r.n_known if is_whole else cached + n
            needed = ceil_div(length, self.settings.block_size) - len(hits) + self.owed()
            if needed + n_idle + self.spare_blocks() > len(self.pool.queue):
                if self.make_way(but_head=True):
                    continue
                break
            self.waiting.pop(0)
            self.admitted(r)
            if is_late:
                self.join_loading(r, now_s)
                continue
            if n_loading:
                self.load(r, hits, n_loading, now_s)
                continue
            self.take_hits(r, hits, cached + n)
            self.n_same_step_hits += len(fresh.intersection(hits))
            fresh.update(r.blocks[len(hits) :])
            r.n_computed = cached
            self.start(r, n, now_s)
            budget -= n

        if self.waiting and not self.preempted:
            self.promote(now_s)
        if not self.entries:
            return  # everybody waits for a lower tier
        n_free = len(self.pool.queue)
        dt_s = self.step_s()
        self.ends_s = now_s + dt_s
        new_blocks = {
            str(r.row): r.blocks[len(held_before.get(r.row, [])) :] for r, _, _ in self.entries
        }
        self.steps.append(
            {
                "step": self.n_steps,
                "t": now_s,
                "dt": dt_s,
                "sched": [[r.row, n, computed] for r, n, computed in self.entries],
                "preempted": [r.row for r in self.preempted],
                "finished": [],
                "free": n_free,
                "evictions": self.pool.n_evictions - evictions_before,
                "blocks": {row: blocks for row, blocks in new_blocks.items() if blocks},
            }
        )

    def start(self, r: Request, n: int, now_s: float) -> None:
        self.last_admitted = r
        if r.first_scheduled_s is None:
            r.first_scheduled_s = now_s
            r.cached_tokens = r.n_computed
        else:
            r.recached_tokens += r.n_computed
        self.running.append(r)
        self.entries.append((r, n, r.n_computed))

    # the tiers below: none here, see `tier_model`

    def finish_loads(self, now_s: float) -> list[Request]:
        """Requests, in order, that have all they waited for."""
        return []

    def host_hits(self, r: Request, n_hits: int, now_s: float) -> int:
        """Blocks behind the first `n_hits` that can be loaded."""
        return 0

    def next_loads_s(self) -> list[float]:
        """When blocks come that somebody waits for."""
        return [r.loaded_s for r in self.loading if r not in self.ready]

    def make_way(self, *, but_head: bool) -> bool:
        """Take blocks from who only waits; False: nobody has any."""
        return False

    def waits_for_promotion(self, r: Request) -> bool:
        """Whether blocks of the queue's head are on their way already."""
        return False

    def join_loading(self, r: Request, now_s: float) -> None:
        raise AssertionError("without a lower tier there is nothing to wait for")

    def finish_promotions(self, now_s: float) -> None:
        """Publish what has come for requests that wait."""

    def promote(self, now_s: float) -> None:
        """Start to load blocks for requests that wait."""

    def owed(self) -> int:
        """Blocks set aside for requests that wait for a lower tier."""
        return 0

    def load(self, r: Request, hits: list[int], n: int, now_s: float) -> None:
        raise AssertionError("without a lower tier there is nothing to load")

    def filled(self, r: Request) -> None:
        """A step computed tokens of `r`."""

    # step time

    def step_s(self) -> float:
        prefill = decode = context = 0
        for r, n, computed in self.entries:
            context += computed + n
            if r.n_sampled >= 1 and n == 1 and computed + n == r.n_known:
                decode += 1
            else:
                prefill += n
                r.prefill_tokens += n
        a, b, c, d = self.settings.latency
        return ((a + b * prefill) + c * decode) + d * context

    # update

    def update(self) -> list[Request]:
        """End the open step; return the requests that finished."""
        assert self.ends_s is not None
        finished = []
        for r, n, _ in self.entries:
            r.n_computed += n
            self.filled(r)
            if r.n_computed < r.n_known:
                continue
            r.n_sampled += 1
            if r.n_sampled == 1:
                r.first_token_s = self.ends_s
            if r.n_sampled == r.output_tokens:
                r.finish_s = self.ends_s
                self.leave(r)
                finished.append(r)
        self.running = [r for r in self.running if r not in finished]
        self.steps[-1]["finished"] = [r.row for r in finished]
        entries = ",".join(f"{r.row}:{n}:{computed}" for r, n, computed in self.entries)
        preempted = ",".join(str(r.row) for r in self.preempted)
        ended = ",".join(str(r.row) for r in finished)
        n_free = self.steps[-1]["free"]
        self.lines.append(
            f"{self.starts_s.hex()}|{self.n_steps}|{entries}|{preempted}|{ended}|{n_free}\n"
        )
        self.n_steps += 1
        self.ends_s = None
        return finished


Router = Callable[[list[Instance], Request, int], int]
"""Instances, request, requests routed before: the number of the instance that gets it."""


def round_robin(instances: list[Instance], r: Request, n_routed: int) -> int:
    return n_routed % len(instances)


def n_requests(instance: Instance) -> int:
    return len(instance.running) + len(instance.waiting)


def least_loaded(instances: list[Instance], r: Request, n_routed: int) -> int:
    return min(range(len(instances)), key=lambda i: (n_requests(instances[i]), i))


def prefix_aware(instances: list[Instance], r: Request, n_routed: int) -> int:
    def rank(i: int) -> tuple[int, int, int]:
        n_hits = len(instances[i].pool.lookup(instances[i].keys(r, r.input_tokens - 1)))
        return -n_hits, n_requests(instances[i]), i

    return min(range(len(instances)), key=rank)


ROUTERS: dict[str, Router] = {
    "least-loaded": least_loaded,
    "prefix-aware": prefix_aware,
    "round-robin": round_robin,
}


def run(
    instances: list[Instance],
    requests: list[Request],
    router: Router = round_robin,
    *,
    think_s: dict[int, tuple[int, float]] | None = None,
) -> None:
    """Run to the end, event by event; at equal times ends come first, then arrivals, then starts.

    `think_s` closes the loop: row -> (row of its parent, seconds between the parent's finish
    and its own arrival). A request whose parent is rejected arrives at its own time.
    """
    for r in requests:
        r.is_rejected = not instances[0].can_ever_fit(r)
    waits_for: dict[int, list[int]] = {}
    for row, (parent, _) in (think_s or {}).items():
        if not requests[parent].is_rejected:
            waits_for.setdefault(parent, []).append(row)
    is_waiting = {row for rows in waits_for.values() for row in rows}
    arrivals = [(r.arrival_s, r.row) for r in requests if r.row not in is_waiting]
    arrivals = sorted(a for a in arrivals if not requests[a[1]].is_rejected)
    n_routed = 0
    while True:
        ends = [i.ends_s for i in instances if i.ends_s is not None]
        for i in instances:
            if i.ends_s is None:
                ends += i.next_loads_s()
        times = [*ends, arrivals[0][0]] if arrivals else ends
        if not times:
            return
        now_s = min(times)
        for instance in instances:
            if instance.ends_s == now_s:
                for r in instance.update():
                    for row in waits_for.get(r.row, []):
                        child = requests[row]
                        if not child.is_rejected:
                            assert think_s is not None
                            child.arrival_s = now_s + think_s[row][1]
                            arrivals.append((child.arrival_s, row))
        arrivals.sort()
        while arrivals and arrivals[0][0] <= now_s:
            r = requests[arrivals.pop(0)[1]]
            r.instance = router(instances, r, n_routed)
            n_routed += 1
            instances[r.instance].waiting.append(r)
        for instance in instances:
            if instance.ends_s is None and instance.running + instance.waiting + instance.loading:
                instance.schedule(now_s)
                while not instance.entries and (instance.preempted or instance.ready):
                    instance.schedule(now_s)  # the last running one made room for itself
                if not instance.entries and not instance.next_loads_s():
                    raise AssertionError("a step that schedules nothing cannot happen")
