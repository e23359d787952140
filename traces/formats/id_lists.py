"""Lists of block ids gathered into one array: integers as they are, strings numbered."""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

_INTEGERS = frozenset([int])  # exactly: True and False are not ids


class IdLists:
    """All requests' ids so far. Integers above 63 bits wrap around; types do not mix."""

    ALLOWED = "a list of integers of at most 64 bits or of strings, alike in all rows"

    def __init__(self) -> None:
        self._ids = array("q")
        self._n_ids = array("q")
        self._kind: type | None = None
        self._number_by_name: dict[str, int] = {}
        self._n_unsigned = 0

    def add(self, ids: object) -> bool:
        """Add one request's ids; return whether they are allowed."""
        if type(ids) is list and self._kind is int and _INTEGERS.issuperset(map(type, ids)):
            try:
                self._ids.fromlist(ids)
                self._n_ids.append(len(ids))
                return True
            except OverflowError:
                pass
        return self._add(ids)

    def add_plain(self, ids: NDArray[np.int64], n_ids: NDArray[np.int64]) -> bool:
        """Add several requests' integers of less than 63 bits; return whether they are allowed."""
        if self._kind is str and len(ids):
            return False
        if len(ids):
            self._kind = int
        self._ids.frombytes(ids.tobytes())
        self._n_ids.frombytes(n_ids.tobytes())
        return True

    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """Return all ids and their offsets; None if 64th bits mean a sign here and not there."""
        ids = np.frombuffer(self._ids, np.int64) if self._ids else np.empty(0, np.int64)
        if self._n_unsigned and np.count_nonzero(ids < 0) > self._n_unsigned:
            return None
        return ids, np.concatenate([[0], np.cumsum(np.array(self._n_ids, np.int64))])

    def _add(self, ids: object) -> bool:
        """Add what is not plain integers after plain integers."""
        if not isinstance(ids, list):
            return False
        if ids:
            self._kind = self._kind or type(ids[0])
            if self._kind not in (int, str) or not {self._kind}.issuperset(map(type, ids)):
                return False
            if self._kind is str:
                numbers = self._number_by_name
                ids = [numbers.setdefault(name, len(numbers)) for name in ids]
            elif not all(-(2**63) <= value < 2**64 for value in ids):
                return False
            self._n_unsigned += sum(value >= 2**63 for value in ids)
            self._ids.fromlist([value - 2**64 if value >= 2**63 else value for value in ids])
        self._n_ids.append(len(ids))
        return True
