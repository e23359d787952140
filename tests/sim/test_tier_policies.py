"""Policies that look beyond a single block do in a lower tier what plain models of them do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import prefix_cache_model
import pytest
import research_models
import scheduler_model as model
import tier_orders
from cases import Case, prepared_engine, random_case
from pvp_model import PvpInstance
from tier_cases import LAYOUTS, WRITES, cached, choices, model_instance, run
from tier_model import Order, Tier, Turns

from kvsim.policies.base import Block, EvictionPolicy, Policy, Setting
from kvsim.policies.marconi import ALPHA, ALPHA_FROM_S, ALPHAS
from kvsim.sim.engine import World
from kvsim.sim.invariants import check_cluster
from kvsim.sim.router import router_code
from kvsim.sim.setup import Prepared
from kvsim.sim.tier_setup import TIER_NAMES, TierChoices

SPARE_BLOCKS = 3
BOOTSTRAP = 3

OrderOf = Callable[[PvpInstance, Tier], Order]


def pressed(rng: np.random.Generator, n_rows: int) -> Case:
    """A case whose queue is long at times, on a GPU of few blocks."""
    case = cached(random_case(rng, n_rows=n_rows))
    settings = replace(
        case.settings,
        max_num_seqs=int(rng.integers(1, 5)),
        max_num_batched_tokens=20,
        n_blocks=int(rng.integers(12, 31)),
    )
    return replace(case, settings=settings)


def run_models(
    case: Case, given: TierChoices, n_instances: int, order_of: OrderOf
) -> tuple[list[PvpInstance], list[model.Request]]:
    names = model.Names()
    requests = case.requests()
    turns = Turns(requests, names, case.settings)
    instances = [model_instance(case, given, names) for _ in range(n_instances)]
    for number, instance in enumerate(instances):
        instance.number = number
        instance.turns = turns
        for tier in instance.tiers:
            tier.order = order_of(instance, tier)
    model.run(instances, requests)
    return instances, requests


def assert_same(
    prepared: Prepared, instances: list[PvpInstance], requests: list[model.Request], where: object
) -> int:
    """Compare requests and tiers to the last bit; return how many blocks tiers evicted."""
    check_cluster(prepared)
    cluster = prepared.cluster
    for name in ("cached_tokens", "recached_tokens"):
        assert cluster.requests[name].tolist() == [getattr(r, name) for r in requests], where
    for name in ("first_scheduled_s", "first_token_s", "finish_s"):
        found = [None if math.isnan(x) else x for x in cluster.requests[name].tolist()]
        assert found == [getattr(r, name) for r in requests], (name, where)
    n_evicted = 0
    for instance in instances:
        for tier in instance.tiers:
            cache = cluster.tiers[TIER_NAMES[tier.name] * len(instances) + instance.number]
            for count in ("stored", "kept", "loaded", "evicted", "refused"):
                assert cache[f"n_{count}"] == getattr(tier, f"n_{count}"), (count, where)
            n_evicted += tier.n_evicted
    return n_evicted


def compare(
    policy: str | Policy, order_of: OrderOf, *, gpu: str, n_instances: int, n_cases: int, seed: int
) -> int:
    rng = np.random.default_rng([seed, n_instances])
    n_evicted = 0
    for n in range(n_cases):
        case = pressed(rng, int(rng.integers(10, 30)))
        layout = LAYOUTS[n % len(LAYOUTS)]
        given = choices(rng, layout, policy=policy, prefetch_lead=int(rng.integers(0, 4)))
        prepared = run(case, given, policy=gpu, n_instances=n_instances, router="round-robin")
        instances, requests = run_models(case, given, n_instances, order_of)
        n_evicted += assert_same(prepared, instances, requests, (n, case, given))
    return n_evicted


@pytest.mark.parametrize(("n_instances", "n_cases"), [(1, 300), (3, 150)])
def test_belady_keeps_what_the_next_requests_need(n_instances: int, n_cases: int) -> None:
    n_evicted = compare(
        "belady",
        lambda instance, _: tier_orders.belady(instance),
        gpu="lru",
        n_instances=n_instances,
        n_cases=n_cases,
        seed=1,
    )
    assert n_evicted > 3000


@pytest.mark.parametrize(("n_instances", "n_cases"), [(1, 300), (3, 150)])
def test_t_lru_knows_how_long_conversations_are(n_instances: int, n_cases: int) -> None:
    rng = np.random.default_rng([2, n_instances])
    n_evicted = 0
    for n in range(n_cases):
        case = pressed(rng, int(rng.integers(10, 30)))
        size = case.settings.block_size
        policy = f"t-lru,threshold_tokens={size * (SPARE_BLOCKS + 1) + size - 1},next_tokens={size}"
        given = choices(rng, LAYOUTS[n % len(LAYOUTS)], policy=policy)
        prepared = run(case, given, n_instances=n_instances, router="round-robin")
        instances, requests = run_models(
            case, given, n_instances, lambda instance, _: tier_orders.t_lru(instance, SPARE_BLOCKS)
        )
        n_evicted += assert_same(prepared, instances, requests, (n, case, given))
    assert n_evicted > 3000


def alpha_of(case: Case, capacity: int) -> tuple[float, float]:
    """What Marconi is to choose for caches of that many blocks in all, and from when on."""
    names, size = model.Names(), case.settings.block_size
    accesses = []
    for r in case.requests():
        named = min(r.covered_tokens, r.input_tokens + r.output_tokens - 1)
        path = tuple(names.keys(r, named, size))
        accesses.append(prefix_cache_model.Access(path, r.arrival_s, 0))
    seen: set[int] = set()
    n = 0
    for access in accesses:
        seen.update(access.path)
        n += 1
        if len(seen) > capacity:
            break
    n *= BOOTSTRAP
    if len(seen) <= capacity or n >= len(accesses):
        return 0.0, math.inf
    hits = [
        sum(prefix_cache_model.replay(accesses[:n], research_models.Marconi(alpha=a), capacity)[0])
        for a in ALPHAS
    ]
    return ALPHAS[hits.index(max(hits))], accesses[n - 1].now_s


@pytest.mark.parametrize(("n_instances", "n_cases"), [(1, 80), (3, 40)])
def test_marconi_chooses_alpha_for_the_size_of_the_tier(n_instances: int, n_cases: int) -> None:
    rng = np.random.default_rng([3, n_instances])
    n_evicted = n_tuned = 0
    alphas = set()
    for n in range(n_cases):
        case = pressed(rng, int(rng.integers(40, 80)))
        policy = f"marconi,bootstrap={BOOTSTRAP},n_samples=0"
        given = choices(rng, LAYOUTS[n % len(LAYOUTS)], policy=policy)
        prepared = run(case, given, n_instances=n_instances, router="round-robin")
        for name, tier in given.tiers.items():
            found = prepared.tier_bindings[name].params[0]
            expected = alpha_of(case, tier.config.blocks * n_instances)
            assert (found[ALPHA], found[ALPHA_FROM_S]) == expected, (n, name)
            n_tuned += expected[1] < math.inf
            alphas.add(expected[0])

        def order_of(_: PvpInstance, tier: Tier, prepared: Prepared = prepared) -> Order:
            return tier_orders.marconi(*prepared.tier_bindings[tier.name].params[0].tolist()[:2])

        instances, requests = run_models(case, given, n_instances, order_of)
        n_evicted += assert_same(prepared, instances, requests, (n, case, given))
    assert n_evicted > 1000
    assert n_tuned > 20
    assert len(alphas) > 2, alphas


class Watching(EvictionPolicy):
    """Evicts the furthest, and looks at each eviction whether all that it was told still holds."""

    needs_future = True
    prepared: Prepared
    """Of the run that it takes part in."""
    placement = ""
    n_checked = 0
    n_made = 0

    def __init__(self) -> None:
        self.candidates: dict[int, Block] = {}
        self.cache = 0

    def fresh(self, setting: Setting) -> Watching:
        made = type(self)()
        made.cache = Watching.n_made % setting.n_caches
        Watching.n_made += 1
        return made

    def add(self, block: Block) -> None:
        self.candidates[block.block_id] = block

    def remove(self, block: Block) -> None:
        del self.candidates[block.block_id]

    def next_use(self, key: int) -> float:
        tree, c = self.prepared.tree, self.prepared.cluster
        if key >= tree.n_keys:
            return math.inf
        segment = int(np.searchsorted(tree.first_key, key, side="right")) - 1
        for row in c.uses[c.use_offsets[segment] : c.use_offsets[segment + 1]].tolist():
            where = int(c.requests["instance"][row])
            is_over = bool(c.was_admitted[row])
            if self.placement == "private" and where != self.cache:
                is_over = where >= 0 and row < c.instances["n_admitted"][self.cache]
            if not is_over:
                return row
        return math.inf

    def victim(self) -> int:
        for block in self.candidates.values():
            assert block.next_use == self.next_use(block.key), block
        Watching.n_checked += len(self.candidates)
        return max(self.candidates.values(), key=lambda b: (b.next_use, -b.last_access)).block_id


@pytest.mark.parametrize("placement", ["private", "hashed", "shared"])
@pytest.mark.parametrize("admission", ["fcfs", "longest-prefix"])
@pytest.mark.parametrize("closed_loop", [False, True])
def test_whoever_is_told_the_future_is_told_when_it_has_come(
    placement: str, admission: str, *, closed_loop: bool
) -> None:
    rng = np.random.default_rng([4, len(placement), len(admission), closed_loop])
    Watching.placement = placement
    Watching.n_checked = 0
    for layout in LAYOUTS:
        for write in WRITES:
            case = pressed(rng, 40)
            if closed_loop:
                rows = list(case.rows)
                for n in range(10, len(rows)):
                    if rng.random() < 0.5:
                        parent = int(rng.integers(0, n))
                        rows[n] = replace(rows[n], parent=parent, think_s=float(rng.random() * 50))
                case = replace(case, rows=tuple(rows))
            given = choices(rng, layout, write=write, policy=Watching(), placement=placement)
            given = replace(given, prefetch_lead=int(rng.integers(0, 3)))
            Watching.prepared = prepared = prepared_engine(
                case,
                n_instances=3,
                is_logged=False,
                tiers=given,
                engine={"admission": admission},
            )
            router = router_code("round-robin")
            World(prepared, router=router, policy_name="lru", closed_loop=closed_loop).run()
            check_cluster(prepared)
    assert Watching.n_checked > 1000


def test_lru_in_the_gpu_decides_the_same_whether_a_tier_asks_for_history(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(5)
    n_evicted = 0
    for n in range(100):
        case = pressed(rng, int(rng.integers(4, 25)))
        given = choices(rng, LAYOUTS[n % len(LAYOUTS)], prefetch_lead=int(rng.integers(0, 4)))
        listed = run(case, given).cluster
        assert listed.record["is_listed"][0] == 1
        with monkeypatch.context() as patch:
            patch.setattr(TierChoices, "need_history", True)
            ordered = run(case, given).cluster
        assert ordered.record["is_listed"][0] == 0
        for name in listed.requests.dtype.names:
            np.testing.assert_array_equal(listed.requests[name], ordered.requests[name])
        for count in ("n_stored", "n_kept", "n_loaded", "n_evicted", "n_refused", "n_unloaded"):
            np.testing.assert_array_equal(listed.tiers[count], ordered.tiers[count])
        n_evicted += int(listed.pools["evictions"].sum())
    assert n_evicted > 1000
