"""What the age of a block counts from: its last access, or the finish of its last user."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cases import Case, Row, prepared_engine
from scheduler_model import Settings

from kvsim.policies import Block, EvictionPolicy
from kvsim.policies.base import Binding, Setting
from kvsim.policies.order import LONG_AGO_S
from kvsim.policies.workload_aware import WorkloadAware
from kvsim.sim.engine import World
from kvsim.sim.router import router_code

CASE = Case(
    settings=Settings(block_size=4, n_blocks=40, max_num_seqs=2, max_num_batched_tokens=64),
    id_tokens=4,
    rows=(
        Row(arrival_s=1.0, input_tokens=12, output_tokens=9, path=(0, 0, 0)),
        Row(arrival_s=50.0, input_tokens=12, output_tokens=3, path=(0, 0, 1)),
    ),
)


class Records(EvictionPolicy):
    """Notes when blocks were last used, as they become candidates."""

    is_stamped = False

    def __init__(self) -> None:
        self.last_s: list[float] = []

    def fresh(self, setting: Setting) -> EvictionPolicy:
        return self

    def bind(self, setting: Setting) -> Binding:
        binding = super().bind(setting)
        binding.is_stamped_on_release = self.is_stamped
        return binding

    def add(self, block: Block) -> None:
        self.last_s.append(block.last_access_s)

    def remove(self, block: Block) -> None: ...

    def victim(self) -> int:
        raise AssertionError("there is room for all")


class RecordsFinish(Records):
    is_stamped = True


@pytest.mark.parametrize("policy", [Records(), RecordsFinish()], ids=lambda p: type(p).__name__)
def test_a_block_is_as_old_as_its_stamp_says(policy: Records) -> None:
    prepared = prepared_engine(CASE, policy=policy)
    router = router_code("round-robin")
    World(prepared, router=router, policy_name="tested", closed_loop=False).run()
    requests = prepared.cluster.requests
    finishes_s = sorted(set(requests["finish_s"].tolist()))
    if policy.is_stamped:
        assert sorted(set(policy.last_s)) == finishes_s
    else:
        assert not set(policy.last_s) & set(finishes_s)
        assert min(policy.last_s) >= requests["first_scheduled_s"].min()
        assert max(policy.last_s) < finishes_s[-1]


@pytest.mark.parametrize(
    ("stamp", "on_release", "on_hit"), [("access", 0, 0), ("finish", 1, 0), ("hit", 0, 1)]
)
def test_workload_aware_asks_for_its_stamp(stamp: str, on_release: int, on_hit: int) -> None:
    prepared = prepared_engine(CASE, policy=WorkloadAware(stamp=stamp))
    orders = prepared.cluster.orders
    assert (np.asarray(orders["is_stamped_on_release"]) == on_release).all()
    assert (np.asarray(orders["is_stamped_on_hit"]) == on_hit).all()


class RecordsHits(Records):
    """Notes ages, and evicts the candidate that came first."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[int, float, int]] = []
        self.waiting: dict[int, None] = {}

    def bind(self, setting: Setting) -> Binding:
        binding = super().bind(setting)
        binding.is_stamped_on_hit = True
        return binding

    def add(self, block: Block) -> None:
        self.found.append((block.block_id, block.last_access_s, block.n_hits))
        self.waiting[block.block_id] = None

    def remove(self, block: Block) -> None:
        del self.waiting[block.block_id]

    def victim(self) -> int:
        return next(iter(self.waiting))


def test_stamped_on_hits_a_block_takes_over_what_was_in_its_memory() -> None:
    """As the patch does: the time is written at hits, and not reset when a block is evicted."""
    rows = (
        *CASE.rows,
        *(
            Row(arrival_s=100.0 * t, input_tokens=60, output_tokens=2, path=(t,) * 15)
            for t in range(1, 6)
        ),
    )
    case = replace(CASE, rows=rows, settings=replace(CASE.settings, n_blocks=20))
    policy = RecordsHits()
    world = World(
        prepared := prepared_engine(case, policy=policy),
        router=router_code("round-robin"),
        policy_name="tested",
        closed_loop=False,
    )
    world.run()
    hit_s = float(prepared.cluster.requests["first_scheduled_s"][1])
    stamps: dict[int, float] = {}
    n_taken_over = 0
    for block_id, last_s, n_hits in policy.found:
        if n_hits:
            assert last_s == hit_s
            stamps[block_id] = last_s
        else:  # never hit since it was cached
            assert last_s == stamps.get(block_id, LONG_AGO_S)
            n_taken_over += block_id in stamps
    assert stamps
    assert n_taken_over > 0
