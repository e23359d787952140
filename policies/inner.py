"""The decorator of compiled functions that only compiled functions call."""

from __future__ import annotations

from numba import njit

inner = njit(cache=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""Like `njit(cache=True)`, without the entry from Python: it compiles in half the time.

Calling such a function from Python ends the process: give what Python calls `njit(cache=True)`.
"""
