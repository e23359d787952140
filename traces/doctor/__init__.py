"""What is wrong with a trace file, what it would do to results, and how to put it right.

Works on rows as the file has them, before anything is sorted, dropped or chained. A check is a
function from a `Case` to a `Finding`; this table is the registry, and fixes are applied in its
order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ... import ConfigError
from ..build import build
from ..rows import Rows
from ..schema import Trace
from . import ids, lengths, requests, times
from .case import Case
from .finding import Finding, Report, Severity
from .load import load

__all__ = ["CHECKS", "Case", "Finding", "Report", "Severity", "examine", "fixed", "load"]

CHECKS: dict[str, Callable[[Case], Finding]] = {
    "units": times.units,
    "order": times.order,
    "clock ticks": times.ticks,
    "gaps": times.gaps,
    "rates": times.rates,
    "empty requests": requests.empty,
    "duplicates": requests.duplicates,
    "request ids": requests.names,
    "sessions": requests.sessions,
    "block size": lengths.block_size,
    "partial blocks": lengths.partial_blocks,
    "chained ids": ids.chained,
    "prefix closure": ids.closure,
    "hash width": ids.width,
}


def examine(
    rows: Rows,
    *,
    block_size: int | None = None,
    skip: Sequence[str] = (),
    found: Sequence[Finding] = (),
) -> Report:
    """Run all checks but those in `skip`; `found` is what reading has shown already.

    Raises:
        ConfigError: no check has a name in `skip`.
    """
    for name in skip:
        if name not in CHECKS:
            raise ConfigError(f"--skip must be one of {', '.join(CHECKS)}, got {name!r}")
    case = Case(rows, block_size)
    known = {finding.check for finding in found}
    findings = [check(case) for name, check in CHECKS.items() if name not in {*skip, *known}]
    return Report(
        name=rows.name or rows.paths[0].name,
        requests=len(rows),
        findings=tuple(sorted([*found, *findings], key=lambda finding: finding.severity.rank)),
        notes=rows.notes,
    )


def fixed(rows: Rows, report: Report, *, block_size: int | None = None) -> Trace:
    """Return the trace with every fix of the report applied, ready to be written."""
    by_check = {finding.check: finding for finding in report.findings}
    for name in CHECKS:
        finding = by_check.get(name)
        if finding is not None and finding.fix is not None:
            rows = finding.fix(rows)
    return build(rows, block_size=None if rows.block_size is not None else block_size)
