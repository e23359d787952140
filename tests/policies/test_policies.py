"""Every policy, replayed by runs of blocks and by plain models, and the laws that all obey."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path as File
from typing import ClassVar

import numpy as np
import policy_models
import prefix_cache_model as model
import pytest
import radix_model
import research_models
from hypothesis import given, settings
from hypothesis import strategies as st
from marking_model import RltByEvents
from replay_cases import (
    NAMES,
    conversations,
    hits_of,
    random_accesses,
    setting_of,
    tree_of,
)

from kvsim import ConfigError, KvsimError, PolicyError
from kvsim.kernels import kernel
from kvsim.policies import (
    POLICIES,
    Block,
    EvictionPolicy,
    Policy,
    QueuePolicy,
    SampledPolicy,
    ScorePolicy,
    find_policy,
    installed_policies,
    make_policy,
)
from kvsim.policies.arc import Arc
from kvsim.policies.base import Setting
from kvsim.policies.clock import Clock
from kvsim.policies.dynamo_multi_lru import DynamoMultiLru
from kvsim.policies.gdsf import Gdsf
from kvsim.policies.lecar import STATE as LECAR_STATE
from kvsim.policies.lecar import Lecar
from kvsim.policies.lfu import Lfu
from kvsim.policies.lhd import Lhd
from kvsim.policies.lirs import Lirs
from kvsim.policies.lru import Lru
from kvsim.policies.marconi import Marconi
from kvsim.policies.reuse_fit import make_reuse_fit, observe, unseen
from kvsim.policies.rlt import Rlt
from kvsim.policies.s3_fifo import S3Fifo
from kvsim.policies.sglang import SglangLru, SglangTLru
from kvsim.policies.sieve import Sieve
from kvsim.policies.slru import Slru
from kvsim.policies.t_lru import TLru
from kvsim.policies.two_q import TwoQ
from kvsim.policies.w_tinylfu import WTinyLfu
from kvsim.policies.workload_aware import WorkloadAware
from kvsim.sim.prefix_replay import replay
from kvsim.traces.strands import strands

VARIANTS = (
    "workload-aware,refit_s=4,window_s=12",
    "workload-aware,refit_s=4,window_s=inf,retag=true",
    "workload-aware,refit_s=2,window_s=4,shifted=true,life_s=1,min_gap_s=1",
    "workload-aware,refit_s=4,censored=true",
    "workload-aware,refit_s=4,window_s=12,leaf_only=false",
    "posterior-hazard,refit_s=4,window_s=12,retag=true,leaf_only=false",
    "posterior-hazard,refit_s=4,window_s=12,retag=true",
    "posterior-hazard,refit_s=2,censored=true",
    "lpc,refit_s=2",
    "trt-llm,priorities=a-1:80:3+c-1:10",
    "pensieve,break_even_blocks=2",
    "learned-reuse,train_share=0.5,life_s=2",
    "t-lru,threshold_tokens=6,next_tokens=2",
    "marconi,alpha=0.7",
    "mooncake,lease_s=2,soft_pins=a-1,soft_pin_s=3,hard_pins=c-1",
    "sglang-priority,priorities=b-1:5+c-1:2",
    "sglang-t-lru,threshold_tokens=5,next_tokens=2",
)
EVERY = (*POLICIES, *VARIANTS)
BY_CHANCE = ("random", "rlt", "hyperbolic")
"""What they draw has tests of its own."""
TUNED = ("marconi",)
"""What it tries out beforehand has one, too."""
MODELLED = [name for name in EVERY if name not in (*BY_CHANCE, *TUNED)]
ONLINE = [name for name in EVERY if name != "belady"]


def without_chance(policy: Policy) -> Policy:
    """The same policy; a sampled one looks at all candidates."""
    return replace(policy, n_samples=0) if isinstance(policy, SampledPolicy) else policy


def rule_of(policy: Policy, capacity: int, setting: Setting) -> model.Rule:
    """The plain model of a policy, from its Python face."""
    if isinstance(policy, ScorePolicy):
        return model.Scored(policy.score)
    if isinstance(policy, WorkloadAware):
        profiler = model.Profiler(
            n_categories=len(NAMES),
            refit_s=policy.refit_s,
            window_s=policy.window_s,
            min_gap_s=policy.min_gap_s,
            is_shifted=policy.shifted,
            life_s=policy.life_s,
            is_censored=policy.censored,
        )
        params = policy.params(setting).tolist()
        return model.Queued(policy.value, params, None if policy.file else profiler)
    if isinstance(policy, SampledPolicy):
        return model.Valued(value=policy.value, params=policy.params(setting).tolist())
    if isinstance(policy, QueuePolicy):
        return model.Queued(policy.value, [[0.0] * 3 for _ in NAMES])
    if isinstance(policy, Marconi):
        return research_models.Marconi(alpha=max(policy.alpha, 0.0))
    if isinstance(policy, TLru):
        return research_models.TLru(policy.threshold_tokens - policy.next_tokens)
    return {
        Arc: policy_models.Arc,
        Clock: lambda _: policy_models.Clock(),
        DynamoMultiLru: model.MultiLru,
        Lecar: lambda capacity: policy_models.Lecar(capacity=capacity),
        Lhd: lambda capacity: policy_models.Lhd(capacity=capacity),
        Lirs: policy_models.Lirs,
        S3Fifo: policy_models.S3Fifo,
        Sieve: lambda _: policy_models.Sieve(),
        Slru: policy_models.Slru,
        TwoQ: policy_models.TwoQ,
        WTinyLfu: policy_models.WTinyLfu,
    }[type(policy)](capacity)


def spare_of(policy: SglangLru) -> int:
    """Blocks of a token at the end of a path that are safe to lose."""
    if not isinstance(policy, SglangTLru):
        return 0
    return max(0, policy.threshold_tokens - policy.next_tokens)


def modelled(policy: Policy, accesses: list[model.Access], capacity: int) -> list[int]:
    setting = setting_of(accesses)
    if isinstance(policy, SglangLru):
        return radix_model.replay(
            accesses,
            capacity,
            order=("lru", "lfu", "slru", "priority", "tlru")[policy.order],
            priorities=policy.priorities_of(NAMES),
            spare=spare_of(policy),
        )
    hits, _ = model.replay(
        accesses,
        rule_of(policy, capacity, setting),
        capacity,
        is_retagged=policy.bind(setting).is_retagged,
        needs_future=policy.needs_future,
        takes_any=policy.takes_any,
    )
    return hits


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[model.Access], int]:
    paths = draw(st.lists(st.lists(st.integers(0, 2), max_size=6), min_size=1, max_size=25))
    gaps_s = draw(
        st.lists(st.sampled_from((0.0, 0.5, 4.0)), min_size=len(paths), max_size=len(paths))
    )
    categories = draw(st.lists(st.integers(0, 2), min_size=len(paths), max_size=len(paths)))
    times_s = np.cumsum(gaps_s).tolist()
    accesses = [
        model.Access(tuple(path), now_s, category)
        for path, now_s, category in zip(paths, times_s, categories, strict=True)
    ]
    return accesses, draw(st.integers(1, 15))


# Against plain models


@pytest.mark.parametrize("name", MODELLED)
def test_a_replay_by_runs_hits_what_a_plain_model_hits_block_by_block(name: str) -> None:
    rng = np.random.default_rng(7)
    policy = without_chance(make_policy(name))
    n_hits = n_missed = 0
    for _ in range(300):
        accesses, capacity = random_accesses(rng)
        found = hits_of(policy, accesses, capacity)
        assert found == modelled(policy, accesses, capacity), (accesses, capacity)
        n_hits += sum(found)
        n_missed += sum(len(a.path) for a in accesses) - sum(found)
    assert min(n_hits, n_missed) > 2000


@settings(max_examples=100)
@given(case=cases(), name=st.sampled_from(MODELLED))
def test_any_small_case_hits_what_a_plain_model_hits(
    case: tuple[list[model.Access], int], name: str
) -> None:
    policy = without_chance(make_policy(name))
    assert hits_of(policy, *case) == modelled(policy, *case)


class PlainGdsf(Gdsf):
    """The same, in Python."""

    compiled = False


class PlainLfu(Lfu):
    compiled = False


class PlainLru(Lru):
    compiled = False


class PlainWorkloadAware(WorkloadAware):
    compiled = False


class LruByEvents(EvictionPolicy):
    """Its own order: the longest unused, then the deepest candidate."""

    def __init__(self) -> None:
        self.candidates: dict[int, Block] = {}

    def add(self, block: Block) -> None:
        assert block.block_id not in self.candidates
        self.candidates[block.block_id] = block

    def remove(self, block: Block) -> None:
        del self.candidates[block.block_id]

    def rank(self, block: Block) -> tuple[float, float, float]:
        return 0.0, block.last_access, -block.depth

    def victim(self) -> int:
        return min(self.candidates.values(), key=self.rank).block_id


class LfuByEvents(LruByEvents):
    """Counts uses itself, from what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.uses: dict[int, int] = {}

    def on_insert(self, block: Block) -> None:
        assert block.block_id not in self.uses
        self.uses[block.block_id] = 0

    def on_hit(self, block: Block) -> None:
        self.uses[block.block_id] += 1
        assert self.uses[block.block_id] == block.n_hits

    def on_evict(self, block: Block) -> None:
        del self.uses[block.block_id]

    def rank(self, block: Block) -> tuple[float, float, float]:
        return self.uses[block.block_id], block.last_access, -block.depth


