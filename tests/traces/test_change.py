"""Laws of thinning, resampling, re-blocking and making anonymous."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefix_traces import Path, prefix_traces, trace_of

from kvsim import TraceError
from kvsim.studies.curves import lru_replay
from kvsim.traces.chain import is_chained, known_prefixes
from kvsim.traces.change import anonymise, reblock, resample, thin
from kvsim.traces.formats import read_trace
from kvsim.traces.hashing import numbered
from kvsim.traces.prefix_tree import compile_tree
from kvsim.traces.sample import sample_path
from kvsim.traces.schema import Trace
from kvsim.traces.sessions import infer_sessions


def linked(paths: list[Path]) -> Trace:
    return infer_sessions(trace_of(paths))


def known(trace: Trace) -> list[int]:
    return known_prefixes(trace.block_ids, trace.block_offsets).tolist()


@given(paths=prefix_traces(), share=st.floats(0.05, 1.0), seed=st.integers(0, 3))
def test_thinning_keeps_sessions_whole_and_evenly(
    paths: list[Path], share: float, seed: int
) -> None:
    trace = linked(paths)
    n_sessions = int(trace.session.max()) + 1
    try:
        thinner = thin(trace, share, seed=seed)
    except TraceError:
        assert share * n_sessions < 1
        return
    kept = np.isin(trace.arrival_s, thinner.arrival_s)
    for session in range(n_sessions):
        assert len(set(kept[trace.session == session].tolist())) == 1
    assert abs(int(thinner.session.max()) + 1 - share * n_sessions) < 1
    first = np.unique(trace.session[kept])
    for upto in range(n_sessions):  # the pattern in time stays: any run of sessions has its share
        assert abs((first <= upto).sum() - share * (upto + 1)) < 1


@given(paths=prefix_traces())
def test_thinning_by_nothing_changes_nothing(paths: list[Path]) -> None:
    trace = linked(paths)
    assert thin(trace, 1.0).digest() == trace.digest()


@given(paths=prefix_traces(), capacity=st.integers(1, 30))
def test_an_anonymous_trace_hits_the_same(paths: list[Path], capacity: int) -> None:
    trace = trace_of(paths)
    hidden = anonymise(trace)
    assert anonymise(hidden).digest() == hidden.digest()
    trees = [compile_tree(t, 1, partial_blocks=True) for t in (trace, hidden)]
    assert np.array_equal(*(lru_replay(tree, capacity) for tree in trees))
    assert hidden.request_id.tolist() == list(range(len(trace)))
    assert hidden.arrival_s[0] == 0.0


@given(paths=prefix_traces(), factor=st.floats(0.3, 3.0), seed=st.integers(0, 3))
def test_resampled_sessions_are_copies(paths: list[Path], factor: float, seed: int) -> None:
    trace = linked(paths)
    n_sessions = int(trace.session.max()) + 1
    if round(factor * n_sessions) < 1:
        return
    drawn = resample(trace, factor=factor, spread_s=2.0, seed=seed)
    assert int(drawn.session.max()) + 1 == round(factor * n_sessions)
    assert is_chained(drawn.block_ids, drawn.block_offsets)
    assert np.all(np.diff(drawn.arrival_s) >= 0)

    def shapes(t: Trace) -> set[tuple[int, ...]]:
        rows = [np.flatnonzero(t.session == s) for s in range(int(t.session.max()) + 1)]
        return {tuple(sorted(t.input_tokens[r].tolist())) for r in rows}

    assert shapes(drawn) <= shapes(trace)


def test_a_second_copy_of_a_session_has_blocks_of_its_own() -> None:
    trace = linked([(0, 0, 1), (0, 0, 1, 1), (1, 1, 1)])
    drawn = resample(trace, factor=40.0, spread_s=0.0)
    n_sessions = int(drawn.session.max()) + 1
    assert len(np.unique(drawn.block_ids)) == int(
        sum(max(np.diff(drawn.block_offsets)[drawn.session == s]) for s in range(n_sessions))
    )


@given(
    paths=prefix_traces(max_blocks=12),
    trace_block=st.sampled_from([4, 6, 16]),
    block=st.integers(1, 40),
    cut=st.integers(0, 3),
)
def test_reblocked_paths_share_what_the_tree_of_that_size_says(
    paths: list[Path], trace_block: int, block: int, cut: int
) -> None:
    short = trace_of([path for path in paths if path] or [(0,)])
    tokens = np.maximum(np.diff(short.block_offsets) * trace_block - cut, 1)
    trace = replace(short, block_size=trace_block, input_tokens=tokens, covered_tokens=tokens)
    again = reblock(trace, block)
    assert np.array_equal(np.diff(again.block_offsets), -(-tokens // block))
    assert is_chained(again.block_ids, again.block_offsets)
    tree = compile_tree(trace, block, partial_blocks=False)
    other = compile_tree(again, block, partial_blocks=False)
    assert np.array_equal(tree.path_blocks, other.path_blocks)
    assert np.array_equal(lru_replay(tree, 10**6), lru_replay(other, 10**6))


def test_reblocking_the_sample_to_its_own_size_changes_no_sharing() -> None:
    trace = read_trace(sample_path())
    same = reblock(trace, trace.block_size)
    assert np.array_equal(numbered(same.block_ids), numbered(trace.block_ids))
    assert known(reblock(reblock(trace, 64), 512)) == known(trace)


@given(paths=prefix_traces(), a=st.floats(0.1, 10), b=st.floats(0.1, 10))
def test_time_scales_multiply(paths: list[Path], a: float, b: float) -> None:
    trace = trace_of(paths)
    assert trace.scaled(a).scaled(b).arrival_s == pytest.approx(trace.scaled(a * b).arrival_s)


def test_wrong_values_are_refused() -> None:
    trace = read_trace(sample_path())
    with pytest.raises(TraceError, match="share to keep must be in"):
        thin(trace, 0.0)
    with pytest.raises(TraceError, match="positive factor"):
        resample(trace, factor=-1)
    with pytest.raises(TraceError, match="block size must be at least 1"):
        reblock(trace, 0)
