"""What is in a trace, as tables for a terminal of 80 columns. Knows no statistic's definition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import units
from ..columns import counts, number, text
from ..console import facts_table, line, number_table, share_bar
from .drawing import category_name, span

MOST_TYPES = 12
MOST_TURNS = 6
ALL = "all"
MORE_DEFINITIONS = {
    "of full blocks": "full_blocks",
    "as engines count": "engine_tokens",
    "with outputs": "blocks_with_outputs",
}


def show_description(description: Mapping[str, Any], console: Console) -> None:
    """Print a trace's description, and of its statistics what fits on a screen."""
    d = description
    rate = number(d, "rate_per_s")
    console.print(line(text(d, "name"), "bold"))
    words = f"{units.plural(number(d, 'requests'), 'request')} over "
    words += units.duration(number(d, "duration_s"))
    console.print(line(words + (f", {units.amount(rate)} a second" if rate is not None else "")))
    console.print(line(sessions_in_words(number(d, "sessions"), text(d, "sessions_are"))))
    burst = _burstiness(d)
    if burst:
        console.print(line(burst))
    for reason, n in counts(d, "dropped").items():
        console.print(line(f"! {units.plural(n, 'row')} dropped: {reason}"))
    console.print()
    columns = ("mean", "p50", "p90", "p99", "max", "total")
    table = number_table("tokens", *columns, is_first_name=True)
    for name, key in (("prompt", "input_tokens"), ("output", "output_tokens")):
        values = [number(d, key, column) for column in columns]
        table.add_row(name, units.amount(values[0]), *map(units.count, values[1:]))
    console.print(table)
    _show_types(d, console)
    _show_turns(d, console)
    _show_reuse(d, console)
    _show_categories(d, console)
    _show_lru(d, console)
    _show_capacity(d, console)


def sessions_in_words(n: float | None, are: str) -> str:
    """Say how many sessions there are, and who says so."""
    origin = {"given": "as the file names them", "inferred": "inferred from shared prefixes"}
    if are not in origin:
        return "no sessions: the file names none, nor has ids to infer them from"
    return f"{units.plural(n, 'session')}, {origin[are]}"


def _burstiness(d: Mapping[str, Any]) -> str | None:
    """Say how much more counts vary than a Poisson process's: at the ends and near a minute."""
    arrivals = d.get("arrivals")
    if not isinstance(arrivals, Mapping):
        return None
    scale_s, dispersion = arrivals["scale_s"], arrivals["dispersion"]
    at = min(range(len(scale_s)), key=lambda i: abs(scale_s[i] - 60))
    chosen = sorted({0, at, len(scale_s) - 1})
    times = ", ".join(units.amount(dispersion[i]) for i in chosen)
    over = ", ".join(units.seconds(scale_s[i]) for i in chosen)
    cv = number(arrivals, "gap_cv")
    gaps = f"; gaps have a CV of {units.amount(cv)}" if cv is not None else ""
    return f"counts over {over} vary {times} times as much as Poisson's{gaps}"


def _show_types(d: Mapping[str, Any], console: Console) -> None:
    """Print requests, ideal hits and reuse times of each type, the largest first."""
    n_of = {name: number(d.get("requests_per_category", {}), name) or 0 for name in _names(d)}
    if len(n_of) < 2:
        return
    hit = _by_type(d, "hits", "ratio")
    p50 = _by_type(d, "reuse_times", "p50_s")
    later = _by_type(d, "turns", "later_share")
    total = sum(n_of.values())
    table = number_table(
        "type", "requests", "share", "later turns", "ideal hit", "reuse p50", is_first_name=True
    )
    shown = sorted(n_of, key=lambda name: -n_of[name])[:MOST_TYPES]
    for name in shown:
        table.add_row(
            Text(units.plain(name, 24)),
            units.count(n_of[name]),
            units.percent(n_of[name] / total if total else None),
            units.percent(later.get(name)),
            units.percent(hit.get(name)),
            units.seconds(p50.get(name)),
        )
    console.print()
    console.print(table)
    if len(shown) < len(n_of):
        console.print(line(f"the {len(shown)} largest of {len(n_of)} types", "dim"))


