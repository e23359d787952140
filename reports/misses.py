"""Tables of why look-ups missed, as text for terminal and page alike. Knows no layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import units
from .columns import Summary, number

REASONS = {
    "cold": "never cached before",
    "capacity": "cached here, then evicted",
    "routing": "cached on another instance",
    "preemption": "lost to a preemption",
    "in_flight": "being computed just now",
    "gap": "cached, but not what precedes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTable:
    """A table of text, the first column left, the others right but for a last one of words."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    note: str
    has_words: bool = False


def miss_tables(summary: Summary) -> list[TextTable]:
    """Return the tables of a run that was asked why; none for another."""
    misses = summary.get("misses")
    if not isinstance(misses, Mapping):
        return []
    tables = [_reasons(misses)]
    rows = _objects(summary.get("costly_evictions"))
    if rows:
        tables.append(_evictions(rows))
    return tables


def _reasons(misses: Mapping[str, Any]) -> TextTable:
    looked_up = number(misses, "lookup_blocks")
    rows = [
        (
            units.plain(row.get("name")).replace("_", " "),
            units.count(number(row, "blocks")),
            _share(number(row, "blocks"), looked_up),
            units.seconds(number(row, "cost_s")),
            REASONS.get(str(row.get("name")), ""),
        )
        for row in _objects(misses.get("reasons"))
        if number(row, "blocks")
    ]
    hits = number(misses, "hit_blocks")
    found = ("hit", units.count(hits), _share(hits, looked_up), units.DASH, "found in the cache")
    return TextTable(
        title="Why look-ups missed",
        columns=("blocks", "count", "share", "prefill", "because"),
        rows=[found, *rows],
        note=(
            f"{units.count(looked_up)} full blocks looked up;"
            f" {units.count(number(misses, 'partial_tokens'))} prompt tokens lie in no full block"
            f" or are last; {units.count(number(misses, 'recomputed_tokens'))} tokens were computed"
            " again after preemptions. Prefill: what computing them adds to full steps."
        ),
        has_words=True,
    )


def _evictions(rows: list[Mapping[str, Any]]) -> TextTable:
    return TextTable(
        title="The most expensive evictions",
        columns=(
            "evicted at",
            "for",
            "unused",
            "score",
            "blocks",
            "depth",
            "missed by",
            "later",
            "prefill",
        ),
        rows=[
            (
                units.seconds(number(row, "evicted_s")),
                units.plain(row.get("evicted_for")),
                units.seconds(_between(row, "last_used_s", "evicted_s")),
                units.score(number(row, "score")),
                units.count(number(row, "blocks")),
                units.count(number(row, "depth")),
                units.plain(row.get("missed_by")),
                units.seconds(_between(row, "evicted_s", "missed_s")),
                units.seconds(number(row, "cost_s")),
            )
            for row in rows
        ],
        note=(
            "For and missed by: requests, rows of the trace, from 0. Unused: since when, at its"
            " eviction; score: by which the policy chose it, if it goes by one; depth: all"
            " three of the shallowest block."
        ),
    )


def _between(row: Mapping[str, Any], start: str, end: str) -> float | None:
    a, b = number(row, start), number(row, end)
    return None if a is None or b is None else b - a


def _objects(rows: object) -> list[Mapping[str, Any]]:
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def _share(part: float | None, whole: float | None) -> str:
    return units.percent(part / whole if part is not None and whole else None)
