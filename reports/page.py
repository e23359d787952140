"""The page of a run or a comparison: words and tables around the figures. Knows no file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from . import units
from .columns import CACHE, GOODPUT, TIMES, losses, number, setting, text
from .differences import difference_table
from .document import document, grid, text_of
from .limits import limit_tables
from .misses import TextTable, miss_tables
from .run_files import Run
from .style import Figure
from .tiers import tier_tables


def make_page(
    runs: Sequence[Run], sections: Mapping[str, Sequence[Figure]], *, plotly_js: str
) -> str:
    """Return the whole page, a heading a section; the same arguments give the same text."""
    figures = [figure for section in sections.values() for figure in section]
    names = [run.label for run in runs]
    title = (
        f"{' against '.join(names) if len(names) < 4 else f'{len(names)} runs'} on {_trace(runs)}"
    )
    body = [
        f"<h1>{text_of(title)}</h1>",
        *(f"<p>{text_of(words)}</p>" for words in _lead(runs)),
        *(f'<p class="loss">{text_of(words)}</p>' for words in _all_losses(runs)),
        "<h2>Policies</h2>",
        _policy_table(runs),
        *_differences(runs),
        *_tables(runs),
        *(f"<h2>{text_of(name)}</h2>{grid(section)}" for name, section in sections.items()),
        "<h2>Configuration and provenance</h2>",
        *_provenance(runs),
    ]
    return document(title, body, figures, plotly_js=plotly_js)


def _lead(runs: Sequence[Run]) -> list[str]:
    """Say what was replayed on what, and what came out."""
    first = runs[0].summary
    profile = runs[0].manifest.get("profile")
    timed = text(profile, "name") if isinstance(profile, dict) else "?"
    what = (
        f"{units.plural(number(first, 'requests'), 'request')} of {_trace(runs)}, replayed on"
        f" {setting(first)}; step times from profile {timed};"
        f" {units.duration(number(first, 'duration_s'))} of simulated time."
    )
    if len(runs) == 1:
        return [what, _verdict(runs[0])]
    known = [run for run in runs if number(run.summary, "hit_ratio_tokens") is not None]
    if not known:
        return [what]
    best = max(known, key=lambda run: number(run.summary, "hit_ratio_tokens") or 0.0)
    return [what, f"Highest hit ratio: {_verdict(best)}"]


def _verdict(run: Run) -> str:
    hit, bound, regret = (
        number(run.summary, key)
        for key in ("hit_ratio_tokens", "bound_hit_ratio_tokens", "regret_tokens")
    )
    if hit is None:
        return f"{units.plain(run.label)} looked nothing up."
    words = (
        f"{units.plain(run.label)} took {units.percent(hit)} of the prompt tokens from the cache"
    )
    if bound is None or regret is None:
        return f"{words}."
    return (
        f"{words}; no policy could have taken more than {units.percent(bound)} on the same"
        f" admissions, so {units.points(regret)} (percentage points) are left."
    )


def _all_losses(runs: Sequence[Run]) -> list[str]:
    """Say what was not served: once if it is the same for all runs."""
    lines = [losses(run.summary) for run in runs]
    if all(found == lines[0] for found in lines):
        return [f"{words}." for words in lines[0]]
    return [f"{r.label}: {w}." for r, found in zip(runs, lines, strict=True) for w in found]


def _policy_table(runs: Sequence[Run]) -> str:
    has_goodput = any(number(run.summary, *GOODPUT.keys) is not None for run in runs)
    columns = CACHE[:3] + TIMES + ((GOODPUT,) if has_goodput else ()) + CACHE[3:]
    head = "".join(f"<th>{text_of(c.header)}</th>" for c in columns)
    best = [c.best_rows([run.summary for run in runs]) for c in columns]
    rows = []
    for at, run in enumerate(runs):
        cells = "".join(
            f'<td class="{_mark(at, rows_best)}">{text_of(c.text(run.summary))}</td>'
            for c, rows_best in zip(columns, best, strict=True)
        )
        rows.append(f"<tr><td>{text_of(run.label)}</td>{cells}</tr>")
    note = (
        "Hit ratio: prompt tokens found in the cache at first admission. Optimum: the most that any"
        " policy could have hit, for the same admissions in the same order. Regret: optimum minus"
        " hit ratio, in percentage points (pp). tokens/s: output tokens."
    )
    if has_goodput:
        note += " goodput/s: requests a second within the limits on TTFT and TPOT."
    if any(best):
        note += " ★ best of the column."
    return (
        f'<div class="scroll"><table><thead><tr><th>policy</th>{head}</tr></thead>'
        f'<tbody>{"".join(rows)}</tbody></table></div><p class="note">{note}</p>'
    )


def _differences(runs: Sequence[Run]) -> list[str]:
    """Say how sure the differences between the runs of a comparison are."""
    table = difference_table([run.label for run in runs], [run.paired for run in runs])
    return [] if table is None else [_text_table(table, table.title)]


def _tables(runs: Sequence[Run]) -> list[str]:
    """Say for each run what its tiers served and, if it was asked, why its look-ups missed."""
    return [
        _text_table(table, table.title if len(runs) == 1 else f"{table.title}: {run.label}")
        for run in runs
        for table in (
            *tier_tables(run.summary),
            *limit_tables(run.summary),
            *miss_tables(run.summary),
        )
    ]


def _text_table(table: TextTable, title: str) -> str:
    head = "".join(f"<th>{text_of(name)}</th>" for name in table.columns)
    rows = (
        f"<tr>{''.join(f'<td>{text_of(cell)}</td>' for cell in row)}</tr>" for row in table.rows
    )
    return (
        f'<h2>{text_of(title)}</h2><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        f'<p class="note">{text_of(table.note)}</p>'
    )


def _mark(row: int, best: set[int]) -> str:
    """Return the class of a cell: the best, beside the best, or in a column without."""
    return "best" if row in best else "even" if best else "plain"


def _provenance(runs: Sequence[Run]) -> list[str]:
    """List the manifests: first what all runs share, then what differs."""
    facts = [_flat(run.manifest) for run in runs]
    keys = list(dict.fromkeys(key for found in facts for key in found))
    shared = [key for key in keys if len({found.get(key, units.DASH) for found in facts}) == 1]
    differing = [key for key in keys if key not in shared]
    parts = [_facts_table([(key, [facts[0][key]]) for key in shared])]
    if differing:
        head = "".join(f"<th>{text_of(run.label)}</th>" for run in runs)
        rows = [(key, [found.get(key, units.DASH) for found in facts]) for key in differing]
        parts += ["<p>What differs between the runs:</p>", _facts_table(rows, head)]
    return parts


def _facts_table(rows: Sequence[tuple[str, list[str]]], head: str = "") -> str:
    lines = [
        f"<tr><td>{text_of(key)}</td>{''.join(f'<td>{text_of(v)}</td>' for v in values)}</tr>"
        for key, values in rows
    ]
    thead = f"<thead><tr><th></th>{head}</tr></thead>" if head else ""
    body = f"<tbody>{''.join(lines)}</tbody>"
    return f'<div class="scroll"><table class="facts">{thead}{body}</table></div>'


def _flat(table: dict[str, Any], above: str = "") -> dict[str, str]:
    """Return nested settings as dotted names and text."""
    flat: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{above}{key}.")
        else:
            flat[f"{above}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return flat


def _trace(runs: Sequence[Run]) -> str:
    return text(runs[0].summary, "trace")
