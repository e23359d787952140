"""Every missed block has its reason: the reasons of plain models, and of staged runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from prefix_traces import Path, prefix_traces, trace_of
from rich.console import Console

from kvsim.reports.terminal import show_run
from kvsim.sim.config import ClusterConfig, EngineConfig, RunConfig
from kvsim.sim.results import RunResult, Summary
from kvsim.studies.replay import run_replay
from kvsim.traces.compiled import CompiledTrace
from kvsim.traces.prefix_tree import compile_tree

SLOW = "1,0.001,0,0"
"""A good second a step, so that arrivals can be staged."""


def explained(
    paths: list[Path],
    *,
    arrival_s: list[float] | None = None,
    output_tokens: int = 1,
    gpu_blocks: int = 9,
    instances: int = 1,
    batched: int = 64,
    threshold: int = 0,
    policy: str = "lru",
) -> Summary:
    """Replay requests of one-token blocks, by default one at a time, and ask why."""
    rows = np.arange(len(paths))
    trace = replace(
        trace_of(paths),
        arrival_s=100.0 * rows if arrival_s is None else np.array(arrival_s),
        output_tokens=np.full(len(paths), output_tokens),
    )
    tree = compile_tree(trace, 1, partial_blocks=False)
    compiled = CompiledTrace(trace=trace, tree=tree, digest="test")
    config = RunConfig(
        engine=EngineConfig(
            block_size=1,
            gpu_blocks=gpu_blocks,
            max_num_seqs=4,
            max_num_batched_tokens=batched,
            long_prefill_token_threshold=threshold,
        ),
        cluster=ClusterConfig(instances=instances),
        latency_affine=SLOW,
        policy=policy,
    )
    plain = run_replay(compiled, config).summary
    result = run_replay(compiled, config, why=True)
    summary = result.summary
    rows_sum_up(result)
    why = {key: summary.pop(key) for key in ("misses", "costly_evictions")}
    assert summary == plain
    return why


def rows_sum_up(result: RunResult) -> None:
    """The columns of requests say of each what the summary says of all."""
    misses, table = result.summary["misses"], result.requests
    for row in misses["reasons"]:
        assert table[f"missed_{row['name']}_blocks"].sum() == row["blocks"]
    assert table["partial_tokens"].sum() == misses["partial_tokens"]
    costs = [row["cost_s"] for row in misses["reasons"]]
    assert table["missed_cost_s"].sum() == pytest.approx(sum(costs))
    full = (table["input_tokens"] - table["partial_tokens"]).sum()
    assert full == misses["lookup_blocks"]  # blocks of one token


def reasons(why: Summary) -> dict[str, int]:
    rows = why["misses"]["reasons"]
    return {row["name"]: row["blocks"] for row in rows if row["blocks"]}


@settings(deadline=None, max_examples=60)
@given(prefix_traces(max_requests=20, max_blocks=7))
@pytest.mark.parametrize("instances", [1, 2])
@pytest.mark.parametrize("policy", ["lru", "random"])
def test_reasons_of_requests_one_at_a_time(policy: str, instances: int, paths: list[Path]) -> None:
    paths = [path for path in paths if path]
    if not paths:
        return
    why = explained(paths, policy=policy, instances=instances)
    found = reasons(why)
    looked_up = sum(len(path) - 1 for path in paths)
    assert why["misses"]["lookup_blocks"] == looked_up
    assert sum(found.values()) == looked_up - why["misses"]["hit_blocks"]
    assert why["misses"]["partial_tokens"] == len(paths)
    seen: list[set[Path]] = [set() for _ in range(instances)]
    n_new = 0
    for row, path in enumerate(paths):
        blocks = [path[: d + 1] for d in range(len(path))]
        n_new += sum(block not in seen[row % instances] for block in blocks[:-1])
        seen[row % instances] |= set(blocks)
    assert found.get("cold", 0) + found.get("routing", 0) == n_new
    assert set(found) <= {"cold", "routing", "capacity"}
    if instances == 1:
        assert "routing" not in found


def test_an_evicted_block_names_who_pushed_it_out_and_who_missed_it() -> None:
    why = explained([(1, 1, 1, 1), (2, 2, 2, 2, 2, 2), (1, 1, 1, 1)])
    # 8 blocks: the second request takes 4 empty ones and then two of the first, deepest first
    assert reasons(why) == {"cold": 3 + 5, "capacity": 1}
    (row,) = why["costly_evictions"]
    assert (row["evicted_for"], row["missed_by"], row["blocks"], row["depth"]) == (1, 2, 1, 2)
    assert (row["evicted_s"], row["missed_s"]) == (100.0, 200.0)


A, B = (1, 1, 1, 1), (2, 2, 2, 2, 2, 2)


@pytest.mark.parametrize(
    ("policy", "score"),
    [
        ("lru", None),  # vLLM's list: no number
        ("arc", None),
        ("filo", -2.0),  # the third block cached
        ("gdsf", 1.0),  # no use but the first
        ("workload-aware", 0.0),  # nothing is known yet
        ("marconi,alpha=0.5", 1 + 0.5),  # the only candidate is the least and the greatest
        ("pensieve,break_even_blocks=2,n_samples=0", (1 + 2 / 2) / 99.0),
    ],
)
def test_an_eviction_names_the_score_that_decided(policy: str, score: float | None) -> None:
    (row,) = explained([A, B, A], policy=policy)["costly_evictions"]
    assert row["score"] == (None if score is None else pytest.approx(score, rel=0.02))
    # the first request ends after its one step, and the second arrives at 100 s
    assert row["evicted_s"] - row["last_used_s"] == pytest.approx(99.0, abs=0.01)


def test_a_block_on_another_instance_is_a_routing_miss() -> None:
    why = explained([(1, 1, 1, 1), (1, 1, 1, 1)], instances=2)
    assert reasons(why) == {"cold": 3, "routing": 3}


def test_a_block_that_is_being_computed_is_in_flight() -> None:
    # alone 4 tokens a step, then 2 each: when the second is admitted, the first is at 6 of 12
    path = (1,) * 12
    why = explained([path, path], arrival_s=[0.0, 0.5], batched=4, threshold=2, gpu_blocks=40)
    assert reasons(why) == {"cold": 11, "in_flight": 5}


def test_what_is_computed_again_after_a_preemption_is_no_miss_of_a_look_up() -> None:
    paths: list[Path] = [(1, 1), (2, 2, 2)]
    why = explained(paths, output_tokens=9, arrival_s=[0.0, 0.5], gpu_blocks=12)
    assert reasons(why) == {"cold": 1 + 2}
    assert why["misses"]["recomputed_tokens"] > 0


def test_the_terminal_says_why() -> None:
    paths: list[Path] = [(1, 1, 1, 1), (2, 2, 2, 2, 2, 2), (1, 1, 1, 1)]
    summary = explained(paths)
    console = Console(width=80, highlight=False, color_system=None)
    with console.capture() as capture:
        show_run(summary, console)
    text = capture.get()
    assert "never cached before" in text
    assert "cached here, then evicted" in text
    assert "evicted at" in text
    assert max(map(len, text.splitlines())) <= 80
