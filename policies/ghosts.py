"""Ghosts: spans of blocks evicted lately, oldest first, for compiled policies.

A ghost is a number of blocks that were evicted together, one right above the other. Those that
were once inserted together are found by their *home*, the key of the deepest block of that run,
from the deepest ghost up: so a run that is inserted again finds what is remembered of it. A
policy holds the address of a record of GHOSTS, with one list or several. A list has no length of
its own accord: its policy drops the oldest blocks, and never lets all lists together outgrow the
size they were made for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, view
from .base import Setting

GHOST = np.dtype(
    [
        ("mark", "i8"),
        ("key", "i4"),
        ("n_blocks", "i4"),
        ("home", "i4"),
        ("above", "i4"),
        ("older", "i4"),
        ("newer", "i4"),
        ("list", "i4"),
    ],
    align=True,
)
"""A ghost: the key of its deepest block, the ones above being one less each; the next shallower
ghost of its home; its neighbours in its list. `mark` is the policy's to keep."""

HOME = np.dtype([("deepest", "i4"), ("shallowest", "i4")])
"""1 + the number of a ghost, or 0."""

LIST = np.dtype([("n_blocks", "i8"), ("oldest", "i4"), ("newest", "i4")], align=True)

SIZES = ("n_ghosts", "n_keys", "n_lists", "n_used", "n_free")
GHOSTS = np.dtype([(name, "i8") for name in (*SIZES, "ghosts", "free", "homes", "lists")])

NOBODY = -1

Ghosts = int  # the address of a record of GHOSTS


@inner
def _sizes(g: Ghosts) -> Any:
    return view(g, (1,), GHOSTS)[0]


@inner
def ghosts(g: Ghosts) -> NDArray[Any]:
    """(n_ghosts,) of GHOST."""
    return view(_sizes(g).ghosts, (_sizes(g).n_ghosts,), GHOST)


@inner
def _free(g: Ghosts) -> NDArray[np.int32]:
    return view(_sizes(g).free, (_sizes(g).n_ghosts,), np.int32)


@inner
def _homes(g: Ghosts) -> NDArray[Any]:
    return view(_sizes(g).homes, (_sizes(g).n_keys,), HOME)


@inner
def _lists(g: Ghosts) -> NDArray[Any]:
    return view(_sizes(g).lists, (_sizes(g).n_lists,), LIST)


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
    return int(_homes(g)[home].deepest) - 1


@inner
def is_at(g: Ghosts, ghost: int, key: int) -> bool:
    """Whether a ghost, which may be NOBODY, has a key as its deepest block."""
    return bool(ghost != NOBODY and ghosts(g)[ghost].key == key)


@inner
def n_alike(g: Ghosts, ghost: int, key: int, n: int) -> int:
    """Count the blocks, at most n, from a key up that are all of a ghost, or all of none.

    `ghost` is the deepest one of the home that is not below the key, or NOBODY.
    """
    if ghost == NOBODY:
        return n
    found = ghosts(g)[ghost]
    return int(min(n, found.n_blocks if found.key == key else key - found.key))


# what changes


@inner
def _take_off(g: Ghosts, ghost: int) -> None:
    """Take a ghost off its list."""
    gone = ghosts(g)[ghost]
    line = _lists(g)[gone.list]
    if gone.older == NOBODY:
        line.oldest = gone.newer
    else:
        ghosts(g)[gone.older].newer = gone.newer
    if gone.newer == NOBODY:
        line.newest = gone.older
    else:
        ghosts(g)[gone.newer].older = gone.older
    line.n_blocks -= gone.n_blocks


@inner
def _put_on(g: Ghosts, ghost: int, which: int) -> None:
    """Put a ghost at the newest end of a list."""
    new, line = ghosts(g)[ghost], _lists(g)[which]
    new.list = which
    new.older = line.newest
    new.newer = NOBODY
    if line.newest == NOBODY:
        line.oldest = ghost
    else:
        ghosts(g)[line.newest].newer = ghost
    line.newest = ghost
    line.n_blocks += new.n_blocks


@inner
def change_list(g: Ghosts, ghost: int, which: int) -> None:
    """Move a ghost to the newest end of another list."""
    _take_off(g, ghost)
    _put_on(g, ghost, which)


@inner
def _drop(g: Ghosts, ghost: int) -> None:
    """Forget a ghost."""
    _take_off(g, ghost)
    above, home = ghosts(g)[ghost].above, _homes(g)[ghosts(g)[ghost].home]
    below, at = NOBODY, int(home.deepest) - 1
    while at != ghost:
        below, at = at, int(ghosts(g)[at].above)
    if below == NOBODY:
        home.deepest = above + 1
    else:
        ghosts(g)[below].above = above
    if above == NOBODY:
        home.shallowest = below + 1
    _free(g)[_sizes(g).n_free] = ghost
    _sizes(g).n_free += 1


@inner
def forget(g: Ghosts, home: int) -> None:
    """Forget all ghosts of a home."""
    while _homes(g)[home].deepest > 0:
        _drop(g, _homes(g)[home].deepest - 1)


@inner
def remember(g: Ghosts, home: int, key: int, n: int, which: int) -> int:
    """Put n blocks, from a key up, at the newest end of a list; return the ghost."""
    shallowest = _homes(g)[home].shallowest - 1
    # of two copies of a block, which only a timed run has, the first may be a ghost already
    while shallowest != NOBODY and ghosts(g)[shallowest].key <= key:
        _drop(g, shallowest)
        shallowest = _homes(g)[home].shallowest - 1
    sizes = _sizes(g)
    if sizes.n_free > 0:
        sizes.n_free -= 1
        ghost = int(_free(g)[sizes.n_free])
    else:
        ghost = int(sizes.n_used)
        sizes.n_used += 1
    new = ghosts(g)[ghost]
    new.mark = 0
    new.key = key
    new.n_blocks = n
    new.home = home
    new.above = NOBODY
    _put_on(g, ghost, which)
    if shallowest == NOBODY:
        _homes(g)[home].deepest = ghost + 1
    else:
        ghosts(g)[shallowest].above = ghost
    _homes(g)[home].shallowest = ghost + 1
    return ghost


@inner
def drop_oldest(g: Ghosts, which: int, n: int) -> None:
    """Forget the n blocks that are on a list for longest, or all if it has no more."""
    while n > 0 and _lists(g)[which].oldest != NOBODY:
        ghost = int(_lists(g)[which].oldest)
        known = ghosts(g)[ghost]
        if n < known.n_blocks:
            known.n_blocks -= n
            known.key -= n
            _lists(g)[which].n_blocks -= n
            return
        n -= known.n_blocks
        _drop(g, ghost)


def make_ghosts(setting: Setting, most: int, n_lists: int = 1) -> Ghosts:
    """Make empty lists of at most `most` blocks in all, which live as long as the run."""
    arrays: dict[str, NDArray[Any]] = {
        "ghosts": np.zeros(most + 1, GHOST),
        "free": np.zeros(most + 1, np.int32),
        "homes": np.zeros(setting.n_keys, HOME),
        "lists": np.zeros(n_lists, LIST),
    }
    arrays["lists"]["oldest"] = arrays["lists"]["newest"] = NOBODY
    sizes = np.zeros(1, GHOSTS)
    sizes["n_ghosts"], sizes["n_keys"], sizes["n_lists"] = most + 1, setting.n_keys, n_lists
    for name, array in arrays.items():
        sizes[name] = array.ctypes.data
    setting.keep(*arrays.values(), sizes)
    return int(sizes.ctypes.data)
