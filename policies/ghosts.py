"""Ghosts: spans of blocks evicted lately, oldest first, for compiled policies.

A ghost is a number of blocks that were evicted together, one right above the other. Those that
were once inserted together are found by their *home*, the key of that run, from the deepest ghost
up: so a run that is inserted again finds what is remembered of it. A
policy holds the address of a record of GHOSTS, with one list or several. A list has no length of
its own accord: its policy drops the oldest blocks, and never lets all lists together outgrow the
size they were made for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import array_of, inner, record_at, zeros
from .base import Setting
from .lines import LINE, NOBODY, line_up, take_out

GHOST = np.dtype(
    [
        ("mark", "i8"),
        ("depth", "i4"),
        ("n_blocks", "i4"),
        ("home", "i4"),
        ("above", "i4"),
        ("older", "i4"),
        ("newer", "i4"),
        ("list", "i4"),
        ("shallowest", "i4"),
        ("next_home", "i4"),
    ],
    align=True,
)
"""A ghost: the depth of its deepest block; the next shallower ghost of its home; its neighbours in
its list. `mark` is the policy's to keep. The deepest ghost of a home also knows the shallowest one,
and that of the next home in its bucket."""

SIZES = ("n_ghosts", "most_buckets", "n_lists", "n_used", "n_free", "list_blocks", "is_cut_due")
HASHED = ("n_buckets", "n_homes")
GHOSTS = np.dtype(
    [(name, "i8") for name in (*SIZES, *HASHED, "ghosts", "free", "buckets", "lists")]
)
"""Sizes and addresses. Homes are found by hashing, in a table that grows with those that have a
ghost, so that it is in the processor's caches: one by key would not. `list_blocks` is what
`cut_once` leaves of a list."""

FEWEST_BUCKETS = 64

Ghosts = int  # the address of a record of GHOSTS


_sizes = record_at(GHOSTS)
"""The record itself."""


def _array(name: str, shape: str, element: Any) -> Any:
    """Make the compiled function from the record's address to one of its arrays."""
    return array_of(GHOSTS, name, shape, element, {})


ghosts = _array("ghosts", "n_ghosts", GHOST)
"""(n_ghosts,) of GHOST."""
_free = _array("free", "n_ghosts", np.int32)
_buckets = _array("buckets", "most_buckets", np.int32)
"""(most_buckets,): the deepest ghost of the first home, or NOBODY. A power of two are in use."""
_lists = _array("lists", "n_lists", LINE)


# what there is


@inner
def n_ghosts(g: Ghosts, which: int) -> int:
    """Count the blocks of a list."""
    return int(_lists(g)[which].n_blocks)


@inner
def oldest_ghost(g: Ghosts, which: int) -> int:
    """Return the ghost that is on a list for longest, or NOBODY."""
    return int(_lists(g)[which].oldest)


@inner
def deepest_ghost(g: Ghosts, home: int) -> int:
    """Return the deepest ghost of a home, or NOBODY; `above` leads to the others."""
    ghost = int(_buckets(g)[_bucket(g, home)])
    while ghost != NOBODY and ghosts(g)[ghost].home != home:
        ghost = int(ghosts(g)[ghost].next_home)
    return ghost


@inner
def _bucket(g: Ghosts, home: int) -> int:
    # multiplicative hashing; Knuth, The Art of Computer Programming 3, 6.4: 2**32 by the golden
    # ratio, and the middle of the product
    return ((home * 2654435769) >> 12) & (_sizes(g).n_buckets - 1)


@inner
def is_at(g: Ghosts, ghost: int, depth: int) -> bool:
    """Whether a ghost, which may be NOBODY, has its deepest block at a depth."""
    return bool(ghost != NOBODY and ghosts(g)[ghost].depth == depth)


@inner
def n_alike(g: Ghosts, ghost: int, depth: int, n: int) -> int:
    """Count the blocks, at most n, from a depth up that are all of a ghost, or all of none.

    `ghost` is the deepest one of the home that is no deeper, or NOBODY.
    """
    if ghost == NOBODY:
        return n
    found = ghosts(g)[ghost]
    return int(min(n, found.n_blocks if found.depth == depth else depth - found.depth))


# what changes


@inner
def _put_on(g: Ghosts, ghost: int, which: int) -> None:
    """Put a ghost at the newest end of a list."""
    ghosts(g)[ghost].list = which
    line_up(ghosts(g), _lists(g)[which], ghost)


@inner
def change_list(g: Ghosts, ghost: int, which: int) -> None:
    """Move a ghost to the newest end of another list."""
    take_out(ghosts(g), _lists(g)[ghosts(g)[ghost].list], ghost)
    _put_on(g, ghost, which)


@inner
def _give_back(g: Ghosts, ghost: int) -> None:
    """Take a ghost off its list, for good."""
    take_out(ghosts(g), _lists(g)[ghosts(g)[ghost].list], ghost)
    _free(g)[_sizes(g).n_free] = ghost
    _sizes(g).n_free += 1


@inner
def _replace(g: Ghosts, deepest: int, by: int) -> None:
    """Let another home, or another ghost of this one, follow in the bucket of a home."""
    home = int(ghosts(g)[deepest].home)
    at = int(_buckets(g)[_bucket(g, home)])
    if at == deepest:
        _buckets(g)[_bucket(g, home)] = by
        return
    while ghosts(g)[at].next_home != deepest:
        at = int(ghosts(g)[at].next_home)
    ghosts(g)[at].next_home = by


