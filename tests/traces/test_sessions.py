"""Who continues whom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvsim.traces.characterize import describe
from kvsim.traces.formats import read_trace
from kvsim.traces.sample import sample_path
from kvsim.traces.schema import Sessions, Trace
from kvsim.traces.sessions import infer_sessions, link_turns

SHARED = Path(__file__).resolve().parents[2] / "../shared"


def trace_of(requests: list[tuple[list[int], int]]) -> Trace:
    """A trace of (ids, prompt tokens) in blocks of 4."""
    n = len(requests)
    tokens = np.array([t for _, t in requests], np.int64)
    return Trace(
        name="t",
        block_size=4,
        request_id=np.arange(n),
        arrival_s=np.arange(n, dtype=np.float64),
        input_tokens=tokens,
        output_tokens=np.ones(n, np.int64),
        parent=np.full(n, -1),
        session=np.arange(n),
        turn=np.ones(n, np.int64),
        category=np.zeros(n, np.int64),
        category_names=("request",),
        block_ids=np.array([i for ids, _ in requests for i in ids], np.int64),
        block_offsets=np.cumsum([0, *(len(ids) for ids, _ in requests)]),
        covered_tokens=np.minimum(tokens, [4 * len(ids) for ids, _ in requests]),
        sessions=Sessions.NONE,
    )


def test_the_deepest_end_wins_then_the_latest() -> None:
    trace = infer_sessions(
        trace_of(
            [
                ([0, 1], 8),
                ([0, 1, 2], 12),
                ([0, 1], 8),  # continues row 0: same prompt again
                ([0, 1, 2, 3], 16),  # row 1 is deeper than row 2
                ([0, 1, 4], 12),  # row 2 is later than row 0
                ([0, 9], 8),
            ]
        )
    )
    assert trace.parent.tolist() == [-1, 0, 0, 1, 2, -1]
    assert trace.turn.tolist() == [1, 2, 2, 3, 3, 1]
    assert trace.session.tolist() == [0, 0, 0, 0, 0, 1]
    assert trace.sessions is Sessions.INFERRED


def test_only_full_blocks_count_and_one_is_too_few() -> None:
    trace = infer_sessions(trace_of([([0, 1, 2], 11), ([0, 1, 3], 12), ([7], 4), ([7, 8], 8)]))
    assert trace.parent.tolist() == [-1, 0, -1, -1]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 2), max_size=5), st.integers(0, 3)),
        min_size=1,
        max_size=12,
    )
)
def test_parents_are_those_of_a_search_over_all_earlier_requests(
    raw: list[tuple[list[int], int]],
) -> None:
    paths = [[hash(tuple(ids[: k + 1])) for k in range(len(ids))] for ids, _ in raw]
    tokens = [max(1, 4 * len(ids) - cut) for ids, cut in raw]
    trace = infer_sessions(trace_of(list(zip(paths, tokens, strict=True))))
    full = [path[: t // 4] for path, t in zip(paths, tokens, strict=True)]
    for row, own in enumerate(full):
        ends = [(len(full[j]), j) for j in range(row) if len(full[j]) >= 2 and full[j][-1] in own]
        assert trace.parent[row] == (max(ends)[1] if ends else -1)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4)), min_size=1, max_size=15))
@settings(deadline=None)
def test_a_parent_is_the_latest_earlier_row_with_a_smaller_turn(
    rows: list[tuple[int, int]],
) -> None:
    session, turn = (np.array(column) for column in zip(*rows, strict=True))
    parent, kept = link_turns(session, turn)
    assert kept.tolist() == turn.tolist()
    for row, (own, at) in enumerate(rows):
        earlier = [j for j in range(row) if rows[j][0] == own and rows[j][1] < at]
        assert parent[row] == (earlier[-1] if earlier else -1)


def test_the_mooncake_conversations_are_found() -> None:
    path = SHARED / "traces/mooncake/conversation_trace.jsonl.gz"
    if not path.exists():
        pytest.skip("needs the Mooncake trace in ../shared/traces/mooncake")
    trace = read_trace(path)
    told = describe(trace)
    assert [told.requests_per_turn[turn] for turn in (1, 2, 3)] == [8056, 2032, 799]
    assert told.sessions == 8056
    assert (told.requests, told.unique_blocks, told.block_size) == (12_031, 182_790, 512)
    assert round(told.ideal_hit_ratio_blocks, 4) == 0.3664
    assert round(told.ideal_hit_ratio_tokens, 4) == 0.3736
    assert trace.block_ids.max() == 182_789  # the file's own ids, which are chained already


def test_given_sessions_are_kept() -> None:
    path = SHARED / "traces/lmcache-agents/miniswe_blk16_cl100k.jsonl.gz"
    if not path.exists():
        pytest.skip("needs the agent trace in ../shared/traces/lmcache-agents")
    trace = read_trace(path)
    assert trace.sessions is Sessions.GIVEN
    assert int(trace.session.max()) + 1 == 20
    assert np.all((trace.parent < 0) == (trace.turn == 1))
    assert np.all(np.diff(trace.arrival_s) >= 0)


def test_the_sample_has_the_sessions_of_the_first_2000_requests() -> None:
    trace = read_trace(sample_path())
    again = infer_sessions(trace)
    for column in ("parent", "turn", "session"):
        assert np.array_equal(getattr(trace, column), getattr(again, column))
    assert len(trace) == 2000
