"""Bounds: equal to brute force on tiny traces, above everything reachable, and reported whole."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache
from pathlib import Path as FilePath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from prefix_traces import Path, n_leading, prefix_traces, trace_of, tree_of
from rich.console import Console

from kvsim import ConfigError
from kvsim.calibration.gpu_profile import load_profile
from kvsim.calibration.latency import LatencyModel
from kvsim.reports.bound_table import show_bound
from kvsim.sim.config import RunConfig
from kvsim.studies.bound import Hardware, bound, hardware
from kvsim.studies.curves import lru_replay
from kvsim.studies.interval_flow import Bundles, most_worth
from kvsim.studies.optimum import optimum_replay
from kvsim.studies.tier_bounds import links, tier_hits
from kvsim.studies.weighted_bound import budget_bound, bundles, weighted_bound
from kvsim.traces.compiled import CompiledTrace, load_compiled
from kvsim.traces.prefix_tree import PrefixTree
from kvsim.traces.sample import sample_path

EXAMPLE: list[Path] = [(1, 1, 1), (2, 2, 2), (1, 1), (3, 3, 3)]
"""Cost rises with depth, four blocks fit: the unconstrained flow, its closed form and the best
cache differ, 2 / 1.5 / 1."""
DEARER = np.array([1.0, 2.0, 3.0])


def most_saved(paths: list[Path], capacity: int, worth: NDArray[np.float64]) -> float:
    """Most worth of hits over all contents the cache could have."""

    @cache
    def best(t: int, cached: frozenset[Path]) -> float:
        if t == len(paths):
            return 0.0
        path = paths[t]
        if len(path) > capacity:
            return best(t + 1, cached)
        pinned = frozenset(path[: d + 1] for d in range(len(path)))
        others = sorted(cached - pinned)
        n_kept = min(len(others), capacity - len(pinned))
        futures = (
            best(t + 1, pinned | frozenset(kept)) for kept in itertools.combinations(others, n_kept)
        )
        return float(worth[: n_leading(path, cached)].sum()) + max(futures)

    return best(0, frozenset())


def min_by_positions(paths: list[Path], capacity: int) -> int:
    """Belady's hits with the cache as a set of positions of next uses, request by request."""
    blocks = [path[: d + 1] for path in paths for d in range(len(path))]
    next_at: list[int | None] = [None] * len(blocks)
    seen: dict[Path, int] = {}
    for at in range(len(blocks) - 1, -1, -1):
        next_at[at] = seen.get(blocks[at])
        seen[blocks[at]] = at
    held: set[int] = set()
    hits = start = 0
    for path in paths:
        at = start
        while at < start + len(path) and at in held:
            held.remove(at)
            at += 1
        hits += at - start
        while len(held) > capacity - len(path):
            held.remove(max(held))
        held |= {n for n in next_at[start : start + len(path)] if n is not None}
        start += len(path)
    return hits


def room_of(tree: PrefixTree, capacity: int) -> NDArray[np.int64]:
    path_blocks = tree.path_blocks
    return capacity - np.where(path_blocks <= capacity, path_blocks, 0)


def by_linear_program(
    found: Bundles, room: NDArray[np.int64], above: list[tuple[int, int]] | None = None
) -> float:
    """The best worth of bundles in parts, with x[child] <= x[parent] for pairs in `above`."""
    optimize = pytest.importorskip("scipy.optimize")
    n = len(found.first)
    if not n:
        return 0.0
    rows = np.zeros((len(room) + len(above or []), n))
    for j in range(n):
        rows[found.first[j] + 1 : found.next_use[j], j] = 1
    for i, (child, parent) in enumerate(above or []):
        rows[len(room) + i, [child, parent]] = 1, -1
    limits = np.concatenate((room, np.zeros(len(above or []))))
    sizes = [(0, int(n_blocks)) for n_blocks in found.n_blocks]
    done = optimize.linprog(-found.worth, A_ub=rows, b_ub=limits, bounds=sizes, method="highs")
    return float(-done.fun)


