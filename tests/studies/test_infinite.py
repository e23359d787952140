"""`infinite`: nothing is evicted, whatever size was asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from kvsim.policies import find_policy
from kvsim.reports.comparison import show_comparison
from kvsim.sim.config import ClusterConfig, EngineConfig, HostConfig, RunConfig
from kvsim.studies.mrc import miss_ratio_curve
from kvsim.studies.replay import run_replay
from kvsim.traces.compiled import CompiledTrace, load_compiled
from kvsim.traces.sample import sample_path


@pytest.fixture(scope="module")
def compiled() -> CompiledTrace:
    return load_compiled([sample_path()], block_size=512).head(400)


def config(policy: str, **changes: object) -> RunConfig:
    engine = EngineConfig(block_size=512, gpu_blocks=300)
    return RunConfig(engine=engine, policy=policy, **changes)  # type: ignore[arg-type]


def test_it_is_a_yardstick_and_says_so() -> None:
    assert find_policy("infinite").kind() == "offline"
    assert find_policy("belady").kind() == "offline"
    assert find_policy("lru").kind() == "online"


def test_at_any_capacity_it_hits_what_all_memory_would(compiled: CompiledTrace) -> None:
    enough = compiled.tree.n_keys
    curve = miss_ratio_curve(compiled, [1, 300, enough], ["infinite"])
    assert {ratio for _, ratio in curve["infinite"]} == {curve["optimum"][-1][1]}
    assert curve["infinite"][0][1] > curve["optimum"][1][1]


@pytest.mark.parametrize("instances", [1, 3])
def test_a_timed_run_evicts_nothing_and_refuses_nobody(
    compiled: CompiledTrace, instances: int
) -> None:
    cluster = ClusterConfig(instances=instances)
    summary = run_replay(compiled, config("infinite", cluster=cluster), check=True).summary
    assert summary["gpu_blocks"] == 300
    assert summary["evictions"] == summary["preemptions"] == summary["rejected"] == 0
    lru = run_replay(compiled, config("lru", cluster=cluster)).summary
    assert summary["hit_tokens"] > lru["hit_tokens"]
    assert lru["evictions"] > 0


def test_alone_on_an_instance_a_request_finds_every_full_block_ever_seen(
    compiled: CompiledTrace,
) -> None:
    trace = replace(
        compiled.trace,
        arrival_s=1000.0 * np.arange(len(compiled.trace)),
        output_tokens=np.ones(len(compiled.trace), np.int64),
    )
    alone = replace(compiled, trace=trace)
    found = run_replay(alone, config("infinite")).summary
    # the last token is computed anew, so a block that ends with it is not looked up
    bound = round(found["bound_hit_ratio_tokens"] * found["lookup_tokens"])
    assert found["hit_tokens"] == bound


def test_as_a_hosts_policy_it_drops_nothing(compiled: CompiledTrace) -> None:
    host = HostConfig(blocks=10, policy="infinite")
    summary = run_replay(compiled, config("lru", host=host), check=True).summary
    assert summary["tiers"]["host"]["evicted"] == 0
    assert summary["host_blocks"] > compiled.tree.n_keys


def test_a_comparison_shows_it_at_the_size_asked_for(compiled: CompiledTrace) -> None:
    summaries = [run_replay(compiled, config(p)).summary for p in ("infinite", "lru")]
    console = Console(width=80, highlight=False, color_system=None)
    with console.capture() as capture:
        show_comparison(summaries, console, [None, -0.0001])
    text = capture.get()
    assert text.count("299 blocks") == 1
    assert "-0.000" not in text
