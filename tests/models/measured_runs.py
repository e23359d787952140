"""Runs of real vLLM on an H100, and kvsim's replay of the same requests."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kvsim.sim.config import EngineConfig, HostConfig, RunConfig
from kvsim.studies.replay import run_replay
from kvsim.traces.compiled import load_compiled

DATA = Path(__file__).resolve().parents[1] / "data/vllm-tiers"
BLOCK_TOKENS = 16
N_GPU_BLOCKS = 6000

Rows = list[dict[str, str]]


def rows_of(name: str) -> Rows:
    path = DATA / name
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        return list(csv.DictReader(lines))


def column(rows: Rows, name: str) -> NDArray[np.float64]:
    return np.array([float(row[name]) for row in rows])


def workload() -> list[dict[str, Any]]:
    """What was asked in each of the runs."""
    with gzip.open(DATA / "workload.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def replayed(measured: Rows, folder: Path, *, host_gib: float, **settings: Any) -> NDArray[Any]:
    """The requests of a run, replayed as they were added; `settings` are those of a `RunConfig`."""
    path = folder / "workload.jsonl"
    with path.open("w") as out:
        for row, asked in zip(measured, workload(), strict=True):
            line = {
                "timestamp": float(row["added_s"]) * 1000,
                "input_length": asked["input_tokens"],
                "output_length": asked["output_tokens"],
                "hash_ids": asked["hash_ids"],
            }
            out.write(json.dumps(line) + "\n")
    config = RunConfig(
        engine=EngineConfig(block_size=BLOCK_TOKENS, gpu_blocks=N_GPU_BLOCKS),
        host=HostConfig(gib=host_gib),
        **settings,
    )
    compiled = load_compiled([path], block_size=BLOCK_TOKENS, trace_block_size=BLOCK_TOKENS)
    return run_replay(compiled, config).requests
