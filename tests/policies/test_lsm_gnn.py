"""The hybrid of a popularity score and a look at the waiting queue: values, classes, orders."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from kvsim import ConfigError
from kvsim.policies import Block, Moment
from kvsim.policies.base import Setting
from kvsim.policies.lsm_gnn import LsmGnn
from kvsim.policies.testing import check_policy
from kvsim.policies.workload_aware import WorkloadAware

SETTING = Setting(
    n_items=8, n_caches=1, n_keys=8, capacity_blocks=8, category_names=("a-1",), seed=0
)
BLOCK = Block(0, 0, 3, 0, 5, 90.0, 5, 70.0, 2, 0.0, 0.0)


def worth(policy: LsmGnn, block: Block = BLOCK, **seen: float) -> float:
    now: dict[str, Any] = {
        "now_s": 100.0,
        "next_start": math.inf,
        "n_waiting_users": 0.0,
        "is_fresh": 0.0,
        "n_waiting": 16.0,
    }
    return policy.value(block, Moment(**{**now, **seen}), policy.params(SETTING)[0].tolist())


def test_the_static_score_is_the_share_of_visits() -> None:
    share = (2 + 1) / (30.0 + 600.0)
    assert worth(LsmGnn(mode="static")) == share / (1 + share)
    assert worth(LsmGnn(mode="static", prior_s=60.0)) == (3 / 90) / (1 + 3 / 90)


def test_the_static_score_may_be_workload_awares_value() -> None:
    policy = LsmGnn(mode="static", static="workload-aware", life_s=7.0)
    a, b, c = WorkloadAware(life_s=7.0).params(SETTING)[0].tolist()
    mass = WorkloadAware.value(0, 10.0, a, b, c)
    assert worth(policy) == mass / (1 + mass)


def test_the_dynamic_score_ranks_none_then_fresh_then_the_furthest() -> None:
    policy = LsmGnn(mode="dynamic")
    ranked = [worth(policy), worth(policy, is_fresh=1.0)]
    ranked += [worth(policy, next_start=float(d)) for d in (63, 5, 1, 0)]
    assert ranked == sorted(set(ranked))


@pytest.mark.parametrize(("order", "expected"), [("1234", "1234"), ("2134", "2134")])
def test_the_class_comes_before_the_static_score(order: str, expected: str) -> None:
    policy = LsmGnn(order=order, window=16)
    seen: dict[str, dict[str, float]] = {
        "1": {},
        "2": {"next_start": 3.0},
        "3": {"is_fresh": 1.0},
        "4": {"next_start": 2.0},
    }
    hot, cold = BLOCK._replace(n_hits=10**6), BLOCK._replace(n_hits=0)
    for before, after in pairwise(expected):
        assert worth(policy, hot, **seen[before]) < worth(policy, cold, **seen[after])
    for kind in expected:
        assert worth(policy, cold, **seen[kind]) < worth(policy, hot, **seen[kind])


@pytest.mark.parametrize(("near", "window", "last_near"), [(0, 64, 8), (0, 4, 1), (5, 64, 5)])
def test_near_is_an_eighth_of_the_window_unless_given(
    near: int, window: int, last_near: int
) -> None:
    policy = LsmGnn(near=near, window=window)
    gap = worth(policy, next_start=last_near) - worth(policy, next_start=last_near + 1)
    assert gap == pytest.approx(4.0)
    assert worth(policy, next_start=last_near) == worth(policy, next_start=0.0)


@pytest.mark.parametrize(
    "text",
    [
        "lsm-gnn,mode=static",
        "lsm-gnn,mode=dynamic,n_samples=2",
        "lsm-gnn,order=2134,window=3,n_samples=0",
        "lsm-gnn,static=workload-aware,refresh_steps=4,window=5,near=2,n_samples=3",
    ],
)
def test_every_kind_conforms(text: str) -> None:
    check_policy(text)


@pytest.mark.parametrize("name", ["mode", "order", "static"])
def test_a_word_it_does_not_know_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"lsm-gnn: {name} must be .* or .*, got 'x'"):
        LsmGnn(**{name: "x"}).bind(SETTING)
    assert np.isfinite(LsmGnn().params(SETTING)).all()
