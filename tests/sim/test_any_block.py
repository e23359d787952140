"""Workload-aware that may evict any idle block, as its authors' engine does: what it orphans."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import prefix_cache_model
import pytest
import scheduler_model as model
from cases import Case, pressed_cases, run_engine
from replay_cases import NAMES, hits_of, random_accesses, tree_of

from kvsim import PolicyError
from kvsim.policies.lru import Lru
from kvsim.policies.workload_aware import WorkloadAware
from kvsim.sim.any_block_replay import any_block_replay
from kvsim.sim.invariants import check_cluster

RATES = {"a-1": 0.5, "b-1": 0.05, "c-1": 2.0}
PROBABILITIES = {"a-1": 0.9, "b-1": 0.3, "c-1": 0.6}


@pytest.fixture
def policy(tmp_path: Path) -> WorkloadAware:
    """With parameters that stay."""
    file = tmp_path / "params.json"
    file.write_text(json.dumps({"a": RATES, "p": PROBABILITIES}))
    return WorkloadAware(file=str(file), leaf_only=False)


class Pool(model.Pool):
    """Free blocks in a queue a category, whose heads' values are compared."""

    def __init__(self, n_blocks: int) -> None:
        super().__init__(n_blocks)
        self.now_s = 0.0
        self.category = 0
        self.names = model.Names()
        self.category_of: dict[int, int] = {}
        self.last_s: dict[int, float] = {}
        self.released: dict[int, int] = {}
        self.n_released = 0
        self.n_orphaned = 0

    def touch(self, block: int) -> None:
        super().touch(block)
        self.last_s[block] = self.now_s

    def publish(self, block: int, key: int) -> None:
        super().publish(block, key)
        self.category_of[block] = self.category
        self.last_s[block] = self.now_s

    def release(self, blocks: list[int]) -> None:
        super().release(blocks)
        for block in reversed(blocks):
            if self.ref[block] == 0:
                self.released[block] = self.n_released
                self.n_released += 1

    def value(self, block: int) -> float:
        name = NAMES[self.category_of[block]]
        rate = RATES[name]
        mass = 1.0 - np.exp(-rate * WorkloadAware.life_s)
        age_s = self.now_s - self.last_s[block]
        return WorkloadAware.value(0, age_s, rate, PROBABILITIES[name], mass)

    def next_victim(self) -> int:
        if self.queue[0] not in self.key_of:
            return self.queue[0]
        heads: dict[int, int] = {}
        for block in sorted(self.queue, key=self.released.__getitem__):
            heads.setdefault(self.category_of[block], block)

        def rank(block: int) -> tuple[float, int, int]:
            return self.value(block), -self.names.depth(self.key_of[block]), self.released[block]

        return min(heads.values(), key=rank)

    def take(self) -> int:
        before = set(self.index)
        block = super().take()
        above = {number: name[0] for name, number in self.names.number.items()}  # type: ignore[index]
        gone = before - set(self.index)
        self.n_orphaned += sum(above[key] in gone for key in self.index)
        return block


class Instance(model.Instance):
    """Tells its pool the time, and the category of who takes blocks."""

    categories: list[int]
    pool: Pool

    def __init__(self, settings: model.Settings) -> None:
        super().__init__(settings)
        self.pool = Pool(settings.n_blocks)
        self.pool.names = self.names

    def schedule(self, now_s: float) -> None:
        self.pool.now_s = now_s
        super().schedule(now_s)

    def take_hits(self, r: model.Request, hits: list[int], upto: int) -> None:
        self.pool.category = self.categories[r.row]
        super().take_hits(r, hits, upto)

    def grow(self, r: model.Request, upto: int) -> None:
        self.pool.category = self.categories[r.row]
        super().grow(r, upto)


def modelled(case: Case) -> Instance:
    instance = Instance(case.settings)
    instance.categories = [row.category for row in case.rows]
    model.run([instance], case.requests())
    return instance


def test_a_timed_run_decides_and_orphans_what_a_plain_model_does(policy: WorkloadAware) -> None:
    n_orphaned = n_evictions = n_with = 0
    for case in pressed_cases(91, 600):
        found = run_engine(case, policy=policy)
        expected = modelled(case)
        digest = hashlib.sha256("".join(expected.lines).encode()).hexdigest()
        assert found.timed[0] == digest, case
        pool = found.prepared.cluster.pools[0]
        assert pool["evictions"] == expected.pool.n_evictions
        assert pool["orphaned"] == expected.pool.n_orphaned, case
        check_cluster(found.prepared)
        n_orphaned += expected.pool.n_orphaned
        n_evictions += expected.pool.n_evictions
        n_with += expected.pool.n_orphaned > 0
    assert n_evictions > 5000
    assert n_orphaned > 200
    assert n_with > 50


@pytest.mark.parametrize("n_instances", [1, 3])
def test_with_one_category_it_decides_what_the_lru_list_decides(n_instances: int) -> None:
    policy = WorkloadAware(refit_s=0.5, window_s=4.0, min_gap_s=0.01, leaf_only=False)
    for case in pressed_cases(92, 200):
        alike = replace(case, rows=tuple(replace(row, category=0) for row in case.rows))
        listed = run_engine(alike, n_instances=n_instances, router="prefix-aware")
        found = run_engine(alike, n_instances=n_instances, router="prefix-aware", policy=policy)
        assert found.timed == listed.timed, alike
        check_cluster(found.prepared)


def test_only_what_may_take_any_block_orphans() -> None:
    for case in pressed_cases(93, 100):
        found = run_engine(case, policy=WorkloadAware(refit_s=0.5))
        assert found.prepared.cluster.pools["orphaned"].sum() == 0


# Cache-only


def test_a_replay_orphans_what_a_plain_model_does(policy: WorkloadAware) -> None:
    rng = np.random.default_rng(91)
    n_orphaned = 0
    for _ in range(300):
        accesses, capacity = random_accesses(rng)
        rule = prefix_cache_model.Queued(
            policy.value,
            [[RATES[n], PROBABILITIES[n], 1.0 - np.exp(-RATES[n] * 5.0)] for n in NAMES],
        )
        expected = prefix_cache_model.replay(accesses, rule, capacity, takes_any=True)
        hits, n = any_block_replay(
            tree_of(accesses),
            policy,
            capacity,
            arrival_s=np.array([a.now_s for a in accesses]),
            category=np.array([a.category for a in accesses], np.int64),
            category_names=NAMES,
        )
        assert (hits.tolist(), n) == expected, (accesses, capacity)
        n_orphaned += n
    assert n_orphaned > 100


def test_a_replay_with_one_category_hits_what_lru_hits() -> None:
    rng = np.random.default_rng(92)
    for _ in range(200):
        accesses, capacity = random_accesses(rng)
        alike = [a._replace(category=0) for a in accesses]
        policy = WorkloadAware(refit_s=2.0, leaf_only=False)
        assert hits_of(policy, alike, capacity) == hits_of("lru", alike, capacity)


class AnyLru(Lru):
    """Not by category queues."""

    takes_any = True


def test_another_kind_of_order_may_not_take_any_block() -> None:
    accesses, capacity = random_accesses(np.random.default_rng(93))
    with pytest.raises(PolicyError, match="tested: only a QueuePolicy may take any block"):
        hits_of(AnyLru(), accesses, capacity)