# the flow


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_the_flow_is_the_best_choice_of_intervals(data: st.DataObject) -> None:
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    n_requests, n = int(rng.integers(2, 25)), int(rng.integers(1, 40))
    first = rng.integers(0, n_requests - 1, n)
    next_use = first + 1 + (rng.random(n) * (n_requests - first - 1)).astype(np.int64)
    sizes, worth = rng.integers(1, 6, n), rng.integers(1, 9, n).astype(np.float64)
    found = Bundles(first, next_use, sizes, worth)
    room = rng.integers(0, 8, n_requests)
    kept = most_worth(found, room)
    assert ((kept >= 0) & (kept <= sizes)).all()
    for t in range(n_requests):
        assert kept[(first < t) & (next_use > t)].sum() <= room[t]
    assert kept @ worth == pytest.approx(by_linear_program(found, room), abs=1e-6)


@settings(deadline=None)
@given(prefix_traces())
def test_flow_positions_and_segments_agree_on_fewest_misses(paths: list[Path]) -> None:
    tree = tree_of(paths)
    for capacity in range(1, tree.n_keys + 2):
        hits = int(optimum_replay(tree, capacity).sum())
        fitting = [path for path in paths if len(path) <= capacity]
        assert min_by_positions(fitting, capacity) == hits
        found, _ = bundles(tree, capacity)
        room = room_of(tree, capacity)
        assert int(most_worth(found, room).sum()) == hits
        assert hits <= budget_bound(found, room) + 1e-9


def test_flow_and_optimum_agree_on_a_longer_trace() -> None:
    rng = np.random.default_rng(3)
    paths: list[Path] = [()]
    for _ in range(1500):
        root = paths[-int(rng.integers(1, min(len(paths), 60) + 1))]
        cut = int(rng.integers(0, len(root) + 1))
        paths.append((*root[:cut], *rng.integers(0, 3, rng.integers(1, 6)).tolist())[:40])
    tree = tree_of(paths[1:])
    for capacity in (40, 80, 200, 600):
        found, _ = bundles(tree, capacity)
        hits = int(optimum_replay(tree, capacity).sum())
        assert int(most_worth(found, room_of(tree, capacity)).sum()) == hits


@settings(deadline=None, max_examples=60)
@given(prefix_traces(max_requests=7, max_blocks=4), st.lists(st.integers(1, 9), min_size=4))
def test_the_weighted_bound_is_the_optimum_unless_deep_blocks_cost_more(
    paths: list[Path], worths: list[int]
) -> None:
    tree = tree_of(paths)
    falling = np.array(sorted(worths, reverse=True)[:4], np.float64)
    for capacity in range(1, min(tree.n_keys, 7) + 1):
        best = most_saved(paths, capacity, falling)
        assert weighted_bound(tree, capacity, falling).saved == best
        dearer = falling[::-1].copy()
        best = most_saved(paths, capacity, dearer)
        exact = weighted_bound(tree, capacity, dearer).saved
        coarse = weighted_bound(tree, capacity, dearer, piece_blocks=2).saved
        budget = weighted_bound(tree, capacity, dearer, max_flow_requests=0)
        assert best <= exact <= coarse + 1e-9
        assert exact <= budget.saved + 1e-9
        assert budget.method == "budget"


def test_where_deep_blocks_cost_more_three_bounds_differ() -> None:
    tree = tree_of(EXAMPLE)
    found, _ = bundles(tree.per_block(), 4)
    assert weighted_bound(tree, 4, DEARER).saved == 2.0
    assert most_saved(EXAMPLE, 4, DEARER) == 1.0
    # one bundle of two blocks, cut into the child and the parent that it hangs on
    assert found.n_blocks.tolist() == [2]
    child_and_parent = Bundles(
        np.array([0, 0]), np.array([2, 2]), np.array([1, 1]), np.array([2.0, 1.0])
    )
    assert by_linear_program(child_and_parent, room_of(tree, 4)) == 2.0
    assert by_linear_program(child_and_parent, room_of(tree, 4), above=[(0, 1)]) == 1.5


# tiers


