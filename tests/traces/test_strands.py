"""Strands against their definition, block by block."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from prefix_traces import Path, prefix_traces, tree_of
from replay_cases import conversations

from kvsim.traces.strands import strands


def is_one_with_the_block_above(paths: list[Path], block: Path) -> bool:
    """Whether from its first use on nobody uses the block above, or another one below that."""
    users = [t for t, path in enumerate(paths) if path[: len(block)] == block]
    above = [t for t, path in enumerate(paths) if path[: len(block) - 1] == block[:-1]]
    siblings = {path[: len(block)] for path in paths if path[: len(block) - 1] == block[:-1]}
    is_only_one = all(len(other) < len(block) or other == block for other in siblings)
    return is_only_one and all(t < users[0] or t in users for t in above)


def joined(paths: list[Path]) -> dict[Path, Path]:
    """The first block of each block's strand."""
    first: dict[Path, Path] = {}
    for path in paths:
        for depth in range(1, len(path) + 1):
            block = path[:depth]
            if block not in first:
                is_one = depth > 1 and is_one_with_the_block_above(paths, block)
                first[block] = first[block[:-1]] if is_one else block
    return first


def check(paths: list[Path]) -> int:
    """Return how many segments were joined with another one."""
    tree = tree_of(paths)
    found = strands(tree)
    first = joined(paths)
    number: dict[Path, int] = {}
    for path, end, n in zip(paths, found.end, tree.path_blocks, strict=True):
        assert n == len(path)
        if not path:
            assert end == -1
            continue
        while True:  # up the path, strand by strand
            top = first[path]
            assert number.setdefault(top, int(end)) == end
            assert found.depth[end] == len(top) - 1
            assert found.parent[end] < end
            path, end = top[:-1], found.parent[end]
            if end < 0:
                break
        assert path == ()
    assert len(number) == len(found.parent)
    return len(tree.parent) - len(found.parent)


@given(paths=prefix_traces())
def test_a_strand_is_what_is_used_as_one_from_its_first_use_on(paths: list[Path]) -> None:
    check(paths)


def test_conversations_are_strands() -> None:
    rng = np.random.default_rng(5)
    n_joined = [check([a.path for a in conversations(rng, 60)]) for _ in range(20)]
    assert min(n_joined) > 5


def test_nothing_has_no_strands() -> None:
    found = strands(tree_of([(), ()]))
    assert found.end.tolist() == [-1, -1]
    assert len(found.parent) == 0
