"""Goals B6: the exact offline optimum at one capacity, and the flow behind the weighted bound."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

import numpy as np
import workloads
from harness import Result, Setting, interleaved

from kvsim.studies.optimum import optimum_replay
from kvsim.studies.weighted_bound import weighted_bound
from kvsim.traces.prefix_tree import compile_tree


def optimum(setting: Setting) -> Iterator[Result]:
    """Block accesses a second, in millions: 100 on shared prefixes, 10 on single blocks."""
    for trace, must in ((workloads.multi_turn(), 100), (workloads.single_blocks(), 10)):
        tree = compile_tree(trace, trace.block_size, partial_blocks=True)
        capacity = tree.n_keys // 10
        times = interleaved(
            {"min": lambda t=tree, c=capacity: optimum_replay(t, c)}, setting.rounds
        )
        rates = [int(tree.path_blocks.sum()) / 1e6 / s for s in times["min"]]
        yield Result(
            goal="B6",
            case=f"optimum, {trace.name}, C = 0.1",
            value=median(rates),
            low=min(rates),
            high=max(rates),
            must=must,
            stretch=4 * must,
            unit="M/s",
        )


def flow(setting: Setting) -> Iterator[Result]:
    """Seconds of the weighted bound of 12,000 requests of conversations."""
    tree = compile_tree(workloads.multi_turn().head(12_000), 16, partial_blocks=True)
    worth = 1.0 + np.arange(int(tree.path_blocks.max())) / 1900
    capacity = tree.n_keys // 20
    times = interleaved({"flow": lambda: weighted_bound(tree, capacity, worth)}, setting.rounds)
    yield Result(
        goal="B6",
        case="weighted bound, 12,000 requests, C = 0.05",
        value=median(times["flow"]),
        low=min(times["flow"]),
        high=max(times["flow"]),
        must=30,
        stretch=5,
        unit="s",
        at_most=True,
    )
