"""All statistics of a trace, each defined in its own module here and in docs/characterise.md."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ..compiled import CompiledTrace
from .arrivals import Arrivals, arrivals_of
from .description import Description, describe_compiled
from .hits import Hits, hits_of
from .lengths import Lengths, lengths_of
from .lifespan import Lifespans, lifespans_of
from .locality import Locality, locality_of
from .plain import plain
from .reuse_time import CategoryFit, ReuseTimes, category_fits_of, reuse_times_of
from .reuses import Reuses, reuses_of
from .skew import Skew, skew_of
from .tree_picture import TreePicture, tree_picture_of
from .turns import Turns, turns_of
from .working_set import WorkingSet, working_set_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Characterisation:
    """Statistics of a trace by subject; None where it lacks what a subject is about."""

    description: Description
    arrivals: Arrivals | None
    """None if all requests arrive at once."""
    lengths: Lengths
    turns: Turns | None
    """None if sessions are neither given nor can be inferred."""
    hits: Hits | None
    """None, as all that follow, if the trace has no block ids."""
    skew: Skew | None
    reuse_times: ReuseTimes | None
    fits: list[CategoryFit]
    """Categories with enough reuses to fit, in the order of their names in the trace."""
    lifespans: Lifespans | None
    locality: Locality | None
    working_set: WorkingSet | None
    tree: TreePicture | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON: the description's on top, subjects below it."""
        subjects = {
            field.name: plain(getattr(self, field.name))
            for field in fields(self)
            if field.name != "description"
        }
        return {**self.description.to_dict(), **subjects}


def characterise(compiled: CompiledTrace, reuses: Reuses | None = None) -> Characterisation:
    """Measure everything.

    Compile the trace with `partial_blocks=True`, so that every block of every prompt counts, as
    in published ratios. The work is in numbers of requests and of runs of blocks, not in blocks.
    `reuses`, if they are known already, are `reuses_of(compiled)`.
    """
    trace = without_ids(compiled).trace
    reuses = reuses or reuses_of(compiled)
    has_blocks = len(reuses.tree.parent) > 0
    return Characterisation(
        description=describe_compiled(trace, reuses),
        arrivals=arrivals_of(trace),
        lengths=lengths_of(trace),
        turns=turns_of(trace),
        hits=hits_of(trace, reuses) if has_blocks else None,
        skew=skew_of(reuses) if has_blocks else None,
        reuse_times=reuse_times_of(trace, reuses) if has_blocks else None,
        fits=category_fits_of(trace, reuses) if has_blocks else [],
        lifespans=lifespans_of(trace, reuses) if has_blocks else None,
        locality=locality_of(trace, reuses) if has_blocks else None,
        working_set=working_set_of(trace, reuses) if has_blocks else None,
        tree=tree_picture_of(trace, reuses) if has_blocks else None,
    )


def without_ids(compiled: CompiledTrace) -> CompiledTrace:
    """Return the same without block ids, which take most of the memory once there is a tree."""
    trace = compiled.trace
    bare = replace(
        trace,
        block_ids=np.zeros(0, np.int64),
        block_offsets=np.zeros(len(trace) + 1, np.int64),
    )
    return replace(compiled, trace=bare)
