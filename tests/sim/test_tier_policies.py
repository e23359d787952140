"""Policies that look beyond a single block do in a lower tier what plain models of them do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import scheduler_model as model
import tier_orders
from cases import Case, random_case
from pvp_model import PvpInstance
from tier_cases import LAYOUTS, cached, choices, model_instance, run
from tier_model import Order, Tier, Turns

from kvsim.policies import Policy
from kvsim.sim.invariants import check_cluster
from kvsim.sim.setup import Prepared
from kvsim.sim.tier_setup import TIER_NAMES, TierChoices

SPARE_BLOCKS = 3

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
