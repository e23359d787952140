"""Numbers as text, thinned distributions, and time series of several instances."""

from __future__ import annotations

import numpy as np
import pytest

from kvsim.reports import series, units


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, units.DASH),
        (float("nan"), units.DASH),
        (0.0, "0 s"),
        (0.00042, "420 µs"),
        (0.0009996, "1.00 ms"),
        (0.0521, "52.1 ms"),
        (0.9996, "1.00 s"),
        (12.34, "12.3 s"),
        (99.97, "100 s"),
        (1234.4, "1,234 s"),
    ],
)
def test_seconds_have_three_digits(value: float | None, text: str) -> None:
    assert units.seconds(value) == text


def test_other_quantities() -> None:
    assert units.percent(0.3664) == "36.64 %"
    assert units.points(-0.00001) == "0.00 pp"
    assert units.count(1234567) == "1,234,567"
    assert units.duration(7230) == "2 h 0 min"
    assert units.duration(750) == "12 min 30 s"
    assert units.gibibytes(5 * 2**30) == "5.00 GiB"
    assert units.plain("a\nb\x1b") == "a\ufffdb\ufffd"


def test_a_cdf_keeps_the_ends_and_the_shares() -> None:
    values = np.concatenate((np.arange(10_000.0)[::-1], [np.nan]))
    x, share = series.cdf(values, 100)
    assert len(x) == 100
    assert (x[0], x[-1]) == (0, 9999)
    assert np.array_equal(share, (x + 1) / 10_000)


def test_a_cdf_of_nothing_is_empty() -> None:
    assert len(series.cdf(np.array([np.nan]))[0]) == 0


def tables(
    rows: list[list[float]], finish_s: float
) -> tuple[dict[str, series.Values], dict[str, series.Values]]:
    names = ("time_s", "instance", "running", "used_blocks", "cached_blocks", "hit_tokens")
    table = dict(zip(names, np.array(rows).T, strict=True))
    table |= {"waiting": table["running"], "lookup_tokens": 2 * table["hit_tokens"]}
    arrays = {"arrival_s": [0.0], "finish_s": [finish_s], "instance": [0.0]}
    return table, {name: np.array(values) for name, values in arrays.items()}


def test_instances_are_added_and_a_long_step_carries_its_values_forward() -> None:
    nan = np.nan
    rows = [[0, 0, 3, 5, 1, 10], [0, 1, 4, 6, 2, 20], [1, 0, *[nan] * 4], [1, 1, 4, 6, 2, 20]]
    line = series.timeline(*tables(rows, finish_s=9.0))
    assert line.time_s.tolist() == [0, 1]
    assert line.running.tolist() == [7, 7]
    assert line.used_blocks.tolist() == [11, 11]
    assert line.hit_ratio[0] == 0.5


def test_an_idle_instance_runs_nothing_and_keeps_its_blocks_as_cache() -> None:
    nan = np.nan
    line = series.timeline(*tables([[0, 0, 3, 5, 1, 10], [1, 0, *[nan] * 4]], finish_s=0.5))
    assert line.running.tolist() == [3, 0]
    assert line.used_blocks.tolist() == [5, 0]
    assert line.cached_blocks.tolist() == [1, 6]


def test_a_long_series_is_thinned_to_means() -> None:
    rows = [[t, 0, t % 2, 0, 0, t] for t in range(10_000)]
    line = series.timeline(*tables([list(map(float, row)) for row in rows], finish_s=1e9))
    assert len(line.time_s) <= 800
    assert line.running == pytest.approx(0.5, abs=0.02)


def test_a_series_without_rows_is_empty() -> None:
    line = series.timeline(*tables([[0.0] * 6], finish_s=1.0))
    assert len(line.time_s) == 1
    names = [*series.LEVELS, *series.CUMULATIVE, "time_s", "instance"]
    empty = {name: np.empty(0) for name in names}
    requests = {name: np.empty(0) for name in ("arrival_s", "finish_s", "instance")}
    assert len(series.timeline(empty, requests).time_s) == 0
