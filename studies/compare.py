"""Many policies on the same requests, in parallel if asked; the order of workers never shows."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from ..sim.config import RunConfig
from ..sim.results import RunResult
from ..traces.compiled import load_compiled
from .replay import run_replay


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceChoice:
    """Which requests to replay: enough to load them again in another process."""

    paths: tuple[Path, ...]
    trace_block_size: int | None = None
    limit: int | None = None
    time_scale: float = 1.0


def compare(
    choice: TraceChoice, config: RunConfig, policies: Sequence[str], *, workers: int = 1
) -> Iterator[RunResult]:
    """Replay the same requests under each policy; results come in the order of `policies`.

    Raises:
        KvsimError: the trace, the configuration or a policy is wrong.
    """
    tasks = [
        (choice, replace(config, policy=policy), at == 0) for at, policy in enumerate(policies)
    ]
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


def _run_one(task: tuple[TraceChoice, RunConfig, bool]) -> RunResult:
    choice, config, with_curve = task
    compiled = load_compiled(
        choice.paths,
        block_size=config.engine.block_size,
        trace_block_size=choice.trace_block_size,
    )
    if choice.limit is not None:
        compiled = compiled.head(choice.limit)
    compiled = compiled.scaled(choice.time_scale)
    return run_replay(compiled, config, with_curve=with_curve)


def directory_name(policy: str, taken: Sequence[str]) -> str:
    """Return a folder name for a policy's results, unlike those taken."""
    plain = "".join(ch if ch.isalnum() or ch in "-_.=" else "_" for ch in policy).strip("._")
    name, n = plain or "policy", 2
    while name in taken:
        name, n = f"{plain}-{n}", n + 1
    return name
