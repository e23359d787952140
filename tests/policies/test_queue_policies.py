"""Policies that look at the waiting queue, and those that weigh what a block costs: unit values."""

from __future__ import annotations

import math
from typing import Any

import pytest

from kvsim import ConfigError
from kvsim.policies import Block, Moment, SampledPolicy
from kvsim.policies.base import Setting
from kvsim.policies.kvflow import KvFlow
from kvsim.policies.peek import Peek
from kvsim.policies.pensieve import Pensieve
from kvsim.policies.queue_informed_lru import QueueInformedLru
from kvsim.policies.ragcache import RagCache
from kvsim.policies.testing import check_policy
from kvsim.policies.trt_llm import TrtLlm

SETTING = Setting(
    n_items=8, n_caches=1, n_keys=8, capacity_blocks=8, category_names=("a-1", "b-1"), seed=0
)
BLOCK = Block(
    block_id=0,
    key=0,
    depth=3,
    category=0,
    last_access=5,
    last_access_s=90.0,
    inserted=2,
    inserted_s=70.0,
    n_hits=1,
    next_use=0.0,
    clock=0.0,
)


def worth(policy: SampledPolicy, block: Block = BLOCK, **seen: float) -> float:
    now: dict[str, Any] = {
        "now_s": 100.0,
        "next_start": math.inf,
        "n_waiting_users": 0.0,
        "is_fresh": 0.0,
        "n_waiting": 16.0,
    }
    p = policy.params(SETTING)[block.category].tolist()
    return policy.value(block, Moment(**{**now, **seen}), p)


def test_what_is_waited_for_leaves_last_and_lru_rules_on_either_side() -> None:
    policy = QueueInformedLru()
    old, young = BLOCK._replace(last_access=1), BLOCK._replace(last_access=10**9)
    order = [
        worth(policy, old),
        worth(policy, young),
        worth(policy, old, next_start=7.0),
        worth(policy, young, next_start=0.0),
    ]
    assert order == sorted(set(order))


def test_more_steps_to_execution_are_worth_less() -> None:
    order = [worth(KvFlow())] + [worth(KvFlow(), next_start=float(d)) for d in (9, 3, 0)]
    assert order == sorted(set(order))


def test_peek_multiplies_those_who_wait_by_the_length_of_the_prefix() -> None:
    assert worth(Peek()) == 0
    assert worth(Peek(), n_waiting_users=5.0) == 5 * (1 + 3)


def test_pensieve_divides_the_cost_of_computing_again_by_the_age() -> None:
    assert worth(Pensieve(break_even_blocks=6.0)) == (1 + 3 / 6) / 10
    assert worth(Pensieve(), BLOCK._replace(last_access_s=100.0)) == (1 + 3 / 1900) / 1e-6
    with pytest.raises(ConfigError, match="break_even_blocks must be positive"):
        check_policy("pensieve,break_even_blocks=0")


def test_ragcache_adds_uses_times_cost_to_the_clock() -> None:
    assert RagCache.score(BLOCK._replace(clock=7.0, depth=1900)) == 7 + 2 * 2


def test_a_priority_lapses_after_its_duration() -> None:
    policy = TrtLlm(priorities="a-1:80:30+b-1:10")
    assert worth(policy) == 80
    assert worth(policy, now_s=119.99) == 80
    assert worth(policy, now_s=120.0) == 35
    assert worth(policy, BLOCK._replace(category=1), now_s=1e9) == 10
    assert worth(TrtLlm()) == 35


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trt-llm,priorities=x-1:5", r"CATEGORY:PRIORITY\[:SECONDS\].*'x-1:5'.*chat-1"),
        ("trt-llm,priorities=chat-1", "CATEGORY:PRIORITY"),
        ("trt-llm,priorities=chat-1:1:2:3", "CATEGORY:PRIORITY"),
        ("trt-llm,priorities=chat-1:101", "must be in 0..100"),
        ("dynamo-multi-lru,warm_at=9", "must rise from 1 to at most 15, got 9, 8, 15"),
        ("dynamo-multi-lru,halve_at=0", "halve_at must be positive"),
    ],
)
def test_wrong_parameters_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_policy(text)


@pytest.mark.parametrize(
    "text",
    [
        "trt-llm,priorities=chat-1:80:5+code-1:10,n_samples=0",
        "dynamo-multi-lru,warm_at=1,hot_at=2,very_hot_at=3,halve_at=2",
        "queue-informed-lru,window=3,n_samples=2",
        "peek,window=2,refresh_steps=3",
    ],
)
def test_other_parameters_conform(text: str) -> None:
    check_policy(text)
