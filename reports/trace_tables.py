"""Terminal tables about trace files: the formats, and what the doctor found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from . import units
from .console import frame, line

_STYLES = {"wrong": "bold red", "suspect": "yellow", "note": "", "good": "dim"}


def show_formats(formats: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print the formats: name, whether it can be written, what it is, what can be set."""
    table = frame()
    for title in ("format", "written as", "what, and settings with their defaults"):
        table.add_column(title)
    for known in formats:
        ends = ", ".join(known["extensions"]) or f"--to {known['name']}"
        settings = ", ".join(f"{name}={value}" for name, value in known["settings"].items())
        what = Text(units.plain(str(known["what"])))
        if settings:
            what.append(f"\n{units.plain(settings)}", "dim")
        table.add_row(str(known["name"]), ends if known["written"] else "", what)
    console.print(table)


def show_findings(report: Mapping[str, Any], console: Console) -> None:
    """Print what the doctor found: first what changes results, last what is in order."""
    name = units.plain(str(report["name"]))
    console.print(line(f"{name}: {report['requests']:,} requests, {report['verdict']}", "bold"))
    table = frame()
    for title in ("check", "", "finding"):
        table.add_column(title)
    in_order = []
    for finding in report["findings"]:
        if finding["severity"] == "good":
            in_order.append(str(finding["check"]))
            continue
        _add(table, finding)
    if table.row_count:
        console.print(table)
    if in_order:
        console.print(line(f"in order: {', '.join(in_order)}", "dim"))
    for note in report["notes"]:
        console.print(line(f"note: {units.plain(str(note))}", "dim"))


def _add(table: Table, finding: Mapping[str, Any]) -> None:
    told = Text(units.plain(str(finding["what"])))
    for key, title in (("effect", "effect"), ("remedy", "remedy")):
        if finding[key]:
            told.append(f"\n{title}: ", "dim")
            told.append(units.plain(str(finding[key])))
    severity = str(finding["severity"])
    table.add_row(str(finding["check"]), Text(severity, _STYLES.get(severity, "")), told)