def _show_turns(d: Mapping[str, Any], console: Console) -> None:
    """Print how many requests each turn has; the sixth and later turns together."""
    table = d.get("requests_per_turn")
    if not isinstance(table, Mapping) or len(table) < 2:
        return
    n_of = {str(name): number(table, name) or 0 for name in table}
    if len(n_of) > MOST_TURNS:
        late = list(n_of)[MOST_TURNS - 1 :]
        first = {name: n_of[name] for name in list(n_of)[: MOST_TURNS - 1]}
        n_of = {**first, f"{MOST_TURNS}+": sum(n_of[name] for name in late)}
    total = sum(n_of.values())
    rows = number_table("turn", "requests", "share", is_first_name=True)
    rows.add_column(no_wrap=True)
    for name, count in n_of.items():
        share = count / total if total else None
        rows.add_row(Text(name), units.count(count), units.percent(share), Text(share_bar(share)))
    console.print()
    console.print(rows)
    of_first, of_later = (number(d, "turns", f"next_turn_{when}") for when in ("first", "later"))
    if of_first is not None:
        words = f"continued: {units.percent(of_first)} of first turns"
        words += f", {units.percent(of_later)} of later ones" if of_later is not None else ""
        words += f"; half within {units.seconds(number(d, 'turns', 'gap_p50_s'))}"
        console.print(line(words, "dim"))


def _show_reuse(d: Mapping[str, Any], console: Console) -> None:
    console.print()
    if not number(d, "block_accesses"):
        console.print(line("no block ids: nothing is known of reuse", "dim"))
        return
    table = facts_table("reuse")
    size = units.plural(number(d, "block_size"), "token")
    table.add_row("block accesses", units.count(number(d, "block_accesses")), f"blocks of {size}")
    table.add_row("unique blocks", units.count(number(d, "unique_blocks")), "")
    for name, key in (("blocks", "ideal_hit_ratio_blocks"), ("tokens", "ideal_hit_ratio_tokens")):
        ratio = number(d, key)
        table.add_row(f"ideal hit ratio, {name}", units.percent(ratio), share_bar(ratio))
    for name, key in MORE_DEFINITIONS.items():
        ratio = number(d, "hits", "by_definition", key)
        if ratio is not None:
            table.add_row(f"  {name}", units.percent(ratio), share_bar(ratio))
    within = number(d, "hits", "within_share")
    if within is not None:
        table.add_row("hits within sessions", units.percent(within), share_bar(within))
    top = number(d, "skew", "top_tenth")
    if top is not None:
        table.add_row("reuses of 10 % of blocks", units.percent(top), share_bar(top))
    _add_positions(d, table)
    times = [_first(d, "reuse_times", key) for key in ("p50_s", "p90_s")]
    if times[0] is not None:
        table.add_row("reuse time, p50", units.seconds(times[0]), f"p90 {units.seconds(times[1])}")
        lives = [_first(d, "lifespans", key) for key in ("p90_s", "p90_expected_s")]
        longer = (
            f"{units.seconds(lives[1])} allowing for the trace's end"
            if lives[1] is not None
            else "the trace is too short to say how much longer"
        )
        table.add_row("lifespan, p90", units.seconds(lives[0]), longer)
    live, distinct = number(d, "working_set", "peak_live"), number(d, "unique_blocks")
    if live is not None and distinct:
        table.add_row(
            "live at once", units.count(live), f"blocks at most: {units.percent(live / distinct)}"
        )
    _add_working_set(d, table)
    console.print(table)


def _add_positions(d: Mapping[str, Any], table: Table) -> None:
    """Say how much less the tails of prompts hit than their heads."""
    hits = _first(d, "locality", "hit")
    if isinstance(hits, Sequence) and hits and None not in hits:
        half = len(hits) // 2
        told = f"at half {units.percent(hits[half])}, at the end {units.percent(hits[-1])}"
        table.add_row("hit at a prompt's start", units.percent(hits[0]), told)


