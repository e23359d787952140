"""Block ids from who goes on from whom, against a plain model."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kvsim.traces.chain import is_chained
from kvsim.traces.generate.paths import block_paths

Row = tuple[int, int, int]


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    found: list[Row] = []
    for _ in range(draw(st.integers(1, 30))):
        source = draw(st.integers(-1, len(found) - 1))
        n_kept = draw(st.integers(0, found[source][2])) if source >= 0 else 0
        found.append((source, n_kept, n_kept + draw(st.integers(0, 5))))
    return found


def plain(found: list[Row], n_hidden: int) -> list[list[int]]:
    paths: list[list[object]] = []
    for source, n_kept, n_blocks in found:
        kept = paths[source][:n_kept] if source >= 0 else []
        paths.append([*kept, *(object() for _ in range(n_blocks - n_kept))])
    number: dict[object, int] = {}
    return [[number.setdefault(b, len(number)) for b in path] for path in paths[n_hidden:]]


@given(found=rows(), data=st.data())
def test_paths_are_those_of_a_plain_model(found: list[Row], data: st.DataObject) -> None:
    n_hidden = data.draw(st.integers(0, len(found)))
    source, n_kept, n_blocks = (np.array(column, np.int64) for column in zip(*found, strict=True))
    ids, offsets = block_paths(source, n_kept, n_blocks, n_hidden=n_hidden)
    expected = plain(found, n_hidden)
    assert [ids[a:b].tolist() for a, b in pairwise(offsets)] == expected
    assert is_chained(ids, offsets)
