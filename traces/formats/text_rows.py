"""Requests that are given as texts, gathered into rows. Knows no file format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..rows import Rows
from ..text_blocks import BLOCK_TOKENS, block_contents


class TextRows:
    """The requests so far: lengths, and ids of the full blocks of prompt and output."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self._line: list[int] = []
        self.arrival_s: list[float] = []
        self._input_tokens: list[int] = []
        self._output_tokens: list[int] = []
        self._session: list[int] = []
        self.think_s: list[float] = []
        self._ids: list[NDArray[np.int64]] = []

    def __len__(self) -> int:
        return len(self._line)

    def add(
        self,
        tokens: NDArray[np.int64],
        *,
        n_input: int,
        n_output: int,
        session: int,
        line: int,
        arrival_s: float = 0.0,
        think_s: float = np.nan,
    ) -> None:
        """Add a request; `tokens` are those of the prompt and, if known, of the output."""
        self._line.append(line)
        self.arrival_s.append(arrival_s)
        self._input_tokens.append(n_input)
        self._output_tokens.append(n_output)
        self._session.append(session)
        self.think_s.append(think_s)
        self._ids.append(block_contents(tokens))

    def rows(
        self, paths: Sequence[Path], arrival_s: NDArray[np.float64], notes: tuple[str, ...]
    ) -> Rows:
        """Put the columns together."""
        n_ids = np.array([len(ids) for ids in self._ids], np.int64)
        think_s = np.array(self.think_s, np.float64)
        return Rows(
            paths=tuple(paths),
            starts=tuple(self.starts),
            row=np.arange(len(self)),
            line=np.array(self._line, np.int64),
            arrival_s=arrival_s,
            input_tokens=np.array(self._input_tokens, np.int64),
            output_tokens=np.array(self._output_tokens, np.int64),
            block_ids=np.concatenate([np.zeros(0, np.int64), *self._ids]),
            block_offsets=np.concatenate([[0], np.cumsum(n_ids)]),
            names_output=np.ones(len(self), np.bool_),
            covered_tokens=n_ids * BLOCK_TOKENS,
            session=np.array(self._session, np.int64),
            think_s=None if np.isnan(think_s).all() else think_s,
            block_size=BLOCK_TOKENS,
            notes=notes,
        )
