"""How close a twin is to its trace: distributions, hit curves, simulated times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..sim.config import RunConfig
from ..traces.characterize.reuses import reuses_of
from ..traces.compiled import CompiledTrace, compile_trace
from ..traces.generate.streams import stream
from ..traces.prefix_tree import PrefixTree, compile_tree
from ..traces.schema import Trace
from .curves import lru_curve, lru_replay
from .mrc import curve_points
from .replay import run_replay

POLICIES = ("lru", "workload-aware")
PERCENTILES = ("p50", "p99")
N_CAPACITIES = 16
MOST_CURVE_ERROR = 0.01
"""Mean error of the hit ratio over the capacities that a certificate allows."""
N_WINDOWS = 20
"""Windows of equal length whose requests are drawn together, since waits in one are of one cause"""
N_DRAWS = 400
MOST_TIME_ERROR = 0.05
"""Relative error of the p50 and p99 of TTFT that it allows."""
_REUSE_TIMES_S = np.logspace(-3, 5, 1601)
"""Bounds between which reuse times count as equal: 200 a decade."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """Two samples of one quantity."""

    what: str
    ks: float
    """Kolmogorov-Smirnov: largest difference of the distribution functions."""
    wasserstein: float
    """Area between the distribution functions, relative to the trace's mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveError:
    """Hit ratios of exact LRU, of one category or all, over N_CAPACITIES cache sizes."""

    category: str
    mean: float
    """Mean absolute difference."""
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeError:
    """A percentile of the simulated TTFT under one policy, seconds."""

    policy: str
    percentile: str
    trace_s: float
    twin_s: float
    low_s: float
    """The trace's own percentile, of N_WINDOWS windows drawn with replacement: its 2.5 % and"""
    high_s: float
    """97.5 % points. What a twin misses within them, one trace does not tell either."""

    @property
    def relative(self) -> float:
        return self.twin_s / self.trace_s - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A twin beside its trace."""

    requests: tuple[int, int]
    """Of the trace, of the twin."""
    distances: tuple[Distance, ...]
    curves: tuple[CurveError, ...]
    times: tuple[TimeError, ...]
    setting: str
    """The simulated server, in words."""

    @property
    def holds(self) -> bool:
        """Whether the curve of all requests and all times are within what is allowed."""
        near = all(abs(error.relative) <= MOST_TIME_ERROR for error in self.times)
        return near and self.curves[0].mean <= MOST_CURVE_ERROR

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self) | {"holds": self.holds}


def certify(
    trace: Trace, twin: Trace, config: RunConfig, policies: Sequence[str] = POLICIES
) -> Certificate:
    """Compare a trace with one drawn from its twin at the same rate.

    Curves are of cache-only replay at the trace's block size; TTFT is simulated under each of
    `policies`, everything else as `config` says.

    Raises:
        ConfigError: a name or value in the configuration is wrong.
    """
    size = config.engine.block_size
    gpu = config.engine.gpu_blocks
    where = (
        f"{gpu} blocks of {size}" if gpu else f"{config.gpu_gib:g} GiB" if config.gpu_gib else ""
    )
    return Certificate(
        requests=(len(trace), len(twin)),
        distances=tuple(_distances(trace, twin)),
        curves=tuple(_curves(trace, twin)),
        times=tuple(_times(trace, twin, config, policies)),
        setting=f"{config.cluster.instances} x {config.profile}, {where}",
    )


def distance(what: str, a: NDArray[Any], b: NDArray[Any]) -> Distance:
    """Compare two samples: KS, and Wasserstein-1 relative to the mean of the first."""
    a, b = np.sort(a).astype(np.float64), np.sort(b).astype(np.float64)
    at = np.sort(np.concatenate([a, b]))
    below_a = np.searchsorted(a, at, side="right") / max(len(a), 1)
    below_b = np.searchsorted(b, at, side="right") / max(len(b), 1)
    off = np.abs(below_a - below_b)
    area = float((off[:-1] * np.diff(at)).sum()) if len(at) else 0.0
    mean = float(np.abs(a).mean()) if len(a) else 0.0
    return Distance(
        what=what, ks=float(off.max(initial=0.0)), wasserstein=area / mean if mean else area
    )


def _distances(trace: Trace, twin: Trace) -> list[Distance]:
    both = (trace, twin)
    columns: dict[str, Callable[[Trace], NDArray[Any]]] = {
        "input tokens": lambda t: t.input_tokens,
        "output tokens": lambda t: t.output_tokens,
        "arrival gap, s": lambda t: np.diff(t.arrival_s),
        "requests a minute": lambda t: np.bincount((t.arrival_s // 60).astype(np.int64)),
        "turn gap, s": _turn_gaps,
        "growth a turn, tokens": _growth,
    }
    rows = [distance(what, *(column(t) for t in both)) for what, column in columns.items()]
    trees = [compile_tree(t, t.block_size, partial_blocks=True) for t in both]
    counts = [_reuse_times(t, tree) for t, tree in zip(both, trees, strict=True)]
    rows.append(_of_counts("reuse time of blocks, log s", counts))
    rows.append(_reuse_distance(*trees))
    return rows


def _turn_gaps(trace: Trace) -> NDArray[np.float64]:
    rows = np.flatnonzero(trace.parent >= 0)
    gaps: NDArray[np.float64] = trace.arrival_s[rows] - trace.arrival_s[trace.parent[rows]]
    return gaps


def _growth(trace: Trace) -> NDArray[np.int64]:
    rows = np.flatnonzero(trace.parent >= 0)
    growth: NDArray[np.int64] = trace.input_tokens[rows] - trace.input_tokens[trace.parent[rows]]
    return growth


def _reuse_times(trace: Trace, tree: PrefixTree) -> NDArray[np.int64]:
    """Count reuses of blocks by the logarithm of the time since the last use."""
    reuses = reuses_of(CompiledTrace(trace=trace, tree=tree, digest=""))
    place = np.searchsorted(_REUSE_TIMES_S, reuses.gap_s, side="right")
    return np.bincount(place, reuses.n_blocks, len(_REUSE_TIMES_S) + 1).astype(np.int64)


def _of_counts(what: str, counts: Sequence[NDArray[np.int64]]) -> Distance:
    """Compare two histograms over the same bins; the area is in shares of the bins in use."""
    a, b = (np.cumsum(count) / max(int(count.sum()), 1) for count in counts)
    used = max(int((counts[0] + counts[1] > 0).sum()), 1)
    off = np.abs(a - b)
    return Distance(what=what, ks=float(off.max()), wasserstein=float(off.sum()) / used)


def _reuse_distance(a: PrefixTree, b: PrefixTree) -> Distance:
    """Compare distinct blocks between two uses: what LRU's curve is the distribution of."""
    at = np.unique(np.geomspace(1, max(a.n_keys, b.n_keys, 2), 400).astype(np.int64))
    shares = []
    for tree in (a, b):
        curve = lru_curve(tree)
        hits = np.interp(at, curve.capacity, curve.hits)
        shares.append(hits / max(hits[-1], 1))
    off = np.abs(shares[0] - shares[1])
    area = float((off[:-1] * np.diff(at)).sum())
    mean = float(((1 - shares[0])[:-1] * np.diff(at)).sum())
    return Distance(
        what="reuse distance, blocks", ks=float(off.max()), wasserstein=area / max(mean, 1e-9)
    )


