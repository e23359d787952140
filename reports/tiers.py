"""The table of hits by tier, beside what the optimum finds in each, as text. Knows no layout."""

from __future__ import annotations

from collections.abc import Mapping

from . import units
from .columns import Summary, number
from .misses import TextTable

NAMES = {"gpu": "GPU", "host": "host"}


def tier_tables(summary: Summary) -> list[TextTable]:
    """Return the table of a run with more than one tier; none for another."""
    found = summary.get("regret_by_tier")
    rows = [row for row in found if isinstance(row, Mapping)] if isinstance(found, list) else []
    if len(rows) < 2:
        return []
    whole = number(rows[0], "lookup_tokens")

    def share(part: float | None) -> str:
        return units.percent(part / whole if part is not None and whole else None)

    return [
        TextTable(
            title="Hits by tier",
            columns=("hits in", "tokens", "hit ratio", "optimum", "regret"),
            rows=[
                (
                    NAMES.get(str(row.get("name")), units.plain(row.get("name"))),
                    units.count(number(row, "hit_tokens")),
                    share(number(row, "hit_tokens")),
                    share(number(row, "bound_tokens")),
                    units.points(number(row, "regret_tokens")),
                )
                for row in rows
            ],
            note=(
                "All in shares of the finished requests' prompt tokens. Optimum: the most that a"
                " tier can serve if those above it serve the most they can. A tier below zero makes"
                " up for what those above lost."
            ),
        )
    ]