TWINS: list[tuple[Policy, Policy]] = [
    (Gdsf(), PlainGdsf()),
    (Lfu(), PlainLfu()),
    (Lru(), PlainLru()),
    (Lru(), LruByEvents()),
    (Lfu(), LfuByEvents()),
    (WorkloadAware(refit_s=4), PlainWorkloadAware(refit_s=4)),
    (Rlt(), RltByEvents()),
]


@pytest.mark.parametrize("twins", TWINS, ids=lambda t: type(t[1]).__name__)
def test_compiled_and_plain_python_hit_the_same(twins: tuple[Policy, Policy]) -> None:
    rng = np.random.default_rng(8)
    for _ in range(60):
        case = random_accesses(rng)
        assert hits_of(twins[0], *case) == hits_of(twins[1], *case), case


BY_RUNS = (
    "clock,n_bits=2",
    "hyperbolic,n_samples=3",
    "lhd,n_samples=3",
    "marconi,alpha=0.7,n_samples=3",
    "pensieve,n_samples=2",
)


@pytest.mark.parametrize("name", [*EVERY, *BY_RUNS])
def test_run_by_run_hits_what_block_by_block_hits(name: str) -> None:
    policy = make_policy(name)
    rng = np.random.default_rng(17)
    for _ in range(300):
        accesses, capacity = random_accesses(rng)
        by_runs = hits_of(policy, accesses, capacity)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(policy), "is_uniform", False)
            assert hits_of(policy, accesses, capacity) == by_runs, (accesses, capacity)


