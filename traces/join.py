"""Rows of several files put together as one trace's. Knows no file format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import TraceError
from .hashing import numbered
from .rows import Rows, wrong
from .schema import Sessions

_ALL_OR_NONE = (
    "covered_tokens",
    "session",
    "parent",
    "turn",
    "category",
    "think_s",
    "recorded_e2e_s",
)


def joined(parts: Sequence[Rows]) -> Rows:
    """Put files one after the other as parts of one trace.

    Equal block ids and category names mean the same in all parts; a session stays within its
    part. Sessions that were inferred are left out, to be inferred anew over all parts. Numbers as
    request ids are left out too: files of their own number alike.

    Raises:
        TraceError: the parts differ in block size, or in which columns they have.
    """
    if len(parts) == 1:
        return parts[0]
    _check_alike(parts)
    n_rows = np.array([len(part) for part in parts])
    first_row = np.cumsum(n_rows) - n_rows
    n_ids = np.concatenate([np.diff(part.block_offsets) for part in parts])
    names = tuple(sorted({name for part in parts for name in part.category_names}))
    has_names = all(
        part.request_id is not None and part.request_id.dtype.kind == "U" for part in parts
    )
    linked = {"session": None, "parent": None, "turn": None}
    if Sessions.INFERRED not in {part.sessions for part in parts}:
        linked = _linked(parts, first_row.tolist())
    return Rows(
        paths=tuple(path for part in parts for path in part.paths),
        starts=tuple(first_row.tolist()),
        row=np.arange(n_rows.sum()),
        line=_column(parts, "line"),
        arrival_s=_column(parts, "arrival_s"),
        input_tokens=_column(parts, "input_tokens"),
        output_tokens=_column(parts, "output_tokens"),
        block_ids=_column(parts, "block_ids"),
        block_offsets=np.concatenate([[0], np.cumsum(n_ids)]),
        names_output=_column(parts, "names_output"),
        covered_tokens=_column(parts, "covered_tokens"),
        request_id=_column(parts, "request_id") if has_names else None,
        session=linked["session"],
        parent=linked["parent"],
        turn=linked["turn"],
        category=_categories(parts, names),
        category_names=names,
        think_s=_column(parts, "think_s"),
        recorded_e2e_s=_column(parts, "recorded_e2e_s"),
        block_size=parts[0].block_size,
        sessions=parts[0].sessions,
        dropped=summed([part.dropped for part in parts]),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def summed(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    """Add up counts by reason."""
    total: dict[str, int] = {}
    for count in counts:
        for reason, n in count.items():
            total[reason] = total.get(reason, 0) + n
    return total


def _check_alike(parts: Sequence[Rows]) -> None:
    size = parts[0].block_size
    for part in parts:
        where = str(part.paths[0])
        if part.block_size != size:
            raise wrong(where, "block_size", f"{size}, as in {parts[0].paths[0]}", part.block_size)
        for name in _ALL_OR_NONE:
            if (getattr(part, name) is None) != (getattr(parts[0], name) is None):
                raise TraceError(f"{where}: {name} must be in every file of a trace or in none")


def _column(parts: Sequence[Rows], name: str) -> Any:  # noqa: ANN401  # any dtype, or None
    values = [getattr(part, name) for part in parts]
    return None if values[0] is None else np.concatenate(values)


def _linked(parts: Sequence[Rows], first_row: list[int]) -> dict[str, Any]:
    """Renumber sessions and parents so that no two parts share any."""
    sessions, parents, n_sessions = [], [], 0
    for part, start in zip(parts, first_row, strict=True):
        if part.session is not None:
            session = numbered(part.session)
            sessions.append(session + n_sessions)
            n_sessions += int(session.max(initial=-1)) + 1
        if part.parent is not None:
            parents.append(np.where(part.parent < 0, -1, part.parent + start))
    return {
        "session": np.concatenate(sessions) if sessions else None,
        "parent": np.concatenate(parents) if parents else None,
        "turn": _column(parts, "turn"),
    }


def _categories(parts: Sequence[Rows], names: tuple[str, ...]) -> NDArray[np.int64] | None:
    renamed = []
    for part in parts:
        if part.category is None:
            return None
        place = np.array([names.index(name) for name in part.category_names], np.int64)
        renamed.append(place[part.category])
    return np.concatenate(renamed)