def exclusive_lru(paths: list[Path], sizes: list[int]) -> tuple[list[int], list[int], list[int]]:
    """Hits by tier, and loads and writes below each: a block hit is promoted, one pushed out of
    a tier goes down one. The last tier's blocks go for good."""
    last_use: dict[Path, tuple[int, int]] = {}
    tier_of: dict[Path, int] = {}
    hits, loads, writes = ([0] * len(sizes) for _ in range(3))
    for t, path in enumerate(paths):
        if len(path) > sizes[0]:
            continue
        blocks = [path[: d + 1] for d in range(len(path))]
        n_hit = n_leading(path, last_use)
        for block in blocks[:n_hit]:
            hits[tier_of[block]] += 1
            for k in range(tier_of[block]):
                loads[k] += 1
        for d, block in enumerate(blocks):
            last_use[block] = (t, -d)
            tier_of[block] = 0
        for k, size in enumerate(sizes):
            here = sorted((b for b in tier_of if tier_of[b] == k), key=last_use.__getitem__)
            for block in here[: max(0, len(here) - size)]:
                writes[k] += 1
                tier_of[block] = k + 1
                if k + 1 == len(sizes):
                    del tier_of[block], last_use[block]
    return hits, loads, writes


@settings(deadline=None, max_examples=60)
@given(prefix_traces(), st.integers(1, 12), st.integers(1, 12), st.integers(1, 12))
def test_tiers_of_lru_are_stretches_of_one_stack_and_obey_the_bounds(
    paths: list[Path], gpu: int, host: int, disk: int
) -> None:
    tree = tree_of(paths)
    sizes = {"gpu": gpu, "host": host, "disk": disk}
    tiers = tier_hits(tree, sizes)
    hits, loads, writes = exclusive_lru(paths, list(sizes.values()))
    found = [int(tier.lru.sum()) for tier in tiers]
    assert np.cumsum(hits).tolist() == found
    best = [int(tier.optimum.sum()) for tier in tiers]
    assert all(b >= f for b, f in zip(best, found, strict=True))
    n_accesses = sum(len(path) for path in paths if len(path) <= gpu)
    n_recomputed = n_accesses - found[-1]
    assert n_recomputed >= n_accesses - best[-1]
    for k, link in enumerate(links(tree, tiers)):
        assert (link.lru_loads, link.lru_writes) == (loads[k], writes[k])
        assert n_recomputed + loads[k] >= n_accesses - best[k]
        assert writes[k] >= loads[k]
        assert link.loads == best[-1] - best[k]
        assert 0 <= link.writes_once <= link.writes == link.loads


def test_a_single_tier_is_the_plain_optimum() -> None:
    tree = tree_of([(1, 2), (3,), (1, 2)])
    (tier,) = tier_hits(tree, {"gpu": 3})
    assert tier.optimum.tolist() == optimum_replay(tree, 3).tolist()
    assert tier.lru.tolist() == lru_replay(tree, 3).tolist()


def test_a_block_kept_below_is_written_once() -> None:
    paths: list[Path] = [(1, 1), (2, 2), (1, 1), (2, 2), (1, 1)]
    tree = tree_of(paths)
    (link,) = links(tree, tier_hits(tree, {"gpu": 2, "host": 2}))
    # the pinned request fills the GPU, so every reuse is a load: of (1, 1) twice, (2, 2) once
    assert (link.loads, link.writes, link.writes_once) == (6, 6, 4)
    assert (link.lru_loads, link.lru_writes) == (6, 8)


def test_a_trace_without_blocks_is_refused() -> None:
    compiled = load_compiled([sample_path()], block_size=512).head(3)
    end = np.full(3, -1, np.int32)
    empty = replace(compiled, tree=replace(compiled.tree, end=end))
    with pytest.raises(ConfigError, match="name no blocks to find again"):
        bound(empty, {"gpu": 100}, hardware(RunConfig(), gb_per_s={}))


def test_no_tier_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one tier"):
        tier_hits(tree_of([(1,)]), {})


# the table


def table_of(latency: LatencyModel, paths: list[Path] = EXAMPLE, **sizes: int) -> dict[str, object]:
    compiled = CompiledTrace(trace=trace_of(paths), tree=tree_of(paths), digest="test")
    machine = Hardware(
        latency=latency, kv_bytes_per_token=1000, gb_per_s={"host": 0.001, "disk": 0.001}
    )
    return bound(compiled, sizes, machine)