@pytest.mark.parametrize("name", [name for name in (*EVERY, *BY_RUNS) if name != "lru"])
@pytest.mark.parametrize("capacity", [60, 120])
def test_what_conversations_append_may_be_one_run_with_what_is_above(
    name: str, capacity: int
) -> None:
    policy = make_policy(name)
    accesses = conversations(np.random.default_rng(21), 400)
    found = hits_of(policy, accesses, capacity)
    tree = tree_of(accesses)
    assert len(strands(tree).parent) < len(tree.parent) / 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(policy), "keys_may_grow", False)
        assert hits_of(policy, accesses, capacity) == found
    assert 0.1 < sum(found) / sum(len(a.path) for a in accesses) < 1


def test_lhd_learns_what_its_plain_model_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvsim.policies.lhd.LEAST_REFIT_USES", 16)
    policy = Lhd(refit_caches=0.0)
    rng = np.random.default_rng(19)
    for _ in range(40):
        accesses, capacity = random_accesses(rng)
        found = hits_of(policy, accesses, capacity)
        rule = policy_models.Lhd(capacity=capacity, refit_uses=16)
        assert found == model.replay(accesses, rule, capacity)[0], (accesses, capacity)


def test_a_single_block_of_a_run_counts_where_a_policy_looks_at_depth() -> None:
    class ShallowFirst(ScorePolicy):
        is_uniform = False

        def score(self, block: Block) -> float:
            return block.depth % 3

    rng = np.random.default_rng(9)
    for _ in range(100):
        case = random_accesses(rng)
        assert hits_of(ShallowFirst(), *case) == modelled(ShallowFirst(), *case), case


