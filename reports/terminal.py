"""Tables for a terminal of 80 columns, readable without colour. Knows no simulation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from . import units
from .columns import CACHE, Summary, counts, number, setting, text
from .console import (
    aligned_time,
    facts_table,
    frame,
    line,
    number_table,
    run_size,
    share_bar,
    show_losses,
    text_table,
)
from .limits import limit_tables
from .misses import miss_tables
from .tiers import tier_tables

MAX_CURVE_ROWS = 24
"""Capacities shown; a longer curve is thinned."""
LATENCIES = {
    "TTFT": "ttft_s",
    "TPOT": "tpot_s",
    "queue": "queue_s",
    "end to end": "e2e_s",
}


def show_run(summary: Summary, console: Console) -> None:
    """Print the summary of one run."""
    console.print(line(f"{text(summary, 'policy')} on {text(summary, 'trace')}", "bold"))
    console.print(line(f"{setting(summary)}, {run_size(summary)}"))
    show_losses(summary, console)
    console.print()
    console.print(_cache_table(summary))
    console.print()
    console.print(_latency_table(summary))
    console.print()
    console.print(_work_table(summary))
    for table in (*tier_tables(summary), *limit_tables(summary), *miss_tables(summary)):
        console.print()
        console.print(text_table(table))
        console.print(line(table.note, "dim"))


def show_curve(curve: Mapping[str, Any], console: Console) -> None:
    """Print hit ratio over capacity, a row a capacity: lru's bar, and the optimum beyond it."""
    points = {
        units.plain(name): {float(blocks): float(ratio) for blocks, ratio in rows}
        for name, rows in curve.items()
        if isinstance(rows, list | tuple)
    }
    names = sorted(points, key=lambda name: (name == "optimum", name != "lru"))
    capacities = sorted({blocks for rows in points.values() for blocks in rows})
    shown = _thinned(capacities)
    mine = _nearest(shown, number(curve, "capacity_blocks"))
    for at, group in enumerate(_side_by_side(names, console.width)):
        table = number_table("blocks", *group)
        if at == 0:
            table.add_column(Text("hit ratio"), no_wrap=True)
        else:
            console.print()
        for blocks in shown:
            cells = [units.percent(points[name].get(blocks)) for name in group]
            if at == 0:
                best = points.get("optimum", {}).get(blocks)
                cells.append(share_bar(points[names[0]].get(blocks) or 0.0, best))
                cells[-1] += " < this run" if blocks == mine else ""
            table.add_row(units.count(blocks), *map(Text, cells))
        console.print(table)
    note = f"█ {names[0]}  ░ up to the optimum" if "optimum" in names[1:] else ""
    if len(shown) < len(capacities):
        note += f"{'; ' if note else ''}{len(shown)} of {len(capacities)} capacities"
    if note:
        console.print(line(note, "dim"))


def _side_by_side(names: list[str], width: int) -> list[list[str]]:
    """Split columns into tables that fit: the first has room for a bar, all for the capacity."""
    groups: list[list[str]] = [[]]
    room = width - 48
    for name in names:
        needed = max(len(name), 8) + 2
        if groups[-1] and needed > room:
            groups.append([])
            room = width - 14
        groups[-1].append(name)
        room -= needed
    return groups


def show_policies(policies: Sequence[tuple[str, str, str]], console: Console) -> None:
    """Print name, kind and one line for each policy."""
    table = frame()
    table.add_column("policy", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("what it does", overflow="fold")
    for row in policies:
        table.add_row(*(Text(units.plain(cell)) for cell in row))
    console.print(table)


def _cache_table(summary: Summary) -> Table:
    hit, bound = (number(summary, c.keys[0]) for c in CACHE[:2])
    lookups = units.count(number(summary, "lookup_tokens"))
    table = facts_table("prefix cache")
    table.add_row(
        "hit ratio", CACHE[0].text(summary), f"{share_bar(hit)} of {lookups} prompt tokens"
    )
    if bound is not None:
        table.add_row(
            "optimum", CACHE[1].text(summary), f"{share_bar(bound)} the most a policy could hit"
        )
        table.add_row("regret", CACHE[2].text(summary), "optimum minus hit ratio")
    blocks = number(summary, "hit_ratio_blocks")
    table.add_row("hit ratio, blocks", units.percent(blocks), "of the full prompt blocks looked up")
    tiers = counts(summary, "hits_per_tier")
    for tier, tokens in tiers.items() if len(tiers) > 1 else ():
        table.add_row(f"hits in {tier}", units.count(tokens), "tokens")
    table.add_row("evictions", units.count(number(summary, "evictions")), "blocks")
    orphaned = number(summary, "orphaned_blocks")
    if orphaned:
        table.add_row("orphaned", units.count(orphaned), "blocks cached right below evicted ones")
    for link, n_bytes in counts(summary, "transfer_bytes").items():
        table.add_row(f"over {link}", units.gibibytes(n_bytes), "moved")
    return table


def _latency_table(summary: Summary) -> Table:
    columns = ("mean", "p50", "p90", "p95", "p99")
    table = number_table("latency", *columns, is_first_name=True)
    for name, key in LATENCIES.items():
        table.add_row(name, *(aligned_time(number(summary, key, column)) for column in columns))
    return table


def _work_table(summary: Summary) -> Table:
    table = facts_table("work")
    per_s = number(summary, "throughput_tokens_per_s")
    table.add_row("throughput", units.amount(per_s), "output tokens/s")
    table.add_row("output", units.count(number(summary, "output_tokens")), "tokens")
    table.add_row("prefill", units.count(number(summary, "prefill_tokens")), "tokens computed")
    table.add_row("preemptions", units.count(number(summary, "preemptions")), "")
    table.add_row("steps", units.count(number(summary, "steps")), "")
    table.add_row("utilisation", units.percent(number(summary, "utilisation")), "of the time busy")
    return table


def _thinned(values: Sequence[float]) -> list[float]:
    n = len(values)
    if n <= MAX_CURVE_ROWS:
        return list(values)
    return [values[round(i * (n - 1) / (MAX_CURVE_ROWS - 1))] for i in range(MAX_CURVE_ROWS)]


def _nearest(values: Sequence[float], wanted: float | None) -> float | None:
    if wanted is None or not values:
        return None
    return min(values, key=lambda value: abs(value - wanted))