def _add_working_set(d: Mapping[str, Any], table: Table) -> None:
    """Say the most distinct blocks used in each window."""
    found = d.get("working_set")
    if isinstance(found, Mapping):
        for window_s, blocks in zip(found["window_s"], found["blocks"], strict=True):
            name = f"used in {span(window_s)}"
            table.add_row(name, units.count(max(blocks)), "distinct blocks at most")


def _show_categories(d: Mapping[str, Any], console: Console) -> None:
    """Print what each category's reuse is like, and how well exponentials describe it."""
    fits = d.get("fits")
    if not isinstance(fits, Sequence) or not fits:
        return
    turns = d.get("turns")
    goes_on = (
        dict(zip(turns["categories"], turns["next_turn"], strict=True))
        if isinstance(turns, Mapping)
        else {}
    )
    shown = sorted(fits, key=lambda fit: -fit["n_blocks"])[:MOST_TYPES]
    table = number_table(
        *("category", "next turn", "reused", "mean", "KS", "R²", "KS of 2", "R² of 2", "drift"),
        is_first_name=True,
    )
    for fit in shown:
        one, two = fit["exponential"], fit["mixture"]
        table.add_row(
            Text(units.plain(category_name(fit["category"]), 16)),
            units.percent(goes_on.get(fit["category"])),
            units.percent(sum(one["weight"])),
            units.seconds(one["mean_s"][0]),
            *(_ratio(fitted[key]) for fitted in (one, two) for key in ("ks", "r2")),
            _ratio(fit["drift"]),
        )
    console.print()
    console.print(table)
    told = "reuse times as 1 and as 2 exponentials; drift: from the first half to the second"
    console.print(line(told, "dim"))
    if len(shown) < len(fits):
        console.print(line(f"the {len(shown)} most reused of {len(fits)} categories", "dim"))


def _ratio(value: float | None) -> str:
    return units.DASH if units.defined(value) is None else f"{value:.2f}"


def _show_capacity(d: Mapping[str, Any], console: Console) -> None:
    """Print the KV memory that the ideal hit ratio takes, by model."""
    rows = d.get("capacity")
    if not isinstance(rows, Sequence) or not number(d, "working_set", "peak_live"):
        return
    table = number_table(
        *("model", "live at once", "KV memory", "GPUs", "instances", "of these", "of one"),
        is_first_name=True,
    )
    for row in rows:
        table.add_row(
            Text(units.plain(row["model"], 24)),
            units.gibibytes(row["peak_live_gib"] * 2**30),
            units.gibibytes(row["kv_gib"] * 2**30),
            units.count(row["gpus"]),
            units.count(row["instances"]),
            f"{row['times_kv_memory']:.2f} x",
            f"{row['times_one_instance']:.2f} x",
        )
    console.print()
    console.print(table)
    told = "KV of live blocks, over the KV memory of the fewest H100 instances and of one"
    console.print(line(told, "dim"))


def _show_lru(d: Mapping[str, Any], console: Console) -> None:
    """Print the hit ratio of LRU at the capacities of published tables."""
    ratios = d.get("curves")
    row = ratios.get("lru_at_share") if isinstance(ratios, Mapping) else None
    if not isinstance(row, Mapping):
        return
    table = number_table(
        "capacity, of unique", *(f"{share} %" for share in row), is_first_name=True
    )
    table.add_row("LRU hit ratio", *(units.percent(number(row, share)) for share in row))
    console.print()
    console.print(table)


def _names(d: Mapping[str, Any]) -> list[str]:
    names = d.get("requests_per_category")
    return list(names) if isinstance(names, Mapping) else []


def _by_type(d: Mapping[str, Any], subject: str, key: str) -> dict[str, float | None]:
    table = d.get(subject)
    if not isinstance(table, Mapping) or not isinstance(table.get(key), Sequence):
        return {}
    return dict(zip(table["types"], table[key], strict=True)) if "types" in table else {}


def _first(d: Mapping[str, Any], subject: str, key: str) -> float | None:
    """Return the value of all types together, which comes first."""
    table = d.get(subject)
    values = table.get(key) if isinstance(table, Mapping) else None
    return values[0] if isinstance(values, Sequence) and values else None
