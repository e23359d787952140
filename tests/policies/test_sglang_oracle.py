"""SGLang's policies hit, request by request, what its own code was recorded to hit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import radix_model
from prefix_cache_model import Access
from replay_cases import hits_of

from kvsim.policies import make_policy
from kvsim.sim.prefix_replay import replay
from kvsim.studies.mrc import categories
from kvsim.traces.compiled import load_compiled
from kvsim.traces.sample import sample_path

DATA = Path(__file__).parents[1] / "data" / "sglang-oracle"
POLICIES = {
    "lru": "sglang-lru",
    "lfu": "sglang-lfu",
    "slru": "sglang-slru",
    "priority": "sglang-priority,priorities=b-1:5+c-1:2",
    "tlru": "sglang-t-lru,threshold_tokens=3,next_tokens=0",
}


def recorded() -> list[tuple[list[Access], int, dict[str, list[int]]]]:
    cases = json.loads((DATA / "radix.json").read_text())
    return [
        (
            [Access(tuple(p), float(t), c) for t, (p, c) in enumerate(case["requests"])],
            case["capacity"],
            case["hits"],
        )
        for case in cases
    ]


@pytest.mark.parametrize("order", POLICIES)
def test_random_traces_hit_what_was_recorded(order: str) -> None:
    n_unlike_lru = 0
    for accesses, capacity, hits in recorded():
        assert hits_of(POLICIES[order], accesses, capacity) == hits[order], (accesses, capacity)
        n_unlike_lru += hits[order] != hits_of("lru", accesses, capacity)
    assert n_unlike_lru > 100


@pytest.mark.parametrize("order", POLICIES)
def test_the_plain_model_hits_what_was_recorded(order: str) -> None:
    for accesses, capacity, hits in recorded():
        found = radix_model.replay(
            accesses, capacity, order=order, priorities=(0.0, 5.0, 2.0), spare=3
        )
        assert found == hits[order], (accesses, capacity)


@pytest.mark.parametrize("order", POLICIES)
def test_the_sample_hits_what_was_recorded(order: str) -> None:
    compiled = load_compiled([sample_path()], block_size=512, partial_blocks=True)
    category, names = categories(compiled.trace)
    policy = make_policy(POLICIES[order].partition(",")[0])
    for capacity, n_hits in json.loads((DATA / "sample.json").read_text())[order].items():
        found = replay(
            compiled.tree,
            policy,
            int(capacity),
            arrival_s=compiled.trace.arrival_s,
            category=category.astype(np.int64),
            category_names=names,
        )
        assert found.sum() == n_hits, capacity
