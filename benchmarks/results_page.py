"""Write docs/results.md: every policy at five cache sizes on real traces, beside the optimum.

    python benchmarks/results_page.py [--data DATA] [--workers N]

Cache-only replay in file order: each request is looked up, placed at once and released. Between the
markers of the page, all is generated; what stands outside them is kept.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from run import DATA

from kvsim.policies import POLICIES, find_policy
from kvsim.studies.mrc import miss_ratio_curve
from kvsim.traces.compiled import load_compiled
from kvsim.traces.sample import sample_path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "results.md"
BEGIN, END = "<!-- generated: begin -->\n", "<!-- generated: end -->\n"
SHARES = (0.01, 0.02, 0.05, 0.1, 0.25)
"""Cache sizes, as shares of the distinct blocks."""
NEED_A_QUEUE = {"kvflow", "peek", "queue-informed-lru"}
"""Look at waiting requests: nobody waits in a cache-only replay, and so they are lru."""


YARDSTICKS = ("infinite", "optimum")


class Case(NamedTuple):
    """A trace and how much of it."""

    title: str
    path: Path
    block_size: int
    trace_block_size: int | None
    n_requests: int | None
    overlaps: bool = False
    """Whether all sessions begin at time 0, each with its own gaps, not one after the other."""


def cases(data: Path) -> list[Case]:
    """The traces that are there."""
    chat = data / "mooncake/conversation_trace.jsonl.gz"
    agents = data / "lmcache-agents/miniswe_blk16_cl100k.jsonl.gz"
    coding = data / "weka-claude-code/sessions.jsonl.gz"
    found = [
        Case("Chat: mooncake/conversation", chat, 512, None, None),
        Case("Software agents, one after the other: lmcache/miniswe", agents, 16, 16, None),
        Case("The same agents, all at once", agents, 16, 16, None, overlaps=True),
        Case("Coding sessions: weka/claude-code", coding, 64, None, None),
    ]
    there = [case for case in found if case.path.exists()]
    return there or [Case("The sample that kvsim ships", sample_path(), 512, None, None)]


def row(task: tuple[Case, str]) -> list[float]:
    """Hit ratio of one policy (or "optimum") at each size."""
    case, policy = task
    compiled, capacities = loaded(case)
    names = [] if policy in ("lru", "optimum") else [policy]
    table = miss_ratio_curve(compiled, capacities, names)
    return [ratio for _, ratio in table[policy]]


def all_at_once(path: Path, folder: str) -> Path:
    """Write a trace whose sessions all begin at time 0."""
    with gzip.open(path, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    start: dict[str, float] = {}
    for row in rows:
        row["timestamp"] -= start.setdefault(row["session"], row["timestamp"])
    rows.sort(key=lambda row: row["timestamp"])
    out = Path(folder) / f"{path.name.partition('.')[0]}.jsonl"
    out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return out


def loaded(case: Case):
    with tempfile.TemporaryDirectory() as folder:
        path = all_at_once(case.path, folder) if case.overlaps else case.path
        compiled = load_compiled(
            [path],
            block_size=case.block_size,
            trace_block_size=case.trace_block_size,
            partial_blocks=True,
        )
    if case.n_requests is not None:
        compiled = compiled.head(case.n_requests)
    n_blocks = compiled.tree.n_keys
    return compiled, [max(1, round(share * n_blocks)) for share in SHARES]


def section(case: Case, pool: ProcessPoolExecutor) -> Iterator[str]:
    """One trace's table and what it says."""
    compiled, capacities = loaded(case)
    names = [
        name
        for name in POLICIES
        if name not in NEED_A_QUEUE and find_policy(name).kind() == "online"
    ]
    ratios = dict(
        zip(
            [*YARDSTICKS, *names],
            pool.map(row, [(case, name) for name in [*YARDSTICKS, *names]]),
            strict=True,
        )
    )
    infinite, optimum = (ratios.pop(name) for name in YARDSTICKS)
    mean = {name: sum(values) / len(values) for name, values in ratios.items()}
    best = [max(values[k] for values in ratios.values()) for k in range(len(SHARES))]
    yield f"## {case.title}\n\n"
    yield (
        f"{len(compiled.trace):,} requests, {compiled.tree.n_keys:,} distinct blocks of"
        f" {case.block_size} tokens. Hit ratio in per cent of all blocks of all prompts; regret is"
        " the mean distance to the optimum, in points.\n\n"
    )
    yield "| policy | " + " | ".join(f"{c:,} blocks" for c in capacities) + " | regret |\n"
    yield "|---|" + "---:|" * (len(capacities) + 1) + "\n"
    yield "| *infinite* | " + " | ".join(f"*{100 * r:.2f}*" for r in infinite) + " | |\n"
    yield "| *optimum* | " + " | ".join(f"*{100 * r:.2f}*" for r in optimum) + " | |\n"
    mean_optimum = sum(optimum) / len(optimum)
    for name in sorted(ratios, key=lambda name: (-mean[name], name)):
        cells = [
            f"**{100 * r:.2f}**" if r == best[k] else f"{100 * r:.2f}"
            for k, r in enumerate(ratios[name])
        ]
        shown = f"**`{name}`**" if name == "lru" else f"`{name}`"
        regret = 100 * (mean_optimum - mean[name])
        yield f"| {shown} | {' | '.join(cells)} | {regret:.2f} |\n"
    lru = ratios["lru"]
    worse = [sum(values[k] < lru[k] for values in ratios.values()) for k in range(len(capacities))]
    told = ", ".join(f"{n} at {100 * share:g} %" for n, share in zip(worse, SHARES, strict=True))
    yield f"\nOf {len(ratios) - 1} other policies, so many do worse than lru: {told}.\n\n"


def main() -> None:
    """Replace the generated part of the page."""
    parser = argparse.ArgumentParser(description="Write docs/results.md.")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the public traces")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with ProcessPoolExecutor(options.workers) as pool:
        text = "".join("".join(section(case, pool)) for case in cases(options.data))
    page = PAGE.read_text() if PAGE.exists() else f"# Results\n\n{BEGIN}{END}"
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + text + END + after)


if __name__ == "__main__":
    main()
