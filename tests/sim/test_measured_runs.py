"""Hit tokens of real vLLM runs on an H100, predicted from the trace and the profile alone."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from kvsim.sim.config import EngineConfig, HostConfig, RunConfig
from kvsim.studies.replay import run_replay
from kvsim.traces.compiled import load_compiled

SHARED = Path(__file__).resolve().parents[3] / "shared"
TRACE = SHARED / "traces/lmcache-agents/miniswe_blk16_cl100k.jsonl.gz"
RUNS = SHARED / "measured/vllm-h100"
needs_runs = pytest.mark.skipif(
    not (TRACE.exists() and RUNS.exists()),
    reason="needs the measured runs and their trace in ../shared (measured, traces)",
)


@needs_runs
@pytest.mark.parametrize(
    ("run", "host_gib", "most_wrong"), [("b6k_miniswe", 0.0, 20), ("off_miniswe", 30.0, 5)]
)
def test_hit_tokens_are_within_one_percent(
    run: str, host_gib: float, most_wrong: int, tmp_path: Path
) -> None:
    with gzip.open(TRACE, "rt") as lines:
        trace = [json.loads(line) for line in lines]
    with gzip.open(RUNS / f"{run}_req.csv.gz", "rt") as lines:
        measured = list(csv.DictReader(lines))
    asked = tmp_path / f"{run}.jsonl"
    with asked.open("w") as out:
        for row in measured:
            line = {
                "timestamp": float(row["added_s"]) * 1000,
                "input_length": int(row["input_tokens"]),
                "output_length": int(row["output_tokens"]),
                "hash_ids": trace[int(row["src"])]["hash_ids"],
            }
            out.write(json.dumps(line) + "\n")
    config = RunConfig(
        engine=EngineConfig(block_size=16, gpu_blocks=6000), host=HostConfig(gib=host_gib)
    )
    result = run_replay(load_compiled([asked], block_size=16, trace_block_size=16), config)
    is_known = np.array([bool(row["cached_tokens"]) for row in measured])
    cached = np.array([int(row["cached_tokens"] or 0) for row in measured])[is_known]
    found = result.requests["cached_tokens"][is_known]
    assert found.sum() == pytest.approx(cached.sum(), rel=0.01)
    assert (found != cached).sum() <= most_wrong
