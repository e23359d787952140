"""The cache events of a run, gathered from compiled code: admissions, preemptions, evictions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .records import EVENT, MARK_EVENTS
from .state import Cluster


class EventLog:
    """Keeps all events of a run, in order."""

    def __init__(self) -> None:
        self._parts: list[NDArray[Any]] = []

    def take(self, c: Cluster) -> None:
        """Keep the events gathered so far and make room for others."""
        n = int(c.marks[MARK_EVENTS])
        self._parts.append(c.events[:n].copy())
        c.marks[MARK_EVENTS] = 0

    def all(self) -> NDArray[Any]:
        """All events, (n,) of EVENT."""
        return np.concatenate([np.zeros(0, EVENT), *self._parts])
