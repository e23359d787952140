"""A certificate: nothing is off where nothing was drawn, and how sure the trace itself is."""

from __future__ import annotations

import numpy as np
import pytest

from kvsim.reports.certificate import show_certificate, show_fit
from kvsim.reports.notebook import console
from kvsim.sim.config import ClusterConfig, EngineConfig, RunConfig
from kvsim.studies.certificate import certify, distance
from kvsim.traces.formats import read_trace
from kvsim.traces.sample import sample_path
from kvsim.traces.twin.draw import draw
from kvsim.traces.twin.fit import fit
from kvsim.traces.twin.summary import summarise_twin

CONFIG = RunConfig(
    engine=EngineConfig(block_size=16, gpu_blocks=20_000),
    cluster=ClusterConfig(instances=4, router="prefix-aware"),
)


def test_a_trace_is_its_own_twin_and_is_not_sure_of_its_tail(
    capsys: pytest.CaptureFixture[str],
) -> None:
    trace = read_trace(sample_path())
    found = certify(trace, trace, CONFIG, ["lru"])
    assert found.holds
    assert all(row.ks == row.wasserstein == 0 for row in found.distances)
    assert all(row.mean == row.most == 0 for row in found.curves)
    for row in found.times:
        assert row.relative == 0
        assert row.low_s < row.trace_s < row.high_s
    width = {row.percentile: (row.high_s - row.low_s) / row.trace_s for row in found.times}
    assert width["p99"] > 0.05  # so 5 % is less than this trace can tell
    show_certificate(found.to_dict(), console())
    assert "scatter" in capsys.readouterr().out


@pytest.mark.parametrize(("window_s", "bootstrap"), [(20.0, True), (600.0, False)])
def test_what_is_drawn_freely_keeps_the_load(window_s: float, bootstrap: bool) -> None:
    trace = read_trace(sample_path())
    twin = fit(trace)
    for seed in range(3):
        drawn = draw(twin, window_s=window_s, bootstrap=bootstrap, seed=seed)
        tokens = drawn.input_tokens.sum() / trace.input_tokens.sum()
        assert tokens == pytest.approx(1, abs=0.02)
        late = drawn.arrival_s > trace.arrival_s[-1] - trace.arrival_s[0] + 3
        assert late.mean() < 0.02
        roots = [np.unique(t.arrival_s[t.turn == 1]) for t in (trace, drawn)]
        assert np.isin(roots[1], roots[0] - trace.arrival_s[0]).mean() > 0.95  # at its own ticks


def test_distances_are_those_of_the_definition() -> None:
    found = distance("x", np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 3.0, 4.0, 5.0]))
    assert found.ks == 0.25
    assert found.wasserstein == pytest.approx(1 / 2.5)


def test_a_fit_is_shown_with_whole_names_and_no_rate_where_no_time_passes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    trace = read_trace(sample_path())
    show_fit({"fit": summarise_twin(fit(trace))}, console())
    told = capsys.readouterr().out
    assert "request prompt" in told
    assert "…" not in told
    assert "requests a second by tenth" in told
    show_fit({"fit": summarise_twin(fit(trace.head(1)))}, console())
    told = capsys.readouterr().out
    assert "1 request, 1 session;" in told
    assert "requests a second" not in told
