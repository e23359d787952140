"""What a policy is told of the waiting queue, against a plain look at the same queue."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cases import Case, prepared_engine, random_case, run_engine

from kvsim.policies import Block, Moment, SampledPolicy
from kvsim.sim.engine import World
from kvsim.sim.router import router_code
from kvsim.sim.setup import Prepared


class Asks(SampledPolicy):
    """Keeps what is asked for; compares what it is told with the cluster's own queue."""

    needs_queue = True
    n_samples = 0
    prepared: Prepared
    looked_at: Any = None

    def __init__(self, window: int, refresh_steps: int) -> None:
        self.window = window
        self.refresh_steps = refresh_steps
        self.expected: dict[int, list[int]] = {}
        self.n_known = 0
        self.n_waiting = 0
        self.n_asked_for = self.n_fresh = 0

    def value(self, block: Block, now: Moment, p: Sequence[float]) -> float:
        cluster = self.prepared.cluster
        instance = cluster.instances[0]
        if (
            self.looked_at is None
            or instance["n_waiting"] == 0
            or instance["steps"] >= self.looked_at[0] + self.refresh_steps
            or instance["preemptions"] != self.looked_at[1]
        ):
            self.looked_at = int(instance["steps"]), int(instance["preemptions"])
            self.look()
            if instance["n_waiting"] == 0:
                self.looked_at = None
        places = self.expected.get(int(block.key), [])
        is_fresh = block.inserted >= self.n_known
        is_oldest = self.oldest(int(block.key)) == block.block_id
        assert now.is_fresh == is_fresh, (block, self.n_known)
        assert now.n_waiting == self.n_waiting
        if is_fresh or not is_oldest:
            places = []
        assert now.next_start == min(places, default=math.inf)
        assert now.n_waiting_users == len(places)
        self.n_asked_for += len(places) > 0
        self.n_fresh += is_fresh
        return -now.next_start if now.next_start < 1e9 else -1e9

    def oldest(self, key: int) -> int:
        cluster = self.prepared.cluster
        strip = int(cluster.strip_of[key >> 4, 0])
        return int(cluster.copies[strip * 16 + key % 16])

    def look(self) -> None:
        cluster = self.prepared.cluster
        instance = cluster.instances[0]
        self.n_known = int(cluster.pools[0]["n_inserted"])
        self.expected = {}
        self.n_waiting = 0
        r = int(instance["waiting_head"])
        for place in range(min(int(instance["n_waiting"]), self.window)):
            for key in self.keys_of(r):
                if self.oldest(key) < 0:
                    break
                self.expected.setdefault(key, []).append(place)
            self.n_waiting += 1
            r = int(cluster.requests[r]["after"])

    def keys_of(self, r: int) -> list[int]:
        request = self.prepared.cluster.requests[r]
        tree = self.prepared.tree
        shared: list[int] = []
        segment = int(request["end"])
        while segment >= 0:
            first = int(tree.first_key[segment])
            shared = [*range(first, first + int(tree.n_blocks[segment])), *shared]
            segment = int(tree.parent[segment])
        limit = int(request["known"] - 1) // self.prepared.engine.block_size
        private = range(int(request["private_key"]), int(request["private_key"]) + limit)
        return [*shared, *private][:limit]


class Trusts(SampledPolicy):
    """The same wish, compiled."""

    needs_queue = True
    compiled = True
    n_samples = 3
    refresh_steps = 3

    @staticmethod
    def value(block: Block, now: Moment, p: Sequence[float]) -> float:
        return -min(now.next_start, 1e9) - 0.5 * now.is_fresh + now.n_waiting_users / 64


class PythonTrusts(Trusts):
    """The same, in Python."""

    compiled = False


def run(prepared: Prepared) -> None:
    router = router_code("round-robin")
    World(prepared, router=router, policy_name="tested", closed_loop=False).run()


def crowded(rng: np.random.Generator) -> Case:
    case = random_case(rng, n_rows=int(rng.integers(10, 40)))
    return replace(case, settings=replace(case.settings, prefix_caching=True))


@pytest.mark.parametrize("refresh_steps", [1, 3])
def test_a_policy_is_told_who_waits_for_a_block(refresh_steps: int) -> None:
    rng = np.random.default_rng([40, refresh_steps])
    n_asked_for = n_fresh = n_preempted = 0
    for _ in range(200):
        case = crowded(rng)
        policy = Asks(window=int(rng.choice((1, 3, 50))), refresh_steps=refresh_steps)
        policy.prepared = prepared_engine(case, policy=policy, is_logged=False)
        run(policy.prepared)
        n_asked_for += policy.n_asked_for
        n_fresh += policy.n_fresh
        n_preempted += int(policy.prepared.cluster.instances["preemptions"].sum())
    assert n_asked_for > 300
    assert n_preempted > 20
    assert (n_fresh > 20) == (refresh_steps > 1), n_fresh


def test_looks_are_the_same_compiled_or_not_coasting_or_not() -> None:
    rng = np.random.default_rng(41)
    n_coasting = 0
    for _ in range(150):
        case = crowded(rng)
        step_by_step = run_engine(case, policy=Trusts())
        finish_s = step_by_step.requests["finish_s"]
        np.testing.assert_array_equal(
            run_engine(case, policy=PythonTrusts()).requests["finish_s"], finish_s
        )
        if step_by_step.requests["preemptions"].any():
            continue
        coasting = prepared_engine(case, policy=Trusts(), is_logged=False)
        run(coasting)
        np.testing.assert_array_equal(coasting.cluster.requests["finish_s"], finish_s)
        n_coasting += int(coasting.cluster.pools["evictions"].sum() > 0)
    assert n_coasting > 10


def test_only_a_policy_that_asks_pays_for_a_look() -> None:
    case = crowded(np.random.default_rng(42))
    for policy, looks in (("lru", 0), ("lfu", 0), (Trusts(), 1)):
        prepared = prepared_engine(case, policy=policy)
        assert prepared.cluster.record["looks_ahead"][0] == looks
