"""The tiers below a GPU's cache do what a plain model does, whatever fills and empties them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from cases import Case, random_case
from tier_cases import LAYOUTS, WRITES, cached, choices, run, run_model

from kvsim.calibration.gpu_profile import Link
from kvsim.policies import POLICIES
from kvsim.policies.continuum import SHARE
from kvsim.sim.config import HostConfig
from kvsim.sim.invariants import check_cluster
from kvsim.sim.tier_setup import TIER_NAMES, TierChoices
from kvsim.sim.tiers import RING


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_engine_does_what_the_model_does(layout: tuple[str, ...]) -> None:
    rng = np.random.default_rng(LAYOUTS.index(layout))
    seen = dict.fromkeys(("loaded", "evicted", "refused", "stored"), 0)
    n_preempted = 0
    for n in range(150):
        case = cached(random_case(rng, n_rows=int(rng.integers(4, 25))))
        given = choices(rng, layout)
        instance, requests = run_model(case, given)
        prepared = run(case, given)
        check_cluster(prepared)
        rows = prepared.cluster.requests
        where = (n, case, given)
        assert rows["cached_tokens"].tolist() == [r.cached_tokens for r in requests], where
        assert rows["recached_tokens"].tolist() == [r.recached_tokens for r in requests], where
        for name in ("first_scheduled_s", "first_token_s", "finish_s"):
            found = [None if math.isnan(x) else x for x in rows[name].tolist()]
            assert found == [getattr(r, name) for r in requests], (name, where)
        for tier in instance.tiers:
            total = prepared.cluster.tiers[TIER_NAMES[tier.name]]
            for count in ("stored", "kept", "loaded", "evicted", "refused"):
                expected = getattr(tier, f"n_{count}")
                assert total[f"n_{count}"] == expected, (tier.name, count, where)
            for count in seen:
                seen[count] += getattr(tier, f"n_{count}")
        n_preempted += sum(r.n_preemptions for r in requests)
    assert seen["loaded"] > 100, seen
    assert seen["evicted"] > 100, seen
    assert n_preempted > 20


@pytest.mark.parametrize("policy", POLICIES)
def test_any_policy_may_order_every_tier_of_every_layout(policy: str) -> None:
    rng = np.random.default_rng(7)
    for layout in LAYOUTS:
        for write in WRITES:
            case = cached(random_case(rng, n_rows=20))
            given = choices(rng, layout, write=write, policy=policy)
            check_cluster(run(case, given, policy=policy, n_instances=2))


def test_a_policy_that_learns_from_the_arrivals_does_so_in_a_lower_tier() -> None:
    rng = np.random.default_rng(17)
    case = cached(random_case(rng, n_rows=500))
    given = choices(rng, ("host",), policy="continuum,train_share=1")
    binding = run(case, given).tier_bindings["host"]
    assert (binding.params[:, SHARE] > 0).any()


@pytest.mark.parametrize("placement", ["private", "hashed", "shared"])
@pytest.mark.parametrize("policy", ["lru", "lfu", "workload-aware"])
def test_links_may_be_shared_and_tiers_too(placement: str, policy: str) -> None:
    rng = np.random.default_rng(11)
    n_loaded = 0
    for layout in LAYOUTS:
        for _ in range(14):
            case = cached(random_case(rng, n_rows=24))
            given = choices(
                rng,
                layout,
                policy=policy,
                placement=placement,
                shares=True,
                n_layers=int(rng.integers(0, 3)),
                prefetch_lead=int(rng.integers(0, 4)),
                fetches_cheaper=bool(rng.integers(0, 2)),
            )
            prepared = run(case, given, policy=policy, n_instances=3)
            check_cluster(prepared)
            loaded = prepared.cluster.tiers["n_loaded"]
            n_loaded += int(loaded.sum())
            tokens = sum(prepared.cluster.requests[f"{name}_tokens"].sum() for name in layout)
            assert tokens <= loaded.sum() * case.settings.block_size
            assert (prepared.cluster.instances["n_flows"] == 0).all()
    assert n_loaded > 30


def test_a_link_that_nobody_shares_is_the_same_in_fair_shares() -> None:
    rng = np.random.default_rng(5)
    n_hits = 0
    for _ in range(60):
        case = cached(random_case(rng, n_rows=20))
        # one request at a time: transfers never meet, but for stores behind each other
        case = replace(
            case, rows=tuple(replace(row, arrival_s=1e4 * n) for n, row in enumerate(case.rows))
        )
        given = choices(rng, ("host",))
        alone = run(case, given).cluster.requests
        shared = run(case, replace(given, shares=True)).cluster.requests
        assert alone["cached_tokens"].tolist() == shared["cached_tokens"].tolist(), (case, given)
        np.testing.assert_allclose(alone["finish_s"], shared["finish_s"])
        n_hits += int(alone["host_tokens"].sum())
    assert n_hits > 100


def test_layer_by_layer_a_request_never_starts_later() -> None:
    rng = np.random.default_rng(6)
    n_earlier = 0
    for _ in range(120):
        case = cached(random_case(rng, n_rows=12))
        case = replace(
            case, rows=tuple(replace(row, arrival_s=1e4 * n) for n, row in enumerate(case.rows))
        )
        given = choices(rng, ("host",))
        whole = run(case, given).cluster.requests["first_scheduled_s"]
        layered = run(case, replace(given, n_layers=32)).cluster.requests["first_scheduled_s"]
        is_known = ~np.isnan(whole)
        assert (layered[is_known] <= whole[is_known]).all()
        n_earlier += int((layered[is_known] < whole[is_known]).sum())
    assert n_earlier > 10


def test_blocks_are_promoted_before_their_turn_and_nothing_is_lost() -> None:
    rng = np.random.default_rng(9)
    found = dict.fromkeys(("in_time_blocks", "late_blocks", "useless_blocks"), 0)
    n_sooner = n_later = 0
    for _ in range(150):
        case = cached(random_case(rng, n_rows=24))
        settings = replace(case.settings, max_num_seqs=2, max_num_batched_tokens=20, n_blocks=30)
        case = replace(case, settings=settings)
        given = choices(rng, ("host", "disk"))
        alone = run(case, given).cluster
        prepared = run(case, replace(given, prefetch_lead=int(rng.integers(1, 5))))
        check_cluster(prepared)
        cluster = prepared.cluster
        for name in found:
            found[name] += int(cluster.instances[name].sum())
        is_late = cluster.requests["late_tokens"] > 0
        assert (cluster.requests["in_time_tokens"][is_late] == 0).all()
        sooner = np.nanmean(cluster.requests["first_token_s"] - cluster.requests["arrival_s"])
        later = np.nanmean(alone.requests["first_token_s"] - alone.requests["arrival_s"])
        n_sooner += bool(sooner < later - 1e-9)
        n_later += bool(sooner > later + 1e-9)
    assert min(found.values()) > 10, found
    assert n_sooner > n_later, (n_sooner, n_later)


def with_ring(given: TierChoices, rng: np.random.Generator) -> TierChoices:
    host = given.tiers["host"]
    config = replace(
        host.config,
        blocks=int(rng.integers(2, 30)),
        ring=float(rng.choice([0.1, 0.3, 0.6])),
        ring_window=int(rng.integers(1, 8)),
    )
    return replace(given, tiers={**given.tiers, "host": replace(host, config=config)})


@pytest.mark.parametrize("layout", [("host",), ("host", "disk"), ("peer", "host", "disk")])
@pytest.mark.parametrize("has_ring", [False, True])
def test_promotions_and_the_ring_do_what_the_model_does(
    layout: tuple[str, ...], *, has_ring: bool
) -> None:
    rng = np.random.default_rng([len(layout), has_ring])
    seen = dict.fromkeys(("promoted", "in_time", "late", "useless"), 0)
    ring_seen = dict.fromkeys(("stored", "kept", "loaded", "evicted"), 0)
    for n in range(200):
        case = cached(random_case(rng, n_rows=24))
        settings = replace(
            case.settings,
            max_num_seqs=int(rng.integers(1, 4)),
            max_num_batched_tokens=20,
            n_blocks=int(rng.integers(12, 31)),
        )
        case = replace(case, settings=settings)
        given = replace(choices(rng, layout), prefetch_lead=int(rng.integers(0, 5)))
        if has_ring:
            given = with_ring(given, rng)
        instance, requests = run_model(case, given)
        prepared = run(case, given)
        check_cluster(prepared)
        where = (n, case, given)
        rows = prepared.cluster.requests
        for name in ("cached_tokens", "recached_tokens"):
            assert rows[name].tolist() == [getattr(r, name) for r in requests], (name, where)
        for name in ("first_scheduled_s", "first_token_s", "finish_s"):
            found = [None if math.isnan(x) else x for x in rows[name].tolist()]
            assert found == [getattr(r, name) for r in requests], (name, where)
        for name, expected in instance.n_blocks.items():
            assert prepared.cluster.instances[f"{name}_blocks"].sum() == expected, (name, where)
            seen[name] += expected
        for tier in instance.searched():
            number = RING if tier.name == "ring" else TIER_NAMES[tier.name]
            for count in ("stored", "kept", "loaded", "evicted", "refused"):
                total = prepared.cluster.tiers[number][f"n_{count}"]
                assert total == getattr(tier, f"n_{count}"), (tier.name, count, where)
                if tier.name == "ring" and count in ring_seen:
                    ring_seen[count] += int(total)
    assert min(seen.values()) > 10, seen
    assert not has_ring or min(ring_seen.values()) > 10, ring_seen


def test_what_is_cheaper_to_compute_is_not_fetched() -> None:
    rng = np.random.default_rng(8)

    def drawn() -> Case:
        case = cached(random_case(rng, n_rows=20))
        return replace(case, settings=replace(case.settings, latency=(1e-3, 1e-3, 1e-4, 0.0)))

    case = drawn()
    slow = replace(choices(rng, ("host",), write="write-through"), fetches_cheaper=True)
    slow = replace(slow, link=replace(slow.link, up_bytes_per_s=1e-3, down_bytes_per_s=1e12))
    assert run(case, slow).cluster.requests["host_tokens"].sum() == 0
    n_fetched = 0
    for _ in range(30):
        case = drawn()
        quick = replace(
            slow, link=replace(slow.link, up_bytes_per_s=1e12, down_bytes_per_s=1e12, start_s=0.0)
        )
        always = run(case, replace(quick, fetches_cheaper=False)).cluster.requests
        assert run(case, quick).cluster.requests["host_tokens"].tolist() == (
            always["host_tokens"].tolist()
        )
        n_fetched += int(always["host_tokens"].sum())
    assert n_fetched > 100


def test_a_larger_host_buffer_of_a_fast_link_never_loses_hits_under_lru() -> None:
    rng = np.random.default_rng(3)
    fast = Link(up_bytes_per_s=1e12, down_bytes_per_s=1e12, scattered_bytes_per_s=1e12, start_s=0.0)
    gained = 0
    for _ in range(60):
        case = cached(random_case(rng, n_rows=20))
        # one request at a time: then hits do not hang on who meets whom
        case = replace(
            case, rows=tuple(replace(row, arrival_s=1e4 * n) for n, row in enumerate(case.rows))
        )
        hits = []
        for n_blocks in (1, 4, 16, 64):
            given = replace(choices(rng, ("host",), write="write-back"), link=fast)
            tier = replace(
                given.tiers["host"], config=HostConfig(blocks=n_blocks, write="write-back")
            )
            rows = run(case, replace(given, tiers={"host": tier})).cluster.requests
            hits.append(int(rows["cached_tokens"].sum()))
        assert hits == sorted(hits), case
        gained += hits[-1] > hits[0]
    assert gained > 10
