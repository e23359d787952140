"""Arrays behind one record of addresses: how compiled code gets a large state as one pointer.

Compiled functions that take many arrays spend more on passing and reference-counting them than
on their work. They take the address of a record instead, a plain number, and reach an array by a
function of its name; a typed record would stand, field by field, in the name of every function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LINE_BYTES = 64


def lines(
    n: int, dtype: type[np.generic] | np.dtype[Any], *, make: Callable[..., Any] = np.zeros
) -> NDArray[Any]:
    """Return (n,) that start at a cache line: zeros, or what else `make` makes of a length."""
    n_bytes = n * np.dtype(dtype).itemsize
    room = make(n_bytes + _LINE_BYTES, np.uint8)
    start = -room.ctypes.data % _LINE_BYTES
    whole: NDArray[Any] = room[start : start + n_bytes].view(dtype)
    return whole


class Pointers:
    """Arrays, kept alive and reached as attributes, and the record that compiled code gets."""

    def __init__(
        self, kind: np.dtype[Any], sizes: dict[str, int], arrays: dict[str, NDArray[Any]]
    ) -> None:
        """Fill a record of dtype `kind` with `sizes` and with the addresses of `arrays`."""
        self._arrays = arrays
        self.record = np.zeros(1, kind)
        for name, size in sizes.items():
            self.record[name] = size
        for name, array in arrays.items():
            if not array.flags.c_contiguous:
                raise TypeError(f"{name}: must be contiguous")
            self.record[name] = array.ctypes.data
        self.address = int(self.record.ctypes.data)

    def __getattr__(self, name: str) -> NDArray[Any]:
        try:
            return self.__dict__["_arrays"][name]
        except KeyError:
            raise AttributeError(name) from None
