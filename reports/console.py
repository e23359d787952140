"""Pieces of terminal output: frames, bars, aligned times, lines every table of runs needs."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from . import units
from .columns import Summary, losses, number
from .misses import TextTable

BAR_CELLS = 20
EIGHTHS = " ▏▎▍▌▋▊▉"


def frame() -> Table:
    """Return an empty table with a rule below its head."""
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))


def number_table(first: str, *others: str, is_first_name: bool = False) -> Table:
    """Return a table of numbers, named in the first column if asked."""
    table = frame()
    table.add_column(Text(first), justify="left" if is_first_name else "right", no_wrap=True)
    for name in others:
        table.add_column(Text(name), justify="right", no_wrap=True)
    return table


def facts_table(title: str) -> Table:
    """Return a table of one number a row, with its name and its unit or meaning."""
    table = number_table(title, "", is_first_name=True)
    table.add_column(overflow="fold")
    return table


def text_table(content: TextTable) -> Table:
    """Return a table of text; its title stands for the first column's name."""
    is_last = len(content.columns) - 1
    table = frame()
    for at, name in enumerate(content.columns):
        is_left = at == 0 or (at == is_last and content.has_words)
        title = content.title.lower() if at == 0 and content.has_words else name
        table.add_column(Text(title), justify="left" if is_left else "right", overflow="fold")
    for row in content.rows:
        table.add_row(*(Text(aligned_time(cell)) for cell in row))
    return table


def aligned_time(value: float | str | None) -> str:
    """Write a time so that digits align whatever the unit: 's' as wide as 'ms'."""
    written = value if isinstance(value, str) else units.seconds(value)
    return f"{written} " if written.endswith(" s") else written


def share_bar(share: float | None, further: float | None = None) -> str:
    """Draw a share of `BAR_CELLS` cells to an eighth of a cell, and what lies beyond it."""
    eighths = round(8 * BAR_CELLS * min(max(units.defined(share) or 0.0, 0.0), 1.0))
    bar = "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()
    end = round(BAR_CELLS * min(max(units.defined(further) or 0.0, 0.0), 1.0))
    return bar.ljust(end, "░").ljust(BAR_CELLS, "·")


def run_size(summary: Summary) -> str:
    """Say how many requests were served in what time."""
    requests = units.plural(number(summary, "requests"), "request")
    return f"{requests} in {units.duration(number(summary, 'duration_s'))}"


def show_losses(summary: Summary, console: Console, prefix: str = "") -> None:
    """Print what of the trace was not served."""
    for words in losses(summary):
        console.print(line(f"! {prefix}{words}", "bold"))


def line(words: str, style: str = "") -> Text:
    return Text(words, style=style, overflow="fold")
