"""Timing side by side, and how a goal is judged. Knows nothing of what is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

Times = dict[str, list[float]]
"""CPU seconds a call, by contender, one value a round."""

_MIN_SLICE_S = 0.1
_LONG_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What the user chose for this run."""

    rounds: int
    scratch: Path
    """An empty folder that is removed afterwards."""
    data: Path
    """Folder with the public traces; a workload that is missing there is skipped by name."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One measured value beside its goal."""

    goal: str
    case: str
    value: float | None
    """Median of all rounds; None if it could not be measured, then `note` says why."""
    low: float = float("nan")
    high: float = float("nan")
    must: float = float("nan")
    stretch: float = float("nan")
    unit: str = "x"
    at_most: bool = False
    """Whether smaller is better."""
    note: str = ""

    def reaches(self, target: float) -> bool:
        if self.value is None:
            return False
        return self.value <= target if self.at_most else self.value >= target

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        if self.reaches(self.stretch):
            return "stretch"
        return "met" if self.reaches(self.must) else "MISSED"


Measurement = Callable[[Setting], Iterator[Result]]


def interleaved(contenders: Mapping[str, Callable[[], object]], rounds: int) -> Times:
    """Time all contenders once a round, in turn, so that a slow minute hits all of them.

    Calls shorter than 0.1 s are repeated within the round. The first call, which may compile
    or fill caches, is not counted.
    """
    repeats = {}
    for name, call in contenders.items():
        first_s = cpu_s(call)
        again_s = cpu_s(call) if first_s < _LONG_S else first_s  # the first may have compiled
        repeats[name] = max(1, int(_MIN_SLICE_S / max(again_s, 1e-6)))
    times: Times = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            times[name].append(cpu_s(call, repeats[name]))
            _settle()
    return times


def _settle() -> None:
    """Let malloc merge the small chunks that were just freed.

    It does so at the next large request, which for a million freed cache entries takes 0.2 s:
    the work of the contender that made them, and never of the one that comes next.
    """
    bytes(100_000)


def cpu_s(call: Callable[[], object], n: int = 1) -> float:
    """CPU seconds of this process for one call, the mean of `n`."""
    start = time.process_time()
    for _ in range(n):
        call()
    return (time.process_time() - start) / n


def ratio(
    goal: str,
    case: str,
    *,
    slow: list[float],
    fast: list[float],
    must: float,
    stretch: float,
    note: str = "",
) -> Result:
    """How many times faster, by the median of the rounds' own ratios."""
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    return Result(
        goal=goal,
        case=case,
        value=median(ratios),
        low=min(ratios),
        high=max(ratios),
        must=must,
        stretch=stretch,
        note=f"{median(slow) * 1e3:.1f} ms against {median(fast) * 1e3:.2f} ms{note}",
    )
