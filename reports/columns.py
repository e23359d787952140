"""What a table of runs shows, on a terminal as in HTML. Knows no layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import units

Summary = Mapping[str, Any]
"""What summary.json holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One number of a run."""

    header: str
    keys: tuple[str, ...]
    """Where it stands in the summary."""
    write: Callable[[float | None], str]
    best: Callable[[list[float]], float] | None = None
    """min, max, or None if neither is better."""

    def text(self, summary: Summary) -> str:
        """Return the number as people read it."""
        return self.write(number(summary, *self.keys))

    def best_rows(self, summaries: Sequence[Summary]) -> set[int]:
        """Return the rows with the best value as written; none if all rows are equal."""
        values = [units.defined(number(s, *self.keys)) for s in summaries]
        known = [v for v in values if v is not None]
        if self.best is None or not known:
            return set()
        best = self.write(self.best(known))
        rows = {i for i, value in enumerate(values) if self.write(value) == best}
        return rows if len(rows) < len(summaries) else set()


CACHE = (
    Column(header="hit ratio", keys=("hit_ratio_tokens",), write=units.percent, best=max),
    Column(header="optimum", keys=("bound_hit_ratio_tokens",), write=units.percent),
    Column(header="regret", keys=("regret_tokens",), write=units.points, best=min),
    Column(header="evictions", keys=("evictions",), write=units.count, best=min),
    Column(header="preemptions", keys=("preemptions",), write=units.count, best=min),
)
TIMES = (
    Column(header="TTFT p50", keys=("ttft_s", "p50"), write=units.seconds, best=min),
    Column(header="TTFT p99", keys=("ttft_s", "p99"), write=units.seconds, best=min),
    Column(header="TPOT p50", keys=("tpot_s", "p50"), write=units.seconds, best=min),
    Column(header="TPOT p99", keys=("tpot_s", "p99"), write=units.seconds, best=min),
    Column(header="tokens/s", keys=("throughput_tokens_per_s",), write=units.amount, best=max),
)


GOODPUT = Column(header="goodput/s", keys=("goodput_per_s",), write=units.amount, best=max)
"""Shown where limits were given."""


def number(summary: Summary, *keys: str) -> float | None:
    """Return the number found by `keys`, one below the other; None if there is none."""
    value: Any = summary
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value


def text(summary: Summary, key: str) -> str:
    """Return a name from the summary as one printable line, '?' if there is none."""
    value = summary.get(key)
    return "?" if value is None else units.plain(value)


def counts(summary: Summary, key: str) -> dict[str, float]:
    """Return the entries of a table of counts that are above zero, in order of name."""
    table = summary.get(key)
    if not isinstance(table, Mapping):
        return {}
    found = {units.plain(name): number(table, name) for name in sorted(table)}
    return {name: n for name, n in found.items() if n}


def setting(summary: Summary) -> str:
    """Return in words what served the requests."""
    instances = number(summary, "instances")
    words = units.plural(instances, "instance")
    if instances is not None and instances > 1:
        words += f" ({text(summary, 'router')} router)"
    each = " each" if instances is not None and instances > 1 else ""
    usable = number(summary, "usable_blocks")
    size = number(summary, "block_size")
    return f"{words}, {units.plural(usable, 'block')} of {units.plural(size, 'token')}{each}"


def losses(summary: Summary) -> list[str]:
    """Return in words what of the trace was not served; empty if everything was."""
    lines = []
    rejected = number(summary, "rejected")
    if rejected:
        lines.append(f"{units.plural(rejected, 'request')} rejected: larger than the cache")
    for reason, n in counts(summary, "dropped").items():
        lines.append(f"{units.plural(n, 'row')} of the trace dropped: {reason}")
    return lines
