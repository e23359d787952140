"""Eviction policies in the serving engine: lru two ways, laws, and policies that fail."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cases import REJECTED, Case, Row, pressed_cases, run_engine
from scheduler_model import Settings

from kvsim import PolicyError
from kvsim.policies import POLICIES, Block, EvictionPolicy, Policy, ScorePolicy, make_policy
from kvsim.policies.base import Setting
from kvsim.policies.lru import Lru
from kvsim.policies.workload_aware import WorkloadAware
from kvsim.sim.invariants import check_cluster
from kvsim.sim.prefix_replay import replay
from kvsim.traces.prefix_tree import compile_tree

FINISHED = 2


class ScoredLru(Lru):
    """Lru as any other policy: not the engine's own list."""


class PythonLru(Lru):
    """The same, in Python."""

    compiled = False


class LruByEvents(EvictionPolicy):
    """Lru with an order of its own; checks what it is told."""

    def __init__(self) -> None:
        self.candidates: dict[int, Block] = {}
        self.cached: dict[int, int] = {}

    def on_insert(self, block: Block) -> None:
        assert block.block_id not in self.cached
        assert block.n_hits == 0
        self.cached[block.block_id] = 0

    def on_hit(self, block: Block) -> None:
        assert block.block_id not in self.candidates
        self.cached[block.block_id] += 1
        assert block.n_hits == self.cached[block.block_id]

    def on_evict(self, block: Block) -> None:
        assert block.block_id not in self.candidates
        del self.cached[block.block_id]

    def add(self, block: Block) -> None:
        assert block.block_id in self.cached
        assert block.block_id not in self.candidates
        self.candidates[block.block_id] = block

    def remove(self, block: Block) -> None:
        del self.candidates[block.block_id]

    def victim(self) -> int:
        return min(self.candidates.values(), key=lambda b: b.last_access).block_id


def one_kind(case: Case) -> Case:
    return replace(case, rows=tuple(replace(row, category=0) for row in case.rows))


def assert_same_run(case: Case, policy: Policy, **how: Any) -> int:
    """Compare with the lru list; return the evictions."""
    listed = run_engine(case, **how)
    ordered = run_engine(case, policy=policy, **how)
    assert ordered.timed == listed.timed, case
    for name in ("cached_tokens", "recached_tokens", "finish_s", "preemptions", "instance"):
        np.testing.assert_array_equal(ordered.requests[name], listed.requests[name])
    pools = listed.prepared.cluster.pools
    assert ordered.prepared.cluster.pools["evictions"].tolist() == pools["evictions"].tolist()
    return int(pools["evictions"].sum())


AS_LRU: list[tuple[Policy, int]] = [
    (ScoredLru(), 800),
    (PythonLru(), 150),
    (LruByEvents(), 150),
]


@pytest.mark.parametrize(("policy", "n_cases"), AS_LRU, ids=lambda x: type(x).__name__)
def test_lru_as_a_policy_decides_what_the_lru_list_decides(policy: Policy, n_cases: int) -> None:
    n_evictions = sum(assert_same_run(case, policy) for case in pressed_cases(1, n_cases))
    assert n_evictions > 1000


def test_lru_as_a_policy_decides_the_same_on_several_instances() -> None:
    for case in pressed_cases(2, 150):
        assert_same_run(case, ScoredLru(), n_instances=3, router="prefix-aware")


@pytest.mark.parametrize("retag", [False, True])
def test_workload_aware_with_one_category_decides_what_lru_decides(*, retag: bool) -> None:
    policy = WorkloadAware(refit_s=0.5, window_s=4.0, min_gap_s=0.01, retag=retag)
    for case in pressed_cases(3, 200):
        assert_same_run(one_kind(case), policy)


