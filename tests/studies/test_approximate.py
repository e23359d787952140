"""Estimated LRU curves: exact on all blocks, true to their samples, and as far off as told."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from prefix_traces import Path, prefix_traces, tree_of

from kvsim import ConfigError
from kvsim.studies import approximate
from kvsim.studies.curves import lru_curve
from kvsim.traces.prefix_tree import PrefixTree, compile_tree
from kvsim.traces.schema import Sessions, Trace

Ratios = NDArray[np.float64]


def stack_positions(paths: list[Path], kept: set[Path]) -> list[int | None]:
    """Rank in order of recency of each access to a kept block, read before its request is used."""
    stack: list[Path] = []  # newest last
    found: list[int | None] = []
    for path in paths:
        mine = [path[:k] for k in range(1, len(path) + 1) if path[:k] in kept]
        found += [len(stack) - stack.index(name) if name in stack else None for name in mine]
        stack = [name for name in stack if name not in mine] + mine[::-1]
    return found


def names_of(paths: list[Path]) -> list[Path]:
    """Blocks by key: in order of first sight."""
    return list(dict.fromkeys(p[:k] for p in paths for k in range(1, len(p) + 1)))


@settings(deadline=None, max_examples=60)
@given(prefix_traces())
def test_a_sample_estimates_from_positions_among_its_own_blocks(paths: list[Path]) -> None:
    tree = tree_of(paths)
    names = names_of(paths)
    sizes = np.arange(1, tree.n_keys + 2)
    every: list[tuple[approximate.Sample, Callable[[int], bool]]] = [
        (approximate.thin_depth(tree, 1), lambda _: True),
        (approximate.thin_depth(tree, 3), lambda key: len(names[key]) % 3 == 2),
    ]
    for sample, is_kept in every:
        kept = {name for key, name in enumerate(names) if is_kept(key)}
        ranks = stack_positions(paths, kept)
        scaled = np.maximum(np.rint(sizes * sample.share), 1)
        hits = [sum(r is not None and r <= size for r in ranks) for size in scaled]
        expected = np.array(hits) / max(len(ranks), 1)
        assert sample.hit_ratio(sizes).tolist() == expected.tolist()


@settings(deadline=None, max_examples=60)
@given(prefix_traces())
def test_all_blocks_are_the_exact_curve(paths: list[Path]) -> None:
    tree = tree_of(paths)
    sizes = np.arange(max(int(tree.path_blocks.max()), 1), tree.n_keys + 2)
    hits = lru_curve(tree).hits_at(sizes) / max(int(tree.path_blocks.sum()), 1)
    for sample in (
        approximate.exact(tree),
        approximate.shards(tree, 1.0),
        approximate.thin_sessions(tree, 1.0),
    ):
        for is_adjusted in (False, True):
            assert sample.hit_ratio(sizes, is_adjusted=is_adjusted).tolist() == hits.tolist()


def test_aet_is_its_own_definition() -> None:
    rng = np.random.default_rng(51)
    paths = [tuple(rng.integers(0, 2, rng.integers(1, 6)).tolist()) for _ in range(60)]
    seen: dict[Path, int] = {}
    times: list[float] = []
    clock = 0
    for path in paths:
        for k in range(1, len(path) + 1):
            times.append(clock - seen[path[:k]] if path[:k] in seen else np.inf)
            seen[path[:k]] = clock
        clock += len(path)
    share_above = [float(np.mean([t > x for t in times])) for x in range(clock + 2)]
    sizes = np.array([1, 2, 5, 9, 20])
    expected = []
    for size in sizes:
        age, filled = 0, 0.0
        while age <= clock and filled + share_above[age] <= size:
            filled += share_above[age]
            age += 1
        expected.append(1 - share_above[age])
    found = approximate.aet_hit_ratio(tree_of(paths), sizes)
    assert found.tolist() == pytest.approx(expected)


def chats(n_requests: int, rng: np.random.Generator) -> PrefixTree:
    """Conversations behind 20 system prompts of unequal popularity, recent ones going on more."""
    lengths = rng.integers(50, 401, 20)
    popularity = 1 / np.arange(1, 21)
    starts = np.cumsum(lengths) - lengths
    prompts = [np.arange(a, a + n) for a, n in zip(starts, lengths, strict=True)]
    n_ids = int(lengths.sum())
    active: list[NDArray[np.int64]] = []
    paths = []
    for _ in range(n_requests):
        is_new = not active or rng.random() < 0.25
        at = len(active) - 1 - int(rng.random() ** 2 * len(active))
        grown = np.arange(n_ids, n_ids + int(rng.integers(5, 121)))
        n_ids += len(grown)
        prompt = prompts[int(rng.choice(20, p=popularity / popularity.sum()))]
        if is_new or len(active[at]) + len(grown) > 2000:
            path = np.concatenate((prompt, grown))
        else:
            path = np.concatenate((active[at], grown))
        if is_new:
            active = [*active[-1999:], path]
        else:
            active[at] = path
        paths.append(path)
    rows = np.arange(n_requests)
    n_blocks = np.array([len(path) for path in paths], np.int64)
    trace = Trace(
        name="chats",
        block_size=1,
        request_id=rows,
        arrival_s=rows.astype(np.float64),
        input_tokens=n_blocks,
        output_tokens=np.ones(n_requests, np.int64),
        parent=np.full(n_requests, -1),
        session=rows,
        turn=np.ones(n_requests, np.int64),
        category=np.zeros(n_requests, np.int64),
        category_names=("request",),
        block_ids=np.concatenate(paths),
        block_offsets=np.concatenate(([0], np.cumsum(n_blocks))),
        covered_tokens=n_blocks,
        sessions=Sessions.NONE,
    )
    return compile_tree(trace, 1, partial_blocks=True)


@pytest.mark.slow
def test_estimates_are_as_far_off_as_measured_elsewhere() -> None:
    """Mean errors at 200 sizes, at most twice those told of a like trace of 160,000 requests.

    The few hot blocks of the system prompts are in a sample or not, so errors of samples by
    hash differ much from hash to hash: the median of five counts. Without adjustment what was told
    for a rate of 0.1, 0.0014, is the luck of one hash (see docs/validation.md): there the error
    only has to be better than at 0.01.
    """
    tree = chats(40_000, np.random.default_rng(52))
    sizes = np.unique(np.rint(np.geomspace(tree.n_keys / 2000, tree.n_keys, 200)).astype(np.int64))
    exact = approximate.exact(tree).hit_ratio(sizes)

    def error(found: Ratios) -> float:
        return float(np.abs(found - exact).mean())

    def error_of_shards(rate: float, *, is_adjusted: bool) -> float:
        samples = [approximate.shards(tree, rate, seed=seed) for seed in range(5)]
        return float(
            np.median([error(s.hit_ratio(sizes, is_adjusted=is_adjusted)) for s in samples])
        )

    raw = [error_of_shards(rate, is_adjusted=False) for rate in (0.1, 0.01, 0.001)]
    adjusted = [error_of_shards(rate, is_adjusted=True) for rate in (0.1, 0.01, 0.001)]
    assert raw == sorted(raw)
    assert adjusted == sorted(adjusted)
    assert all(e <= 2 * told for e, told in zip(raw[1:], (0.065, 0.110), strict=True))
    assert all(e <= 2 * told for e, told in zip(adjusted, (0.0014, 0.0072, 0.020), strict=True))
    for every, told in ((8, 0.0021), (32, 0.0109), (128, 0.0140)):
        assert error(approximate.thin_depth(tree, every).hit_ratio(sizes)) <= 2 * told
    assert error(approximate.aet_hit_ratio(tree, sizes)) <= 2 * 0.0025
    # a tenth of the families, which are 20: closed, and far off
    assert error(approximate.thin_sessions(tree, 0.1).hit_ratio(sizes)) > 0.01


@pytest.mark.slow
def test_samples_by_hash_differ_in_size_as_independent_draws_of_blocks_would() -> None:
    """Each block, of a share w of all accesses, is kept with probability R whatever the others."""
    tree = chats(20_000, np.random.default_rng(53))
    n_users = np.zeros(len(tree.parent), np.int64)
    passed = tree.end.astype(np.int64)
    while len(passed):
        np.add.at(n_users, passed, 1)
        passed = tree.parent[passed].astype(np.int64)
        passed = passed[passed >= 0]
    n_accesses = int(tree.path_blocks.sum())
    rate = 0.1
    squares = float((tree.n_blocks * (n_users / n_accesses) ** 2).sum())
    expected = np.sqrt((1 - rate) / rate * squares)
    samples = [approximate.shards(tree, rate, seed=seed) for seed in range(60)]
    sizes = [int(s.curve.tree.path_blocks.sum()) / (rate * n_accesses) for s in samples]
    assert expected > 0.02
    assert np.std(sizes) == pytest.approx(expected, rel=0.3)
    assert np.mean(sizes) == pytest.approx(1.0, abs=3 * expected / np.sqrt(len(sizes)))


def test_wrong_rates_are_refused() -> None:
    tree = tree_of([(1, 2)])
    for make, message in (
        (lambda: approximate.shards(tree, 0.0), r"in \(0, 1\], got 0"),
        (lambda: approximate.thin_sessions(tree, 1.5), r"in \(0, 1\], got 1\.5"),
        (lambda: approximate.thin_depth(tree, 0), "at least 1, got 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            make()