@inner
def _drop(g: Ghosts, ghost: int) -> None:
    """Forget a ghost."""
    gone = ghosts(g)[ghost]
    deepest = deepest_ghost(g, gone.home)
    if deepest == ghost:
        above = int(gone.above)
        if above == NOBODY:
            _replace(g, ghost, int(gone.next_home))
            _sizes(g).n_homes -= 1
        else:
            ghosts(g)[above].shallowest = gone.shallowest
            ghosts(g)[above].next_home = gone.next_home
            _replace(g, ghost, above)
    else:
        below = deepest
        while ghosts(g)[below].above != ghost:
            below = int(ghosts(g)[below].above)
        ghosts(g)[below].above = gone.above
        if gone.above == NOBODY:
            ghosts(g)[deepest].shallowest = below
    _give_back(g, ghost)


@inner
def forget(g: Ghosts, deepest: int) -> None:
    """Forget a home, by its deepest ghost, or NOBODY: it is back.

    Whether it was known or not, the next eviction is of another request.
    """
    _sizes(g).is_cut_due = 1
    ghost = deepest
    if ghost == NOBODY:
        return
    _replace(g, ghost, int(ghosts(g)[ghost].next_home))
    _sizes(g).n_homes -= 1
    while ghost != NOBODY:
        above = int(ghosts(g)[ghost].above)
        _give_back(g, ghost)
        ghost = above


@inner
def _spread(g: Ghosts) -> None:
    """Use twice as many buckets."""
    n = int(_sizes(g).n_buckets)
    _sizes(g).n_buckets = 2 * n
    for i in range(n, 2 * n):
        _buckets(g)[i] = NOBODY
    for i in range(n):
        ghost = int(_buckets(g)[i])
        _buckets(g)[i] = NOBODY
        while ghost != NOBODY:
            following = int(ghosts(g)[ghost].next_home)
            to = _bucket(g, ghosts(g)[ghost].home)
            ghosts(g)[ghost].next_home = _buckets(g)[to]
            _buckets(g)[to] = ghost
            ghost = following


@inner
def remember(g: Ghosts, home: int, depth: int, n: int, which: int, mark: int) -> None:
    """Put n blocks, from a depth up, at the newest end of a list."""
    newest = int(_lists(g)[which].newest)
    if newest != NOBODY:
        old = ghosts(g)[newest]
        if old.home == home and old.mark == mark and old.depth - old.n_blocks == depth:
            old.n_blocks += n
            _lists(g)[which].n_blocks += n
            return
    deepest = deepest_ghost(g, home)
    # of two copies of a block, which only a timed run has, the first may be a ghost already
    while deepest != NOBODY and ghosts(g)[ghosts(g)[deepest].shallowest].depth <= depth:
        _drop(g, int(ghosts(g)[deepest].shallowest))
        deepest = deepest_ghost(g, home)
    sizes = _sizes(g)
    if sizes.n_free > 0:
        sizes.n_free -= 1
        ghost = int(_free(g)[sizes.n_free])
    else:
        ghost = int(sizes.n_used)
        sizes.n_used += 1
    new = ghosts(g)[ghost]
    new.mark = mark
    new.depth = depth
    new.n_blocks = n
    new.home = home
    new.above = NOBODY
    _put_on(g, ghost, which)
    if deepest == NOBODY:
        deepest = ghost
        sizes.n_homes += 1
        if 2 * sizes.n_homes > sizes.n_buckets and sizes.n_buckets < sizes.most_buckets:
            _spread(g)
        new.next_home = _buckets(g)[_bucket(g, home)]
        _buckets(g)[_bucket(g, home)] = ghost
    else:
        ghosts(g)[ghosts(g)[deepest].shallowest].above = ghost
    ghosts(g)[deepest].shallowest = ghost


@inner
def drop_oldest(g: Ghosts, which: int, n: int) -> None:
    """Forget the n blocks that are on a list for longest, or all if it has no more."""
    while n > 0 and _lists(g)[which].oldest != NOBODY:
        ghost = int(_lists(g)[which].oldest)
        known = ghosts(g)[ghost]
        if n < known.n_blocks:
            known.n_blocks -= n
            known.depth -= n
            _lists(g)[which].n_blocks -= n
            return
        n -= known.n_blocks
        _drop(g, ghost)


@inner
def cut_once(g: Ghosts) -> None:
    """Cut all lists to their length, unless nothing came back since that was done last."""
    if _sizes(g).is_cut_due:
        for which in range(_sizes(g).n_lists):
            drop_oldest(g, which, n_ghosts(g, which) - _sizes(g).list_blocks)
        _sizes(g).is_cut_due = 0


def make_ghosts(setting: Setting, most: int, n_lists: int = 1, *, list_blocks: int = 0) -> Ghosts:
    """Make empty lists of at most `most` blocks in all, which live as long as the run.

    `list_blocks` is the length of each list, for `cut_once`.
    """
    most_buckets = FEWEST_BUCKETS << max(0, (2 * most // FEWEST_BUCKETS).bit_length())
    arrays: dict[str, NDArray[Any]] = {
        "ghosts": zeros(most + 1, GHOST),
        "free": zeros(most + 1, np.int32),
        "buckets": zeros(most_buckets, np.int32),
        "lists": np.zeros(n_lists, LINE),
    }
    arrays["buckets"][:FEWEST_BUCKETS] = NOBODY
    arrays["lists"]["oldest"] = arrays["lists"]["newest"] = NOBODY
    sizes = np.zeros(1, GHOSTS)
    sizes["n_ghosts"], sizes["n_lists"] = most + 1, n_lists
    sizes["n_buckets"], sizes["most_buckets"] = FEWEST_BUCKETS, most_buckets
    sizes["list_blocks"] = list_blocks
    for name, array in arrays.items():
        sizes[name] = array.ctypes.data
    setting.keep(*arrays.values(), sizes)
    return int(sizes.ctypes.data)
