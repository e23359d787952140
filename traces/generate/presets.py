"""Workloads by name: plain ones to shape by options, and likenesses of published traces."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import replace

from ... import ConfigError
from ..schema import Trace
from .arrivals import Arrivals, Rate, Spikes
from .bailian import qwen_a, qwen_b, qwen_coder, qwen_thinking
from .lengths import Lognormal, Mixture
from .sessions import generate
from .workload import Kind, Pool, Repeats, Workload


def chat() -> Workload:
    """People who talk to an assistant: several turns, time to think, a few system prompts."""
    return Workload(
        name="chat",
        arrivals=Arrivals(per_s=1.0),
        pools={"system prompts": Pool(n=20, tokens=Lognormal(400, 0.8), zipf=1.0)},
        kinds=(
            Kind(
                name="chat",
                pools=(("system prompts", 0.9),),
                first_tokens=Lognormal(300, 1.2, most=32_000),
                output_tokens=Lognormal(250, 0.8, most=4_000),
                continues=(0.5, 0.65, 0.75),
                added_tokens=Lognormal(80, 1.0),
                think_s=Lognormal(60, 1.2),
                limit_tokens=32_000,
                at_limit="end",
            ),
        ),
    )


def single() -> Workload:
    """Single requests to an API: templates that many share, answers that nobody continues."""
    return Workload(
        name="single",
        arrivals=Arrivals(per_s=5.0, process="gamma", cv=2.0),
        pools={"templates": Pool(n=200, tokens=Lognormal(500, 0.7), zipf=1.0)},
        kinds=(
            Kind(
                name="api",
                pools=(("templates", 0.7),),
                repeats=Repeats(share=0.02, gap_s=Lognormal(20, 1.0)),
                first_tokens=Lognormal(300, 1.0, most=32_000),
                output_tokens=Lognormal(60, 1.2, most=4_000),
            ),
        ),
    )


def agents() -> Workload:
    """Agents that call tools: long shared prompts, many quick turns, compacted when full."""
    return Workload(
        name="agents",
        arrivals=Arrivals(per_s=0.1),
        duration_s=7200.0,
        block_size=64,
        pools={"tools and instructions": Pool(n=6, tokens=Lognormal(9_000, 0.5), zipf=0.8)},
        kinds=(
            Kind(
                name="agent",
                pools=(("tools and instructions", 1.0),),
                first_tokens=Lognormal(1_500, 1.0, most=50_000),
                output_tokens=Lognormal(180, 1.0, most=8_000),
                continues=(0.95, 0.96, 0.97),
                added_tokens=Lognormal(500, 1.4, most=20_000),
                # tools answer in seconds; now and then a person has to
                think_s=Mixture((0.92, 0.08), (Lognormal(1.5, 1.2), Lognormal(90, 1.2))),
                cut_short=0.01,
                limit_tokens=128_000,
                at_limit="compact",
            ),
        ),
    )


PRESETS: dict[str, Callable[[], Workload]] = {
    "chat": chat,
    "single": single,
    "agents": agents,
    "qwen-a": qwen_a,
    "qwen-b": qwen_b,
    "qwen-thinking": qwen_thinking,
    "qwen-coder": qwen_coder,
}


def preset(name: str) -> Workload:
    """Return the workload called `name`.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"workload must be one of {', '.join(PRESETS)}, got {name!r}{hint}")
    return PRESETS[name]()


def shaped(
    workload: Workload,
    *,
    per_s: float | None = None,
    duration_s: float | None = None,
    process: str | None = None,
    cv: float | None = None,
    trend: float | None = None,
    swing: float | None = None,
    day_s: float | None = None,
    spikes: Spikes | None = None,
    block_size: int | None = None,
) -> Workload:
    """Return the workload with other arrivals, duration or block size; None leaves it as it is.

    `per_s` is of sessions, not of requests.

    Raises:
        ConfigError: a value is out of range.
    """
    arrivals = workload.arrivals
    rate = arrivals.rate
    rate = Rate(
        trend=rate.trend if trend is None else trend,
        day_s=rate.day_s if day_s is None else day_s,
        swing=rate.swing if swing is None else swing,
        peak_s=rate.peak_s,
        spikes=rate.spikes if spikes is None else spikes,
    )
    own = arrivals.per_s
    arrivals = Arrivals(
        per_s=own if per_s is None else per_s,
        process=arrivals.process if process is None else process,
        cv=arrivals.cv if cv is None else cv,
        rate=rate,
    )
    duration = workload.duration_s if duration_s is None else duration_s
    n = workload.n_sessions
    if n is not None:  # a preset's number of sessions belongs to its own rate and duration
        n = max(1, round(n * arrivals.per_s / own * duration / workload.duration_s))
    return replace(
        workload,
        arrivals=arrivals,
        duration_s=duration,
        n_sessions=n,
        block_size=workload.block_size if block_size is None else block_size,
    )


def generate_requests(workload: Workload, n: int, *, seed: int = 0) -> Trace:
    """Draw exactly `n` requests: the first of the workload, going on for as long as it takes.

    Raises:
        ConfigError: `n` is below 1.
    """
    if n < 1:
        raise ConfigError(f"requests must be at least 1, got {n}")
    weight = sum(kind.weight for kind in workload.kinds)
    a_session = sum(kind.weight / weight * _mean_turns(kind) for kind in workload.kinds)
    duration_s = 1.05 * n / (workload.arrivals.per_s * a_session) + 1.0
    while True:
        trace = generate(shaped(workload, duration_s=duration_s), seed=seed)
        if len(trace) >= n:
            return trace.head(n)
        duration_s *= 1.1 * max(n / len(trace), 1.1)


def _mean_turns(kind: Kind) -> float:
    reached, turns = 1.0, 1.0
    for turn in range(1, 1000 if kind.continues else 1):
        reached *= kind.continues[min(turn, len(kind.continues)) - 1]
        turns += reached
    return turns
