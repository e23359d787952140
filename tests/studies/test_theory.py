"""What the theory of prefix caches says of runs, positions and other people's policies."""

from __future__ import annotations

from pathlib import Path as FilePath

import numpy as np
import pytest
from hypothesis import given, settings
from prefix_traces import Path, n_leading, prefix_traces, tree_of

from kvsim.policies import make_policy
from kvsim.sim.prefix_replay import replay
from kvsim.studies.curves import lru_curve
from kvsim.traces.prefix_tree import PrefixTree
from kvsim.traces.runs import find_runs


@settings(deadline=None)
@given(prefix_traces())
def test_runs_are_few_whatever_the_length_of_paths(paths: list[Path]) -> None:
    tree = tree_of(paths)
    runs = find_runs(tree, max(map(len, paths)))
    n_nodes, n_requests = max(len(tree.parent), 1), len(paths)
    most = n_nodes + 2 * n_requests * np.log2(n_nodes) + n_requests
    assert len(runs.last_use) <= most


def positions(paths: list[Path], *, is_batch: bool) -> list[list[int | None]]:
    """Ranks in order of recency, 1 the newest, of each path's blocks; None if never seen.

    Either all of a request's ranks are read before it is used, or its blocks are used one by
    one, deepest first, each read just before.
    """
    stack: list[Path] = []  # newest last
    found = []
    for path in paths:
        ranks: list[int | None] = [None] * len(path)
        before = list(stack)
        for k in range(len(path), 0, -1):
            block = path[:k]
            seen = before if is_batch else stack
            if block in seen:
                ranks[k - 1] = len(seen) - seen.index(block)
            if block in stack:
                stack.remove(block)
            stack.append(block)
        found.append(ranks)
    return found


@settings(deadline=None, max_examples=50)
@given(prefix_traces())
def test_the_curve_counts_positions_in_one_stack(paths: list[Path]) -> None:
    ranks = [rank for row in positions(paths, is_batch=True) for rank in row if rank is not None]
    tree = tree_of(paths)
    longest = max(map(len, paths))
    capacities = range(max(longest, 1), tree.n_keys + 2)
    hits = [sum(rank <= capacity for rank in ranks) for capacity in capacities]
    assert lru_curve(tree).hits_at(capacities).tolist() == hits


@settings(deadline=None, max_examples=50)
@given(prefix_traces())
def test_block_by_block_a_position_is_further_by_the_blocks_below(paths: list[Path]) -> None:
    batch, single = (positions(paths, is_batch=is_batch) for is_batch in (True, False))
    for path, at_once, one_by_one in zip(paths, batch, single, strict=True):
        for k, (a, b) in enumerate(zip(at_once, one_by_one, strict=True), start=1):
            # the blocks below were used just before: those seen earlier moved up, the others came
            assert b == (None if a is None else a + len(path) - k)


def hits_of_single_blocks(policy: str, keys: np.ndarray, capacity: int) -> int:
    """Hits of a policy on requests of one block each, where a tree is only a set of keys."""
    n_keys, n = int(keys.max()) + 1, len(keys)
    tree = PrefixTree(
        block_size=1,
        parent=np.full(n_keys, -1, np.int32),
        first_key=np.arange(n_keys, dtype=np.int64),
        n_blocks=np.ones(n_keys, np.int32),
        depth=np.zeros(n_keys, np.int32),
        end=keys.astype(np.int32),
    )
    hits = replay(
        tree,
        make_policy(policy),
        capacity,
        arrival_s=np.arange(n, dtype=np.float64),
        category=np.zeros(n, np.int64),
        category_names=("request",),
    )
    return int(hits.sum())


def libcachesim_hits(name: str, keys: np.ndarray, capacity: int, scratch: FilePath) -> int:
    libcachesim = pytest.importorskip("libcachesim")
    record = [("time", "<u4"), ("id", "<u8"), ("size", "<u4"), ("next", "<i8")]
    rows = np.zeros(len(keys), record)
    rows["id"] = keys + 1
    rows["size"] = 1
    rows["next"] = -1
    rows.tofile(scratch / "accesses.bin")
    reader = libcachesim.TraceReader(
        str(scratch / "accesses.bin"), libcachesim.TraceType.ORACLE_GENERAL_TRACE
    )
    cache = getattr(libcachesim, name)(cache_size=capacity, hashpower=14)
    miss_ratio, _ = cache.process_trace(reader)
    return round((1 - miss_ratio) * len(keys))


@pytest.mark.parametrize(("policy", "name"), [("lru", "LRU"), ("fifo", "FIFO"), ("lfu", "LFU")])
@pytest.mark.parametrize("capacity", [20, 100, 500])
def test_unit_size_hits_are_libcachesims(
    policy: str, name: str, capacity: int, tmp_path: FilePath
) -> None:
    rng = np.random.default_rng(17)
    keys = np.minimum(rng.zipf(1.2, 20_000), 3000).astype(np.int64) - 1
    ours = hits_of_single_blocks(policy, keys, capacity)
    assert ours == libcachesim_hits(name, keys, capacity, tmp_path)


def test_leading_blocks_are_counted_as_a_cache_finds_them() -> None:
    assert n_leading((1, 2, 3), {(1,), (1, 2, 3)}) == 1
