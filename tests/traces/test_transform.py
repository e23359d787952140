"""Parts of a trace, several traces as one, and what is in them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kvsim import ConfigError, TraceError
from kvsim.traces.characterize import describe
from kvsim.traces.formats import read_trace
from kvsim.traces.sample import sample_path
from kvsim.traces.transform import merge, slice_time, take


def test_a_slice_in_time_keeps_what_arrives_inside() -> None:
    trace = read_trace(sample_path())
    part = slice_time(trace, 60.0, 120.0)
    inside = np.flatnonzero((trace.arrival_s >= 60.0) & (trace.arrival_s < 120.0))
    assert len(part) == len(inside)
    for i, row in enumerate(inside.tolist()):
        assert part.ids_of(i).tolist() == trace.ids_of(row).tolist()
        if trace.parent[row] >= inside[0]:
            assert inside[part.parent[i]] == trace.parent[row]
        else:
            assert part.parent[i] == -1
    assert np.all(part.parent < np.arange(len(part)))


def test_slices_of_the_whole_time_merge_back() -> None:
    trace = read_trace(sample_path())
    halves = [slice_time(trace, 0.0, 200.0), slice_time(trace, 200.0, np.inf)]
    merged = merge(halves)
    for column in ("arrival_s", "input_tokens", "block_ids", "block_offsets", "covered_tokens"):
        assert np.array_equal(getattr(merged, column), getattr(trace, column))


def test_a_merge_sorts_by_arrival_and_keeps_sessions_apart() -> None:
    trace = read_trace(sample_path()).head(50)
    merged = merge([trace, trace], name="twice")
    assert merged.name == "twice"
    assert merged.request_id.tolist() == list(range(100))
    assert np.all(np.diff(merged.arrival_s) >= 0)
    assert int(merged.session.max()) + 1 == 2 * (int(trace.session.max()) + 1)
    has_parent = merged.parent >= 0
    parents = merged.parent[has_parent]
    assert np.array_equal(merged.session[parents], merged.session[has_parent])
    assert np.array_equal(merged.turn[parents] + 1, merged.turn[has_parent])


def test_what_cannot_be_taken_is_refused() -> None:
    trace = read_trace(sample_path())
    with pytest.raises(TraceError, match="must end after 5 s, got 5 s"):
        slice_time(trace, 5, 5)
    with pytest.raises(TraceError, match="must overlap the arrivals"):
        slice_time(trace, 1e6, 2e6)
    with pytest.raises(TraceError, match="at least 1 request"):
        take(trace, np.arange(0))
    with pytest.raises(TraceError, match="a merge needs at least 1 trace"):
        merge([])


def test_a_description_is_plain_data() -> None:
    told = describe(read_trace(sample_path())).to_dict()
    assert json.loads(json.dumps(told))["requests"] == 2000
    assert told["input_tokens"]["total"] == pytest.approx(told["input_tokens"]["mean"] * 2000)
    assert sum(told["requests_per_turn"].values()) == 2000
    assert told["block_accesses"] - told["unique_blocks"] == pytest.approx(
        told["ideal_hit_ratio_blocks"] * told["block_accesses"]
    )


def test_an_unknown_sample_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be one of mooncake-conversation, got 'x'"):
        sample_path("x")
