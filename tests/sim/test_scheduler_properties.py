"""The compiled engine decides line by line what a plain model of the scheduler decides."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scheduler_model as model
from cases import REJECTED, Case, Row, cases, engine_lines, random_case, run_engine
from hypothesis import given, settings

N_SWEEPS = 8
CASES_A_SWEEP = 400


def run_model(case: Case, instance: type[model.Instance] = model.Instance) -> model.Instance:
    only = instance(case.settings)
    only.requests = case.requests()  # type: ignore[attr-defined]
    model.run([only], only.requests)  # type: ignore[attr-defined]
    return only


def times(requests: Any, field: str) -> list[float | None]:
    return [None if math.isnan(x) else x for x in requests[field].tolist()]


def assert_same(case: Case, instance: type[model.Instance] = model.Instance) -> model.Instance:
    """Compare everything; a difference is shown at the first line that differs."""
    expected = run_model(case, instance)
    found = run_engine(case)
    if found.timed[0] != hashlib.sha256("".join(expected.lines).encode()).hexdigest():
        lines = [line.split("|", 1)[1] for line in expected.lines]
        for model_line, line in zip(lines, engine_lines(case)[0], strict=False):
            assert line == model_line, case
        assert len(engine_lines(case)[0]) == len(lines), case
        raise AssertionError(f"the decisions are the same, their times are not: {case}")
    requests: list[model.Request] = expected.requests  # type: ignore[attr-defined]
    rows = found.requests
    by_field = {
        "cached_tokens": [r.cached_tokens for r in requests],
        "recached_tokens": [r.recached_tokens for r in requests],
        "prefill_tokens": [r.prefill_tokens for r in requests],
        "preemptions": [r.n_preemptions for r in requests],
    }
    for name, column in by_field.items():
        assert rows[name].tolist() == column, (name, case)
    for name in ("first_scheduled_s", "first_token_s", "finish_s"):
        assert times(rows, name) == [getattr(r, name) for r in requests], (name, case)
    assert (rows["status"] == REJECTED).tolist() == [r.is_rejected for r in requests]
    pool = found.prepared.cluster.pools[0]
    assert pool["evictions"] == expected.pool.n_evictions, case
    assert pool["n_free"] == case.settings.n_blocks - 1, case
    total = found.prepared.cluster.instances[0]
    done = [r for r in requests if not r.is_rejected]
    assert total["steps"] == expected.n_steps
    assert total["finished"] == len(done)
    assert total["output_tokens"] == sum(r.output_tokens for r in done)
    assert total["lookup_tokens"] == sum(r.input_tokens for r in done)
    assert total["hit_tokens"] == sum(r.cached_tokens for r in done)
    assert total["preemptions"] == sum(r.n_preemptions for r in done)
    assert total["prefill_tokens"] == sum(r.prefill_tokens for r in done)
    return expected


@settings(max_examples=600)
@given(case=cases())
def test_the_engine_decides_what_the_model_decides(case: Case) -> None:
    assert_same(case)


@pytest.mark.parametrize("sweep", range(N_SWEEPS))
def test_the_engine_decides_what_the_model_decides_under_pressure(sweep: int) -> None:
    rng = np.random.default_rng([sweep, 20])
    seen = {"preemptions": 0, "evictions": 0, "duplicates": 0, "same-step hits": 0, "rehits": 0}
    for _ in range(CASES_A_SWEEP):
        case = random_case(rng, n_rows=int(rng.integers(4, 25)))
        instance = assert_same(case)
        requests: list[model.Request] = instance.requests  # type: ignore[attr-defined]
        seen["preemptions"] += sum(r.n_preemptions for r in requests)
        seen["rehits"] += sum(r.recached_tokens for r in requests)
        seen["evictions"] += instance.pool.n_evictions
        seen["duplicates"] += instance.pool.n_duplicates
        seen["same-step hits"] += instance.n_same_step_hits
    assert all(n > 20 for n in seen.values()), seen


# The comparison has the power to find a broken rule


class LooksUpTheLastToken(model.Instance):
    def lookup_limit(self, r: model.Request) -> int:
        return r.n_known


class TakesTheWatermarkOfUsableBlocks(model.Instance):
    def spare_blocks(self) -> int:
        return math.floor(self.settings.watermark * (self.settings.n_blocks - 1)) * bool(
            self.running
        )


class ClipsLoneRequests(model.Instance):
    def threshold(self) -> int:
        return self.settings.long_prefill_token_threshold


class RequeuesAtTheBack(model.Instance):
    def requeue(self, r: model.Request) -> None:
        self.waiting.append(r)


class AdmitsAfterPreempting(model.Instance):
    def may_admit(self) -> bool:
        return True


class QueuesUnkeyedBlocksAtTheBack(model.Instance):
    def leave(self, r: model.Request) -> None:
        pool = self.pool
        before = list(pool.queue)
        super().leave(r)
        freed = [b for b in pool.queue if b not in before]
        pool.queue = before + freed


class HitsTheNewestCopy(model.Instance):
    def __init__(self, settings: model.Settings, names: model.Names | None = None) -> None:
        super().__init__(settings, names)
        lookup = self.pool.lookup
        self.pool.lookup = (  # type: ignore[method-assign]
            lambda keys: [self.pool.index[self.pool.key_of[b]][-1] for b in lookup(keys)]
        )


class PublishesAfterTheStep(model.Instance):
    def schedule(self, now_s: float) -> None:
        publish = self.pool.publish
        late: list[tuple[int, int]] = []
        self.pool.publish = lambda block, key: late.append((block, key))  # type: ignore
        super().schedule(now_s)
        self.pool.publish = publish  # type: ignore[method-assign]
        for block, key in late:
            publish(block, key)


BROKEN = (
    LooksUpTheLastToken,
    TakesTheWatermarkOfUsableBlocks,
    ClipsLoneRequests,
    RequeuesAtTheBack,
    AdmitsAfterPreempting,
    QueuesUnkeyedBlocksAtTheBack,
    HitsTheNewestCopy,
    PublishesAfterTheStep,
)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda cls: cls.__name__)
def test_a_broken_rule_is_noticed(broken: type[model.Instance]) -> None:
    rng = np.random.default_rng(3)
    n_noticed = 0
    for _ in range(150):
        case = random_case(rng, n_rows=20)
        lines = "".join(run_model(case, broken).lines)
        n_noticed += run_engine(case).timed[0] != hashlib.sha256(lines.encode()).hexdigest()
    assert n_noticed >= 2


# What the random cases should not be needed for


def test_a_request_that_can_never_fit_is_rejected_and_the_others_go_on() -> None:
    s = model.Settings(block_size=4, n_blocks=4, max_num_seqs=4, max_num_batched_tokens=64)
    rows = (
        Row(arrival_s=0.0, input_tokens=12, output_tokens=2),
        Row(arrival_s=0.0, input_tokens=12, output_tokens=1),
    )
    case = Case(settings=s, id_tokens=4, rows=rows)
    assert_same(case)
    assert (run_engine(case).requests["status"] == REJECTED).tolist() == [True, False]


def test_a_trace_of_rejected_requests_alone_ends_at_once() -> None:
    s = model.Settings(block_size=1, n_blocks=2, max_num_seqs=1, max_num_batched_tokens=4)
    rows = (Row(arrival_s=3.0, input_tokens=2, output_tokens=1),)
    assert_same(Case(settings=s, id_tokens=1, rows=rows))


def test_the_log_may_be_emptied_many_times(monkeypatch: pytest.MonkeyPatch) -> None:
    case = random_case(np.random.default_rng(5), n_rows=24)
    case = replace(case, settings=replace(case.settings, n_blocks=30))
    whole = run_engine(case).timed
    monkeypatch.setattr("cases.LOG_INTS", 1)
    assert run_engine(case).timed == whole
