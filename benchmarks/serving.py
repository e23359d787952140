"""Goals G8 and G13, an hour of real traffic, and a million requests: the engine end to end."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import workloads
from harness import Result, Setting, interleaved

from kvsim.sim.config import ClusterConfig, EngineConfig, RunConfig
from kvsim.sim.results import write_run
from kvsim.studies.replay import run_replay
from kvsim.traces.compiled import compile_trace, load_compiled
from kvsim.traces.formats import write_trace


def throughput(setting: Setting) -> Iterator[Result]:
    """G8: requests a second and core, with prefix cache, paged KV, metrics and 8 instances."""
    trace = workloads.multi_turn(n_requests=100_000, per_s=20.0)
    compiled = compile_trace(trace)
    for router in ("round-robin", "least-loaded", "prefix-aware"):
        config = RunConfig(
            engine=EngineConfig(block_size=16, gpu_blocks=40_000, max_num_batched_tokens=8192),
            cluster=ClusterConfig(instances=8, router=router),
            latency_affine="5e-3,2e-5,1e-4,2e-8",
        )
        times = interleaved({"ours": lambda c=config: run_replay(compiled, c)}, setting.rounds)
        rates = [len(trace) / s for s in times["ours"]]
        yield Result(
            goal="G8",
            case=f"{trace.name}, 8 instances, {router}",
            value=median(rates),
            low=min(rates),
            high=max(rates),
            must=20_000,
            stretch=50_000,
            unit="req/s",
        )


def hour(setting: Setting) -> Iterator[Result]:
    """The full hour of mooncake/conversation in 16-token blocks on 4 instances, files written."""
    path = setting.data / "mooncake" / "conversation_trace.jsonl.gz"
    if not path.exists():
        yield Result(goal="hour", case="mooncake", value=None, note=f"{path} is missing")
        return
    compiled = load_compiled([path], block_size=16, keep=False)
    config = RunConfig(
        engine=EngineConfig(block_size=16),
        cluster=ClusterConfig(instances=4, router="prefix-aware"),
    )

    def run() -> None:
        with tempfile.TemporaryDirectory(dir=setting.scratch) as folder:
            write_run(run_replay(compiled, config, with_curve=True), Path(folder))

    times = interleaved({"ours": run}, setting.rounds)["ours"]
    values = [s / len(compiled.trace) * 1e3 for s in times]
    yield Result(
        goal="hour",
        case="mooncake, H100 profile, 4 instances, prefix-aware, written",
        value=median(values),
        low=min(values),
        high=max(values),
        must=0.1,
        stretch=0.05,
        unit="ms/req",
        at_most=True,
        note="CPU; Dynamo's Rust replay: 1.1 ms for 64-token blocks, round robin",
    )


_MILLION = """
import resource, sys, time
from pathlib import Path
start = time.process_time()
from kvsim.sim.config import ClusterConfig, EngineConfig, RunConfig
from kvsim.sim.results import write_run
from kvsim.studies.replay import run_replay
from kvsim.traces.compiled import load_compiled
compiled = load_compiled([Path(sys.argv[1])], block_size=16, keep=False)
config = RunConfig(
    engine=EngineConfig(block_size=16, gpu_blocks=40_000),
    cluster=ClusterConfig(instances=16, router="prefix-aware"),
    latency_affine="5e-3,2e-5,1e-4,2e-8",
)
out = Path(sys.argv[2])
out.mkdir()
write_run(run_replay(compiled, config), out)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
print(time.process_time() - start, peak)
"""


def million(setting: Setting) -> Iterator[Result]:
    """A million multi-turn requests from parquet on 16 instances, in a process of its own."""
    trace = workloads.multi_turn(n_requests=1_000_000, per_s=60.0)
    path = setting.scratch / "million.parquet"
    write_trace(trace, path)
    n = len(trace)
    del trace
    command = [sys.executable, "-c", _MILLION, str(path), str(setting.scratch / "out")]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    seconds, peak_gib = float(told[0]), float(told[1])
    case = f"{n:,} requests, 16 instances, prefix-aware"
    yield Result(
        goal="1M", case=case, value=seconds, must=30, stretch=10, unit="CPU s", at_most=True
    )
    yield Result(
        goal="1M", case=case, value=peak_gib, must=3, stretch=1.5, unit="GiB", at_most=True
    )


def start_up(setting: Setting) -> Iterator[Result]:
    """G13: the help text, a replay of a compiled trace, and what is compiled at first."""
    yield _wall(setting, "kvsim --help", ["--help"], must=0.15, stretch=0.1, what="wall")
    from kvsim.traces.sample import sample_path

    sample = setting.scratch / "sample.parquet"
    sample.write_bytes(sample_path().read_bytes())
    replay = ["replay", str(sample), "--instances", "4", "--json"]
    yield _wall(
        setting,
        "replay of 2,000 requests, compiled trace",
        replay,
        must=0.8,
        stretch=0.5,
        what="wall",
    )
    for case, arguments in {
        "kvsim warmup, nothing compiled": ["warmup"],
        "replay of 2,000 requests, nothing compiled": replay,
    }.items():
        seconds = _cold_s(setting.scratch / case.replace(" ", "-"), arguments)
        yield Result(
            goal="G13", case=case, value=seconds, must=15, stretch=8, unit="CPU s", at_most=True
        )


def _cold_s(empty: Path, arguments: list[str]) -> float:
    """Processor time of a command that finds no compiled code."""
    empty.mkdir()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _kvsim(arguments, NUMBA_CACHE_DIR=str(empty))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _wall(
    setting: Setting, case: str, arguments: list[str], *, must: float, stretch: float, what: str
) -> Result:
    _kvsim(arguments)
    values = []
    for _ in range(setting.rounds):
        start = time.perf_counter()
        _kvsim(arguments)
        values.append(time.perf_counter() - start)
    return Result(
        goal="G13",
        case=case,
        value=median(values),
        low=min(values),
        high=max(values),
        must=must,
        stretch=stretch,
        unit=f"s {what}",
        at_most=True,
    )


def _kvsim(arguments: list[str], **environment: str) -> None:
    # the installed command, as people run it: `python -m` compiles the module anew each time
    command = [str(Path(sys.executable).with_name("kvsim")), *arguments]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | environment)
