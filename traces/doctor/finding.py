"""What a check found, and all findings together. Knows no check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ..rows import Rows


class Severity(StrEnum):
    """How much a finding matters."""

    WRONG = "wrong"
    """Results would be wrong."""
    SUSPECT = "suspect"
    """Results would differ if it is the mistake it looks like."""
    NOTE = "note"
    """Something to know; kvsim handles it."""
    GOOD = "good"
    """In order."""

    @property
    def rank(self) -> int:
        """Place from worst to best."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of one check."""

    check: str
    severity: Severity
    what: str
    """What was seen, with numbers and an example's file and line."""
    effect: str = ""
    """What it does to results."""
    remedy: str = ""
    """How to put it right."""
    fix: Callable[[Rows], Rows] | None = None
    """What --fix does."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "check": self.check,
            "severity": self.severity.value,
            "what": self.what,
            "effect": self.effect,
            "remedy": self.remedy,
            "has_fix": self.fix is not None,
        }


def counted(n: int, noun: str) -> str:
    """Write a number of things: '1 row', '1,200 rows'."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def good(check: str, what: str = "") -> Finding:
    """Return the finding that all is in order."""
    return Finding(check=check, severity=Severity.GOOD, what=what)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All findings about one trace, worst first."""

    name: str
    requests: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def changes_results(self) -> bool:
        """Whether anything is wrong or suspect."""
        return any(finding.severity.rank < Severity.NOTE.rank for finding in self.findings)

    @property
    def unfixable(self) -> list[str]:
        """Checks whose findings change results and stay in what --fix writes."""
        return [
            finding.check
            for finding in self.findings
            if finding.severity.rank < Severity.NOTE.rank and finding.fix is None
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        counts = {
            severity.value: sum(finding.severity is severity for finding in self.findings)
            for severity in Severity
        }
        told = ", ".join(
            counted(n, name) if name == "note" else f"{n} {name}"
            for name, n in counts.items()
            if n and name != "good"
        )
        return {
            "name": self.name,
            "requests": self.requests,
            "changes_results": self.changes_results,
            "unfixable": self.unfixable,
            "verdict": told or "nothing to remark",
            "findings": [finding.to_dict() for finding in self.findings],
            "notes": list(self.notes),
        }
