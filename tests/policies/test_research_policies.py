"""T-LRU, Marconi, Continuum, Mooncake and SGLang's tree: what their sources say, checked apart."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import prefix_cache_model as model
import pytest
from replay_cases import NAMES, hits_of, random_accesses, setting_of, tree_of

from kvsim import ConfigError
from kvsim.policies import make_policy
from kvsim.policies.base import Block, History, Setting
from kvsim.policies.continuum import N_QUANTILES, Continuum, gaps_s
from kvsim.policies.marconi import ALPHA, ALPHA_FROM_S, ALPHAS, Marconi
from kvsim.policies.mooncake import Mooncake
from kvsim.policies.sampled import Moment
from kvsim.policies.testing import check_policy
from kvsim.sim.history import first_part_of, parent_keys_of, rehearsal_of

SETTING = Setting(n_items=8, n_caches=1, n_keys=8, capacity_blocks=8, category_names=NAMES, seed=1)
BLOCK = Block(
    block_id=0,
    key=0,
    depth=3,
    category=0,
    last_access=7,
    last_access_s=90.0,
    inserted=2,
    inserted_s=50.0,
    n_hits=1,
    next_use=0.0,
    clock=0.0,
)


def moment(now_s: float) -> Moment:
    return Moment(now_s, math.inf, 0.0, 0.0, 0.0)


# T-LRU


def chat(*lengths: int) -> list[model.Access]:
    """Conversations of those lengths, one after the other, that share nothing."""
    return [model.Access((i, *[0] * (n - 1)), float(i), 0) for i, n in enumerate(lengths)]


def test_the_tail_that_the_target_does_not_need_leaves_first() -> None:
    # 10 blocks each; with 4 to spare the tails of 4 of both go before anything else of the first
    accesses = chat(10, 10, 8)
    later = [*accesses, accesses[0]._replace(now_s=9.0), accesses[1]._replace(now_s=10.0)]
    assert hits_of("lru", later, 20)[-2:] == [2, 2]
    assert hits_of("t-lru,threshold_tokens=5,next_tokens=1", later, 20)[-2:] == [6, 6]


def test_without_anything_to_spare_t_lru_is_lru() -> None:
    rng = np.random.default_rng(31)
    for _ in range(200):
        case = random_accesses(rng)
        assert hits_of("t-lru,threshold_tokens=3,next_tokens=3", *case) == hits_of("lru", *case)
    with pytest.raises(ConfigError, match="next_tokens must be at least 0, got -1"):
        check_policy("t-lru,next_tokens=-1")


# SGLang


def test_a_node_leaves_whole() -> None:
    a, b = (0, 0, 0, 0), (1, 1)
    accesses = [model.Access(p, float(t), 0) for t, p in enumerate((a, b, (2,), a))]
    # room for 6: one block more is needed for (2,), and all of a leaves
    assert hits_of("lru", accesses, 6) == [0, 0, 0, 3]
    assert hits_of("sglang-lru", accesses, 6) == [0, 0, 0, 0]


def test_the_lower_part_of_a_node_that_is_cut_counts_as_used() -> None:
    a, b, c = (0, 0, 0, 0), (1, 1), (0, 0, 2)
    accesses = [model.Access(p, float(t), 0) for t, p in enumerate((a, b, c, (3, 3), a))]
    # room for 9: after c 7 are cached, and (3, 3) fits; one more block takes b first, not a's end
    later = [*accesses[:4], model.Access((4,), 4.0, 0), model.Access(a, 5.0, 0)]
    assert hits_of("lru", later, 9)[-1] == 3
    assert hits_of("sglang-lru", later, 9)[-1] == 4


def test_a_node_has_the_highest_priority_of_its_users() -> None:
    a, b = (0, 0), (1, 1)
    accesses = [
        model.Access(a, 0.0, 1),
        model.Access(b, 1.0, 0),
        model.Access((2, 2), 2.0, 0),
        model.Access(a, 3.0, 0),
        model.Access((3, 3), 4.0, 0),
        model.Access(a, 5.0, 0),
    ]
    assert hits_of("sglang-priority,priorities=b-1:9", accesses, 4) == [0, 0, 0, 2, 0, 2]
    with pytest.raises(ConfigError, match=r"CATEGORY:PRIORITY\+.*'x:1'"):
        check_policy("sglang-priority,priorities=x:1")
    with pytest.raises(ConfigError, match="must be finite"):
        check_policy("sglang-priority,priorities=chat-1:inf")


# Marconi


def test_alpha_is_the_one_of_most_hits_on_the_start_of_the_trace() -> None:
    rng = np.random.default_rng(33)
    n_tuned = 0
    for _ in range(30):
        accesses, capacity = random_accesses(rng)
        tree = tree_of(accesses)
        capacity = max(capacity, int(tree.path_blocks.max()))
        arrival_s = np.array([a.now_s for a in accesses])
        category = np.array([a.category for a in accesses], np.int32)
        setting = replace(
            SETTING,
            n_keys=tree.n_keys,
            capacity_blocks=capacity,
            first_part=first_part_of(tree, arrival_s, category),
            rehearse=rehearsal_of(tree, arrival_s, category, NAMES, seed=1),
        )
        names = {a.path[:d] for a in accesses for d in range(1, len(a.path) + 1)}
        seen: set[model.Path] = set()
        n_until = 0  # requests up to the one that no longer fits
        for access in accesses:
            seen |= {name for name in names if access.path[: len(name)] == name}
            n_until += 1
            if len(seen) > capacity:
                break
        policy = Marconi(bootstrap=1.5)
        params = policy.bind(setting).params[0]
        n = int(1.5 * n_until)
        if len(seen) <= capacity or n >= len(accesses):
            assert params[ALPHA_FROM_S] == math.inf
            continue
        hits = [sum(hits_of(Marconi(alpha=alpha), accesses[:n], capacity)) for alpha in ALPHAS]
        assert params[ALPHA] == ALPHAS[hits.index(max(hits))]
        assert params[ALPHA_FROM_S] == accesses[n - 1].now_s
        n_tuned += 1
    assert n_tuned > 5


def test_marconis_parameters_are_checked() -> None:
    for text, message in (
        ("marconi,alpha=inf", "alpha must be finite"),
        ("marconi,bootstrap=0.5", "bootstrap must be at least 1"),
        ("marconi,n_samples=-1", "n_samples must be at least 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            check_policy(text)
    check_policy("marconi,alpha=1,n_samples=2")


# Continuum


def history_of(accesses: list[model.Access]) -> History:
    made = setting_of(accesses).first_part
    assert made is not None
    return made(1.0)


def test_a_gap_lasts_from_a_turn_to_the_next_request_through_its_end() -> None:
    rng = np.random.default_rng(34)
    for _ in range(100):
        accesses, _ = random_accesses(rng)
        expected = [
            next(
                (b.now_s - a.now_s for b in accesses[t + 1 :] if b.path[: len(a.path)] == a.path),
                math.inf,
            )
            if a.path
            else math.inf
            for t, a in enumerate(accesses)
        ]
        assert gaps_s(history_of(accesses)).tolist() == expected


def taught(policy: Continuum, gaps: list[float], n_ended: int) -> list[float]:
    """Parameters of category 0 after turns followed after those gaps, and others by none."""
    accesses = []
    now_s = 0.0
    for i, gap in enumerate(gaps):
        accesses += [model.Access((i,), now_s, 0), model.Access((i, 1), now_s + gap, 1)]
        now_s += 1000.0
    accesses += [model.Access((10_000 + i,), now_s, 0) for i in range(n_ended)]
    accesses.sort(key=lambda a: a.now_s)
    return list(policy.params(setting_of(accesses))[0])


def ttl_s(policy: Continuum, p: list[float], depth: int = 0) -> float:
    """How long a block is pinned, found by looking."""
    block = BLOCK._replace(last_access_s=0.0, depth=depth)
    now_s = 1e7  # after the learning
    block = block._replace(last_access_s=now_s)
    low, high = 0.0, 1e5
    for _ in range(80):
        middle = (low + high) / 2
        is_pinned = policy.value(block, moment(now_s + middle), p) > 0
        low, high = (middle, high) if is_pinned else (low, middle)
    return high


def test_the_time_to_live_is_the_best_of_the_gaps_seen() -> None:
    rng = np.random.default_rng(35)
    n_pinned = 0
    for queue_s in (0.5, 10.0, 50.0, 200.0):
        gaps = [round(float(g), 3) for g in rng.lognormal(0.5, 1.5, 5 * N_QUANTILES)]
        policy = Continuum(queue_s=queue_s, token_s=0.0, pair_s=0.0, train_share=1.0)
        p = taught(policy, gaps, n_ended=30)
        quantiles = sorted(gaps)[4::5]  # each category's gaps are cut into as many parts
        returns = len(gaps) / (len(gaps) + 30)

        gain_s = {
            t: returns * sum(g <= t for g in gaps) / len(gaps) * queue_s - t
            for t in (0.0, *quantiles)
        }
        best = max(gain_s, key=gain_s.__getitem__)
        assert ttl_s(policy, p) == pytest.approx(best, abs=1e-3)
        n_pinned += best > 0
    assert n_pinned >= 3


def test_before_it_knows_gaps_they_are_exponential() -> None:
    policy = Continuum(queue_s=5.0, token_s=0.0, pair_s=0.0)
    p = list(policy.params(SETTING)[0])
    assert ttl_s(policy, p) == pytest.approx(math.log(5.0), abs=1e-3)
    assert ttl_s(Continuum(queue_s=0.5), list(Continuum(queue_s=0.5).params(SETTING)[0])) < 1e-6
    few = taught(policy, [2.0] * 100, n_ended=0)  # a hundred are not enough
    assert ttl_s(policy, few) == pytest.approx(math.log(5.0), abs=1e-3)


def test_what_takes_longer_to_compute_is_kept_longer() -> None:
    policy = Continuum(queue_s=0.0, token_s=1e-3, pair_s=1e-6)
    p = list(policy.params(replace(SETTING, block_size=100))[0])
    n_tokens = 50 * 100
    saved_s = 1e-3 * n_tokens + 1e-6 * n_tokens**2 / 2
    assert ttl_s(policy, p, depth=49) == pytest.approx(math.log(saved_s), abs=1e-3)
    assert ttl_s(policy, p, depth=0) < 1e-6


def test_pins_leave_after_the_rest_the_first_to_end_first() -> None:
    policy = Continuum(queue_s=20.0, token_s=0.0, pair_s=0.0)
    p = list(policy.params(SETTING)[0])

    def value(last_s: float) -> float:
        return policy.value(BLOCK._replace(last_access_s=last_s), moment(100.0), p)

    assert value(90.0) < 0 < value(98.0) < value(99.0)
    for text, message in (
        ("continuum,train_share=0", r"train_share must be in \(0, 1\]"),
        ("continuum,queue_s=-1", "queue_s must be at least 0"),
        ("continuum,token_s=inf", "token_s must be at least 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            check_policy(text)


# Mooncake


def test_leases_and_pins_are_tiers() -> None:
    policy = Mooncake(soft_pins="a-1", hard_pins="c-1")
    p = policy.params(SETTING).tolist()

    def value(category: int, last_s: float, n_hits: int, now_s: float = 1000.0) -> float:
        block = BLOCK._replace(category=category, last_access_s=last_s, n_hits=n_hits)
        return policy.value(block, moment(now_s), p[category])

    order = [
        value(1, 900.0, 0),
        value(1, 895.0, 1),  # read: as if used 10 s later
        value(1, 980.0, 1),
        value(1, 999.0, 0),  # written last, without a lease
        value(0, 900.0, 0),  # under a soft pin
        value(0, 950.0, 1),
        value(1, 995.0, 1),  # under a lease
        value(0, 999.0, 1),
        value(2, 0.0, 0),  # under a hard pin
        value(2, 999.0, 1),
    ]
    assert order == sorted(set(order))
    assert value(0, 900.0, 0, now_s=2700.0) == value(1, 900.0, 0, now_s=2700.0)
    assert Mooncake().params(SETTING)[:, 1:].max() == 0
    for text, message in (
        ("mooncake,soft_pins=x", "soft_pins must be categories joined by.*'x'.*chat-1"),
        ("mooncake,lease_s=-1", "lease_s must be at least 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            check_policy(text)


def test_without_leases_and_pins_mooncake_is_lru() -> None:
    rng = np.random.default_rng(36)
    policy = make_policy("mooncake,lease_s=0,n_samples=0")
    for _ in range(200):
        case = random_accesses(rng)
        assert hits_of(policy, *case) == hits_of("lru", *case)


# What a policy may know of the tree


def test_a_private_block_follows_the_one_computed_before_it() -> None:
    accesses = [model.Access(p, 0.0, 0) for p in ((0, 1), (0, 2, 3), (), (0, 1))]
    tree = tree_of(accesses)
    above = parent_keys_of(tree, np.array([2, 0, 1, 1]))().tolist()
    assert above == [-1, 0, 0, 2, 1, 4, -1, 1]
