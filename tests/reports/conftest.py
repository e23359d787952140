"""A small run directory, made up: two instances, one rejected request, hostile names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

HOSTILE = "<script>alert(1)</script>"


def spread(scale: float) -> dict[str, float]:
    return {"mean": 1.5 * scale, "p50": scale, "p90": 2 * scale, "p95": 3 * scale, "p99": 4 * scale}


def make_summary(policy: str = "lru", **changes: Any) -> dict[str, Any]:
    split = {"requests": 20, "lookup_tokens": 9000, "hit_tokens": 4500, "hit_ratio_tokens": 0.5}
    part = {"lookup_tokens": 9000, "hit_tokens": 4500, "bound_tokens": 5000}
    regret = {**part, "regret_tokens": 0.05156}
    return {
        "trace": "chats",
        "policy": policy,
        "instances": 2,
        "router": "round-robin",
        "block_size": 16,
        "gpu_blocks": 1001,
        "usable_blocks": 1000,
        "requests": 40,
        "rejected": 1,
        "dropped": {"no output": 2},
        "duration_s": 200.0,
        "hit_ratio_tokens": 0.31415,
        "hit_ratio_blocks": 0.3,
        "hit_tokens": 12_345_678,
        "lookup_tokens": 39_298_672,
        "hits_per_tier": {"gpu": 12_345_678},
        "evictions": 123_456_789,
        "preemptions": 1234,
        "transfer_bytes": {},
        "ttft_s": spread(0.123),
        "tpot_s": spread(0.0217),
        "e2e_s": spread(4.56),
        "queue_s": spread(0.000789),
        "throughput_tokens_per_s": 98765.4,
        "output_tokens": 19_753_080,
        "prefill_tokens": 26_952_994,
        "bound_hit_ratio_tokens": 0.41727,
        "regret_tokens": 0.10312,
        "steps": 54_321,
        "utilisation": 0.876,
        "by_category": [{"name": HOSTILE, **split}, {"name": "code & more", **split}],
        "by_turn": [{"name": "1", **split}, {"name": "6+", **split}],
        "regret_by_category": [{"name": HOSTILE, **regret}, {"name": "code & more", **regret}],
        "regret_by_turn": [{"name": "1", **regret}, {"name": "6+", **regret}],
        "regret_by_depth": [{"name": "0-15", **regret}, {"name": "16-31", **regret}],
        **changes,
    }


def write_run(directory: Path, *, policy: str = "lru", n: int = 40) -> Path:
    directory.mkdir(parents=True)
    profile = {"name": "h100-test", "digest": "abc"}
    config = {"policy": policy, "engine": {"block_size": 16}}
    trace = {"name": "chats", "digest": "def", "requests": n, "block_size": 16, "sessions": "given"}
    manifest = {"kvsim": "0.1.0", "config": config, "seed": 7, "trace": trace, "profile": profile}
    (directory / "manifest.json").write_text(json.dumps(manifest))
    (directory / "summary.json").write_text(json.dumps(make_summary(policy)))
    points = [[2**k, k / 20] for k in range(4, 16)]
    best = [[2**k, k / 16] for k in range(4, 16)]
    curve = {"block_size": 16, "capacity_blocks": 2000, "lru": points, "optimum": best}
    (directory / "curve.json").write_text(json.dumps(curve))

    at = np.arange(n)
    arrival_s = at * 200.0 / n
    first_s = arrival_s + 0.1 + 0.01 * (at % 7)
    requests: dict[str, Any] = {
        "request_id": at,
        "arrival_s": arrival_s,
        "first_scheduled_s": arrival_s + 0.001 * (at % 5),
        "first_token_s": first_s,
        "finish_s": first_s + 0.02 * (at % 9),
        "output_tokens": 1 + at % 9,
        "instance": at % 2,
    }
    for name in ("first_scheduled_s", "first_token_s", "finish_s"):
        requests[name] = pa.array(requests[name], mask=at == 3)
    pq.write_table(pa.table(requests), directory / "requests.parquet")

    m = 2 * 1500
    step = np.arange(m) // 2
    times: dict[str, Any] = {"time_s": step * 200.0 / 1500, "instance": np.arange(m) % 2}
    for k, name in enumerate(("running", "waiting", "cached_blocks", "used_blocks")):
        times[name] = (step % (11 + k)).astype(np.float64)
    times["lookup_tokens"] = step * 100.0
    times["hit_tokens"] = step * 31.0
    columns = {
        name: pa.array(v, mask=(step % 10 == 9) & (name not in ("time_s", "instance")))
        for name, v in times.items()
    }
    pq.write_table(pa.table(columns), directory / "timeseries.parquet")
    return directory


@pytest.fixture
def summary() -> Callable[..., dict[str, Any]]:
    return make_summary


@pytest.fixture
def run_directory(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


@pytest.fixture
def comparison(tmp_path: Path) -> Path:
    directory = tmp_path / "compare"
    for policy in ("lru", "belady"):
        write_run(directory / policy, policy=policy)
    better = make_summary("belady", hit_ratio_tokens=0.41727, regret_tokens=0.0)
    (directory / "belady" / "summary.json").write_text(json.dumps(better))
    index = {"trace": "chats", "runs": ["lru", "belady"]}
    (directory / "compare.json").write_text(json.dumps(index))
    return directory
