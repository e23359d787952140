"""Values given how long a block was not reused, and what their fit may be told."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kvsim import ConfigError
from kvsim.policies.base import Setting
from kvsim.policies.lpc import Lpc
from kvsim.policies.posterior_hazard import PosteriorHazard
from kvsim.policies.testing import check_policy
from kvsim.policies.workload_aware import WorkloadAware

SETTING = Setting(
    n_items=8, n_caches=1, n_keys=8, capacity_blocks=8, category_names=("a-1", "b-1"), seed=0
)
RATE, P, LIFE_S = 0.02, 0.8, 5.0
SHARE = 1 - math.exp(-RATE * LIFE_S)


def survivors_reused(age_s: float, seed: int, n: int = 400_000) -> float:
    """Share of blocks reused in [age, age + life) among those not reused before, by trial."""
    rng = np.random.default_rng(seed)
    gap_s = np.where(rng.random(n) < P, rng.exponential(1 / RATE, n), np.inf)
    alive = gap_s >= age_s
    return float((gap_s[alive] < age_s + LIFE_S).mean())


@pytest.mark.parametrize("age_s", [0.0, 10.0, 60.0, 150.0])
def test_the_hazard_is_what_a_trial_finds(age_s: float) -> None:
    value = PosteriorHazard.value(0, age_s, RATE, P, SHARE)
    assert value == pytest.approx(survivors_reused(age_s, int(age_s)), abs=0.003)


def test_the_hazard_at_age_0_is_the_mass_of_workload_aware() -> None:
    value = PosteriorHazard.value(0, 0.0, RATE, P, SHARE)
    assert value == pytest.approx(WorkloadAware.value(0, 0.0, RATE, P, SHARE), rel=1e-15)


@pytest.mark.parametrize("policy", [PosteriorHazard, Lpc])
def test_no_older_block_of_a_category_is_worth_more(policy: type[PosteriorHazard]) -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        rate, p = float(rng.exponential(0.5)), float(rng.choice((0.0, rng.random(), 1.0)))
        ages_s = np.sort(rng.exponential(rng.choice((1, 100, 1e5)), 20)).tolist()
        values = [policy.value(0, t, rate, p, 1 - math.exp(-rate * 5)) for t in ages_s]
        assert all(0 <= v <= 1 for v in values)
        assert values == sorted(values, reverse=True), (rate, p)


def test_a_conversation_fades_as_it_does_not_go_on() -> None:
    d = math.exp(-100 / 100)
    assert Lpc.value(0, 100.0, 0.01, 0.5, 0.0) == pytest.approx(0.5 * d / (0.5 * d + 0.5))
    assert Lpc.value(0, 0.0, 0.01, 0.3, 0.0) == pytest.approx(0.3)
    assert Lpc.value(0, 100.0, 0.0, 1.0, 0.0) == 0.0


def test_lifespans_may_differ_by_category() -> None:
    params = WorkloadAware(lives="b-1:60", life_s=5.0).params(SETTING)
    assert params[:, 2].tolist() == [1 - np.exp(-1e-3 * 5.0), 1 - np.exp(-1e-3 * 60.0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("workload-aware,lives=c-1:60", r"lives must be CATEGORY:SECONDS.*'c-1:60'.*chat-1"),
        ("workload-aware,lives=chat-1:long", "lives must be CATEGORY:SECONDS"),
        ("workload-aware,lives=chat-1:0", "lives must be positive"),
        ("workload-aware,stamp=start", "stamp must be one of access, finish, hit, got 'start'"),
        ("workload-aware,shifted=true,censored=true", "two different fits"),
    ],
)
def test_wrong_parameters_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_policy(text)


@pytest.mark.parametrize(
    "text", ["workload-aware,lives=chat-1:60+code-1:1,censored=true", "posterior-hazard,retag=true"]
)
def test_the_variants_conform(text: str) -> None:
    check_policy(text)
