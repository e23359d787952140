"""How good a cache of given tiers could be on a trace: the table behind `kvsim bound`.

One cache sees the whole trace in file order, each request placed at once, as in `curves`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from ..calibration.latency import LatencyModel
from ..sim.config import RunConfig
from ..traces.compiled import CompiledTrace
from .curves import check_names_blocks, hit_ratio
from .replay import served
from .tier_bounds import Link, TierHits, links, tier_hits
from .weighted_bound import weighted_bound

GB = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What turns blocks into seconds."""

    latency: LatencyModel
    kv_bytes_per_token: int
    gb_per_s: dict[str, float]
    """Bandwidth each way between a tier and the one above it, by the lower one's name."""


def hardware(config: RunConfig, *, gb_per_s: Mapping[str, float | None]) -> Hardware:
    """Take step times and KV sizes from the profile and model that a run would have.

    A host's bandwidth of None is that of the profile's link to the GPU, with gathered copies;
    if the profile has none it stays unknown, which `bound` refuses where there is a host.

    Raises:
        ConfigError: an unknown profile or model, or a bandwidth that is not above 0.
    """
    for tier, value in gb_per_s.items():
        if value is not None and not 0 < value < float("inf"):
            raise ConfigError(f"--{tier}-gb-per-s must be positive and finite, got {value:g}")
    profile, spec, latency = served(config)
    known = {tier: value for tier, value in gb_per_s.items() if value is not None}
    if "host" not in known and profile.link is not None:
        known["host"] = profile.link.up_bytes_per_s / GB
    return Hardware(latency=latency, kv_bytes_per_token=spec.kv_bytes_per_token, gb_per_s=known)


def bound(
    compiled: CompiledTrace, capacities: dict[str, int], hardware: Hardware
) -> dict[str, Any]:
    """Tabulate the optimum beside lru: hits by tier, recompute time saved, traffic between tiers.

    `capacities` are usable blocks by tier, fastest first.

    Raises:
        ConfigError: a capacity is not a whole number of blocks, at least 1, nobody knows the
            bandwidth of a tier, or no request names a block.
    """
    for name in list(capacities)[1:]:
        if name not in hardware.gb_per_s:
            raise ConfigError(f"the profile has no [link] to the {name}: give --{name}-gb-per-s")
    tree = compiled.tree
    check_names_blocks(compiled)
    tiers = tier_hits(tree, capacities)
    n_refused = int((tree.path_blocks > tiers[0].capacity_blocks).sum())
    traffic = [_traffic(link, tree.block_size, hardware) for link in links(tree, tiers)]
    return {
        "trace": compiled.trace.name,
        "block_size": tree.block_size,
        "requests": len(tree.end),
        "refused": n_refused,
        "lookup_blocks": int(tree.path_blocks.sum()),
        "distinct_blocks": tree.n_keys,
        "tiers": _tier_rows(compiled, tiers),
        "recompute": _recompute(compiled, tiers, hardware.latency),
        "traffic": traffic,
    }


def _tier_rows(compiled: CompiledTrace, tiers: list[TierHits]) -> list[dict[str, Any]]:
    rows = []
    above = {"optimum": 0, "lru": 0}
    for tier in tiers:
        row: dict[str, Any] = {"tier": tier.name, "capacity_blocks": tier.capacity_blocks}
        for name in above:
            upto = int(getattr(tier, name).sum(dtype=np.int64))
            row[f"{name}_hit_blocks"] = upto - above[name]
            row[f"{name}_hit_ratio"] = hit_ratio(upto - above[name], compiled.tree)
            above[name] = upto
        rows.append(row)
    return rows


def _recompute(
    compiled: CompiledTrace, tiers: list[TierHits], latency: LatencyModel
) -> dict[str, Any]:
    """Seconds of prefill that hits save, of those that a cache of nothing would take."""
    tree = compiled.tree
    longest = int(tree.path_blocks.max(initial=0))
    worth_s = latency.block_s(np.arange(max(longest, 1)), tree.block_size)
    saved_s = np.concatenate((np.zeros(1), np.cumsum(worth_s)))
    last = tiers[-1]

    def total_s(n_leading: NDArray[np.integer]) -> float:
        return float(saved_s[n_leading].sum())

    optimum_s = total_s(last.optimum)
    row: dict[str, Any] = {
        "all_s": total_s(tree.path_blocks),
        "lru_saved_s": total_s(last.lru),
        "optimum_saved_s": optimum_s,
    }
    if (worth_s == worth_s[0]).all():  # fewest misses is least time
        return row | {"bound_saved_s": optimum_s, "bound_method": "optimum", "piece_blocks": 0}
    best = weighted_bound(
        tree,
        sum(tier.capacity_blocks for tier in tiers),
        worth_s,
        longest=tiers[0].capacity_blocks,
    )
    return row | {
        # where all reuses fit they are equal, but for the order of a sum
        "bound_saved_s": max(best.saved, optimum_s),
        "bound_method": best.method,
        "piece_blocks": best.piece_blocks,
    }


def _traffic(link: Link, block_size: int, hardware: Hardware) -> dict[str, Any]:
    block_bytes = block_size * hardware.kv_bytes_per_token
    gb_per_s = hardware.gb_per_s[link.below]
    return {
        "above": link.above,
        "below": link.below,
        "load_blocks": link.loads,
        "write_blocks": link.writes,
        "write_once_blocks": link.writes_once,
        "load_bytes": link.loads * block_bytes,
        "load_s": link.loads * block_bytes / (gb_per_s * GB),
        "lru_load_blocks": link.lru_loads,
        "lru_write_blocks": link.lru_writes,
    }