def _curves(trace: Trace, twin: Trace) -> list[CurveError]:
    """Hit ratios by category: the first row is of all requests."""
    trees = [compile_tree(t, t.block_size, partial_blocks=True) for t in (trace, twin)]
    capacities = curve_points(trees[0], N_CAPACITIES).tolist()
    names = trace.category_names
    ratios = []
    for one, tree in zip((trace, twin), trees, strict=True):
        blocks = np.bincount(one.category, tree.path_blocks, minlength=len(names))
        hits = np.array(
            [
                np.bincount(one.category, lru_replay(tree, capacity), minlength=len(names))
                for capacity in capacities
            ]
        )
        whole = hits.sum(axis=1, keepdims=True) / max(blocks.sum(), 1)
        ratios.append(np.hstack([whole, hits / np.maximum(blocks, 1)]))
    off = np.abs(ratios[0] - ratios[1])
    rows = ["all", *names] if len(names) > 1 else ["all"]
    return [
        CurveError(category=name, mean=float(off[:, i].mean()), most=float(off[:, i].max()))
        for i, name in enumerate(rows)
    ]


def _times(
    trace: Trace, twin: Trace, config: RunConfig, policies: Sequence[str]
) -> list[TimeError]:
    rows = []
    compiled = [compile_trace(t, block_size=config.engine.block_size) for t in (trace, twin)]
    for policy in policies:
        chosen = replace(config, policy=policy)
        runs = [run_replay(one, chosen) for one in compiled]
        found = [run.summary["ttft_s"] for run in runs]
        low_s, high_s = _scatter(runs[0].requests)
        rows += [
            TimeError(
                policy=policy,
                percentile=percentile,
                trace_s=found[0][percentile],
                twin_s=found[1][percentile],
                low_s=float(low_s[at]),
                high_s=float(high_s[at]),
            )
            for at, percentile in enumerate(PERCENTILES)
        ]
    return rows


def _scatter(requests: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a 95 % interval of each percentile of TTFT, (2,) each, by drawing windows again."""
    arrival_s = requests["arrival_s"]
    waits = requests["first_token_s"] - arrival_s
    span_s = max(float(arrival_s[-1] - arrival_s[0]), 1e-9)
    window = ((arrival_s - arrival_s[0]) / span_s * N_WINDOWS).astype(np.int64)
    window = np.minimum(window, N_WINDOWS - 1)
    parts = [waits[(window == w) & np.isfinite(waits)] for w in range(N_WINDOWS)]
    rng = stream(0, "certificate windows")
    levels = [int(percentile[1:]) for percentile in PERCENTILES]
    found = np.full((N_DRAWS, len(levels)), np.nan)
    for draw in found:
        again = np.concatenate([parts[w] for w in rng.integers(0, N_WINDOWS, N_WINDOWS)])
        if len(again):
            draw[:] = np.percentile(again, levels)
    low, high = np.nanpercentile(found, (2.5, 97.5), axis=0)
    return low, high
