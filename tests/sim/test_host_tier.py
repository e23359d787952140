"""The host's part of the cache does what a plain model does, whatever fills and empties it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import host_model
import numpy as np
import pytest
import scheduler_model as model
from cases import Case, prepared_engine, random_case

from kvsim.calibration.gpu_profile import Link
from kvsim.policies import make_policy
from kvsim.sim.config import HostConfig
from kvsim.sim.engine import World
from kvsim.sim.host_setup import HostChoice
from kvsim.sim.invariants import check_cluster
from kvsim.sim.router import router_code
from kvsim.sim.setup import Prepared

BLOCK_BYTES = 1000
WRITES = ("write-through", "write-back", "selective")


def choice(rng: np.random.Generator, *, write: str, policy: str = "lru") -> HostChoice:
    return HostChoice(
        config=HostConfig(
            blocks=int(rng.integers(1, 30)), write=write, min_hits=int(rng.integers(1, 3))
        ),
        policy=make_policy(policy),
        link=Link(
            up_bytes_per_s=float(rng.choice([1e4, 1e6, 1e9])),
            down_bytes_per_s=float(rng.choice([1e4, 1e6, 1e9])),
            scattered_bytes_per_s=1.0,
            start_s=float(rng.choice([0.0, 1e-4])),
        ),
        block_bytes=BLOCK_BYTES,
    )


def gathered(host: HostChoice) -> HostChoice:
    return replace(host, config=replace(host.config, copies="gathered"))


def run(case: Case, host: HostChoice, *, policy: str = "lru", n_instances: int = 1) -> Prepared:
    prepared = prepared_engine(
        case, policy=policy, n_instances=n_instances, is_logged=False, host=gathered(host)
    )
    World(prepared, router=router_code("prefix-aware"), policy_name=policy).run()
    return prepared


def run_model(case: Case, host: HostChoice) -> tuple[Any, list[model.Request]]:
    settings = host_model.HostSettings(
        n_blocks=host.config.blocks,
        write=host.config.write,
        min_hits=host.config.min_hits,
        up_s=BLOCK_BYTES / host.link.up_bytes_per_s,
        down_s=BLOCK_BYTES / host.link.down_bytes_per_s,
        start_s=host.link.start_s,
    )
    kind = type("Hosted", (host_model.HostInstance,), {"host_settings": settings})
    instance = kind(case.settings)
    requests = case.requests()
    model.run([instance], requests)
    return instance, requests


@pytest.mark.parametrize("write", WRITES)
def test_the_engine_does_what_the_model_does(write: str) -> None:
    rng = np.random.default_rng(WRITES.index(write))
    seen = {"loaded": 0, "evicted": 0, "preempted": 0, "refused": 0}
    for n in range(120):
        case = random_case(rng, n_rows=int(rng.integers(4, 25)))
        case = replace(case, settings=replace(case.settings, prefix_caching=True))
        host = choice(rng, write=write)
        instance, requests = run_model(case, host)
        prepared = run(case, host)
        check_cluster(prepared)
        rows = prepared.cluster.requests
        where = (n, case, host.config)
        assert rows["cached_tokens"].tolist() == [r.cached_tokens for r in requests], where
        assert rows["recached_tokens"].tolist() == [r.recached_tokens for r in requests], where
        for name in ("first_scheduled_s", "first_token_s", "finish_s"):
            found = [None if math.isnan(x) else x for x in rows[name].tolist()]
            assert found == [getattr(r, name) for r in requests], (name, where)
        total = prepared.cluster.hosts[0]
        for name in ("n_stored", "n_loaded", "n_evicted", "n_refused"):
            assert total[name] == getattr(instance, name), (name, where)
        seen["loaded"] += instance.n_loaded
        seen["evicted"] += instance.n_evicted
        seen["refused"] += instance.n_refused
        seen["preempted"] += sum(r.n_preemptions for r in requests)
    assert seen["loaded"] > 100, seen
    assert seen["evicted"] > 100, seen
    assert seen["preempted"] > 20, seen


@pytest.mark.parametrize("policy", ["lfu", "workload-aware", "s3-fifo", "random", "fifo"])
@pytest.mark.parametrize("write", WRITES)
def test_any_policy_may_order_either_tier(policy: str, write: str) -> None:
    rng = np.random.default_rng(7)
    for _ in range(25):
        case = random_case(rng, n_rows=20)
        case = replace(case, settings=replace(case.settings, prefix_caching=True))
        host = choice(rng, write=write, policy=policy)
        check_cluster(run(case, host, policy=policy, n_instances=2))


def test_a_larger_host_buffer_of_a_fast_link_never_loses_hits_under_lru() -> None:
    rng = np.random.default_rng(3)
    fast = Link(up_bytes_per_s=1e12, down_bytes_per_s=1e12, scattered_bytes_per_s=1e12, start_s=0.0)
    gained = 0
    for _ in range(60):
        case = random_case(rng, n_rows=20)
        # one request at a time: then hits do not hang on who meets whom
        case = replace(
            case,
            settings=replace(case.settings, prefix_caching=True),
            rows=tuple(replace(row, arrival_s=1e4 * n) for n, row in enumerate(case.rows)),
        )
        hits = []
        for n_blocks in (1, 4, 16, 64):
            host = replace(choice(rng, write="write-back"), link=fast)
            host = replace(host, config=HostConfig(blocks=n_blocks, write="write-back"))
            rows = run(case, host).cluster.requests
            hits.append(int(rows["cached_tokens"].sum()))
        assert hits == sorted(hits), case
        gained += hits[-1] > hits[0]
    assert gained > 10