def printed(table: dict[str, object]) -> str:
    console = Console(width=80, highlight=False, color_system=None)
    with console.capture() as capture:
        show_bound(table, console)
    return capture.get()


def test_the_table_of_equal_costs_needs_no_flow() -> None:
    table = table_of(LatencyModel.affine(0.0, 1.0, 0.0, 0.0), gpu=3, host=1)
    assert table["tiers"] == [
        {
            "tier": "gpu",
            "capacity_blocks": 3,
            "optimum_hit_blocks": 0,
            "optimum_hit_ratio": 0.0,
            "lru_hit_blocks": 0,
            "lru_hit_ratio": 0.0,
        },
        {
            "tier": "host",
            "capacity_blocks": 1,
            "optimum_hit_blocks": 1,
            "optimum_hit_ratio": 1 / 11,
            "lru_hit_blocks": 1,
            "lru_hit_ratio": 1 / 11,
        },
    ]
    recompute = table["recompute"]
    assert isinstance(recompute, dict)
    assert recompute["all_s"] == 11.0
    assert recompute["bound_saved_s"] == recompute["optimum_saved_s"] == 1.0
    assert table["traffic"] == [
        {
            "above": "gpu",
            "below": "host",
            "load_blocks": 1,
            "write_blocks": 1,
            "write_once_blocks": 1,
            "load_bytes": 1000,
            "load_s": 0.001,
            "lru_load_blocks": 1,
            "lru_write_blocks": 8,
        }
    ]
    assert "no policy below" not in printed(table)


def test_the_table_of_rising_costs_has_a_bound_of_its_own() -> None:
    profile = hardware(RunConfig(), gb_per_s={"host": 1.0, "disk": 1.0})
    table = table_of(profile.latency, gpu=4)
    recompute = table["recompute"]
    assert isinstance(recompute, dict)
    assert (recompute["bound_method"], recompute["piece_blocks"]) == ("flow", 1)
    assert recompute["lru_saved_s"] <= recompute["optimum_saved_s"] < recompute["bound_saved_s"]
    text = printed(table)
    assert "no policy below" in text
    assert "pieces of 1 block" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_hosts_bandwidth_is_the_profiles_unless_given() -> None:
    link = load_profile("h100-llama-3.1-8b").link
    assert link is not None
    found = hardware(RunConfig(), gb_per_s={"host": None, "disk": 6.0})
    assert found.gb_per_s == {"host": link.up_bytes_per_s / 1e9, "disk": 6.0}
    assert found.gb_per_s["host"] == pytest.approx(46.7)
    given = hardware(RunConfig(), gb_per_s={"host": 50.0, "disk": 6.0})
    assert given.gb_per_s["host"] == 50.0
    with pytest.raises(ConfigError, match="--host-gb-per-s must be positive and finite, got 0"):
        hardware(RunConfig(), gb_per_s={"host": 0.0})
    unknown = replace(found, gb_per_s={"disk": 6.0})
    with pytest.raises(ConfigError, match=r"no \[link\] to the host: give --host-gb-per-s"):
        bound(None, {"gpu": 4, "host": 4}, unknown)  # type: ignore[arg-type]


def test_the_real_trace_fits_the_terminal() -> None:
    trace = FilePath(__file__).resolve().parents[3] / "shared/traces/mooncake"
    if not trace.exists():
        pytest.skip("needs the Mooncake conversation trace in ../shared/traces/mooncake")
    from kvsim.traces.compiled import load_compiled

    file = trace / "conversation_trace.jsonl.gz"
    compiled = load_compiled([file], partial_blocks=True, keep=False).head(4000)
    machine = hardware(RunConfig(), gb_per_s={"host": 50.0, "disk": 6.0})
    table = bound(compiled, {"gpu": 3000, "host": 9000, "disk": 50_000}, machine)
    text = printed(table)
    assert max(map(len, text.splitlines())) <= 80
    assert table["recompute"]["bound_saved_s"] >= table["recompute"]["optimum_saved_s"]