# Laws


def one_kind(accesses: list[model.Access]) -> list[model.Access]:
    return [a._replace(category=0) for a in accesses]


def test_workload_aware_with_one_category_is_lru_block_for_block() -> None:
    rng = np.random.default_rng(10)
    for _ in range(300):
        accesses, capacity = random_accesses(rng)
        lru = hits_of("lru", accesses, capacity)
        for policy in ("workload-aware", *VARIANTS[:7]):
            assert hits_of(policy, one_kind(accesses), capacity) == lru


def test_workload_aware_before_its_first_fit_is_lru() -> None:
    rng = np.random.default_rng(11)
    for _ in range(300):
        accesses, capacity = random_accesses(rng)
        later = [a._replace(now_s=a.now_s + t / 64) for t, a in enumerate(accesses)]
        lru = hits_of("lru", later, capacity)
        assert hits_of("workload-aware,refit_s=1e9", later, capacity) == lru


@pytest.mark.parametrize("name", EVERY)
def test_hits_are_bounded_repeatable_and_never_beat_the_optimum(name: str) -> None:
    rng = np.random.default_rng(12)
    for _ in range(150):
        accesses, capacity = random_accesses(rng)
        hits = hits_of(name, accesses, capacity)
        for access, n in zip(accesses, hits, strict=True):
            assert 0 <= n <= len(access.path)
            assert n == 0 or len(access.path) <= capacity
        assert hits == hits_of(name, accesses, capacity)
        assert sum(hits) <= sum(hits_of("belady", accesses, capacity)), (accesses, capacity)


def test_with_room_for_all_blocks_every_policy_hits_all_seen_before() -> None:
    rng = np.random.default_rng(13)
    for _ in range(60):
        accesses, _ = random_accesses(rng)
        seen: set[model.Path] = set()
        expected = []
        for access in accesses:
            names = [access.path[: d + 1] for d in range(len(access.path))]
            expected.append(sum(name in seen for name in names))
            seen.update(names)
        for name in EVERY:
            assert hits_of(name, accesses, max(1, len(seen))) == expected, name


def test_random_depends_on_its_seed_alone() -> None:
    rng = np.random.default_rng(14)
    differ = 0
    for _ in range(50):
        accesses, capacity = random_accesses(rng)
        tree = tree_of(accesses)
        found = [
            replay(
                tree,
                make_policy("random"),
                capacity,
                arrival_s=np.array([a.now_s for a in accesses]),
                category=np.zeros(len(accesses), np.int64),
                category_names=NAMES,
                seed=seed,
            ).tolist()
            for seed in (0, 1, 0)
        ]
        assert found[0] == found[2]
        differ += found[0] != found[1]
    assert differ > 3


# Workload-aware: values, and the fit

X = {"p": 0.8, "rate": 0.02}
Y = {"p": 0.5, "rate": 0.2}
AGES_S = (0, 5, 10, 20, 60)


def value(kind: dict[str, float], age_s: float) -> float:
    within_life = 1 - math.exp(-kind["rate"] * 5.0)
    return WorkloadAware.value(0, age_s, kind["rate"], kind["p"], within_life)


