"""Fit the keyword arguments of a Qwen-Bailian likeness to what was published about its trace.

python benchmarks/bailian_fit.py NAME [--rounds N] [--seeds N] [--only ARGUMENT,...]

Levenberg and Marquardt's least squares on logarithms (of the odds, for probabilities), by forward
differences. What is fitted: each published statistic, in units of its tolerance, as the mean over
the seeds; for qwen-a the second hour's table as well. Prints the arguments after every round.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys

import numpy as np
from numpy.typing import NDArray

from kvsim.studies.bailian import (
    LRU_SECOND_HOUR,
    WORKLOAD_AWARE_SECOND_HOUR,
    compare_with_published,
)
from kvsim.studies.first_hour import first_hour_table
from kvsim.traces.generate.presets import PRESETS
from kvsim.traces.generate.sessions import generate

Floats = NDArray[np.float64]
PROBABILITIES = re.compile(r"(.*_)?(goes_on|early|middle|late)")
"""Arguments that stay below 1."""
STEP = 0.03
"""Of the logarithm: large beside what chance makes of it."""
STAY = 0.05
"""Weight of a parameter's distance from where a round began, so that what tells nothing stays."""
LRU_WITHIN, GAIN_WITHIN = 0.01, 0.02
"""Unit of the second hour's differences: points of lru, and relative gain."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", default="")
    given = parser.parse_args(arguments)
    make = PRESETS[given.name]
    start = {name: p.default for name, p in inspect.signature(make).parameters.items()}
    names = [name for name in start if not given.only or name in given.only.split(",")]
    is_odds = np.array([PROBABILITIES.fullmatch(name) is not None for name in names])
    x = _to_free(np.array([start[name] for name in names], float), is_odds)

    def off(free: Floats) -> Floats:
        values = dict(zip(names, _from_free(free, is_odds).tolist(), strict=True))
        parts = [_differences(given.name, values, seed) for seed in range(given.seeds)]
        return np.mean(parts, axis=0)

    damping = 0.1
    now = off(x)
    for number in range(given.rounds):
        jacobian = np.empty((len(now), len(x)))
        for i in range(len(x)):
            moved = x.copy()
            moved[i] += STEP
            jacobian[:, i] = (off(moved) - now) / STEP
        for _ in range(5):
            square = jacobian.T @ jacobian
            square += np.diag(damping * np.diag(square) + (STAY / STEP) ** 2)
            step = np.clip(np.linalg.solve(square, -jacobian.T @ now), -0.3, 0.3)
            tried = off(x + step)
            if tried @ tried < now @ now:
                x, now, damping = x + step, tried, damping / 3
                break
            damping *= 4
        else:
            print("no step helps any more")
            break
        told = f"sum of squares {now @ now:.2f}, farthest {np.abs(now).max():.2f} tolerances"
        print(f"\nround {number + 1}: {told}")
        for name, value in zip(names, _from_free(x, is_odds).tolist(), strict=True):
            print(f"    {name}: float = {value:.4g},", flush=True)
    return 0


def _differences(name: str, values: dict[str, float], seed: int) -> Floats:
    """Return how far a likeness is from each published number, in tolerances."""
    trace = generate(PRESETS[name](**values), seed=seed)  # type: ignore[call-arg]
    checks = [check for check in compare_with_published(trace, name) if check.tolerance]
    found = [check.difference / check.tolerance for check in checks]
    if name == "qwen-a":
        told = zip(LRU_SECOND_HOUR, WORKLOAD_AWARE_SECOND_HOUR, strict=True)
        for row, (lru, aware) in zip(first_hour_table(trace), told, strict=True):
            found.append((row.lru - lru) / LRU_WITHIN)
            found.append((row.gain - (aware / lru - 1)) / GAIN_WITHIN)
    return np.array(found)


def _to_free(values: Floats, is_odds: NDArray[np.bool_]) -> Floats:
    return np.log(np.where(is_odds, values / (1 - np.where(is_odds, values, 0)), values))


def _from_free(free: Floats, is_odds: NDArray[np.bool_]) -> Floats:
    return np.where(is_odds, 1 / (1 + np.exp(-free)), np.exp(free))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
