"""The simpy environment of a run: events at absolute times, in a given order."""

from __future__ import annotations

import heapq
from typing import Any

import simpy

AFTER_ARRIVALS = simpy.events.NORMAL + 1
_FIRST_ORDER = 1 << 40
"""Above any event number that simpy gives itself."""


class Calendar(simpy.Environment):
    """simpy's environment, with events at absolute times and in a given order.

    A delay from now is not enough: now + (t - now) may differ from t in the last bit, and
    events at equal times would come in the order in which they were made.
    """

    def at(self, time_s: float, priority: int, order: int | None = None) -> simpy.Event:
        """Make an event at `time_s`; of those at one time, lower priority, then order, first.

        Those without an order come before those with one, as they were made.
        """
        event = self.event()
        event._ok = True
        event._value = None
        place = next(self._eid) if order is None else _FIRST_ORDER + order
        entry: Any = (time_s, priority, place, event)
        heapq.heappush(self._queue, entry)
        return event
