"""Checks of the number of ids against lengths: block size, partial last blocks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..chain import known_prefixes
from ..gather import gather
from ..rows import Rows
from .case import Case
from .finding import Finding, Severity, counted, good


def block_size(case: Case) -> Finding:
    """Does the block size explain how many ids each request has?"""
    if not case.has_ids:
        return Finding(
            check="block size",
            severity=Severity.NOTE,
            what="no request has block ids",
            effect="nothing can hit: only load and lengths are simulated",
            remedy="none in this file",
        )
    tokens, n_ids = case.named_tokens, case.n_ids
    best = case.block_size
    size = case.told_block_size or best
    fits, fits_best = case.fits(size), case.fits(best)
    if best != size:
        return Finding(
            check="block size",
            severity=Severity.WRONG,
            what=f"blocks of {size} tokens explain {fits.mean():.0%} of requests, blocks of {best} "
            f"{fits_best.mean():.0%} ({case.where(int(np.argmin(fits)))})",
            effect=_misjudged(size, best),
            remedy=f"--trace-block-size {best}, or --fix",
            fix=lambda rows: replace(_cut(rows, best), block_size=best),
        )
    bad = np.flatnonzero(~fits)
    if not len(bad):
        return good("block size", f"{size} tokens")
    most = -(-tokens // size)
    n_over, i = int((n_ids > most).sum()), int(bad[0])
    return Finding(
        check="block size",
        severity=Severity.WRONG if n_over else Severity.NOTE,
        what=f"{counted(len(bad), 'request')} with another number of ids than {size}-token blocks "
        f"give, {n_over:,} of them more ({case.where(i)}: {n_ids[i]} ids for {tokens[i]} tokens)",
        effect="the file is refused" if n_over else "tokens beyond the ids count as never shared",
        remedy="--fix cuts surplus ids" if n_over else "none needed",
        fix=(lambda rows: replace(_cut(rows, size), block_size=size)) if n_over else None,
    )


def _misjudged(size: int, best: int) -> str:
    if size > best:
        return "requests have more ids than blocks: the file is refused"
    return f"only 1/{best / size:g} of each prompt counts as covered, so hits are missed"


def _cut(rows: Rows, size: int) -> Rows:
    """Leave out ids beyond what a request's tokens need."""
    tokens = Case(rows).named_tokens
    n_ids = np.minimum(np.diff(rows.block_offsets), -(-tokens // size))
    offsets = np.concatenate([[0], np.cumsum(n_ids)])
    index = np.arange(offsets[-1]) + np.repeat(rows.block_offsets[:-1] - offsets[:-1], n_ids)
    covered = rows.covered_tokens
    return replace(
        rows,
        block_ids=rows.block_ids[index],
        block_offsets=offsets,
        covered_tokens=None if covered is None else np.minimum(covered, n_ids * size),
    )


def partial_blocks(case: Case) -> Finding:
    """Do ids name last blocks that are not full?"""
    if not case.has_ids:
        return good("partial blocks")
    size, tokens, n_ids = case.block_size, case.named_tokens, case.n_ids
    is_partial = (n_ids > 0) & (n_ids * size > tokens)
    n = int(is_partial.sum())
    if n == 0:
        return good("partial blocks", "all blocks are full")
    full = n_ids - is_partial
    order = case.by_arrival
    ids, offsets = gather(case.chained, case.rows.block_offsets, order)
    known = known_prefixes(ids, offsets)
    hits = float(np.minimum(known, full[order]).sum()) * size
    total = float(tokens.sum())
    counted = float(np.minimum(known * size, tokens[order]).sum())
    return Finding(
        check="partial blocks",
        severity=Severity.NOTE,
        what=f"{n:,} requests ({n / len(tokens):.0%}) end in an id for a block that is not full",
        effect=f"engines cache full blocks only: ideal hit ratio of tokens {hits / total:.4f}; "
        f"published ratios count partial blocks too: {counted / total:.4f}",
        remedy="none needed: replays use full blocks; mrc and bound count as published",
    )