@pytest.mark.parametrize("name", POLICIES)
def test_any_policy_serves_every_request_and_gives_back_every_block(name: str) -> None:
    for case in pressed_cases(4, 100):
        found = run_engine(case, policy=name, n_instances=2)
        assert found.timed == run_engine(case, policy=name, n_instances=2).timed
        status = found.requests["status"]
        assert ((status == FINISHED) | (status == REJECTED)).all()
        pools = found.prepared.cluster.pools
        assert (pools["n_free"] == case.settings.n_blocks - 1).all()
        assert (found.requests["cached_tokens"] < found.requests["input_tokens"]).all()
        for row in found.requests[(status == FINISHED) & (found.requests["preemptions"] == 0)]:
            assert row["cached_tokens"] + row["prefill_tokens"] == row["input_tokens"]


@pytest.mark.parametrize("name", POLICIES)
def test_with_room_for_all_blocks_every_policy_decides_the_same(name: str) -> None:
    for case in pressed_cases(5, 60):
        roomy = replace(case, settings=replace(case.settings, n_blocks=4000))
        assert run_engine(roomy, policy=name).timed == run_engine(roomy).timed


def one_at_a_time(case: Case) -> Case:
    """The same prompts, one after the other: no request is in another's way."""
    rows = tuple(
        replace(row, arrival_s=1000.0 * r, output_tokens=1) for r, row in enumerate(case.rows)
    )
    settings = replace(case.settings, n_blocks=max(8, case.settings.n_blocks), watermark=0.0)
    return replace(case, settings=settings, rows=rows)


class Listens(LruByEvents):
    """Lru that keeps what it is told to lack: time, depth, key, and the blocks cached then."""

    hears_misses = True

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[float, int, int, int]] = []

    def on_miss(self, block: Block) -> None:
        assert block.block_id == -1
        seen = block.last_access_s, block.depth, block.key, len(self.cached)
        self.heard.append(seen)

    def fresh(self, setting: Setting) -> Listens:
        return self


def without_partial_blocks(case: Case, n_blocks: int) -> Case:
    """The same paths, one after the other, each of whole blocks and one token more."""
    size = case.settings.block_size + 1
    rows = tuple(
        replace(row, input_tokens=len(row.path) * size + 1, names_output=False)
        for row in one_at_a_time(case).rows
    )
    settings = replace(
        case.settings, block_size=size, n_blocks=n_blocks, prefix_caching=True, watermark=0.0
    )
    return replace(one_at_a_time(case), rows=rows, settings=settings, id_tokens=size)


def replayed_hits(alone: Case, policy: Policy) -> list[int]:
    """Blocks that each request hits in a cache-only replay of a case of whole blocks."""
    trace = alone.trace()
    found = replay(
        compile_tree(trace, alone.settings.block_size, partial_blocks=False),
        policy,
        alone.settings.n_blocks - 2,  # one is the null block, one takes the last token of a prompt
        arrival_s=trace.arrival_s,
        category=trace.category,
        category_names=tuple(f"{name}-1" for name in trace.category_names),
    )
    return [int(n) for n in found]


@pytest.mark.parametrize(
    "order",
    ["lru", "lfu", "slru", "priority,priorities=a-1:2", "t-lru,threshold_tokens=9,next_tokens=1"],
)
def test_sglang_drops_in_a_timed_run_the_nodes_that_a_cache_only_replay_drops(order: str) -> None:
    rng = np.random.default_rng(13)
    n_hits = n_evictions = n_fewer = 0
    for case in pressed_cases(13, 150):
        alone = without_partial_blocks(case, int(rng.integers(9, 16)))
        policy = make_policy(f"sglang-{order}")
        found = run_engine(alone, policy=policy)
        hits = replayed_hits(alone, policy)
        blocks = found.requests["cached_tokens"] // alone.settings.block_size
        assert blocks.tolist() == hits, alone
        check_cluster(found.prepared)
        n_hits += sum(hits)
        n_fewer += sum(hits) < sum(replayed_hits(alone, Lru()))
        n_evictions += int(found.prepared.cluster.pools["evictions"].sum())
    assert n_hits > 1000
    assert n_evictions > 300
    assert n_fewer > 20


