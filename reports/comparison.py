"""The tables of `kvsim compare` on a terminal: at each size, a row a policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from . import units
from .columns import CACHE, GOODPUT, TIMES, Column, Summary, losses, number, setting, text
from .console import aligned_time, frame, line, run_size, show_losses, text_table
from .differences import COLUMNS, INTERVALS, difference_row
from .limits import compared_limits
from .tiers import compared_tiers


def show_comparison(
    summaries: Sequence[Summary],
    console: Console,
    overheads_us: Sequence[float | None] | None = None,
) -> None:
    """Print cache, times and differences to the first policy, the best of each column marked.

    A summary may hold `paired`; `overheads_us` is what each policy takes an eviction.
    """
    if not summaries:
        console.print(line("nothing to compare"))
        return
    console.print(line(f"{text(summaries[0], 'trace')}: {run_size(summaries[0])}", "bold"))
    asked = [number(s, "gpu_blocks") or number(s, "usable_blocks") for s in summaries]
    sizes = list(dict.fromkeys(asked))
    for size in sizes:
        rows = [at for at, one in enumerate(asked) if one == size]
        if len(sizes) > 1:
            console.print()
        group = [summaries[at] for at in rows]
        _show_group(group, console)
        if overheads_us is not None:
            console.print()
            console.print(_overheads(group, [overheads_us[at] for at in rows]))
    console.print(line("* best of the column", "dim"))
    if any(_paired(s) for s in summaries):
        console.print(line(INTERVALS, "dim"))
    if overheads_us is not None:
        words = "µs/eviction: processor time above lru's, measured on this machine just now"
        console.print(line(words, "dim"))


def _show_group(group: Sequence[Summary], console: Console) -> None:
    # a policy with room for everything has more blocks than its size says
    least = min(group, key=lambda s: number(s, "usable_blocks") or 0)
    console.print(line(setting(least), "bold"))
    found = [losses(summary) for summary in group]
    if all(one == found[0] for one in found):
        show_losses(group[0], console)
    else:
        for summary in group:
            show_losses(summary, console, f"{text(summary, 'policy')}: ")
    has_goodput = any(number(s, *GOODPUT.keys) is not None for s in group)
    times = (*TIMES[:-1], GOODPUT) if has_goodput else TIMES
    for columns in (CACHE, times):
        console.print()
        console.print(_table(group, columns))
    for compared in (*compared_tiers(group), *compared_limits(group)):
        console.print()
        console.print(text_table(compared))
        console.print(line(compared.note, "dim"))
    if any(_paired(summary) for summary in group):
        console.print()
        console.print(_differences(group))


def _table(group: Sequence[Summary], columns: Sequence[Column]) -> Table:
    table = _policy_table(*(column.header for column in columns))
    best = [column.best_rows(group) for column in columns]
    for at, summary in enumerate(group):
        cells = [
            Text(("* " if at in b else "") + aligned_time(c.text(summary)))
            for c, b in zip(columns, best, strict=True)
        ]
        table.add_row(Text(text(summary, "policy")), *cells)
    return table


def _differences(group: Sequence[Summary]) -> Table:
    table = _policy_table(*COLUMNS)
    for summary in group:
        paired = _paired(summary)
        if paired:
            table.add_row(*map(Text, difference_row(text(summary, "policy"), paired)))
    return table


def _overheads(group: Sequence[Summary], overheads_us: Sequence[float | None]) -> Table:
    table = _policy_table("µs/eviction")
    for summary, value in zip(group, overheads_us, strict=True):
        table.add_row(
            Text(text(summary, "policy")),
            units.DASH if value is None else f"{round(value, 3) + 0.0:.3f}",  # and never -0.000
        )
    return table


def _policy_table(*names: str) -> Table:
    table = frame()
    table.add_column("policy", overflow="fold", min_width=12)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _paired(summary: Summary) -> Mapping[str, Any] | None:
    paired = summary.get("paired")
    return paired if isinstance(paired, Mapping) else None