def test_the_value_of_a_block_falls_as_its_category_says() -> None:
    assert [round(value(X, t), 5) for t in AGES_S] == [0.07613, 0.06889, 0.06233, 0.05103, 0.02293]
    assert [round(value(Y, t), 5) for t in AGES_S] == [0.31606, 0.11627, 0.04277, 0.00579, 0.0]
    assert value(X, 7.90) < value(Y, 7.90)
    assert value(X, 7.91) > value(Y, 7.91)
    crossover_s = math.log(value(Y, 0) / value(X, 0)) / (Y["rate"] - X["rate"])
    assert crossover_s == pytest.approx(7.908, abs=5e-4)


@pytest.mark.parametrize(("wait_s", "evicted"), [(7, "X"), (9, "Y")])
def test_the_lower_value_leaves_on_either_side_of_the_crossover(
    tmp_path: File, wait_s: float, evicted: str
) -> None:
    file = tmp_path / "fit.json"
    table = {"a": {"a-1": X["rate"], "b-1": Y["rate"]}, "p": {"a-1": X["p"], "b-1": Y["p"]}}
    file.write_text(json.dumps(table))
    x, y = model.Access((1,), 0.0, 0), model.Access((2,), 0.0, 1)
    new = model.Access((3,), wait_s, 2)
    for again in (x, y):
        accesses = [x, y, new, again._replace(now_s=wait_s)]
        is_hit = hits_of(f"workload-aware,file={file}", accesses, 2)[3] == 1
        assert is_hit == (("X" if again is x else "Y") != evicted)


@kernel
def see(fit, end, path_blocks, category, now_s, params) -> None:
    """Call compiled code that has no entry from Python."""
    observe(fit, end, path_blocks, category, now_s, params)


@pytest.mark.parametrize("fit_kind", ["mle", "shifted", "censored"])
@pytest.mark.parametrize("window_s", [2.0, 6.0, math.inf])
def test_the_fit_by_segments_is_the_fit_block_by_block(window_s: float, fit_kind: str) -> None:
    rng = np.random.default_rng(15)
    n_refits = 0
    for _ in range(100):
        accesses, _ = random_accesses(rng)
        tree = tree_of(accesses)
        fit = make_reuse_fit(
            unseen(tree.parent, tree.depth),
            len(NAMES),
            refit_s=2.0,
            window_s=window_s,
            min_gap_s=0.25,
            life_s=5.0,
            is_shifted=fit_kind == "shifted",
            is_censored=fit_kind == "censored",
        )
        params = np.full((len(NAMES), 3), 7.0)
        profiler = model.Profiler(
            n_categories=len(NAMES),
            refit_s=2.0,
            window_s=window_s,
            min_gap_s=0.25,
            is_shifted=fit_kind == "shifted",
            is_censored=fit_kind == "censored",
        )
        expected = params.tolist()
        for t, access in enumerate(accesses):
            see(fit, int(tree.end[t]), len(access.path), access.category, access.now_s, params)
            profiler.arrive(access, expected)
            np.testing.assert_allclose(params, expected, rtol=1e-12)
            n_refits += params[0, 0] != 7.0
    assert n_refits > 1000


# A policy that breaks its contract gets one line


class Broken(EvictionPolicy):
    """Names what it is told to name."""

    answer: ClassVar[object] = None

    def add(self, block: Block) -> None: ...

    def remove(self, block: Block) -> None: ...

    def victim(self) -> int:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value]


class NotANumber(ScorePolicy):
    def score(self, block: Block) -> float:
        return math.nan


class CompiledNotANumber(ScorePolicy):
    compiled = True

    @staticmethod
    def score(block: Block) -> float:
        return block.last_access * math.nan


class Raises(ScorePolicy):
    def score(self, block: Block) -> float:
        raise KeyError("lost")


class ValueRaises(QueuePolicy):
    def value(self, category: int, age_s: float, a: float, b: float, c: float) -> float:
        return 1 / 0


class RaisesOnInsert(LruByEvents):
    def on_insert(self, block: Block) -> None:
        raise ValueError("no room in my books")


