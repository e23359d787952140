"""Tables of what tiers did, as text: hits beside the optimum's, promotions, blocks moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from . import units
from .columns import Summary, number, text
from .misses import TextTable

NAMES = {"gpu": "GPU"}
FOUND = {
    "gpu": ("GPU", "cached there"),
    "in_time": ("promoted", "loaded before its turn, and there in time"),
    "late": ("late", "promotion still on its way at its turn"),
    "on_demand": ("on demand", "loaded at its turn"),
    "miss": ("miss", "computed"),
}
MOVED = ("stored", "kept", "loaded", "unloaded", "evicted", "refused")


def tier_tables(summary: Summary) -> list[TextTable]:
    """Return the tables of a run with more than one tier; none for another."""
    return [*_hits(summary), *_promotions(summary), *_moved(summary)]


def compared_tiers(group: Sequence[Summary]) -> list[TextTable]:
    """Return tables of several runs, a row a policy: hits by tier and promotions, where any are."""
    tables = []
    names = [name for name, _ in _tier_shares(group[0])] if group else []
    if len(names) > 1:
        tables.append(
            TextTable(
                title="Hits by tier",
                columns=("policy", *(word for name in names for word in (name, "optimum"))),
                rows=[
                    (text(s, "policy"), *(cell for _, cells in _tier_shares(s) for cell in cells))
                    for s in group
                ],
                note="Hit ratio of each tier, and the most that it could serve.",
            )
        )
    if any(number(s, "promotions", "promoted") for s in group):
        tables.append(
            TextTable(
                title="Promotions",
                columns=("policy", *(name for name, _ in FOUND.values()), "useless"),
                rows=[
                    (
                        text(s, "policy"),
                        *(_split_share(s, key) for key in FOUND),
                        units.count(number(s, "promotions", "useless")),
                    )
                    for s in group
                ],
                note="Prompt tokens by where they were found; useless: blocks promoted in vain.",
            )
        )
    return tables


def _tier_shares(summary: Summary) -> list[tuple[str, tuple[str, str]]]:
    """Return each tier's name, hit ratio and optimum, in shares of all prompt tokens."""
    rows = _by_tier(summary)
    whole = number(rows[0], "lookup_tokens") if rows else None

    def share(part: float | None) -> str:
        return units.percent(part / whole if part is not None and whole else None)

    return [
        (
            _name(row.get("name")),
            (share(number(row, "hit_tokens")), share(number(row, "bound_tokens"))),
        )
        for row in rows
    ]


def _by_tier(summary: Summary) -> list[Summary]:
    found = summary.get("regret_by_tier")
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, list) else []


def _name(name: object) -> str:
    return NAMES.get(str(name), units.plain(name))


def _split_share(summary: Summary, key: str) -> str:
    tokens, whole = number(summary, "lookup_split_tokens", key), number(summary, "lookup_tokens")
    return units.percent(tokens / whole if tokens is not None and whole else None)


def _hits(summary: Summary) -> list[TextTable]:
    """Return hits by tier, beside what the optimum finds in each."""
    rows = _by_tier(summary)
    if len(rows) < 2:
        return []
    return [
        TextTable(
            title="Hits by tier",
            columns=("hits in", "tokens", "hit ratio", "optimum", "regret"),
            rows=[
                (
                    name,
                    units.count(number(row, "hit_tokens")),
                    *shares,
                    units.points(number(row, "regret_tokens")),
                )
                for row, (name, shares) in zip(rows, _tier_shares(summary), strict=True)
            ],
            note=(
                "All in shares of the finished requests' prompt tokens. Optimum: the most that a"
                " tier can serve if those above it serve the most they can. A tier below zero makes"
                " up for what those above lost."
            ),
        )
    ]


def _promotions(summary: Summary) -> list[TextTable]:
    """Return what became of the prompts' tokens if blocks were loaded before their turn."""
    promoted = number(summary, "promotions", "promoted")
    if not promoted:
        return []
    rows: list[tuple[str, ...]] = [
        (
            name,
            units.count(number(summary, "lookup_split_tokens", key)),
            _split_share(summary, key),
            meaning,
        )
        for key, (name, meaning) in FOUND.items()
    ]
    useless = number(summary, "promotions", "useless")
    return [
        TextTable(
            title="Prompt tokens",
            columns=("prompt tokens", "tokens", "share", "found"),
            rows=rows,
            note=(
                f"{units.count(promoted)} blocks were promoted from lower tiers while their"
                f" request waited; {units.count(useless)} of them"
                f" ({units.percent((useless or 0.0) / promoted)}) in vain: given up for room before"
                " its turn."
            ),
            has_words=True,
        )
    ]


def _moved(summary: Summary) -> list[TextTable]:
    """Return what went into each tier and out of it."""
    tiers = summary.get("tiers")
    names = list(tiers) if isinstance(tiers, Mapping) else []
    if not names:
        return []
    return [
        TextTable(
            title="Blocks moved",
            columns=("blocks", *MOVED),
            rows=[
                (
                    _name(name),
                    *(units.count(number(summary, "tiers", str(name), key)) for key in MOVED),
                )
                for name in names
            ],
            note=(
                "Stored: brought in. Kept: brought in on the way up from below"
                + (" or from the ring" if "ring" in names else "")
                + ". Unloaded: left on loading. Evicted: to make room. Refused: not stored, as"
                " every block was being loaded."
            ),
        )
    ]
