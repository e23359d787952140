"""Numbers as people read them: units, separators, a dash for what is undefined. Knows no layout."""

from __future__ import annotations

import math

DASH = "\N{EN DASH}"
"""Stands for a value that is undefined."""


def percent(fraction: float | None) -> str:
    """Write a share in [0, 1]: 0.3664 is '36.64 %'."""
    share = defined(fraction)
    return DASH if share is None else f"{100 * share:.2f} %"


def points(fraction: float | None) -> str:
    """Write a difference of two shares in percentage points: 0.0456 is '4.56 pp'."""
    share = defined(fraction)
    if share is None:
        return DASH
    return f"{round(100 * share, 2) + 0.0:.2f} pp"


def count(number: float | None) -> str:
    """Write a whole number: 12031 is '12,031'."""
    whole = defined(number)
    return DASH if whole is None else f"{whole:,.0f}"


def amount(number: float | None) -> str:
    """Write a quantity to three digits or, from 100 on, to ones: '1.23', '12,345'."""
    value = defined(number)
    if value is None:
        return DASH
    return f"{value:,.0f}" if abs(value) >= 99.95 else _three_digits(value)


def score(number: float | None) -> str:
    """Write a number of any size to three digits: '0.0123', '4.1e-07', '5230'."""
    value = defined(number)
    return DASH if value is None else f"{value:.0f}" if 999 < abs(value) < 1e6 else f"{value:.3g}"


def seconds(time_s: float | None) -> str:
    """Write a time to three digits: '52.1 ms', '1.23 s', '1,234 s'."""
    value_s = defined(time_s)
    if value_s is None:
        return DASH
    size = abs(value_s)
    if size == 0:
        return "0 s"
    if size < 999.5e-6:
        return f"{_three_digits(value_s * 1e6)} µs"
    if size < 999.5e-3:
        return f"{_three_digits(value_s * 1e3)} ms"
    return f"{amount(value_s)} s"


def duration(time_s: float | None) -> str:
    """Write a stretch of time in words: '1 h 0 min', '12 min 30 s', '4.20 s'."""
    value_s = defined(time_s)
    if value_s is None or value_s < 120:
        return seconds(value_s)
    whole = round(value_s)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{count(whole // 3600)} h {whole % 3600 // 60} min"


def gibibytes(n_bytes: float | None) -> str:
    """Write a size: 5368709120 is '5.00 GiB'."""
    size = defined(n_bytes)
    return DASH if size is None else f"{amount(size / 2**30)} GiB"


def plural(number: float | None, noun: str) -> str:
    """Write a count with its noun: '1 instance', '2 instances'."""
    return f"{count(number)} {noun}" if number == 1 else f"{count(number)} {noun}s"


def plain(text: object, max_chars: int = 200) -> str:
    """Return text from data as one printable line of at most `max_chars` characters."""
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))
    return line if len(line) <= max_chars else line[: max_chars - 1] + "…"


def defined(number: float | None) -> float | None:
    """Return the number, or None if it is NaN or infinite."""
    return number if number is not None and math.isfinite(number) else None


def _three_digits(number: float) -> str:
    """Write a number of which less than 999.5 is left after rounding to three digits."""
    size = abs(number)
    digits = 0 if size >= 99.95 else 1 if size >= 9.995 else 2
    return f"{number:.{digits}f}"
