"""What no policy could undercut on a run's own admissions: prefill time, computed and moved blocks.

As in `regret`, the requests that an instance finished are placed one at a time in order of
admission, in a cache of the instance's blocks, those of the lower tiers added. With N full prompt
blocks and H(C) of them hit by the optimum in C blocks, whatever the policy

- computed >= N - H(all tiers), and computed or loaded from below a tier >= N - H(down to it);
- with as little computed as that, H(all) - H(above) blocks are loaded from below; a tier that
  gives away what it loads must get each of them anew, one that keeps them each distinct one
  once (`tier_bounds`);
- the prefill time saved is at most that of `weighted_bound`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..calibration.latency import LatencyModel
from ..sim.config import EngineConfig
from ..sim.records import FINISHED
from ..traces.prefix_tree import PrefixTree
from .regret import Tokens, placements
from .tier_bounds import least_distinct
from .weighted_bound import weighted_bound


def limits(
    tree: PrefixTree,
    requests: NDArray[Any],
    engine: EngineConfig,
    n_instances: int,
    *,
    bounds: Mapping[str, Tokens],
    hits: Mapping[str, Tokens],
    keeps: Mapping[str, bool],
    stored: Mapping[str, int],
    latency: LatencyModel,
    n_lower_blocks: int = 0,
    is_shared: bool = False,
) -> dict[str, Any]:
    """Return the entry `limits` of a summary: the run's numbers beside the least possible.

    `bounds` and `hits` are those of `regret_by_tier`, fastest first; of each lower tier `keeps`
    says whether a block stays when it is loaded, and `stored` how many it took in.
    """
    block_size = engine.block_size
    is_done = requests["status"] == FINISHED
    n_blocks = np.minimum(requests["input_tokens"] // block_size, tree.path_blocks) * is_done
    n_all = int(n_blocks.sum())
    found = sum(hit[is_done] for hit in hits.values()) // block_size

    def blocks(tokens: Tokens) -> int:
        return int(tokens[is_done].sum(dtype=np.int64)) // block_size

    best = {name: blocks(tokens) for name, tokens in bounds.items()}
    most = list(best.values())[-1]
    computed = n_all - int(found.sum(dtype=np.int64))
    gpu = next(iter(bounds))
    out: dict[str, Any] = {
        "prompt_blocks": n_all,
        "computed_blocks": computed,
        "least_computed_blocks": n_all - most,
        "computed_or_loaded_blocks": n_all - blocks(hits[gpu]),
        "least_computed_or_loaded_blocks": n_all - best[gpu],
    }
    order = np.flatnonzero(is_done)
    served = replace(tree, end=np.ascontiguousarray(tree.end[order]))
    rows = []
    names = list(bounds)
    for above, name in pairwise(names):
        loads = max(most - best[above], 0)
        rows.append(
            {
                "name": name,
                "loaded_blocks": sum(blocks(hits[k]) for k in names[names.index(name) :]),
                "least_loaded_blocks": loads,
                "stored_blocks": stored[name],
                "least_stored_blocks": least_distinct(served, loads) if keeps[name] else loads,
            }
        )
    out["tiers"] = rows
    worth_s = latency.block_s(np.arange(max(int(n_blocks.max(initial=1)), 1)), block_size)
    saved_s = np.concatenate((np.zeros(1), np.cumsum(worth_s)))
    optimum = list(bounds.values())[-1] // block_size * is_done

    def time_s(n_leading: NDArray[np.integer]) -> float:
        return float(saved_s[np.minimum(n_leading, len(worth_s))].sum())

    all_s, optimum_s = time_s(n_blocks), time_s(optimum)
    out |= {
        "prefill_s": all_s - float(saved_s[found].sum()),
        "fewest_misses_prefill_s": all_s - optimum_s,
        "least_prefill_s": all_s - optimum_s,
        "prefill_bound": "optimum",
        "piece_blocks": 0,
    }
    if not engine.prefix_caching or (worth_s == worth_s[0]).all():  # fewest misses is least time
        return out
    most_s = 0.0
    longest = int(tree.path_blocks.max(initial=0))
    worth_s = latency.block_s(np.arange(max(longest, 1)), block_size)
    for _, own, capacity in placements(
        tree, requests, engine, n_instances, n_lower_blocks=n_lower_blocks, is_shared=is_shared
    ):
        bound = weighted_bound(own, capacity, worth_s, longest=max(longest, 1))
        most_s += bound.saved
        out["prefill_bound"] = bound.method
        out["piece_blocks"] = max(out["piece_blocks"], bound.piece_blocks)
    out["least_prefill_s"] = all_s - max(most_s, optimum_s)
    return out
