"""A whole trace described: its statistics, its miss-ratio curves, the memory it asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..traces.characterize import Characterisation, characterise
from ..traces.characterize.plain import plain
from ..traces.characterize.reuses import Reuses, reuses_of
from ..traces.characterize.whole import without_ids
from ..traces.compiled import CompiledTrace, load_compiled
from .curves import lru_curve
from .group_curves import lru_hits_by_group
from .live_capacity import LiveCapacity, live_capacities
from .mrc import curve_points
from .optimum import optimum_curve

SHARES = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Capacities of published tables, as shares of the distinct blocks."""
CURVE_POINTS = 60
OPTIMUM_POINTS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Hit ratio over the size of one cache, in file order, each request placed at once."""

    lru_at_share: dict[str, float]
    """Hit ratio of LRU at shares of the distinct blocks, by the share in percent."""
    capacity: NDArray[np.int64]
    """(n_points,): blocks."""
    lru: NDArray[np.float64]
    """(n_points,): hit ratio of all requests."""
    types: tuple[str, ...]
    lru_by_type: NDArray[np.float64]
    """(n_types, n_points): hits of a type over its blocks, in the cache that all types share."""
    optimum_capacity: NDArray[np.int64]
    """(m_points,): fewer, since each costs a pass."""
    optimum: NDArray[np.float64]
    """(m_points,)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceStudy:
    """All that `kvsim trace describe` tells."""

    characterisation: Characterisation
    curves: Curves | None
    """None, as the next, if the trace has no block ids."""
    capacity: list[LiveCapacity] | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        more = {"curves": plain(self.curves), "capacity": plain(self.capacity)}
        return self.characterisation.to_dict() | more


def load_for_study(
    paths: Sequence[Path], *, trace_block_size: int | None = None, limit: int | None = None
) -> CompiledTrace:
    """Load what `study_trace` needs and no more: the block ids are dropped once there is a tree.

    Raises:
        TraceError: a file is missing or wrong, or the limit is not at least 1.
    """
    compiled = without_ids(
        load_compiled(paths, trace_block_size=trace_block_size, partial_blocks=True)
    )
    return compiled if limit is None else compiled.head(limit)


def study_trace(compiled: CompiledTrace) -> TraceStudy:
    """Describe a trace; compile it with `partial_blocks=True`."""
    compiled = without_ids(compiled)
    reuses = reuses_of(compiled)
    found = characterise(compiled, reuses)
    if found.working_set is None or found.hits is None:
        return TraceStudy(characterisation=found, curves=None, capacity=None)
    trace, tree = compiled.trace, compiled.tree
    hit_tokens = round((found.hits.by_definition["tokens"] or 0.0) * int(trace.input_tokens.sum()))
    capacity = live_capacities(trace, found.working_set.peak_live, tree.block_size, hit_tokens)
    curves = _curves(compiled, reuses)
    return TraceStudy(characterisation=found, curves=curves, capacity=capacity)


def _curves(compiled: CompiledTrace, reuses: Reuses) -> Curves:
    tree, trace = compiled.tree, compiled.trace
    names = trace.category_names
    shares = [max(round(share * tree.n_keys), 1) for share in SHARES]
    points = curve_points(tree, CURVE_POINTS)
    curve = lru_curve(tree)
    if len(names) > 1:
        hits = lru_hits_by_group(tree, trace.category, len(names), points.tolist())
    else:
        hits = curve.hits_at(points)[None, :]
    n_accesses = int(reuses.path_blocks.sum())
    blocks = np.bincount(trace.category, weights=reuses.path_blocks, minlength=len(names))
    few = curve_points(tree, OPTIMUM_POINTS)
    return Curves(
        lru_at_share={
            f"{100 * share:g}": float(ratio)
            for share, ratio in zip(SHARES, _ratios(curve.hits_at(shares), n_accesses), strict=True)
        },
        capacity=points,
        lru=_ratios(hits.sum(axis=0), n_accesses),
        types=names,
        lru_by_type=np.where(blocks[:, None] > 0, hits / np.maximum(blocks, 1)[:, None], np.nan),
        optimum_capacity=few,
        optimum=_ratios(optimum_curve(tree, few), n_accesses),
    )


def _ratios(hits: NDArray[np.integer], n_accesses: int) -> NDArray[np.float64]:
    return hits.astype(np.float64) / max(n_accesses, 1)
