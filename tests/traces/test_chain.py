"""Chained ids name whole prefixes, however large ids are and however many are looked at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kvsim.traces import hashing
from kvsim.traces.chain import chained_ids, is_chained, known_prefixes
from kvsim.traces.doctor.ids_scan import IdScan, scan_ids

SPARSE = st.sampled_from([0, 1, 2, 3, -1, 2**63 - 1, -(2**63), 10**15])
lists = st.lists(st.lists(st.integers(0, 4), max_size=5), max_size=8) | st.lists(
    st.lists(SPARSE, max_size=5), max_size=8
)


@pytest.fixture(autouse=True, scope="module", params=[3, 1 << 20])
def _ids_at_a_time(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashing, "_CHUNK", request.param)
        yield


def flat(rows: list[list[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    ids = np.array([i for row in rows for i in row], np.int64)
    return ids, np.cumsum([0, *map(len, rows)])


@settings(deadline=None)
@given(rows=lists)
def test_requests_share_a_chained_id_exactly_where_they_share_the_prefix(
    rows: list[list[int]],
) -> None:
    ids, offsets = flat(rows)
    chained = chained_ids(ids, offsets)
    prefix_of: dict[int, tuple[int, ...]] = {}
    for row, start in zip(rows, offsets, strict=False):
        for depth in range(len(row)):
            prefix = tuple(row[: depth + 1])
            assert prefix_of.setdefault(int(chained[start + depth]), prefix) == prefix
    assert len(set(prefix_of.values())) == len(prefix_of)


@settings(deadline=None)
@given(rows=lists)
def test_chaining_again_changes_nothing(rows: list[list[int]]) -> None:
    ids, offsets = flat(rows)
    chained = chained_ids(ids, offsets)
    assert is_chained(chained, offsets)
    assert chained_ids(chained, offsets) is chained


@settings(deadline=None)
@given(rows=lists, factor=st.sampled_from([1, 2**40 + 1]))
def test_known_prefixes_are_the_leading_ids_of_earlier_requests(
    rows: list[list[int]], factor: int
) -> None:
    chained = chained_ids(*flat(rows)) * factor
    offsets = flat(rows)[1]
    known = known_prefixes(chained, offsets)
    seen: set[int] = set()
    for row in range(len(rows)):
        ids = chained[offsets[row] : offsets[row + 1]].tolist()
        assert known[row] == sum(i in seen for i in ids)
        seen.update(ids)


def test_many_ids_of_any_size_are_told_apart() -> None:
    rng = np.random.default_rng(1)
    ids = rng.integers(-(2**62), 2**62, 50_000)
    offsets = np.arange(0, 50_001, 10)
    assert chained_ids(ids, offsets) is ids
    assert known_prefixes(ids, offsets).sum() == 0
    content = np.concatenate([ids, ids[::-1]])  # the second half has other predecessors
    chained = chained_ids(content, np.arange(0, 100_001, 10))
    assert len(np.unique(chained)) == 100_000


@settings(deadline=None)
@given(rows=lists)
def test_a_scan_counts_what_the_ids_do(rows: list[list[int]]) -> None:
    before: dict[int, list[int | None]] = {}
    places: dict[int, set[int]] = {}
    strange_rows = []
    for number, row in enumerate(rows):
        for place, key in enumerate(row):
            before.setdefault(key, []).append(row[place - 1] if place else None)
            places.setdefault(key, set()).add(place)
            if before[key][-1] != before[key][0]:
                strange_rows.append(number)
    assert scan_ids(*flat(rows)) == IdScan(
        n_distinct=len(before),
        n_ambiguous=sum(len(set(all_before)) > 1 for all_before in before.values()),
        n_moving=sum(len(at) > 1 for at in places.values()),
        n_repeated=sum(len(row) - len(set(row)) for row in rows),
        first_row=min(strange_rows, default=-1),
        n_ambiguous_rows=len(set(strange_rows)),
    )


@settings(deadline=None)
@given(names=st.lists(SPARSE))
def test_names_are_numbered_in_the_order_of_their_first(names: list[int]) -> None:
    order = list(dict.fromkeys(names))
    found = hashing.numbered(np.array(names, np.int64))
    assert found.tolist() == [order.index(name) for name in names]


def test_ids_that_rarely_follow_in_number_are_checked_as_well() -> None:
    n = 5_000
    path = np.random.default_rng(0).permutation(n)
    twice = np.concatenate([path, path])
    offsets = np.array([0, n, 2 * n])
    assert is_chained(twice, offsets)
    twice[-2], twice[-1] = twice[-1], twice[-2]
    assert not is_chained(twice, offsets)
    stretch = np.arange(n)
    assert is_chained(np.concatenate([stretch, stretch]), offsets)
    assert not is_chained(np.concatenate([stretch, stretch[1:], stretch[:1]]), offsets)