def test_a_node_of_sglang_is_in_use_until_its_request_ends() -> None:
    settings = Settings(
        block_size=4,
        n_blocks=14,
        max_num_seqs=4,
        max_num_batched_tokens=64,
        latency=(1.0, 0.0, 0.0, 0.0),
    )
    rows = (
        Row(arrival_s=0.0, input_tokens=9, output_tokens=20, path=(0, 0)),  # in use for longest
        Row(arrival_s=1.5, input_tokens=9, output_tokens=2, path=(1, 1)),
        Row(arrival_s=40.0, input_tokens=21, output_tokens=1, path=(2, 0, 0, 0, 0)),
        Row(arrival_s=50.0, input_tokens=9, output_tokens=1, path=(0, 0)),
    )
    case = Case(settings=settings, id_tokens=4, rows=rows)
    found = run_engine(case, policy="sglang-lru").requests["cached_tokens"]
    assert found.tolist() == [0, 0, 0, 8]
    swapped = Case(settings=settings, id_tokens=4, rows=(*rows[:3], replace(rows[3], path=(1, 1))))
    found = run_engine(swapped, policy="sglang-lru").requests["cached_tokens"]
    assert found.tolist() == [0, 0, 0, 0]


def test_misses_are_heard_in_a_timed_run_as_in_a_cache_only_replay() -> None:
    rng = np.random.default_rng(12)
    n_heard = n_evictions = 0
    for case in pressed_cases(12, 120):
        alone = without_partial_blocks(case, int(rng.integers(9, 16)))
        timed, replayed = Listens(), Listens()
        found = run_engine(alone, policy=timed)
        replayed_hits(alone, replayed)
        assert timed.heard == replayed.heard, alone
        n_heard += len(timed.heard)
        n_evictions += int(found.prepared.cluster.pools["evictions"].sum())
    assert n_heard > 1000
    assert n_evictions > 300


def test_one_request_at_a_time_the_offline_policy_hits_most() -> None:
    """In sum: with a last block always computed anew, it is no strict bound on each case."""
    hits = dict.fromkeys(POLICIES, 0)
    for case in map(one_at_a_time, pressed_cases(6, 100)):
        if case.settings.prefix_caching:
            for name in POLICIES:
                found = run_engine(case, policy=name)
                hits[name] += int(found.prepared.cluster.instances["hit_tokens"].sum())
    best = hits.pop("belady")
    assert best > max(hits.values()), (best, hits)


# A policy that breaks its contract


class Raises(ScorePolicy):
    def score(self, block: Block) -> float:
        raise KeyError("lost")


class NotANumber(ScorePolicy):
    compiled = True

    @staticmethod
    def score(block: Block) -> float:
        return block.last_access * math.nan


class Invents(LruByEvents):
    def victim(self) -> int:
        return 10_000


class NamesABlockInUse(LruByEvents):
    def victim(self) -> int:
        return next((b for b in self.cached if b not in self.candidates), 10_000)


class RaisesInVictim(LruByEvents):
    def victim(self) -> int:
        raise RuntimeError("cannot decide")


FAULTY = [
    (Raises(), "KeyError: 'lost'"),
    (NotANumber(), "a score was not a number"),
    (Invents(), "victim() returned 10000: it must name an idle cached block"),
    (NamesABlockInUse(), "it must name an idle cached block"),
    (RaisesInVictim(), "RuntimeError: cannot decide"),
]


@pytest.mark.parametrize("closed_loop", [False, True])
@pytest.mark.parametrize(("policy", "message"), FAULTY, ids=lambda x: type(x).__name__)
def test_a_broken_policy_stops_the_run_with_one_line(
    policy: Policy, message: str, *, closed_loop: bool
) -> None:
    n_stopped = 0
    for case in pressed_cases(7, 30):
        n_evictions = run_engine(case, n_instances=2).prepared.cluster.pools["evictions"].sum()
        if not n_evictions:
            continue
        with pytest.raises(PolicyError, match=r"^policy tested: ") as caught:
            run_engine(case, policy=policy, n_instances=2, closed_loop=closed_loop)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
        n_stopped += 1
    assert n_stopped > 5
