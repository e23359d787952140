"""A twin's fit and certificate as terminal tables. Knows no simulation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from . import units
from .console import line

QUANTITIES = {
    "input_tokens": "prompt",
    "output_tokens": "output",
    "growth_tokens": "growth",
    "turn_gap_s": "gap, s",
    "think_s": "think, s",
}
"""What a row of quantiles is of: tokens, or seconds where it says so."""
MOST_CHARS = 12


def show_fit(told: Mapping[str, Any], console: Console) -> None:
    """Print what `kvsim trace fit` found, and how close the twin is if that was asked."""
    fit = told["fit"]
    console.print(
        line(
            f"{units.plural(fit['requests'], 'request')}, "
            f"{units.plural(fit['sessions'], 'session')}; families: {fit['families']:,}, "
            f"common paths: {fit['common_paths']:,}",
            "bold",
        )
    )
    rows = [
        [f"{units.plain(kind, MOST_CHARS)} {words}", *map(units.amount, columns[name])]
        for kind, columns in fit["by_category"].items()
        for name, words in QUANTITIES.items()
        if columns.get(name)
    ]
    levels = [f"{100 * level:g} %" for level in fit["levels"]]
    console.print(_table(["tokens", *levels], rows))
    rates = "  ".join(f"{rate:.3g}" for rate in fit["rate_by_tenth_per_s"])
    turns = "  ".join(f"{share:.3f}" for share in fit["continues_after_turn"])
    gap_cv = "none" if fit["gap_cv"] is None else f"{fit['gap_cv']:.2f}"
    if rates:
        console.print(line(f"requests a second by tenth of the time: {rates}"))
    console.print(line(f"next turn follows turn 1, 2, ...: {turns}"))
    console.print(
        line(
            f"gap variation {gap_cv}, dispersion {fit['dispersion_1_s']:.2f} in 1 s and "
            f"{fit['dispersion_60_s']:.2f} in 60 s"
        )
    )
    if "certificate" in told:
        console.print()
        show_certificate(told["certificate"], console)


def show_certificate(found: Mapping[str, Any], console: Console) -> None:
    """Print how close a trace drawn from a twin is to the twin's own."""
    n_trace, n_twin = found["requests"]
    verdict = "holds" if found["holds"] else "DOES NOT HOLD"
    console.print(
        line(f"certificate {verdict}: {units.plural(n_trace, 'request')}, twin {n_twin:,}", "bold")
    )
    console.print(
        _table(
            ["distribution", "KS", "Wasserstein / mean"],
            [
                [row["what"], f"{row['ks']:.4f}", f"{row['wasserstein']:.4f}"]
                for row in found["distances"]
            ],
        )
    )
    console.print(
        _table(
            ["lru hit ratio over sizes", "mean error", "largest"],
            [
                [row["category"], f"{row['mean']:.4f}", f"{row['most']:.4f}"]
                for row in found["curves"]
            ],
        )
    )
    console.print(
        _table(
            [f"TTFT, {found['setting']}", "trace, s", "twin, s", "error", "trace's own scatter"],
            [
                [
                    f"{row['policy']} {row['percentile']}",
                    f"{row['trace_s']:.3f}",
                    f"{row['twin_s']:.3f}",
                    f"{100 * (row['twin_s'] / row['trace_s'] - 1):+.1f} %",
                    f"{100 * (row['low_s'] / row['trace_s'] - 1):+.0f} to "
                    f"{100 * (row['high_s'] / row['trace_s'] - 1):+.0f} %",
                ]
                for row in found["times"]
            ],
        )
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for i, head in enumerate(heads):
        table.add_column(head, justify="right" if i else "left", no_wrap=i > 0)
    for row in rows:
        table.add_row(*row)
    return table
