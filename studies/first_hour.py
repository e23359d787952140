"""Workload-aware eviction with parameters of a trace's first hour, against LRU in the second.

The demonstration of the authors' vLLM patch (pull request 22236): parameters are fitted to the
requests of the first part; of the second part, only conversations that begin there are served.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..kernels import kernel
from ..policies import make_policy
from ..policies.reuse_fit import ReuseFit, make_reuse_fit, observe, unseen
from ..sim.prefix_replay import replay
from ..sim.setup import categories
from ..traces.prefix_tree import compile_tree
from ..traces.schema import Trace
from ..traces.transform import slice_time, take
from .curves import lru_replay

HOUR_S = 3600.0
BLOCK_SIZE = 128
CAPACITIES = tuple(1024 * n for n in range(1, 9))
"""Cache sizes of the published table, in blocks of 128 tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One cache size."""

    capacity_blocks: int
    lru: float
    """Cached tokens over input tokens, of the second part."""
    workload_aware: float

    @property
    def gain(self) -> float:
        """How much more workload-aware hits, relative to lru."""
        return self.workload_aware / self.lru - 1


def first_hour_table(
    trace: Trace,
    capacities: Sequence[int] = CAPACITIES,
    *,
    block_size: int = BLOCK_SIZE,
    split_s: float = HOUR_S,
) -> list[Row]:
    """Fit to the arrivals before `split_s`, replay what comes later; full blocks of prompts only.

    Raises:
        TraceError: nothing arrives before or after the split.
    """
    earlier = _prompts(slice_time(trace, -np.inf, split_s))
    later = _prompts(_begun_after(trace, split_s))
    tree = compile_tree(later, block_size, partial_blocks=False)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "parameters.json"
        file.write_text(json.dumps(fitted(earlier, block_size)))
        policy = make_policy(f"workload-aware,file={file}")
        category, names = categories(later)
        tokens = int(later.input_tokens.sum())
        rows = []
        for capacity in capacities:
            hits = replay(
                tree,
                policy,
                capacity,
                arrival_s=later.arrival_s,
                category=category.astype(np.int64),
                category_names=names,
                name="workload-aware",
            )
            rows.append(
                Row(
                    capacity_blocks=capacity,
                    lru=_tokens(lru_replay(tree, capacity), block_size) / tokens,
                    workload_aware=_tokens(hits, block_size) / tokens,
                )
            )
    return rows


def fitted(trace: Trace, block_size: int) -> dict[str, dict[str, float]]:
    """Fit rate and probability of reuse of every category to all requests of `trace`.

    The result is what the policy reads from its `file`: {"a": {category: rate a second},
    "p": {category: probability}}.
    """
    tree = compile_tree(trace, block_size, partial_blocks=False)
    category, names = categories(trace)
    fit = make_reuse_fit(
        unseen(tree.parent, tree.depth),
        len(names),
        refit_s=1e15,
        window_s=np.inf,
        min_gap_s=0.3,
        life_s=5.0,
        is_shifted=False,
    )
    params = np.zeros((len(names), 3))
    _observe_all(fit, tree.end, tree.path_blocks, category, trace.arrival_s, params)
    return {
        "a": dict(zip(names, params[:, 0].tolist(), strict=True)),
        "p": dict(zip(names, params[:, 1].tolist(), strict=True)),
    }


def _prompts(trace: Trace) -> Trace:
    """Leave the output blocks out, and let a prompt's last block count where it is full."""
    covered = np.minimum(trace.covered_tokens, trace.input_tokens)
    return replace(trace, covered_tokens=covered, output_tokens=np.maximum(trace.output_tokens, 1))


def _begun_after(trace: Trace, split_s: float) -> Trace:
    """Return the requests whose session begins at `split_s` or later."""
    start_s = np.full(int(trace.session.max()) + 1, np.inf)
    np.minimum.at(start_s, trace.session, trace.arrival_s)
    return take(trace, np.flatnonzero(start_s[trace.session] >= split_s))


def _tokens(hits: NDArray[np.int32], block_size: int) -> int:
    return int(hits.sum(dtype=np.int64)) * block_size


@kernel
def _observe_all(
    fit: ReuseFit,
    end: NDArray[np.int32],
    path_blocks: NDArray[np.int64],
    category: NDArray[np.int32],
    arrival_s: NDArray[np.float64],
    params: NDArray[np.float64],
) -> None:
    for r in range(end.size):
        observe(fit, end[r], path_blocks[r], category[r], arrival_s[r], params)
    observe(fit, -1, 0, 0, 1e16, params)  # long after the last: fits, and counts nothing