def broken(answer: object) -> EvictionPolicy:
    return type("Broken", (Broken,), {"answer": answer})()


FAULTY: list[tuple[Policy, str]] = [
    (NotANumber(), "a score was not a number"),
    (CompiledNotANumber(), "a score was not a number"),
    (Raises(), "KeyError: 'lost'"),
    (ValueRaises(), "ZeroDivisionError: division by zero"),
    (RaisesOnInsert(), "ValueError: no room in my books"),
    (broken(RuntimeError("stuck")), "RuntimeError: stuck"),
    (broken(12345), "victim() returned 12345: it must name an idle cached block"),
    (broken(-1), "victim() returned -1"),
    (broken(None), "TypeError"),
    (broken(math.nan), "a score was not a number"),
]


@pytest.mark.parametrize(("policy", "message"), FAULTY, ids=lambda x: type(x).__name__)
def test_a_broken_policy_stops_a_replay_with_one_line(policy: Policy, message: str) -> None:
    accesses = [model.Access((i,), float(i), 0) for i in range(4)]
    with pytest.raises(PolicyError, match=r"^policy tested: ") as caught:
        hits_of(policy, accesses, 2)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_naming_a_block_with_a_cached_child_is_an_error() -> None:
    class ShallowestFirst(LruByEvents):
        def __init__(self) -> None:
            super().__init__()
            self.shallow = -1

        def on_insert(self, block: Block) -> None:
            if block.depth == 0 and self.shallow < 0:
                self.shallow = block.block_id

        def victim(self) -> int:
            return self.shallow

    with pytest.raises(PolicyError, match="without cached children"):
        hits_of(ShallowestFirst(), [model.Access((1, 2), 0.0, 0), model.Access((3,), 1.0, 0)], 2)


# The registry


