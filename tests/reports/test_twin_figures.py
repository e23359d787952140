"""Figures of traces side by side say what the numbers behind them say."""

from __future__ import annotations

import numpy as np

from kvsim.reports.notebook import draw
from kvsim.reports.twin_figures import hit_curves, load_over_time, waits_by_instances
from kvsim.studies.curves import lru_curve
from kvsim.traces.compiled import compile_trace
from kvsim.traces.generate.presets import generate_requests, preset


def test_hit_curves_are_those_of_exact_lru() -> None:
    a, b = (compile_trace(generate_requests(preset("chat"), n), block_size=16) for n in (200, 400))
    figure = hit_curves({"a <b>": a, "b": b})
    assert [drawn["name"] for drawn in figure.data] == ["a &lt;b&gt;", "b"]
    for drawn, one in zip(figure.data, (a, b), strict=True):
        hits = lru_curve(one.tree).hits_at([int(x) for x in drawn["x"]])
        shares = 100 * hits / one.tree.path_blocks.sum()
        assert np.allclose(drawn["y"], shares, rtol=1e-5)
    assert len(draw(figure).data) == 2


def test_load_counts_every_request() -> None:
    traces = {str(n): generate_requests(preset("single"), n) for n in (300, 600)}
    figure = load_over_time(traces)
    for drawn, n in zip(figure.data, (300, 600), strict=True):
        windows = np.diff(drawn["x"])
        assert np.isclose(np.dot(windows, drawn["y"][:-1]), n, rtol=1e-4)


def test_waits_are_in_order_of_instances() -> None:
    told = [{"instances": n, "ttft_s": {"p50": 1 / n, "p99": 9 / n}} for n in (4, 1, 2)]
    p50, p99 = waits_by_instances(told).data
    assert p50["x"] == p99["x"] == [1, 2, 4]
    assert p50["y"] == [1, 0.5, 0.25]
    assert p99["y"] == [9, 4.5, 2.25]
