"""Tables of a run's numbers beside the least possible, as text. Knows no layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from . import units
from .columns import Summary, number, text
from .misses import TextTable

NOTE = (
    "At least: whatever the policy, on the same admissions in the same order. What must be loaded"
    " or stored holds if no more is computed than that."
)


def limit_tables(summary: Summary) -> list[TextTable]:
    """Return the table of a run that was asked for its bounds; none for another."""
    found = summary.get("limits")
    if not isinstance(found, Mapping):
        return []
    rows = [
        _times(found, "prefill time", "prefill_s", "least_prefill_s"),
        _counts(found, "blocks computed", "computed_blocks", "least_computed_blocks"),
    ]
    tiers = found.get("tiers")
    own = [row for row in tiers if isinstance(row, Mapping)] if isinstance(tiers, list) else []
    if own:
        keys = ("computed_or_loaded_blocks", "least_computed_or_loaded_blocks")
        rows.append(_counts(found, "computed or loaded", *keys))
    for row in own:
        name = units.plain(row.get("name"))
        below = name if row is own[-1] else f"{name} and below"
        rows.append(_counts(row, f"loaded from {below}", "loaded_blocks", "least_loaded_blocks"))
        rows.append(_counts(row, f"stored in {name}", "stored_blocks", "least_stored_blocks"))
    return [
        TextTable(
            title="Distance to the limits",
            columns=("distance to the limits", "run", "at least", "ratio"),
            rows=rows,
            note=f"{NOTE} {_method(found)}",
        )
    ]


def compared_limits(group: Sequence[Summary]) -> list[TextTable]:
    """Return the table of several runs, a row a policy; none if none was asked."""
    if not any(isinstance(summary.get("limits"), Mapping) for summary in group):
        return []
    rows = []
    for summary in group:
        found = summary.get("limits")
        known = found if isinstance(found, Mapping) else {}
        moved = ("computed_or_loaded_blocks", "least_computed_or_loaded_blocks")
        cells = (
            *_times(known, "", "prefill_s", "least_prefill_s")[1:],
            *_counts(known, "", *moved)[1:],
        )
        rows.append((text(summary, "policy"), *cells))
    return [
        TextTable(
            title="Distance to the limits",
            columns=("policy", "prefill", "least", "ratio", "not in GPU", "least", "ratio"),
            rows=rows,
            note=(
                "Least: whatever the policy, on the same admissions. Not in GPU: blocks computed"
                " or loaded from below."
            ),
        )
    ]


def _method(found: Summary) -> str:
    kind = found.get("prefill_bound")
    if kind == "flow":
        return (
            "Prefill: min-cost flow over reuses, in pieces of"
            f" {units.plural(number(found, 'piece_blocks'), 'block')}; the order of fewest misses"
            f" takes {units.duration(number(found, 'fewest_misses_prefill_s'))}."
        )
    return "Prefill: by total room." if kind == "budget" else "Prefill: fewest misses."


def _times(row: Summary, name: str, run: str, least: str) -> tuple[str, ...]:
    a, b = number(row, run), number(row, least)
    return name, units.duration(a), units.duration(b), _ratio(a, b)


def _counts(row: Summary, name: str, run: str, least: str) -> tuple[str, ...]:
    a, b = number(row, run), number(row, least)
    return name, units.count(a), units.count(b), _ratio(a, b)


def _ratio(run: float | None, least: float | None) -> str:
    return units.DASH if run is None or not least else f"{run / least:.2f}"