def test_every_policy_is_found_by_name_and_says_what_it_does() -> None:
    for name in POLICIES:
        assert find_policy(name).summary().endswith(".") or name == "s3-fifo"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lur", "did you mean 'lru'"),
        ("lru,size=3", "unknown parameter 'size'"),
        ("s3-fifo,promote_at=x", "promote_at must be int, got 'x'"),
        ("workload-aware,retag=maybe", "retag must be bool, got 'maybe'"),
        ("workload-aware,life_s", "'life_s' must be parameter=value"),
        ("workload-aware,life_s=1,life_s=2", "life_s is given twice"),
        ("mine.py", "name its class, mine.py:CLASS"),
    ],
)
def test_a_wrong_name_or_parameter_is_explained(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_policy(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("class Mine: pass", "Mine must be a subclass"),
        ("Mine = 3", "Mine must be a subclass"),
        ("x = 1", "has no Mine"),
        ("raise OSError('disk')", "OSError: disk"),
        ("from kvsim.policies import ScorePolicy\nclass Mine(ScorePolicy): pass", "define score"),
    ],
)
def test_a_file_that_is_no_policy_is_explained(tmp_path: File, source: str, message: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(source)
    with pytest.raises(PolicyError) as caught:
        make_policy(f"{path}:Mine")
    assert message in str(caught.value)


MINE = """
from dataclasses import dataclass
from kvsim.policies import EvictionPolicy, QueuePolicy, SampledPolicy, ScorePolicy

@dataclass
class Needy(ScorePolicy):
    weight: float
    limit: "int | None" = None
    def score(self, block):
        return self.weight * block.last_access

class Made(EvictionPolicy):
    def __init__(self, size):
        self.size = size
    def add(self, block): pass
    def remove(self, block): pass
    def victim(self): pass

class Bare(ScorePolicy):
    compiled = True
    def score(self, block):
        return block.last_access

class Short(SampledPolicy):
    compiled = True
    @staticmethod
    def value(block):
        return 1.0
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Needy", "Needy: weight has no default: add ,weight=VALUE"),
        ("Needy,weight=x", "weight must be float, got 'x'"),
        ("Needy,weight=1,limit=y", "limit must be int, got 'y'"),
        ("Made", "Made: cannot be made: .*argument: 'size'; parameters are fields"),
        ("Other", "has no Other; it has Needy, Made, Bare, Short"),
        ("Bare", r"with compiled = True score must be a @staticmethod of \(block\)"),
        ("Short", r"value must be a @staticmethod of \(block, now, p\), got \(block\)"),
    ],
)
def test_what_is_wrong_with_a_policy_of_ones_own_is_one_line(
    tmp_path: File, text: str, message: str
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    with pytest.raises(KvsimError, match=message) as caught:
        hits_of(f"{path}:{text}", *random_accesses(np.random.default_rng(5)))
    assert "\n" not in str(caught.value)
    needy = make_policy(f"{path}:Needy,weight=2,limit=3")
    assert (needy.weight, needy.limit) == (2.0, 3)  # type: ignore[attr-defined]


def test_an_error_inside_a_policy_says_where(tmp_path: File) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from kvsim.policies import ScorePolicy\n"
        "class Mine(ScorePolicy):\n"
        "    def score(self, block):\n"
        "        return block.last_acess\n"
    )
    accesses = [model.Access((i,), float(i), 0) for i in range(4)]
    with pytest.raises(PolicyError, match=r"no attribute 'last_acess'.* \(mine.py, line 4\)$"):
        hits_of(f"{path}:Mine", accesses, 2)


def test_a_policy_of_ones_own_is_loaded_from_a_file(tmp_path: File) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from kvsim.policies import ScorePolicy\n"
        "class Mine(ScorePolicy):\n"
        "    def score(self, block):\n"
        "        return block.inserted\n"
    )
    rng = np.random.default_rng(16)
    for _ in range(20):
        case = random_accesses(rng)
        assert hits_of(f"{path}:Mine", *case) == hits_of("fifo", *case)


@pytest.fixture
def installed(tmp_path: File, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that offers two policies, one of them under a name of ours."""
    (tmp_path / "elsewhere.py").write_text(
        "from kvsim.policies import ScorePolicy\n"
        "class Mine(ScorePolicy):\n"
        "    'Keep the deep ones.'\n"
        "    def score(self, block):\n"
        "        return block.inserted\n"
    )
    about = tmp_path / "elsewhere-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    points = "[kvsim.policies]\nmine = elsewhere:Mine\nlru = elsewhere:Mine\nbad = nowhere:X\n"
    (about / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("installed")
def test_a_policy_of_an_installed_package_is_found_by_name() -> None:
    assert installed_policies() == {"bad": "nowhere:X", "mine": "elsewhere:Mine"}
    assert find_policy("mine").summary() == "Keep the deep ones."
    assert find_policy("lru") is Lru
    case = random_accesses(np.random.default_rng(18))
    assert hits_of("mine", *case) == hits_of("fifo", *case)
    with pytest.raises(ConfigError, match="did you mean 'mine'"):
        find_policy("mime")
    with pytest.raises(PolicyError, match="nowhere:X"):
        find_policy("bad")


def test_names_of_ours_do_not_look_for_installed_packages() -> None:
    code = (
        "import sys; from kvsim.policies import find_policy;"
        " find_policy('lru'); assert 'importlib.metadata' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_weight_of_lecar_is_lost_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the rule that was right for long stays alone when it is wrong."""
    kept: list[np.ndarray] = []
    made = Lecar.new_state

    def new_state(self: Lecar, setting: Setting, cache: int) -> np.ndarray:
        kept.append(made(self, setting, cache))
        return kept[-1]

    monkeypatch.setattr(Lecar, "new_state", new_state)
    # blocks in turn, one more than there is room for: whoever evicts is wrong each time
    loop = [model.Access((t % 9,), float(t), 0) for t in range(4000)]
    hits_of("lecar,learning_rate=40", loop, 8)
    weights = [float(state.view(LECAR_STATE)["lru_weight"][0]) for state in kept]
    assert weights
    assert all(0.01 <= weight <= 0.99 for weight in weights)
