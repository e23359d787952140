"""LRU and optimum on segments equal plain per-block models, and obey the laws of both."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from prefix_traces import Path, n_leading, prefix_traces, trace_of, tree_of

from kvsim import ConfigError
from kvsim.studies.curves import hit_ratio, lru_curve, lru_replay
from kvsim.studies.mrc import curve_points, miss_ratio_curve
from kvsim.studies.optimum import optimum_curve, optimum_replay
from kvsim.traces.compiled import CompiledTrace
from kvsim.traces.prefix_tree import compile_tree


def lru_per_block(paths: list[Path], capacity: int) -> list[int]:
    """The definition, read aloud: look up, touch everything, evict the oldest, deepest first."""
    last_use: dict[Path, tuple[int, int]] = {}
    hits = []
    for t, path in enumerate(paths):
        if len(path) > capacity:
            hits.append(0)
            continue
        hits.append(n_leading(path, last_use))
        for d in range(len(path)):
            last_use[path[: d + 1]] = (t, -d)
        while len(last_use) > capacity:
            del last_use[min(last_use, key=last_use.__getitem__)]
    return hits


def belady_per_block(paths: list[Path], capacity: int) -> list[int]:
    """Look up, place, then evict the block used furthest in the future, deepest first."""

    def next_use(block: Path, now: int) -> int:
        later = range(now + 1, len(paths))
        return next(
            (u for u in later if paths[u][: len(block)] == block and len(paths[u]) <= capacity),
            len(paths),
        )

    cached: set[Path] = set()
    hits = []
    for t, path in enumerate(paths):
        if len(path) > capacity:
            hits.append(0)
            continue
        hits.append(n_leading(path, cached))
        pinned = {path[: d + 1] for d in range(len(path))}
        cached |= pinned
        while len(cached) > capacity:
            cached.remove(max(cached - pinned, key=lambda b: (next_use(b, t), len(b), b)))
    return hits


def most_hits(paths: list[Path], capacity: int) -> int:
    """Most hits over all contents the cache could have, prefix-closed or not."""

    @cache
    def best(t: int, cached: frozenset[Path]) -> int:
        if t == len(paths):
            return 0
        path = paths[t]
        if len(path) > capacity:
            return best(t + 1, cached)
        pinned = frozenset(path[: d + 1] for d in range(len(path)))
        others = sorted(cached - pinned)
        n_kept = min(len(others), capacity - len(pinned))
        futures = (
            best(t + 1, pinned | frozenset(kept)) for kept in itertools.combinations(others, n_kept)
        )
        return n_leading(path, cached) + max(futures)

    return best(0, frozenset())


def table_of(
    paths: Sequence[Sequence[int]], capacities: Sequence[int] | None = None
) -> dict[str, list[tuple[int, float]]]:
    trace = trace_of(paths)
    tree = compile_tree(trace, 1, partial_blocks=True)
    compiled = CompiledTrace(trace=trace, tree=tree, digest="test")
    return miss_ratio_curve(compiled, capacities)


@settings(deadline=None)
@given(prefix_traces())
def test_lru_on_segments_is_lru_on_blocks_for_each_request(paths: list[Path]) -> None:
    tree = tree_of(paths)
    for capacity in range(1, tree.n_keys + 2):
        expected = lru_per_block(paths, capacity)
        assert lru_replay(tree, capacity).tolist() == expected
        assert lru_replay(tree.per_block(), capacity).tolist() == expected


@settings(deadline=None)
@given(prefix_traces())
def test_the_lru_curve_is_the_replay_at_every_capacity(paths: list[Path]) -> None:
    tree = tree_of(paths)
    capacities = range(1, tree.n_keys + 3)
    replayed = [lru_replay(tree, c).sum() for c in capacities]
    assert lru_curve(tree).hits_at(capacities).tolist() == replayed
    assert lru_curve(tree.per_block()).hits_at(capacities).tolist() == replayed


@settings(deadline=None)
@given(prefix_traces(max_requests=12))
def test_the_optimum_on_segments_is_belady_on_blocks_for_each_request(paths: list[Path]) -> None:
    tree = tree_of(paths)
    for capacity in range(1, tree.n_keys + 2):
        expected = belady_per_block(paths, capacity)
        assert optimum_replay(tree, capacity).tolist() == expected
        assert optimum_replay(tree.per_block(), capacity).tolist() == expected


@settings(deadline=None, max_examples=60)
@given(prefix_traces(max_requests=7, max_blocks=4))
def test_no_content_of_the_cache_beats_the_optimum(paths: list[Path]) -> None:
    tree = tree_of(paths)
    for capacity in range(1, min(tree.n_keys, 7) + 1):
        assert optimum_replay(tree, capacity).sum() == most_hits(paths, capacity)


@settings(deadline=None)
@given(prefix_traces())
def test_both_curves_rise_to_the_same_end_and_the_optimum_is_above_and_concave(
    paths: list[Path],
) -> None:
    tree = tree_of(paths)
    longest = max(map(len, paths))
    capacities = range(max(longest, 1), tree.n_keys + 2)
    lru = lru_curve(tree).hits_at(capacities)
    optimum = optimum_curve(tree, capacities)
    assert (np.diff(lru) >= 0).all()
    assert (np.diff(optimum) >= 0).all()
    assert (np.diff(optimum, 2) <= 0).all()
    assert (optimum >= lru).all()
    assert optimum[-1] == lru[-1] == tree.path_blocks.sum() - tree.n_keys


@settings(deadline=None)
@given(prefix_traces())
def test_a_larger_cache_hits_at_least_as_much_in_each_request(paths: list[Path]) -> None:
    tree = tree_of(paths)
    for replay in (lru_replay, optimum_replay):
        smaller = np.zeros(len(paths), np.int32)
        for capacity in range(max(map(len, paths)) or 1, tree.n_keys + 1):
            larger = replay(tree, capacity)
            assert (larger >= smaller).all()
            smaller = larger


@settings(deadline=None)
@given(prefix_traces())
def test_the_optimum_is_at_least_lru_below_the_longest_path_too(paths: list[Path]) -> None:
    tree = tree_of(paths)
    capacities = list(range(1, tree.n_keys + 1))
    lru = lru_curve(tree).hits_at(capacities)
    assert (optimum_curve(tree, capacities) >= lru).all()


def test_more_than_one_level_of_future_requests_is_searched() -> None:
    rng = np.random.default_rng(5)
    paths = [tuple(rng.integers(0, 3, rng.integers(1, 6)).tolist()) for _ in range(1500)]
    tree = tree_of(paths)
    for capacity in (5, 20, 90):
        assert optimum_replay(tree, capacity).tolist() == belady_per_block(paths, capacity)


def test_a_request_larger_than_the_cache_changes_nothing() -> None:
    tree = tree_of([(1, 1), (2, 2, 2), (1, 1), (2, 2, 2)])
    assert lru_replay(tree, 2).tolist() == [0, 0, 2, 0]
    assert optimum_replay(tree, 2).tolist() == [0, 0, 2, 0]
    assert hit_ratio(lru_replay(tree, 2), tree) == 0.2


def test_a_trace_without_blocks_hits_nothing() -> None:
    tree = tree_of([(), ()])
    assert lru_replay(tree, 3).tolist() == optimum_replay(tree, 3).tolist() == [0, 0]
    assert hit_ratio(lru_replay(tree, 3), tree) == 0.0
    assert table_of([(), ()]) == {"lru": [(1, 0.0)], "optimum": [(1, 0.0)]}


@pytest.mark.parametrize("capacity", [0, -3, 2.0, True, "9", None])
def test_a_capacity_that_is_no_number_of_blocks_is_refused_in_one_line(capacity: object) -> None:
    with pytest.raises(ConfigError, match=r"^capacity must be .* at least 1, got .*$"):
        table_of([(1, 2)], [4, capacity])  # type: ignore[list-item]


def test_a_capacity_beyond_any_integer_type_is_all_blocks() -> None:
    assert optimum_replay(tree_of([(1, 2), (1, 2)]), 10**30).tolist() == [0, 2]
    assert lru_curve(tree_of([(1, 2), (1, 2)])).hits_at([10**30]).tolist() == [2]


def test_the_table_goes_from_the_longest_path_to_all_blocks() -> None:
    rng = np.random.default_rng(1)
    paths = [tuple(rng.integers(0, 3, rng.integers(1, 9)).tolist()) for _ in range(400)]
    tree = tree_of(paths)
    curve = json.loads(json.dumps(table_of(paths)))
    points = [capacity for capacity, _ in curve["lru"]]
    assert points == [capacity for capacity, _ in curve["optimum"]] == curve_points(tree).tolist()
    assert points[0] == max(map(len, paths))
    assert points[-1] == tree.n_keys
    assert len(points) <= 200
    assert curve["lru"][7][1] == hit_ratio(lru_replay(tree, points[7]), tree)
    assert curve["optimum"][7][1] == hit_ratio(optimum_replay(tree, points[7]), tree)


def test_the_table_has_the_capacities_asked_for_in_their_order() -> None:
    curve = table_of([(1, 2), (3,), (1, 2)], [3, 2])
    assert curve == {"lru": [(3, 0.4), (2, 0.2)], "optimum": [(3, 0.4), (2, 0.2)]}
