"""Stratified draws: each is distributed as ever, together they miss nothing."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from kvsim.traces.generate.streams import Stratified, stream


def stratified(seed: int) -> Stratified:
    return Stratified(stream(seed, "a"))


@pytest.mark.parametrize("n", [1, 7, 1000])
def test_one_uniform_number_falls_into_each_part(n: int) -> None:
    drawn = stratified(3).random(n)
    assert np.sort((drawn * n).astype(int)).tolist() == list(range(n))
    again = stratified(3).random(n)
    assert drawn.tolist() == again.tolist()


def test_normal_numbers_have_the_normals_quantiles() -> None:
    drawn = np.sort(stratified(0).standard_normal(999))
    wanted = [NormalDist().inv_cdf((i + 1) / 1000) for i in range(999)]
    # sorted, each lies within its own part of the distribution, one 999th wide
    level = np.array([NormalDist().cdf(z) for z in drawn.tolist()])
    assert np.abs(level - np.array([NormalDist().cdf(z) for z in wanted])).max() < 1.1e-3
    assert drawn.mean() == pytest.approx(0, abs=2e-3)
    assert drawn.std() == pytest.approx(1, abs=5e-3)


def test_their_order_is_random() -> None:
    drawn = stratified(0).random(10_000)
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.04  # four standard errors
