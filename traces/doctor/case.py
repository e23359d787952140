"""The rows under examination, with what several checks need of them."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ... import TraceError
from ..block_size import infer_block_size
from ..build import build
from ..chain import chained_ids, known_prefixes
from ..gather import gather
from ..rows import Rows
from ..schema import Trace
from .ids_scan import IdScan, scan_ids


class Case:
    """Rows in the order of the file, and views of them that are made once."""

    def __init__(self, rows: Rows, asked_block_size: int | None = None) -> None:
        self.rows = rows
        self.told_block_size = asked_block_size or rows.block_size

    @cached_property
    def n_ids(self) -> NDArray[np.int64]:
        """Ids of each row, (n,)."""
        return np.diff(self.rows.block_offsets)

    @property
    def has_ids(self) -> bool:
        """Whether any row has ids."""
        return len(self.rows.block_ids) > 0

    @cached_property
    def named_tokens(self) -> NDArray[np.int64]:
        """Tokens that each row's ids may name, (n,)."""
        rows = self.rows
        if rows.covered_tokens is not None:
            return rows.covered_tokens
        return rows.input_tokens + np.where(rows.names_output, rows.output_tokens, 0)

    @cached_property
    def fitting_block_size(self) -> int:
        """The block size that explains most rows."""
        return infer_block_size(self.named_tokens, self.n_ids)

    def fits(self, size: int) -> NDArray[np.bool_]:
        """Whether a row names all its blocks of `size` tokens, or all full ones, (n,)."""
        tokens = self.named_tokens
        return (self.n_ids == -(-tokens // size)) | (self.n_ids == tokens // size)

    @cached_property
    def block_size(self) -> int:
        """The one to judge by: as told, if it fits nearly as many rows as any, or the fitting."""
        told, best = self.told_block_size, self.fitting_block_size
        if told is None or self.fits(best).mean() > self.fits(told).mean() + 0.1:
            return best
        return told

    @cached_property
    def trace(self) -> Trace | None:
        """The trace that these rows make, or None if they contradict each other."""
        try:
            return build(self.rows, block_size=self.told_block_size)
        except TraceError:
            return None

    @cached_property
    def by_arrival(self) -> NDArray[np.int64]:
        """Rows in order of arrival, ties as in the file."""
        return np.argsort(self.rows.arrival_s, kind="stable")

    @cached_property
    def scan(self) -> IdScan:
        """What the ids look like."""
        return scan_ids(self.rows.block_ids, self.rows.block_offsets)

    @cached_property
    def chained(self) -> NDArray[np.int64]:
        """Ids that name whole prefixes, in the order of the file."""
        return chained_ids(self.rows.block_ids, self.rows.block_offsets)

    @cached_property
    def last_id(self) -> NDArray[np.int64]:
        """The last chained id of each row, which names all its blocks; -1 for none."""
        ends = self.rows.block_offsets[1:] - 1
        ids = self.chained
        return np.where(self.n_ids > 0, ids[ends] if len(ids) else -1, -1)

    def ideal_hit_ratio(
        self, rows: NDArray[np.int64] | None = None, ids: NDArray[np.int64] | None = None
    ) -> float:
        """Return the share of blocks that an earlier request had: a boundless cache.

        Over `rows` in that order (default: all by arrival), with `ids` for chained ones.
        """
        picked = self.by_arrival if rows is None else rows
        known = self.chained if ids is None else ids
        values, offsets = gather(known, self.rows.block_offsets, picked)
        return float(known_prefixes(values, offsets).sum()) / max(len(values), 1)

    def where(self, i: int) -> str:
        """Name a row by file and line, without the folder."""
        return self.rows.where(int(i)).rpartition("/")[2]
