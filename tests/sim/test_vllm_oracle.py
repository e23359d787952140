"""Model and engine make the recorded decisions of the real vLLM 0.32.0 scheduler."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scheduler_model as model
from cases import Case, Row, engine_lines, run_engine

from kvsim.calibration.latency import LatencyModel
from kvsim.policies import make_policy
from kvsim.sim.config import EngineConfig
from kvsim.sim.decision_log import DecisionLog
from kvsim.sim.engine import World
from kvsim.sim.setup import Prepared, prepare
from kvsim.traces.formats import read_trace
from kvsim.traces.prefix_tree import compile_tree
from kvsim.traces.schema import Trace

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "data" / "vllm-oracle"
SHARED = ROOT.parent / "shared"
ORACLE = SHARED / "vllm-oracle"
CONVERSATION = SHARED / "traces" / "mooncake" / "conversation_trace.jsonl.gz"

needs_recordings = pytest.mark.skipif(
    not (ORACLE.is_dir() and CONVERSATION.is_file()),
    reason="needs the recordings and the Mooncake trace in ../shared (vllm-oracle, traces)",
)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def table(name: str) -> list[dict[str, str]]:
    with gzip.open(ORACLE / name, "rt") as file:
        return list(csv.DictReader(file))


def vector(name: str, *, n_blocks: int, budget: int) -> tuple[Case, list[dict[str, Any]]]:
    """A hand-size trace, and what vLLM did with it."""
    trace = next(TINY.glob(f"{name}_[!e]*.jsonl"))
    rows = tuple(
        Row(
            arrival_s=row["arrival"],
            input_tokens=row["input_length"],
            output_tokens=row["output_length"],
            path=tuple(row["hash_ids"]),
        )
        for row in lines_of(trace)
    )
    settings = model.Settings(
        block_size=4, n_blocks=n_blocks, max_num_seqs=4, max_num_batched_tokens=budget
    )
    return Case(settings=settings, id_tokens=4, rows=rows), lines_of(
        TINY / f"{name}_expected.jsonl"
    )


VECTORS = {"v1": (12, 16), "v2": (7, 12)}


@pytest.mark.parametrize("name", VECTORS)
def test_the_model_does_what_was_recorded_down_to_each_block(name: str) -> None:
    case, expected = vector(name, n_blocks=VECTORS[name][0], budget=VECTORS[name][1])
    instance = model.Instance(case.settings)
    model.run([instance], case.requests())
    assert instance.steps == expected


@pytest.mark.parametrize("name", VECTORS)
def test_the_engine_does_what_was_recorded_line_by_line(name: str) -> None:
    case, expected = vector(name, n_blocks=VECTORS[name][0], budget=VECTORS[name][1])
    lines = []
    for step in expected:
        entries = ",".join(":".join(map(str, entry)) for entry in step["sched"])
        preempted = ",".join(map(str, step["preempted"]))
        finished = ",".join(map(str, step["finished"]))
        lines.append(f"{step['step']}|{entries}|{preempted}|{finished}|{step['free']}\n")
    assert engine_lines(case)[0] == lines
    timed = "".join(
        f"{float(step['t']).hex()}|{line}" for step, line in zip(expected, lines, strict=True)
    )
    outcome = run_engine(case)
    assert outcome.timed[0] == hashlib.sha256(timed.encode()).hexdigest()
    evictions = sum(step["evictions"] for step in expected)
    assert outcome.prepared.cluster.pools["evictions"].tolist() == [evictions]


@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.skipif(not ORACLE.is_dir(), reason="needs the recordings in ../shared/vllm-oracle")
def test_the_copied_vectors_are_the_recorded_ones(name: str) -> None:
    for path in TINY.glob(f"{name}_*.jsonl"):
        assert path.read_bytes() == (ORACLE / path.name).read_bytes()


def run(trace: Trace, engine: EngineConfig, latency: str, log: DecisionLog) -> Prepared:
    prepared = prepare(
        trace,
        compile_tree(trace, engine.block_size, partial_blocks=False),
        make_policy("lru"),
        engine=engine,
        n_instances=1,
        latency=LatencyModel.parse(latency),
        seed=0,
        is_logged=True,
    )
    World(prepared, router=0, policy_name="lru", log=log).run()
    log.close(keep=True)
    return prepared


@needs_recordings
def test_two_thousand_requests_take_the_recorded_decisions_at_the_recorded_times(
    tmp_path: Path,
) -> None:
    recorded = json.loads((ORACLE / "mooncake2000_b512.json").read_text())
    totals = recorded["totals"]
    log = DecisionLog(tmp_path / "log", 1)
    prepared = run(
        read_trace(CONVERSATION).head(2000).scaled(recorded["time_scale"]),
        EngineConfig(
            block_size=512, gpu_blocks=1001, max_num_seqs=128, max_num_batched_tokens=8192
        ),
        "5e-3,6e-5,1e-4,2e-8",
        log,
    )
    requests = prepared.cluster.requests
    rows = table("mooncake2000_b512_req.csv.gz")
    for ours, theirs in {
        "arrival_s": "arrival",
        "first_scheduled_s": "first_scheduled",
        "first_token_s": "first_token",
        "finish_s": "finish",
    }.items():
        assert requests[ours].tolist() == [float(row[theirs]) for row in rows], ours
    names = ("cached_tokens", "preemptions", "recached_tokens", "prefill_tokens")
    for name in names:
        assert requests[name].tolist() == [int(row[name]) for row in rows], name

    steps = table("mooncake2000_b512_step.csv.gz")
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.rsplit("|", 1)[1] for line in lines] == [row["free_blocks"] for row in steps]

    assert log.digests() == ([totals["decisions_sha256"]], [totals["timed_sha256"]])
    instance = prepared.cluster.instances[0]
    for name in ("steps", "preemptions", "prefill_tokens", "decode_tokens", "context_tokens"):
        assert instance[name] == totals[name], name
    for name in ("hit_tokens", "lookup_tokens", "output_tokens"):
        assert instance[name] == totals[name], name
    assert instance["busy_s"] == totals["busy_s"]
    assert instance["now_s"] == totals["end_time"]
    assert prepared.cluster.pools[0]["evictions"] == totals["evictions"]


@needs_recordings
def test_requests_one_at_a_time_hit_what_the_recorded_cache_hit() -> None:
    recorded = json.loads((ORACLE / "mooncake_full_cache_10001.json").read_text())
    totals = recorded["totals"]
    trace = read_trace(CONVERSATION)
    one_token = np.ones(len(trace), np.int64)
    alone = Trace(
        **{
            name: getattr(trace, name)
            for name in Trace.__slots__
            if name not in ("output_tokens", "covered_tokens")
        },
        output_tokens=one_token,
        covered_tokens=np.minimum(trace.covered_tokens, trace.input_tokens),
    )
    prepared = run(
        alone,
        EngineConfig(
            block_size=512, gpu_blocks=10001, max_num_seqs=1, max_num_batched_tokens=1 << 20
        ),
        "1e-9,0,0,0",
        DecisionLog(None, 1),
    )
    cached = [int(row["cached_tokens"]) for row in table("mooncake_full_cache_10001.csv.gz")]
    assert prepared.cluster.requests["cached_tokens"].tolist() == cached
    instance, pool = prepared.cluster.instances[0], prepared.cluster.pools[0]
    assert instance["finished"] == totals["requests"]
    for name in ("lookup_tokens", "hit_tokens", "hit_blocks"):
        assert instance[name] == totals[name], name
    assert pool["evictions"] == totals["evictions"] == 204491
    assert pool["n_free"] == totals["free_blocks_at_end"]
    assert instance["hit_tokens"] == 31744512


@needs_recordings
def test_the_cache_hits_the_same_when_prompts_are_cut_into_chunks() -> None:
    trace = read_trace(CONVERSATION).head(1000)
    found = []
    for budget in (1 << 20, 8192):
        engine = EngineConfig(
            block_size=512, gpu_blocks=1001, max_num_seqs=1, max_num_batched_tokens=budget
        )
        prepared = run(trace, engine, "1e-9,0,0,0", DecisionLog(None, 1))
        found.append(prepared.cluster.requests["cached_tokens"].tolist())
    assert found[0] == found[1]
