"""LRU with pins, run by run, equals a pool of single blocks that are counted and queued."""

from __future__ import annotations

import numpy as np
import pytest
from prefix_traces import Path, tree_of

from kvsim import ConfigError
from kvsim.studies.curves import lru_replay
from kvsim.studies.overlap import overlapping_replay


def pool_of_blocks(paths: list[Path], capacity: int, events: list[int]) -> list[int]:
    """An engine's block pool: reference counts, and a queue of free blocks, the oldest first."""
    users: dict[Path, int] = {}
    free: list[Path] = []
    hits = [-1] * len(paths)
    has_started = [False] * len(paths)
    for r in events:
        blocks = [paths[r][: d + 1] for d in range(len(paths[r]))]
        if not has_started[r]:
            has_started[r] = True
            n_others = sum(n > 0 for name, n in users.items() if name not in blocks)
            if n_others + len(blocks) > capacity:
                continue
            hits[r] = sum(name in users for name in blocks)
            assert all(name in users for name in blocks[: hits[r]])
            for name in blocks[: hits[r]]:
                if users[name] == 0:
                    free.remove(name)
                users[name] += 1
            for name in blocks[hits[r] :]:
                if len(users) == capacity:
                    del users[free.pop(0)]
                users[name] = 1
        elif hits[r] >= 0:
            for name in reversed(blocks):
                users[name] -= 1
                if users[name] == 0:
                    free.append(name)
    return hits


def random_events(rng: np.random.Generator, n: int) -> list[int]:
    """Starts in order, each with an end some time later, some without."""
    at = [(float(r), r) for r in range(n)]
    at += [(r + float(rng.exponential(3)), r) for r in range(n) if rng.random() < 0.95]
    return [r for _, r in sorted(at, key=lambda x: x[0])]


def random_paths(rng: np.random.Generator) -> list[Path]:
    paths: list[Path] = [()]
    for _ in range(int(rng.integers(1, 30))):
        root = paths[int(rng.integers(len(paths)))]
        cut = int(rng.integers(0, len(root) + 1))
        grown = rng.integers(0, 2, int(rng.integers(0, 5))).tolist()
        paths.append((*root[:cut], *grown)[:9])
    return paths[1:]


def test_overlapping_requests_hit_what_they_hit_in_a_pool_of_blocks() -> None:
    rng = np.random.default_rng(41)
    n_hits = n_refused = 0
    for _ in range(1500):
        paths = random_paths(rng)
        tree = tree_of(paths)
        events = random_events(rng, len(paths))
        for capacity in (1, 4, 9, 15, 25):
            found = overlapping_replay(tree, capacity, np.array(events)).tolist()
            assert found == pool_of_blocks(paths, capacity, events), (paths, events, capacity)
            n_hits += sum(n for n in found if n > 0)
            n_refused += sum(n < 0 for n in found)
    assert min(n_hits, n_refused) > 10_000


def test_without_overlap_it_is_lru() -> None:
    rng = np.random.default_rng(42)
    for _ in range(300):
        paths = random_paths(rng)
        tree = tree_of(paths)
        events = np.repeat(np.arange(len(paths)), 2)
        longest = max(map(len, paths)) or 1
        for capacity in (longest, longest + 3, longest + 10):
            found = overlapping_replay(tree, capacity, events)
            assert found.tolist() == lru_replay(tree, capacity).tolist()


def test_wrong_events_are_refused() -> None:
    tree = tree_of([(1,), (2,)])
    with pytest.raises(ConfigError, match=r"must name requests 0\.\.1"):
        overlapping_replay(tree, 4, np.array([0, 2]))
    with pytest.raises(ConfigError, match="starts once and ends once"):
        overlapping_replay(tree, 4, np.array([0, 0, 0]))
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        overlapping_replay(tree, 0, np.array([0]))
