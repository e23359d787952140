"""Many policies on the same requests, in parallel if asked; the order of workers never shows."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..sim.config import RunConfig
from ..sim.results import RunResult, Summary
from ..traces.compiled import CompiledTrace, load_compiled
from .overhead import overhead_us
from .paired import N_WINDOWS, Table, paired_differences
from .replay import run_replay


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceChoice:
    """Which requests to replay: enough to load them again in another process."""

    paths: tuple[Path, ...]
    trace_block_size: int | None = None
    limit: int | None = None
    time_scale: float = 1.0

    def load(self, block_size: int) -> CompiledTrace:
        """Load the requests with their tree for engine blocks of `block_size` tokens."""
        compiled = load_compiled(
            self.paths, block_size=block_size, trace_block_size=self.trace_block_size
        )
        if self.limit is not None:
            compiled = compiled.head(self.limit)
        return compiled.scaled(self.time_scale)


def compare(
    choice: TraceChoice,
    config: RunConfig,
    policies: Sequence[str],
    gpu_blocks: Sequence[int] = (),
    *,
    workers: int = 1,
    with_limits: bool = False,
) -> Iterator[RunResult]:
    """Replay the same requests at each size under each policy, in this order.

    Without `gpu_blocks` the size is the configuration's. The seed is the same for all runs.

    Raises:
        KvsimError: the trace, the configuration or a policy is wrong.
    """
    sizes = list(gpu_blocks) or [config.engine.gpu_blocks]
    configs = [
        replace(config, policy=policy, engine=replace(config.engine, gpu_blocks=size))
        for size in sizes
        for policy in policies
    ]
    tasks = [(choice, one, at == 0, with_limits) for at, one in enumerate(configs)]
    if workers <= 1 or len(tasks) == 1:
        yield from map(_run_one, tasks)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(tasks)), mp_context=context)
    try:
        yield from pool.map(_run_one, tasks)
    except BaseException:  # an interrupt above all: do not wait for replays nobody wants
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _run_one(task: tuple[TraceChoice, RunConfig, bool, bool]) -> RunResult:
    choice, config, with_curve, with_limits = task
    compiled = choice.load(config.engine.block_size)
    return run_replay(compiled, config, with_curve=with_curve, with_limits=with_limits)


class Paired:
    """Compares each run with the first one at its size."""

    def __init__(self, *, seed: int) -> None:
        self._seed = seed
        self._first: dict[int, tuple[str, Table]] = {}

    def add(self, result: RunResult) -> dict[str, Any] | None:
        """Return the differences to the first run of the same size; None for that one itself."""
        size = result.summary["gpu_blocks"]
        if size not in self._first:
            self._first[size] = (result.summary["policy"], result.requests)
            return None
        policy, table = self._first[size]
        found = paired_differences(table, result.requests, seed=self._seed)
        return {"to": policy, "windows": N_WINDOWS, **found}


def overheads_us(
    choice: TraceChoice, config: RunConfig, summaries: Sequence[Summary]
) -> list[float | None]:
    """Measure for each run what its policy takes an eviction, in microseconds."""
    compiled = choice.load(config.engine.block_size)
    return [
        overhead_us(compiled, s["policy"], s["usable_blocks"], seed=config.seed) for s in summaries
    ]


def directory_name(policy: str, taken: Sequence[str], gpu_blocks: int | None = None) -> str:
    """Return a folder name for the results of a policy, at a size, unlike those taken."""
    if gpu_blocks is not None:
        policy = f"{policy}-{gpu_blocks}"
    plain = "".join(ch if ch.isalnum() or ch in "-_.=" else "_" for ch in policy).strip("._")
    name, n = plain or "policy", 2
    while name in taken:
        name, n = f"{plain}-{n}", n + 1
    return name
