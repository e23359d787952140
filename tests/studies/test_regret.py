"""The parts of a regret add up to it, whichever way a run is split."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from prefix_traces import Path, trace_of

from kvsim.sim.config import ClusterConfig, EngineConfig, HostConfig, RunConfig
from kvsim.sim.results import Summary
from kvsim.studies.optimum import optimum_replay
from kvsim.studies.replay import run_replay
from kvsim.traces.compiled import CompiledTrace
from kvsim.traces.prefix_tree import compile_tree


def summary_of(paths: list[Path], **changes: object) -> tuple[Summary, CompiledTrace]:
    """Replay requests of one-token blocks, one at a time, in two categories and three turns."""
    rows = np.arange(len(paths))
    trace = replace(
        trace_of(paths),
        category=rows % 2,
        category_names=("chat", "code"),
        turn=1 + rows % 3,
        arrival_s=1000.0 * rows,
    )
    tree = compile_tree(trace, 1, partial_blocks=False)
    compiled = CompiledTrace(trace=trace, tree=tree, digest="test")
    config = RunConfig(
        engine=EngineConfig(block_size=1, gpu_blocks=41, max_num_seqs=4),
        latency_affine="0.001,0.0001,0.0001,0",
        **changes,  # type: ignore[arg-type]
    )
    return run_replay(compiled, config).summary, compiled


@pytest.fixture(scope="module")
def paths() -> list[Path]:
    rng = np.random.default_rng(8)
    found: list[Path] = [(0,) * 20]
    for _ in range(300):
        root = found[-int(rng.integers(1, min(len(found), 12) + 1))]
        cut = int(rng.integers(0, len(root) + 1))
        found.append((*root[:cut], *rng.integers(0, 3, rng.integers(1, 9)).tolist())[:36])
    return found


@pytest.mark.parametrize("policy", ["lru", "random", "belady"])
@pytest.mark.parametrize("instances", [1, 2])
def test_every_split_adds_up_to_the_whole(paths: list[Path], policy: str, instances: int) -> None:
    summary, _ = summary_of(paths, policy=policy, cluster=ClusterConfig(instances=instances))
    bound = summary["bound_hit_ratio_tokens"] * summary["lookup_tokens"]
    for split in ("category", "turn", "depth"):
        rows = summary[f"regret_by_{split}"]
        sums = {key: sum(row[key] for row in rows) for key in rows[0] if key != "name"}
        assert sums["lookup_tokens"] == summary["lookup_tokens"]
        assert sums["hit_tokens"] == summary["hit_tokens"]
        assert sums["bound_tokens"] == pytest.approx(bound)
        assert sums["regret_tokens"] == pytest.approx(summary["regret_tokens"])
    assert [row["name"] for row in summary["regret_by_category"]] == ["chat", "code"]
    assert [row["name"] for row in summary["regret_by_turn"]] == ["1", "2", "3"]
    assert [row["name"] for row in summary["regret_by_depth"]] == ["0-15", "16-31"]


def test_the_bound_is_the_optimum_of_the_same_requests(paths: list[Path]) -> None:
    summary, compiled = summary_of(paths)
    hits = np.minimum(optimum_replay(compiled.tree, 40), compiled.trace.input_tokens)
    is_chat = compiled.trace.category == 0
    by_category = [row["bound_tokens"] for row in summary["regret_by_category"]]
    assert by_category == [int(hits[is_chat].sum()), int(hits[~is_chat].sum())]


@pytest.mark.parametrize("write", ["write-through", "write-back"])
def test_tiers_add_up_and_their_bounds_are_differences_of_the_optimum(
    paths: list[Path], write: str
) -> None:
    summary, compiled = summary_of(paths, host=HostConfig(blocks=80, write=write))
    gpu, host = summary["regret_by_tier"]
    assert (gpu["name"], host["name"]) == ("gpu", "host")
    assert [gpu["hit_tokens"], host["hit_tokens"]] == list(summary["hits_per_tier"].values())
    assert host["hit_tokens"] > 0
    small, large = (
        np.minimum(optimum_replay(compiled.tree, n), compiled.trace.input_tokens) for n in (40, 120)
    )
    assert gpu["bound_tokens"] == small.sum()
    assert host["bound_tokens"] == (large - small).sum()
    assert (large >= small).all()
    assert gpu["hit_tokens"] <= gpu["bound_tokens"]
    assert gpu["lookup_tokens"] == summary["lookup_tokens"]
    assert host["lookup_tokens"] == summary["lookup_tokens"] - gpu["hit_tokens"]
    assert gpu["regret_tokens"] + host["regret_tokens"] == pytest.approx(summary["regret_tokens"])


def test_one_tier_is_the_whole(paths: list[Path]) -> None:
    summary, _ = summary_of(paths)
    (gpu,) = summary["regret_by_tier"]
    assert gpu["regret_tokens"] == pytest.approx(summary["regret_tokens"])


def test_without_prefix_caching_nothing_is_left(paths: list[Path]) -> None:
    trace = trace_of(paths)
    tree = compile_tree(trace, 1, partial_blocks=False)
    compiled = CompiledTrace(trace=trace, tree=tree, digest="test")
    engine = EngineConfig(block_size=1, gpu_blocks=41, max_num_seqs=4, prefix_caching=False)
    summary = run_replay(compiled, RunConfig(engine=engine)).summary
    assert {row["regret_tokens"] for row in summary["regret_by_depth"]} == {0.0}
