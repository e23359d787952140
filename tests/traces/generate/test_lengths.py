"""Distributions: what is drawn has the quantiles that were given."""

from __future__ import annotations

import numpy as np
import pytest

from kvsim import ConfigError
from kvsim.traces.generate.lengths import Constant, Lognormal, Mixture, Quantiles, whole
from kvsim.traces.generate.streams import stream

N = 200_000


def test_a_table_of_quantiles_is_met() -> None:
    table = Quantiles((0.0, 0.25, 0.5, 0.9, 1.0), (1.0, 20.0, 100.0, 2000.0, 9000.0))
    drawn = table.draw(stream(0, "table"), N)
    assert np.quantile(drawn, [0.25, 0.5, 0.9]) == pytest.approx([20, 100, 2000], rel=0.03)
    assert drawn.min() >= 1.0
    assert drawn.max() <= 9000.0


def test_a_lognormal_and_its_own_table_are_alike() -> None:
    one = Lognormal(100.0, 1.0)
    table = Quantiles((0.1586553, 0.5, 0.8413447), (100 / np.e, 100.0, 100 * np.e))
    a, b = (each.draw(stream(0, "same"), N) for each in (one, table))
    inside = (a > 100 / np.e) & (a < 100 * np.e)
    assert np.allclose(a[inside], b[inside], rtol=1e-6)


def test_a_mixture_has_its_shares() -> None:
    mixed = Mixture((0.9, 0.1), (Constant(1.0), Constant(50.0))).draw(stream(0, "mix"), N)
    assert (mixed == 50.0).mean() == pytest.approx(0.1, abs=0.003)
    assert whole(np.array([0.2, 1.5, 2.6])).tolist() == [1, 2, 3]


def test_wrong_tables_are_refused() -> None:
    with pytest.raises(ConfigError, match="levels must increase"):
        Quantiles((0.5, 0.5), (1.0, 2.0))
    with pytest.raises(ConfigError, match="must be positive and not decrease"):
        Quantiles((0.1, 0.5), (2.0, 1.0))
    with pytest.raises(ConfigError, match="median must be positive"):
        Lognormal(0.0, 1.0)
    with pytest.raises(ConfigError, match="one weight of at least 0 a part"):
        Mixture((1.0,), ())
