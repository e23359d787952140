"""Twins: exact where nothing is drawn, alike where something is, free of the trace's ids."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path as File

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefix_traces import Path, prefix_traces, trace_of

from kvsim import ConfigError, TraceError
from kvsim.traces.chain import is_chained
from kvsim.traces.formats import read_trace
from kvsim.traces.generate.presets import generate_requests, preset
from kvsim.traces.hashing import numbered
from kvsim.traces.sample import sample_path
from kvsim.traces.schema import Trace
from kvsim.traces.sessions import infer_sessions
from kvsim.traces.twin.draw import draw
from kvsim.traces.twin.files import read_twin, write_twin
from kvsim.traces.twin.fit import arrays, fit
from kvsim.traces.twin.summary import summarise_twin


def same_sharing(a: Trace, b: Trace) -> bool:
    return np.array_equal(a.block_offsets, b.block_offsets) and np.array_equal(
        numbered(a.block_ids), numbered(b.block_ids)
    )


@given(paths=prefix_traces(), many=st.integers(2, 6))
def test_a_twin_without_a_window_shares_blocks_exactly_as_its_trace(
    paths: list[Path], many: int
) -> None:
    trace = infer_sessions(trace_of(paths))
    copy = draw(fit(trace, many=many), window_s=0.0)
    assert same_sharing(copy, trace)
    for column in ("arrival_s", "input_tokens", "output_tokens", "parent", "turn", "session"):
        assert np.array_equal(getattr(copy, column), getattr(trace, column)), column


@given(
    paths=prefix_traces(),
    many=st.integers(2, 6),
    factor=st.floats(0.2, 5),
    bootstrap=st.booleans(),
    seed=st.integers(0, 3),
)
def test_every_drawn_trace_is_sound(
    paths: list[Path], many: int, factor: float, bootstrap: bool, seed: int
) -> None:
    trace = infer_sessions(trace_of(paths))
    twin = fit(trace, many=many)
    drawn = draw(twin, factor=factor, bootstrap=bootstrap, seed=seed)
    assert np.all(np.diff(drawn.arrival_s) >= 0)
    assert is_chained(drawn.block_ids, drawn.block_offsets)
    child = drawn.parent >= 0
    assert np.all(drawn.parent < np.arange(len(drawn)))
    assert np.array_equal(drawn.session[drawn.parent[child]], drawn.session[child])
    assert np.array_equal(drawn.turn[drawn.parent[child]] + 1, drawn.turn[child])
    assert set(drawn.input_tokens.tolist()) <= set(trace.input_tokens.tolist())


def test_twice_the_rate_is_twice_the_families_with_blocks_of_their_own() -> None:
    trace = read_trace(sample_path())
    twin = fit(trace)
    drawn = draw(twin, factor=2.0)
    assert len(drawn) == 2 * len(trace)
    assert drawn.arrival_s[-1] == pytest.approx(trace.arrival_s[-1] - trace.arrival_s[0], abs=60)
    once = len(np.unique(trace.block_ids))
    common = int(twin.path_blocks.sum() - twin.path_kept.sum())
    assert len(np.unique(drawn.block_ids)) == 2 * once - common


def test_a_twin_keeps_no_id(tmp_path: File) -> None:
    trace = generate_requests(preset("qwen-a"), 500)
    trace = replace(trace, arrival_s=np.arange(500.0))  # no two at once: their order is a choice
    rng = np.random.default_rng(0)
    secret = rng.choice(2**40, int(trace.block_ids.max()) + 1, replace=False) + 2**41
    named = replace(
        trace, block_ids=secret[trace.block_ids], request_id=np.arange(len(trace)) + 2**50
    )
    twin = fit(named)
    for name, column in arrays(twin).items():
        assert not np.isin(column, secret).any(), name
        assert not np.isin(column, named.request_id).any(), name
    assert same_sharing(draw(twin, window_s=0.0), named)
    a, b = tmp_path / "a.twin", tmp_path / "b.twin"
    write_twin(twin, a)
    write_twin(fit(trace), b)
    assert a.read_bytes() == b.read_bytes()  # nothing of the names is in it


def test_a_written_twin_draws_the_same(tmp_path: File) -> None:
    twin = fit(generate_requests(preset("chat"), 300))
    write_twin(twin, tmp_path / "chat.twin")
    again = read_twin(tmp_path / "chat.twin")
    assert draw(again, seed=5).digest() == draw(twin, seed=5).digest()


def test_a_summary_says_what_was_drawn() -> None:
    trace = generate_requests(preset("chat"), 20_000)
    found = summarise_twin(fit(trace))
    assert found["requests"] == len(trace)
    assert found["sessions"] == trace.session.max() + 1
    assert found["continues_after_turn"][0] == pytest.approx(0.5, abs=0.03)
    assert found["by_category"]["chat"]["think_s"][3] == pytest.approx(60, rel=0.06)
    assert found["gap_cv"] == pytest.approx(1.0, abs=0.1)
    assert found["common_path_zipf"] == pytest.approx(1.0, abs=0.3)


def test_wrong_values_and_files_are_refused(tmp_path: File) -> None:
    twin = fit(generate_requests(preset("chat"), 50))
    with pytest.raises(ConfigError, match="factor must be above 0"):
        draw(twin, factor=0)
    with pytest.raises(ConfigError, match="at least 2, got 1"):
        fit(read_trace(sample_path()), many=1)
    with pytest.raises(TraceError, match="cannot be read"):
        read_twin(tmp_path / "none")
    (tmp_path / "text").write_text("{}")
    with pytest.raises(TraceError, match="must be what `kvsim trace fit` writes"):
        read_twin(tmp_path / "text")


@pytest.mark.parametrize("factor", [0.5, 2.0, 7.3, 30.0])
def test_the_factor_scales_the_rate_and_nothing_else(factor: float, tmp_path: File) -> None:
    trace = generate_requests(preset("chat"), 2_000)
    rng = np.random.default_rng(0)
    secret = rng.choice(2**40, int(trace.block_ids.max()) + 1, replace=False) + 2**41
    names = np.arange(len(trace)) + 2**50
    named = replace(trace, block_ids=secret[trace.block_ids], request_id=names)
    write_twin(fit(named), tmp_path / "a.twin")
    drawn = draw(read_twin(tmp_path / "a.twin"), factor=factor, seed=1)

    n = factor * len(trace)
    assert len(drawn) == pytest.approx(n, rel=0.03)
    assert drawn.session.max() + 1 == pytest.approx(factor * (trace.session.max() + 1), rel=0.01)
    span_s = trace.arrival_s[-1] - trace.arrival_s[0]
    assert drawn.arrival_s[-1] - drawn.arrival_s[0] == pytest.approx(span_s, rel=0.1)
    tenths = [np.histogram(t.arrival_s, 10, (0, span_s))[0] for t in (trace, drawn)]
    # the same share of the requests at the same time, but for the scatter of so few
    assert np.abs(tenths[1] / len(drawn) - tenths[0] / len(trace)).max() < 0.02
    for column in ("input_tokens", "output_tokens", "turn"):
        was, now = (np.sort(getattr(t, column)) for t in (trace, drawn))
        at = np.linspace(0, 1, 200)
        shares = [np.searchsorted(x, np.quantile(was, at), "right") / len(x) for x in (was, now)]
        assert np.abs(shares[0] - shares[1]).max() < 0.05, column
    assert not np.isin(drawn.block_ids, secret).any()
    assert not np.isin(drawn.request_id, names).any()
