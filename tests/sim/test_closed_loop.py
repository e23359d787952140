"""Sessions that wait for their answers, several instances, and runs in many small calls."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scheduler_model as model
from cases import (
    LATENCIES,
    REJECTED,
    Case,
    Outcome,
    Row,
    prepared_engine,
    random_case,
    run_engine,
)

from kvsim.sim.engine import World

FINISHED = 2
FIELDS = ("arrival_s", "first_scheduled_s", "first_token_s", "finish_s")
COUNTS = ("cached_tokens", "recached_tokens", "prefill_tokens", "preemptions", "instance")


def with_sessions(case: Case, rng: np.random.Generator, *, think_s: float = 0.02) -> Case:
    """The same requests, some continuing earlier ones; no two arrive at the same time."""
    rows: list[Row] = []
    for r, row in enumerate(case.rows):
        at_s = row.arrival_s + float(rng.random()) * 1e-3 + (rows[-1].arrival_s if rows else 0.0)
        parent = int(rng.integers(0, r)) if r and rng.random() < 0.6 else -1
        wait_s = 0.0 if rng.random() < 0.2 else float(rng.random()) * think_s
        rows.append(replace(row, arrival_s=at_s, parent=parent, think_s=wait_s))
    rows = [replace(row, category=0) for row in rows]
    return replace(case, rows=tuple(rows))


def session_cases(seed: int, n_cases: int, *, latencies: Any = LATENCIES[:2]) -> list[Case]:
    rng = np.random.default_rng([seed, 7])
    found = []
    for _ in range(n_cases):
        case = random_case(rng, n_rows=int(rng.integers(2, 25)))
        latency = latencies[int(rng.integers(len(latencies)))]
        case = replace(case, settings=replace(case.settings, latency=latency))
        found.append(with_sessions(case, rng))
    return found


def run_model(
    case: Case, *, n_instances: int, router: str, closed_loop: bool
) -> tuple[list[model.Instance], list[model.Request]]:
    names = model.Names()
    instances = [model.Instance(case.settings, names) for _ in range(n_instances)]
    requests = case.requests()
    think_s = {r: (row.parent, row.think_s) for r, row in enumerate(case.rows) if row.parent >= 0}
    model.run(instances, requests, model.ROUTERS[router], think_s=think_s if closed_loop else None)
    return instances, requests


def assert_same(case: Case, *, n_instances: int, router: str, closed_loop: bool) -> None:
    instances, requests = run_model(
        case, n_instances=n_instances, router=router, closed_loop=closed_loop
    )
    found = run_engine(case, n_instances=n_instances, router=router, closed_loop=closed_loop)
    rows = found.requests
    assert (rows["status"] == REJECTED).tolist() == [r.is_rejected for r in requests]
    for r in requests:
        if r.is_rejected:
            continue
        row = rows[r.row]
        assert row["status"] == FINISHED, (r.row, case)
        for name in FIELDS:
            assert row[name] == getattr(r, name), (r.row, name, case)
        expected = (r.cached_tokens, r.recached_tokens, r.prefill_tokens, r.n_preemptions)
        assert tuple(row[name] for name in COUNTS) == (*expected, r.instance), (r.row, case)
    timed = [hashlib.sha256("".join(i.lines).encode()).hexdigest() for i in instances]
    assert found.timed == timed, case


# Routers


@pytest.mark.parametrize("router", model.ROUTERS)
@pytest.mark.parametrize("n_instances", [2, 3, 5])
def test_a_router_sends_every_request_where_a_plain_model_sends_it(
    router: str, n_instances: int
) -> None:
    rng = np.random.default_rng([n_instances, 11])
    for _ in range(100):
        case = random_case(rng, n_rows=int(rng.integers(4, 30)))
        assert_same(case, n_instances=n_instances, router=router, closed_loop=False)


def test_round_robin_takes_turns_and_skips_nothing_but_rejected_requests() -> None:
    s = model.Settings(block_size=4, n_blocks=4, max_num_seqs=2, max_num_batched_tokens=8)
    lengths = (4, 4, 40, 4, 4, 4)
    rows = tuple(
        Row(arrival_s=float(i), input_tokens=n, output_tokens=1) for i, n in enumerate(lengths)
    )
    found = run_engine(Case(settings=s, id_tokens=4, rows=rows), n_instances=3)
    assert found.requests["instance"].tolist() == [0, 1, -1, 2, 0, 1]


# Closed loop


@pytest.mark.parametrize("router", model.ROUTERS)
@pytest.mark.parametrize("n_instances", [1, 2, 3])
def test_a_closed_loop_goes_as_in_a_plain_model(router: str, n_instances: int) -> None:
    for case in session_cases(n_instances, 100):
        assert_same(case, n_instances=n_instances, router=router, closed_loop=True)


def test_a_closed_loop_goes_on_after_steps_that_take_no_time() -> None:
    for case in session_cases(4, 60, latencies=[LATENCIES[3]]):
        assert_same(case, n_instances=2, router="round-robin", closed_loop=True)


def on_a_grid(case: Case) -> Case:
    """All times multiples of a quarter second: many events fall on one instant."""
    rows = tuple(
        replace(row, arrival_s=round(4 * row.arrival_s) / 4, think_s=round(50 * row.think_s) / 4)
        for row in case.rows
    )
    return replace(case, settings=replace(case.settings, latency=(0.25, 0.0, 0.0, 0.0)), rows=rows)


@pytest.mark.parametrize("n_instances", [1, 2])
def test_requests_that_arrive_together_come_in_order_of_their_rows(n_instances: int) -> None:
    for case in session_cases(14, 100):
        assert_same(
            on_a_grid(case), n_instances=n_instances, router="least-loaded", closed_loop=True
        )


def test_a_child_arrives_one_think_time_after_its_parent_finished_exactly() -> None:
    n_children = 0
    for case in session_cases(5, 150):
        rows = run_engine(case, n_instances=2, closed_loop=True).requests
        for r, row in enumerate(case.rows):
            if rows["status"][r] == REJECTED:
                continue
            if row.parent < 0 or rows["status"][row.parent] == REJECTED:
                assert rows["arrival_s"][r] == row.arrival_s
            else:
                assert rows["arrival_s"][r] == rows["finish_s"][row.parent] + row.think_s
                n_children += 1
    assert n_children > 300


def test_every_request_is_done_or_rejected_and_every_block_is_given_back() -> None:
    for case in session_cases(6, 150):
        found = run_engine(case, n_instances=2, closed_loop=True)
        status = Counter(found.requests["status"].tolist())
        assert status[FINISHED] + status[REJECTED] == len(case.rows)
        cluster = found.prepared.cluster
        assert cluster.instances["finished"].sum() == status[FINISHED]
        assert (cluster.pools["n_free"] == case.settings.n_blocks - 1).all()
        assert not cluster.instances["n_running"].any()
        assert not cluster.instances["n_waiting"].any()


def reordered(case: Case, arrival_s: Any) -> tuple[Case, list[int]]:
    """The case with these arrivals, in their order; and which row each row was."""
    order = np.argsort(arrival_s, kind="stable").tolist()
    rows = tuple(replace(case.rows[r], arrival_s=float(arrival_s[r]), parent=-1) for r in order)
    return replace(case, rows=rows), order


@pytest.mark.parametrize("router", model.ROUTERS)
def test_an_open_loop_of_the_arrivals_that_a_closed_loop_had_goes_the_same(router: str) -> None:
    for case in session_cases(8, 100):
        closed = run_engine(case, n_instances=2, router=router, closed_loop=True)
        again, order = reordered(case, closed.requests["arrival_s"])
        opened = run_engine(again, n_instances=2, router=router)
        for name in (*FIELDS, *COUNTS):
            np.testing.assert_array_equal(
                opened.requests[name], closed.requests[name][order], err_msg=name
            )


def test_with_long_thinking_a_closed_loop_is_the_open_loop_with_later_arrivals() -> None:
    for case in session_cases(9, 60):
        rows = [
            replace(row, arrival_s=1000.0 * r, parent=r - 1 if r % 4 else -1, think_s=200.0)
            for r, row in enumerate(case.rows)
        ]
        case = replace(case, rows=tuple(rows))
        closed = run_engine(case, closed_loop=True)
        is_done = closed.requests["status"] == FINISHED
        again, order = reordered(case, closed.requests["arrival_s"])
        opened = run_engine(again)
        alone_s = opened.requests["finish_s"] - opened.requests["arrival_s"]
        assert (alone_s[is_done[order]] < 200).all()
        for name in FIELDS:
            np.testing.assert_array_equal(opened.requests[name], closed.requests[name][order])


def test_a_trace_without_parents_goes_the_same_in_both_loops() -> None:
    rng = np.random.default_rng(10)
    for _ in range(100):
        case = random_case(rng, n_rows=15)
        opened = run_engine(case, n_instances=2)
        closed = run_engine(case, n_instances=2, closed_loop=True)
        assert opened.timed == closed.timed


# Many small calls


def same(a: Outcome, b: Outcome) -> bool:
    return a.timed == b.timed and all(
        np.array_equal(a.requests[name], b.requests[name], equal_nan=True)
        for name in (*FIELDS, *COUNTS)
    )


@pytest.mark.parametrize("closed_loop", [False, True])
@pytest.mark.parametrize("router", model.ROUTERS)
def test_many_small_calls_go_as_one(
    monkeypatch: pytest.MonkeyPatch, router: str, *, closed_loop: bool
) -> None:
    how: dict[str, Any] = {"n_instances": 3, "router": router, "closed_loop": closed_loop}
    found = session_cases(12, 60)
    whole = [run_engine(case, **how) for case in found]
    monkeypatch.setattr("kvsim.sim.engine.ARRIVALS_A_CALL", 2)
    monkeypatch.setattr("kvsim.sim.engine.STEPS_A_CALL", 1)
    monkeypatch.setattr("cases.LOG_INTS", 1)
    for case, outcome in zip(found, whole, strict=True):
        assert same(run_engine(case, **how), outcome), case


def test_progress_is_reported_between_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvsim.sim.engine.STEPS_A_CALL", 3)
    case = random_case(np.random.default_rng(13), n_rows=20)
    seen: list[tuple[int, int, float]] = []
    World(
        prepared_engine(case, is_logged=False),
        router=0,
        policy_name="lru",
        progress=lambda done, of, now_s: seen.append((done, of, now_s)),
    ).run()
    assert len(seen) > 3
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
