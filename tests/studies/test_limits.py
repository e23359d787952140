"""A run's numbers beside the least possible on its own admissions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from kvsim.reports.comparison import show_comparison
from kvsim.reports.terminal import show_run
from kvsim.sim.config import ClusterConfig, DiskConfig, EngineConfig, HostConfig, RunConfig
from kvsim.sim.results import Summary
from kvsim.studies.bound import bound, hardware
from kvsim.studies.replay import run_replay
from kvsim.traces.compiled import CompiledTrace, load_compiled
from kvsim.traces.sample import sample_path


@pytest.fixture(scope="module")
def compiled() -> CompiledTrace:
    return load_compiled([sample_path()], block_size=512).head(600)


def summary_of(compiled: CompiledTrace, policy: str = "lru", **changes: object) -> Summary:
    engine = EngineConfig(block_size=512, gpu_blocks=400)
    config = RunConfig(engine=engine, policy=policy, **changes)  # type: ignore[arg-type]
    return run_replay(compiled, config, with_limits=True).summary


TIERS = {
    "none": {},
    "inclusive": {"host": HostConfig(blocks=700)},
    "exclusive": {
        "host": HostConfig(blocks=700, write="write-back"),
        "disk": DiskConfig(blocks=2000),
    },
}


@pytest.mark.parametrize("policy", ["lru", "belady", "s3-fifo", "infinite"])
@pytest.mark.parametrize("tiers", TIERS)
@pytest.mark.parametrize("instances", [1, 2])
def test_no_run_undercuts_its_limits(
    compiled: CompiledTrace, policy: str, tiers: str, instances: int
) -> None:
    summary = summary_of(
        compiled, policy, cluster=ClusterConfig(instances=instances), **TIERS[tiers]
    )
    found = summary["limits"]
    for name in ("computed_blocks", "computed_or_loaded_blocks", "prefill_s"):
        assert found[name] >= found[f"least_{name}"] * (1 - 1e-12), name
        assert found[f"least_{name}"] > 0
    assert found["least_prefill_s"] <= found["fewest_misses_prefill_s"] * (1 + 1e-12)
    below = sum(row["hit_tokens"] for row in summary["regret_by_tier"][1:])
    moved = found["computed_or_loaded_blocks"] - found["computed_blocks"]
    assert moved == below // 512
    assert [row["name"] for row in found["tiers"]] == list(TIERS[tiers])
    for row in found["tiers"]:
        assert row["least_stored_blocks"] <= row["least_loaded_blocks"]
        if tiers == "exclusive":
            assert row["least_stored_blocks"] == row["least_loaded_blocks"]


def test_one_request_at_a_time_the_limits_are_those_of_the_whole_trace(
    compiled: CompiledTrace,
) -> None:
    config = RunConfig(engine=EngineConfig(block_size=512, gpu_blocks=400))
    trace = replace(
        compiled.trace,
        arrival_s=1000.0 * np.arange(len(compiled.trace)),
        output_tokens=np.ones(len(compiled.trace), np.int64),
    )
    alone = replace(compiled, trace=trace)
    found = summary_of(alone, host=HostConfig(blocks=700))["limits"]
    assert found["prefill_bound"] == "flow"
    table = bound(compiled, {"gpu": 399, "host": 700}, hardware(config, gb_per_s={}))
    hits = [row["optimum_hit_blocks"] for row in table["tiers"]]
    looked_up = table["lookup_blocks"]
    assert found["prompt_blocks"] == looked_up
    assert found["least_computed_blocks"] == looked_up - sum(hits)
    assert found["least_computed_or_loaded_blocks"] == looked_up - hits[0]
    (row,), (link,) = found["tiers"], table["traffic"]
    assert row["least_loaded_blocks"] == link["load_blocks"]
    assert row["least_stored_blocks"] == link["write_once_blocks"]
    recompute = table["recompute"]
    saved_s = recompute["all_s"] - found["least_prefill_s"]
    assert saved_s == pytest.approx(recompute["bound_saved_s"])


def test_where_all_blocks_cost_the_same_fewest_misses_are_the_limit(
    compiled: CompiledTrace,
) -> None:
    found = summary_of(compiled, latency_affine="0.001,0.0001,0.0001,0")["limits"]
    assert found["prefill_bound"] == "optimum"
    assert found["least_prefill_s"] == found["fewest_misses_prefill_s"]


def test_a_run_and_a_comparison_show_them(compiled: CompiledTrace) -> None:
    summaries = [summary_of(compiled, p, **TIERS["exclusive"]) for p in ("lru", "belady")]
    console = Console(width=80, highlight=False, color_system=None)
    with console.capture() as capture:
        show_run(summaries[0], console)
        show_comparison(summaries, console)
    text = capture.get()
    assert "distance to the limits" in text
    assert "loaded from host and below" in text
    assert "min-cost flow" in " ".join(text.split())
    assert "not in GPU" in text
    assert max(map(len, text.splitlines())) <= 80


def test_without_being_asked_nothing_is_said(compiled: CompiledTrace) -> None:
    config = RunConfig(engine=EngineConfig(block_size=512, gpu_blocks=400))
    assert "limits" not in run_replay(compiled, config).summary
