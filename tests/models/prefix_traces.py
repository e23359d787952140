"""Small traces of paths that share prefixes, for comparing with plain models."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from kvsim.traces.prefix_tree import PrefixTree, compile_tree
from kvsim.traces.schema import Sessions, Trace

Path = tuple[int, ...]


def trace_of(paths: list[Path]) -> Trace:
    """A trace of one-token blocks; a block is named by everything up to it."""
    number: dict[Path, int] = {}
    ids = [number.setdefault(p[: d + 1], len(number)) for p in paths for d in range(len(p))]
    n_blocks = np.array([len(p) for p in paths], np.int64)
    rows = np.arange(len(paths))
    return Trace(
        name="test",
        block_size=1,
        request_id=rows,
        arrival_s=rows.astype(np.float64),
        input_tokens=np.maximum(n_blocks, 1),
        output_tokens=np.ones(len(paths), np.int64),
        parent=np.full(len(paths), -1),
        session=rows,
        turn=np.ones(len(paths), np.int64),
        category=np.zeros(len(paths), np.int64),
        category_names=("request",),
        block_ids=np.array(ids, np.int64),
        block_offsets=np.concatenate(([0], np.cumsum(n_blocks))),
        covered_tokens=n_blocks,
        sessions=Sessions.NONE,
    )


def tree_of(paths: list[Path]) -> PrefixTree:
    return compile_tree(trace_of(paths), 1, partial_blocks=True)


def n_leading(path: Path, cached: object) -> int:
    return next((d for d in range(len(path)) if path[: d + 1] not in cached), len(path))


@st.composite
def prefix_traces(draw: st.DrawFn, max_requests: int = 25, max_blocks: int = 9) -> list[Path]:
    """Requests that share prefixes: each goes on from a cut of an earlier one."""
    paths: list[Path] = [()]
    for _ in range(draw(st.integers(1, max_requests))):
        root = draw(st.sampled_from(paths))
        cut = draw(st.integers(0, len(root)))
        tail = draw(st.lists(st.integers(0, 1), max_size=max_blocks - cut))
        paths.append((*root[:cut], *tail))
    return paths[1:]
