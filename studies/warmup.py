"""Compile the kernels once, on a few requests, so that later runs start at once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from ..policies import make_policy
from ..sim.config import ClusterConfig, EngineConfig, RunConfig
from ..traces.compiled import compile_trace
from ..traces.schema import Sessions, Trace
from ..traces.sessions import infer_sessions
from .bound import bound, hardware
from .characterisation import study_trace
from .mrc import miss_ratio_curve
from .replay import run_replay


def warm_up(
    policies: Iterable[str] = (), *, with_studies: bool = False
) -> Iterator[tuple[str, float]]:
    """Do what a replay does; yield each part and how long it took, in seconds.

    `with_studies`, also draw curves, explain misses, bound and describe; then replay each of
    `policies` on a cache alone.

    Raises:
        ConfigError: a policy is unknown, or lacks a value that it cannot do without.
    """
    policies = list(policies)
    for name in policies:
        make_policy(name)
    trace = infer_sessions(_few_requests())
    engine = EngineConfig(block_size=4, gpu_blocks=8, max_num_seqs=4, max_num_batched_tokens=8)
    config = RunConfig(
        engine=engine,
        cluster=ClusterConfig(instances=2, router="prefix-aware"),
        latency_affine="1e-3,1e-4,1e-4,0",
    )
    start = time.perf_counter()
    whole = compile_trace(trace)
    parts = compile_trace(trace, partial_blocks=True)
    yield "prefix tree", time.perf_counter() - start
    start = time.perf_counter()
    run_replay(whole, config)
    yield "replay", time.perf_counter() - start
    start = time.perf_counter()
    run_replay(whole, replace(config, closed_loop=True, policy="workload-aware"))
    yield "closed loop", time.perf_counter() - start
    if with_studies:
        start = time.perf_counter()
        run_replay(whole, config, with_curve=True, why=True)
        miss_ratio_curve(parts, [8])
        yield "curves, and why look-ups missed", time.perf_counter() - start
        start = time.perf_counter()
        bound(parts, {"gpu": 3, "host": 3}, hardware(RunConfig(), gb_per_s={"host": 1.0}))
        yield "bounds", time.perf_counter() - start
        start = time.perf_counter()
        study_trace(parts)
        yield "trace description", time.perf_counter() - start
    for name in policies:
        start = time.perf_counter()
        miss_ratio_curve(parts, [8], [name])
        yield f"policy {name}", time.perf_counter() - start


def _few_requests() -> Trace:
    n = 12
    ids = np.concatenate([np.array([0, 1 + r % 3, 10 + r]) for r in range(n)])
    ones = np.ones(n, np.int64)
    return Trace(
        name="warm-up",
        block_size=4,
        request_id=np.arange(n),
        arrival_s=np.arange(n, dtype=np.float64) / 1000,
        input_tokens=11 * ones,
        output_tokens=5 * ones,
        parent=-ones,
        session=np.arange(n),
        turn=ones,
        category=0 * ones,
        category_names=("request",),
        block_ids=ids.astype(np.int64),
        block_offsets=np.arange(n + 1) * 3,
        covered_tokens=11 * ones,
        sessions=Sessions.NONE,
    )
