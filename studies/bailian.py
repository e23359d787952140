"""Published statistics of the Qwen-Bailian traces, and how a trace compares with them.

The numbers were published by the traces' authors, by two independent audits of the files, and in
the paper "KVCache Cache in the Wild" (Wang et al., USENIX ATC 2025). A generated trace is accepted
if it is within the tolerance of every one of them; the files themselves can be compared as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .. import TraceError
from ..traces.characterize.firsts import first_gaps_s, made_in_session
from ..traces.characterize.groups import total, types_of
from ..traces.characterize.reuses import Reuses, reuses_of
from ..traces.characterize.skew import skew_of
from ..traces.characterize.weighted import quantiles
from ..traces.compiled import CompiledTrace
from ..traces.prefix_tree import compile_tree
from ..traces.schema import Trace
from .curves import hit_ratio, lru_curve

LRU_SHARES = (0.01, 0.05, 0.1, 0.25, 0.5)
"""Cache sizes of the published LRU curves, as shares of a trace's distinct blocks."""
TURNS = {"turn 1": (1, 1), "turn 2": (2, 2), "turn 3-5": (3, 5), "turn 6-10": (6, 10)}
TURNS |= {"turn >10": (11, 2**31)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One published statistic beside what a trace has."""

    name: str
    published: float
    found: float
    tolerance: float
    is_relative: bool
    """Whether the tolerance is a share of the published value."""

    @property
    def difference(self) -> float:
        """Found minus published, relative where the tolerance is."""
        off = self.found - self.published
        return off / self.published if self.is_relative else off

    @property
    def is_met(self) -> bool:
        return abs(self.difference) <= self.tolerance


@dataclass(frozen=True, slots=True)
class _Told:
    """A published value, and how far off a trace may be."""

    value: float
    tolerance: float
    is_relative: bool = False


def _ratio(value: float, tolerance: float = 0.01) -> _Told:
    return _Told(value, tolerance)


def _about(value: float, tolerance: float = 0.05) -> _Told:
    return _Told(value, tolerance, is_relative=True)


def _inputs(**values: float) -> dict[str, _Told]:
    tolerance = {"mean": 0.02, "p50": 0.05, "p95": 0.05, "p99": 0.06, "max": 0.1}
    return {f"input {key}": _about(value, tolerance[key]) for key, value in values.items()}


def _outputs(**values: float) -> dict[str, _Told]:
    tolerance = {"mean": 0.01, "p50": 0.01, "p99": 0.03}
    return {f"output {key}": _about(value, tolerance[key]) for key, value in values.items()}


def _curve(*hits: float, tolerance: float = 0.02) -> dict[str, _Told]:
    pairs = zip(LRU_SHARES, hits, strict=True)
    return {f"lru hit at {share:.0%}": _ratio(hit, tolerance) for share, hit in pairs}


def _turns(*counts: int) -> dict[str, _Told]:
    # chance alone moves a count of few long sessions by more than a count of many
    tolerance = [0.01, 0.03, 0.04, 0.09, 0.3]
    rows = zip(TURNS, counts, tolerance, strict=True)
    return {name: _about(count, near) for name, count, near in rows if count}


PUBLISHED: Mapping[str, Mapping[str, _Told]] = {
    "qwen-a": {
        "requests": _about(43_058, 0.02),
        "requests a second": _about(5.98, 0.02),
        "requests in the last 40 % of time": _ratio(20_565 / 43_058),
        "input tokens": _about(100_382_715, 0.02),
        "input tokens in the last 40 % of time": _ratio(52.3e6 / 100_382_715, 0.03),
        **_inputs(mean=2331, p50=1046, p95=8808, p99=14_359, max=89_286),
        **_outputs(mean=430, p50=375.5, p99=1641),
        "children": _ratio(0.463),
        **_turns(23_101, 9_012, 8_413, 2_052, 480),
        "sessions of one request": _ratio(0.610),
        "parent to child p50, s": _about(110.6),
        "parent to child p90, s": _about(718.5),
        "text requests": _ratio(31_744 / 43_058),
        "search requests": _ratio(8_187 / 43_058),
        "image requests": _ratio(1_617 / 43_058),
        "file requests": _ratio(1_510 / 43_058),
        "blocks": _about(6_293_976, 0.02),
        "distinct blocks": _about(2_656_400, 0.03),
        "distinct blocks a block": _ratio(0.422),
        "ideal token hit": _ratio(0.580),
        "ideal token hit, 512-token blocks": _ratio(0.5015),
        "ideal token hit, last 40 % of time": _ratio(0.6230, 0.02),
        "hits of the same session": _ratio(0.711, 0.02),
        **_curve(0.176, 0.410, 0.500, 0.562, 0.578),
        "ideal hit, text": _ratio(0.692, 0.02),
        "ideal hit, image": _ratio(0.781, 0.02),
        "ideal hit, file": _ratio(0.551, 0.02),
        "ideal hit, search": _ratio(0.488, 0.02),
        "median reuse time, text, s": _about(47.7, 0.15),
        "median reuse time, image, s": _about(4.8, 0.15),
        "median reuse time, search, s": _about(111.8, 0.15),
        "median reuse time, file, s": _about(152.4, 0.15),
        "ideal hit, sessions of one request": _ratio(0.247, 0.02),
        "blocks, sessions of one request": _ratio(0.24, 0.02),
        "ideal hit, longer sessions": _ratio(0.684, 0.02),
        "new blocks ever reused": _ratio(0.47, 0.05),
        "median time to first reuse, s": _about(138.0, 0.15),
        # of a whole day; in the two hours, blocks reused once alone make 0.77 the most there can be
        "reuses of the top 10 % of blocks": _ratio(0.77, 0.16),
    },
    "qwen-b": {
        "requests": _about(172_800, 0.02),
        "requests a second": _about(24.0, 0.02),
        "requests in the last 40 % of time": _ratio(72_527 / 172_800),
        "input tokens": _about(158_029_113, 0.02),
        "input tokens in the last 40 % of time": _ratio(66.9e6 / 158_029_113, 0.03),
        **_inputs(mean=915, p50=574, p95=2491, p99=6294, max=66_446),
        **_outputs(mean=92, p50=39, p99=1006),
        "children": _ratio(0.0, 0.0),
        "sessions of one request": _ratio(1.0, 0.0),
        "api requests": _ratio(150_936 / 172_800),
        "text requests": _ratio(21_864 / 172_800),
        "blocks": _about(9_956_137, 0.02),
        "distinct blocks": _about(4_638_378, 0.03),
        "distinct blocks a block": _ratio(0.466),
        "ideal token hit": _ratio(0.538),
        "ideal token hit, 512-token blocks": _ratio(0.3478),
        "ideal token hit, last 40 % of time": _ratio(0.5390, 0.02),
        "hits of the same session": _ratio(0.0, 0.0),
        **_curve(0.462, 0.516, 0.528, 0.537, 0.541, tolerance=0.01),
        "median reuse time, api, s": _about(2.3),
        "median reuse time, text, s": _about(39.2),
        "new blocks of api ever reused": _ratio(0.023, 0.002),
    },
    "qwen-thinking": {
        "requests": _about(10_812, 0.02),
        "requests a second": _about(1.50, 0.02),
        "requests in the last 40 % of time": _ratio(3_828 / 10_812),
        "input tokens": _about(51_496_311, 0.02),
        "input tokens in the last 40 % of time": _ratio(20.9e6 / 51_496_311, 0.03),
        **_inputs(mean=4763, p50=3680, p95=16_221, p99=24_962, max=51_622),
        **_outputs(mean=3651, p50=1665, p99=34_529),
        "children": _ratio(0.111),
        **_turns(9_612, 509, 503, 159, 29),
        "sessions of one request": _ratio(0.947),
        "parent to child p50, s": _about(28.6, 0.1),
        "parent to child p90, s": _about(254.9, 0.1),
        "blocks": _about(3_223_990, 0.02),
        "distinct blocks": _about(1_735_015, 0.03),
        "distinct blocks a block": _ratio(0.538),
        "ideal token hit": _ratio(0.4624),
        "ideal token hit, 512-token blocks": _ratio(0.4348),
        "ideal token hit, last 40 % of time": _ratio(0.3646, 0.02),
        "hits of the same session": _ratio(0.282, 0.02),
        **_curve(0.367, 0.430, 0.445, 0.457, 0.460, tolerance=0.01),
    },
    "qwen-coder": {
        "requests": _about(43_011, 0.02),
        "requests a second": _about(5.97, 0.02),
        "requests in the last 40 % of time": _ratio(18_494 / 43_011),
        "input tokens": _about(247_212_429, 0.02),
        "input tokens in the last 40 % of time": _ratio(104.0e6 / 247_212_429, 0.03),
        **_inputs(mean=5748, p50=4540, p95=13_407, p99=14_406, max=25_777),
        **_outputs(mean=808, p50=469, p99=5835),
        "children": _ratio(0.386),
        **_turns(26_406, 6_693, 6_906, 2_236, 770),
        "sessions of one request": _ratio(0.747),
        "parent to child p50, s": _about(117.7),
        "parent to child p90, s": _about(941.8),
        "blocks": _about(15_470_907, 0.02),
        "distinct blocks": _about(5_202_517, 0.03),
        "distinct blocks a block": _ratio(0.336),
        "ideal token hit": _ratio(0.6646),
        "ideal token hit, 512-token blocks": _ratio(0.6327),
        "ideal token hit, last 40 % of time": _ratio(0.6754, 0.02),
        "hits of the same session": _ratio(0.398, 0.02),
        **_curve(0.404, 0.553, 0.604, 0.645, 0.660),
    },
}
"""By trace: what is published, and the tolerances that kvsim sets."""

LRU_SECOND_HOUR = (0.1175, 0.1281, 0.1407, 0.1566, 0.1786, 0.2068, 0.2299, 0.2498)
WORKLOAD_AWARE_SECOND_HOUR = (0.1381, 0.1586, 0.1753, 0.1934, 0.2054, 0.2245, 0.2392, 0.2560)
"""Hit ratios of trace A's second hour with 1024, 2048, ... 8192 blocks of 128 tokens: vLLM pull
request 22236, Qwen2.5-7B-Instruct, parameters of the first hour."""


FILES: Mapping[str, tuple[str, str]] = {
    "qwen-a": (
        "qwen_traceA_blksz_16.jsonl",
        "07cedc9ed8aff301994ac68ed4aede8123b7603673575eeba9dd677de663db17",
    ),
    "qwen-b": (
        "qwen_traceB_blksz_16.jsonl",
        "68e3f98e2d601d60d0abf4b89bc8a3654372abab7b1cde6373a13d0054379d59",
    ),
    "qwen-thinking": (
        "qwen_thinking_blksz_16.jsonl",
        "41ac36d9d1b54d084eeb6b05e9d142ba9d02f8bf79cfc9fff418d8ab7cdee906",
    ),
    "qwen-coder": (
        "qwen_coder_blksz_16.jsonl",
        "3d74974cebb7bccb69b1ca6ea210a44d9a3033443c0271ed015327284dea1aff",
    ),
}
"""By trace: the published file and its SHA-256, at commit 5f7439c of
alibaba-edu/qwen-bailian-usagetraces-anon."""


def which(trace: Trace) -> str:
    """Name the trace (a key of PUBLISHED) whose request types `trace` has.

    Raises:
        TraceError: none has such types.
    """
    types = set(trace.category_names)
    for name in ("thinking", "coder"):
        if types == {name}:
            return f"qwen-{name}"
    for name, known in (
        ("qwen-b", {"api", "text"}),
        ("qwen-a", {"text", "search", "image", "file"}),
    ):
        if types <= known:
            return name
    told = ", ".join(sorted(types))
    raise TraceError(f"{trace.name}: request types must be those of a Bailian trace, got {told}")


def compare_with_published(trace: Trace, name: str) -> list[Check]:
    """Measure every published statistic of the trace `name` (a key of PUBLISHED) in `trace`."""
    found = measured(trace)
    return [
        Check(
            name=what,
            published=told.value,
            found=found[what],
            tolerance=told.tolerance,
            is_relative=told.is_relative,
        )
        for what, told in PUBLISHED[name].items()
    ]


def measured(trace: Trace) -> dict[str, float]:
    """Measure in `trace` whatever PUBLISHED may ask for."""
    tree = compile_tree(trace, trace.block_size, partial_blocks=True)
    reuses = reuses_of(CompiledTrace(trace=trace, tree=tree, digest=""))
    span_s = float(trace.arrival_s[-1])
    late = trace.arrival_s >= 0.6 * span_s
    values = {
        "requests": float(len(trace)),
        "requests a second": len(trace) / span_s,
        "requests in the last 40 % of time": float(late.mean()),
        "input tokens": float(trace.input_tokens.sum()),
        "input tokens in the last 40 % of time": float(
            trace.input_tokens[late].sum() / trace.input_tokens.sum()
        ),
        "children": float((trace.parent >= 0).mean()),
        **_spread("input", trace.input_tokens),
        **_spread("output", trace.output_tokens),
    }
    for name, (low, high) in TURNS.items():
        values[name] = float(((trace.turn >= low) & (trace.turn <= high)).sum())
    values |= _session_facts(trace, reuses)
    values |= _reuse_facts(trace, reuses, late)
    values |= _category_facts(trace, reuses)
    curve = lru_curve(tree).hits_at([max(1, round(share * tree.n_keys)) for share in LRU_SHARES])
    for share, hits in zip(LRU_SHARES, curve.tolist(), strict=True):
        values[f"lru hit at {share:.0%}"] = hit_ratio(hits, tree)
    return values


def _spread(name: str, values: NDArray[np.int64]) -> dict[str, float]:
    p50, p95, p99 = np.percentile(values, [50, 95, 99]).tolist()
    mean, top = float(values.mean()), float(values.max())
    keys = ("mean", "p50", "p95", "p99", "max")
    return {f"{name} {k}": v for k, v in zip(keys, (mean, p50, p95, p99, top), strict=True)}


def _session_facts(trace: Trace, reuses: Reuses) -> dict[str, float]:
    size = np.bincount(trace.session)
    single = size[trace.session] == 1
    children = np.flatnonzero(trace.parent >= 0)
    gap_s = trace.arrival_s[children] - trace.arrival_s[trace.parent[children]]
    p50, p90 = np.percentile(gap_s, [50, 90]).tolist() if len(gap_s) else (np.nan, np.nan)
    blocks, known = reuses.path_blocks, reuses.known

    def ideal(rows: NDArray[np.bool_]) -> float:
        return float(known[rows].sum() / max(blocks[rows].sum(), 1))

    return {
        "sessions of one request": float((size == 1).mean()),
        "parent to child p50, s": p50,
        "parent to child p90, s": p90,
        "ideal hit, sessions of one request": ideal(single),
        "blocks, sessions of one request": float(blocks[single].sum() / blocks.sum()),
        "ideal hit, longer sessions": ideal(~single),
    }


def _reuse_facts(trace: Trace, reuses: Reuses, late: NDArray[np.bool_]) -> dict[str, float]:
    tokens = int(trace.input_tokens.sum())
    hit_tokens = reuses.known * trace.block_size
    prompts = replace(trace, covered_tokens=np.minimum(trace.covered_tokens, trace.input_tokens))
    coarse = compile_tree(prompts, 512, partial_blocks=False)
    blocks = int(reuses.path_blocks.sum())
    distinct = reuses.tree.n_keys
    skew = skew_of(reuses)
    first_gap_s = first_gaps_s(reuses)
    again = ~np.isnan(first_gap_s)
    first = quantiles(first_gap_s[again], reuses.tree.n_blocks[again], (0.5,))
    return {
        "blocks": float(blocks),
        "distinct blocks": float(distinct),
        "distinct blocks a block": distinct / blocks,
        "ideal token hit": int(hit_tokens.sum()) / tokens,
        "ideal token hit, 512-token blocks": (int(coarse.path_blocks.sum()) - coarse.n_keys)
        * 512
        / tokens,
        "ideal token hit, last 40 % of time": int(hit_tokens[late].sum())
        / int(trace.input_tokens[late].sum()),
        "hits of the same session": float(made_in_session(trace, reuses).sum())
        / max(int(reuses.known.sum()), 1),
        "new blocks ever reused": skew.reused_blocks or 0.0,
        "median time to first reuse, s": float(first[0]),
        "reuses of the top 10 % of blocks": skew.top_tenth or 0.0,
    }


def _category_facts(trace: Trace, reuses: Reuses) -> dict[str, float]:
    facts: dict[str, float] = {}
    kinds = types_of(trace)
    hit, blocks = total(reuses.known, kinds), total(reuses.path_blocks, kinds)
    made_by, made = kinds.code[reuses.first_use], reuses.tree.n_blocks
    for number, name in enumerate(kinds.names):
        facts[f"{name} requests"] = float((kinds.code == number).mean())
        facts[f"ideal hit, {name}"] = float(hit[number] / max(blocks[number], 1))
        runs = kinds.code[reuses.row] == number
        median = quantiles(reuses.gap_s[runs], reuses.n_blocks[runs], (0.5,))
        facts[f"median reuse time, {name}, s"] = float(median[0])
        mine = made_by == number
        reused = int(made[mine & (reuses.n_uses > 1)].sum())
        facts[f"new blocks of {name} ever reused"] = reused / max(int(made[mine].sum()), 1)
    return facts
