"""The figure of where the regret lies: by category, turn and depth. Knows no HTML and no file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import units
from .columns import number
from .run_files import REGRETS, Run
from .style import Figure, axis, escape, layout, look

TIERS = "regret_by_tier"
MAX_NAMES = 12
"""Names of one split in the figure: those with the largest regret, either way."""
TALL = 480
"""Height of a figure with upright names, px."""
MANY_NAMES = 8
"""Names below the axis for which the figure takes the whole width."""


def regret_figure(runs: Sequence[Run]) -> Figure:
    """Draw the parts of each run's regret, a bar a part, in percentage points."""
    keys = [key for key in REGRETS if key != TIERS or any(_has_tiers(run) for run in runs)]
    names = [(key, name) for key in keys for name in _names(runs, key)]
    data = []
    for at, run in enumerate(runs):
        rows = {(key, str(row["name"])): row for key in keys for row in run.summary.get(key, [])}
        found = [rows.get(name, {}) for name in names]
        parts = [units.defined(number(row, "regret_tokens")) for row in found]
        data.append(
            {
                "type": "bar",
                "name": escape(run.label),
                "x": [
                    [key.rpartition("_")[2] for key, _ in names],
                    [escape(units.plain(name, 18)) for _, name in names],
                ],
                "y": [None if part is None else round(100 * part, 4) for part in parts],
                "hovertext": [
                    _hover(run, name, row) for (_, name), row in zip(names, found, strict=True)
                ],
                "hoverinfo": "text",
                "marker": look(at).bar,
            }
        )
    is_wide = len(names) > MANY_NAMES
    # slanted names would cross the lines between the splits and run out of the figure
    upright = {"tickangle": 90} if is_wide else {}
    return Figure(
        key="regret",
        title="Where the regret lies",
        caption=(
            "Hits that the optimum has on the same admissions and the run has not, by kind of"
            " request, by turn and by distance from the start of the prompt in blocks, and by tier"
            " if there are several; each split adds up to the regret. Below zero the optimum gives"
            " up hits to win more elsewhere."
        ),
        data=data if names else [],
        layout=layout(
            x={**axis(""), "type": "multicategory", "showgrid": False} | upright,
            y=axis("regret, pp of all prompt tokens"),
            barmode="group",
            showlegend=len(runs) > 1,
            **({"height": TALL} if is_wide else {}),
        ),
        is_wide=is_wide,
    )


def _has_tiers(run: Run) -> bool:
    return len(run.summary.get(TIERS, [])) > 1


def _names(runs: Sequence[Run], key: str) -> list[str]:
    """Return the names of a split in the order of the runs, the largest alone if too many."""
    weight: dict[str, float] = {}
    for run in runs:
        for row in run.summary.get(key, []):
            part = abs(number(row, "regret_tokens") or 0.0)
            weight[str(row["name"])] = max(weight.get(str(row["name"]), 0.0), part)
    largest = set(sorted(weight, key=lambda name: (-weight[name], name))[:MAX_NAMES])
    return [name for name in weight if name in largest]


def _hover(run: Run, name: str, row: dict[str, Any]) -> str:
    return (
        f"{escape(run.label)}: {escape(name)}"
        f"<br>regret {units.points(number(row, 'regret_tokens'))}"
        f"<br>hit {units.count(number(row, 'hit_tokens'))},"
        f" optimum {units.count(number(row, 'bound_tokens'))}"
        f" of {units.count(number(row, 'lookup_tokens'))} prompt tokens"
    )
