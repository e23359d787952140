"""Evict nothing: what a cache with room for everything would hit."""

from __future__ import annotations

from .lru import Lru


class Infinite(Lru):
    """Evict nothing: caches are as large as all that they could ever hold.

    A yardstick: the misses that are left are first uses, on this instance. In a timed run the
    running requests have that room, too, so that none waits for memory or is preempted. As long as
    somebody gives it too little room it is lru.
    """

    is_unbounded = True
