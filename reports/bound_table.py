"""The table of `kvsim bound` on a terminal: what lru finds, and what could be found at best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from . import units
from .columns import number, text
from .console import aligned_time, line, number_table, share_bar

TIER_NAMES = {"gpu": "GPU", "host": "host", "disk": "disk"}


def show_bound(table: Mapping[str, Any], console: Console) -> None:
    """Print hits by tier, recompute time and traffic, lru's beside the best possible."""
    requests = units.plural(number(table, "requests"), "request")
    size = units.plural(number(table, "block_size"), "token")
    lookups = units.plural(number(table, "lookup_blocks"), "block")
    console.print(line(f"{text(table, 'trace')}: {requests}", "bold"))
    distinct = units.count(number(table, "distinct_blocks"))
    console.print(line(f"{lookups} of {size} looked up, {distinct} distinct"))
    refused = number(table, "refused")
    if refused:
        console.print(
            line(f"! {units.plural(refused, 'request')} refused: larger than the GPU", "bold")
        )
    console.print()
    console.print(_tiers(table["tiers"]))
    console.print()
    console.print(_recompute(table["recompute"]))
    if table["traffic"]:
        console.print()
        console.print(_traffic(table["traffic"]))
    console.print(line(_note(table["recompute"]), "dim"))


def _tiers(rows: list[dict[str, Any]]) -> Table:
    table = number_table("hits in", "blocks", "lru", "optimum", "left", is_first_name=True)
    table.add_column(no_wrap=True)
    total = {"lru": 0.0, "optimum": 0.0}
    for row in rows:
        ratios = [number(row, f"{name}_hit_ratio") or 0.0 for name in total]
        total = {name: total[name] + ratio for name, ratio in zip(total, ratios, strict=True)}
        name = TIER_NAMES.get(str(row["tier"]), units.plain(row["tier"]))
        _add_hits(table, name, number(row, "capacity_blocks"), *ratios)
    if len(rows) > 1:
        blocks = sum(number(row, "capacity_blocks") or 0 for row in rows)
        _add_hits(table, "all", blocks, total["lru"], total["optimum"])
    return table


def _add_hits(table: Table, name: str, blocks: float | None, lru: float, optimum: float) -> None:
    is_lower = name in ("host", "disk")  # what is found above is missing here: no regret
    table.add_row(
        Text(name),
        units.count(blocks),
        units.percent(lru),
        units.percent(optimum),
        units.DASH if is_lower else units.points(optimum - lru),
        Text(share_bar(lru, optimum)),
    )


def _recompute(row: Mapping[str, Any]) -> Table:
    """Seconds of prefill left to compute, each with its share of what no cache would leave."""
    table = number_table("prefill time", "computed", "saved", is_first_name=True)
    table.add_column(no_wrap=True)
    all_s = number(row, "all_s") or 0.0
    names = {"lru": "lru_saved_s", "optimum (fewest misses)": "optimum_saved_s"}
    if row["bound_method"] != "optimum":
        names["no policy below"] = "bound_saved_s"
    for name, key in names.items():
        saved_s = number(row, key) or 0.0
        share = saved_s / all_s if all_s else None
        left = aligned_time(units.duration(max(all_s - saved_s, 0.0)))
        table.add_row(name, left, units.percent(share), Text(share_bar(share)))
    return table


def _traffic(rows: list[dict[str, Any]]) -> Table:
    columns = ("load", "", "lru", "write", "keep", "lru")
    table = number_table("moved at least", *columns, is_first_name=True)
    for row in rows:
        loads, writes, once = (
            number(row, f"{name}_blocks") for name in ("load", "write", "write_once")
        )
        names = [TIER_NAMES.get(str(row[k]), units.plain(row[k])) for k in ("below", "above")]
        table.add_row(
            Text(f"{names[0]} ↔ {names[1]}"),
            units.count(loads),
            aligned_time(number(row, "load_s")),
            units.count(number(row, "lru_load_blocks")),
            units.count(writes),
            units.count(once),
            units.count(number(row, "lru_write_blocks")),
        )
    return table


def _note(row: Mapping[str, Any]) -> str:
    """Say how the last line of the prefill times was bounded."""
    words = "█ lru  ░ up to the optimum"
    if row["bound_method"] == "flow":
        pieces = units.plural(number(row, "piece_blocks"), "block")
        words += f"; prefill bound: min-cost flow, pieces of {pieces}"
    elif row["bound_method"] == "budget":
        words += "; prefill bound: total room (too many requests for a flow)"
    return words
