"""The nodes of SGLang's radix tree, followed from what a policy is told of blocks and runs of them.

A node is a run of blocks, each above the next, that entered together or were cut from such a run:
where a path ends or leaves the run, it is cut in two, and what lies below counts as used then
too. A node leaves whole, from its end on; one that lost some is *condemned*. What was inserted as
one item, a *piece*, is never cut: paths end between pieces. Knows no order of nodes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, view, zeros
from .base import Block, Setting
from .paths import NONE, enter, leave, make_paths, right_above
from .records import numbers_at

NODE = np.dtype(
    [
        ("last", "i8"),
        ("hits", "i8"),
        ("priority", "f8"),
        ("end", "i4"),
        ("block", "i4"),
        ("n_blocks", "i4"),
        ("n_children", "i4"),
        ("length", "i4"),
        ("is_open", "u1"),
        ("is_condemned", "u1"),
    ],
    align=True,
)
"""A node: number of its last use, its uses, the highest priority of its users,
its last piece, the same if it is a candidate (else -1), blocks, child nodes, blocks of the longest
path through it that lost its end; open while the request that made it runs on."""

PIECE = np.dtype([("node", "i4"), ("n_blocks", "i4")])
"""A piece: 1 + its node, or 0; its blocks."""

TREE = np.dtype(
    [
        (name, "i8")
        for name in (
            "n_items",
            "now",
            "is_numbered",
            "n_free",
            "pending",
            "hit",
            "inserted",
            "goes_down",
            "cut",
            "gone_above",
            "nodes",
            "free",
            "pieces",
            "paths",
        )
    ]
    + [("priority", "f8")]
)
"""Sizes, a clock of uses, and what was told last: `pending` is a piece in the middle of its node
with which the blocks that a request found may end; `hit` and `inserted` are the piece of such an
event, and `gone_above` that right above an evicted one, if no other event came since; `goes_down`:
whether hits are told from the start of a path on; `cut`: the node that lost its upper part last.
`priority` is that of the request that hit `pending`. `now` is a clock of uses. If it `is_numbered`,
it is set by the last uses that are told of: below twice `Setting.n_uses`, of each candidate another
one."""

Tree = int  # the address of a record of TREE


@inner
def _sizes(tree: Tree) -> Any:
    return view(tree, (1,), TREE)[0]


@inner
def nodes(tree: Tree) -> NDArray[Any]:
    """(n_items + 1,) of NODE."""
    return view(_sizes(tree).nodes, (_sizes(tree).n_items + 1,), NODE)


@inner
def _free(tree: Tree) -> NDArray[np.int32]:
    return numbers_at(_sizes(tree).free, _sizes(tree).n_items + 1)


@inner
def _pieces(tree: Tree) -> NDArray[Any]:
    """(n_items,) of PIECE."""
    return view(_sizes(tree).pieces, (_sizes(tree).n_items,), PIECE)


@inner
def _above(tree: Tree, x: int) -> int:
    """Return the piece right above a cached one, or NONE."""
    return right_above(_sizes(tree).paths, x)


@inner
def _node_of(tree: Tree, x: int) -> int:
    """Return the node of a piece; NONE if it has none, or is none."""
    return int(_pieces(tree)[x].node) - 1 if x != NONE else NONE


@inner
def _tick(tree: Tree, number: int) -> int:
    """Set the clock, to `number` if uses are numbered, and return it."""
    s = _sizes(tree)
    s.now = number if s.is_numbered else s.now + 1
    return int(s.now)


@inner
def _when_hit(block: Block) -> int:
    """Number the use by a request that found a block: what it cut off it used before the rest."""
    return 2 * int(block.last_access)


@inner
def _when_cached(block: Block) -> int:
    """Number the use by the request that brings a block."""
    return 2 * int(block.last_access) + 1


@inner
def _new_node(tree: Tree, x: int, n_blocks: int, priority: float, number: int) -> int:
    """Make a node of one piece, used at a number of the clock."""
    s = _sizes(tree)
    s.n_free -= 1
    n = int(_free(tree)[s.n_free])
    node = nodes(tree)[n]
    node.last = _tick(tree, number)
    node.hits = 1
    node.priority = priority
    node.end = x
    node.block = NONE
    node.n_blocks = n_blocks
    node.n_children = 0
    node.length = 0
    node.is_open = 1
    node.is_condemned = 0
    piece = _pieces(tree)[x]
    piece.n_blocks = n_blocks
    piece.node = n + 1
    return n


@inner
def _split(tree: Tree, x: int) -> None:
    """Cut a node below a piece of its: the lower part stays the node, the upper one is new."""
    lower = _node_of(tree, x)
    priority = nodes(tree)[lower].priority
    upper = _new_node(tree, x, _pieces(tree)[x].n_blocks, priority, _sizes(tree).now)
    a, b = nodes(tree)[upper], nodes(tree)[lower]
    a.hits = b.hits + 1
    a.n_children = 1
    a.is_open = 0
    y = _above(tree, x)
    while y != NONE and _node_of(tree, y) == lower:
        _pieces(tree)[y].node = upper + 1
        a.n_blocks += _pieces(tree)[y].n_blocks
        y = _above(tree, y)
    b.n_blocks -= a.n_blocks
    _sizes(tree).cut = lower


@inner
def taken_cut(tree: Tree) -> int:
    """Return the candidate that was cut since it was last asked, and starts deeper now, or NONE."""
    s = _sizes(tree)
    n = int(s.cut)
    s.cut = NONE
    return n if n >= 0 and nodes(tree)[n].block >= 0 else NONE


@inner
def settle(tree: Tree) -> None:
    """Cut the node in which the blocks that a request found came to an end, if they did."""
    s = _sizes(tree)
    x = int(s.pending)
    s.pending = NONE
    n = _node_of(tree, x)
    if n >= 0 and nodes(tree)[n].end != x:
        _split(tree, x)
        upper = nodes(tree)[_node_of(tree, x)]
        upper.priority = max(upper.priority, s.priority)


@inner
def hit(tree: Tree, block: Block, priority: float) -> int:
    """Note that a request reused a block; return its node if that still has a candidate."""
    s = _sizes(tree)
    x = block.block_id
    if s.pending >= 0:
        if s.goes_down and _above(tree, x) == s.pending:
            s.pending = NONE  # the run goes on
        else:
            settle(tree)
    n = _node_of(tree, x)
    if n < 0:
        n = _new_node(tree, x, int(block.n_blocks), priority, _when_hit(block))
    node = nodes(tree)[n]
    node.last = _tick(tree, _when_hit(block))
    node.is_condemned = 0
    if node.end != x and (s.goes_down or s.hit < 0 or _above(tree, s.hit) != x):
        s.pending = x  # below it, it may be another node, unused
        s.priority = priority
    else:
        node.priority = max(node.priority, priority)
    if node.end == x:
        node.hits += 1
        node.is_open = 0
    s.hit = x
    s.inserted = s.gone_above = NONE
    return n if node.block >= 0 else NONE


@inner
def insert(tree: Tree, block: Block, priority: float) -> None:
    """Note that a block was cached: below the one cached before it, above it, or on its own.

    `settle` comes first. A second copy of a block has no node before it is used or offered.
    """
    s = _sizes(tree)
    s.gone_above = NONE
    x, n_blocks = block.block_id, int(block.n_blocks)
    piece = _pieces(tree)[x]
    piece.node = 0
    piece.n_blocks = n_blocks
    if not enter(s.paths, block):
        return
    above = _above(tree, x)
    before = s.inserted
    s.inserted = x
    s.hit = NONE
    if before >= 0 and _above(tree, before) == x and _node_of(tree, before) >= 0:
        n = _node_of(tree, before)
        piece.node = n + 1
        nodes(tree)[n].n_blocks += n_blocks
    else:
        up = _node_of(tree, above)
        if up >= 0:
            parent = nodes(tree)[up]
            if parent.end == above and parent.is_open and parent.n_children == 0:
                piece.node = up + 1
                parent.end = x
                parent.n_blocks += n_blocks
                parent.last = _tick(tree, _when_cached(block))
                return
        _new_node(tree, x, n_blocks, priority, _when_cached(block))
    up = _node_of(tree, above)
    if up >= 0:
        if nodes(tree)[up].end != above:
            _split(tree, above)
            up = _node_of(tree, above)
        nodes(tree)[up].n_children += 1
        nodes(tree)[up].is_open = 0


@inner
def offer(tree: Tree, block: Block, priority: float) -> int:
    """Note that a block became a candidate; return its node."""
    s = _sizes(tree)
    settle(tree)
    s.hit = s.inserted = NONE
    x = block.block_id
    n = _node_of(tree, x)
    if n < 0:
        n = _new_node(tree, x, 1, priority, _when_cached(block))
    node = nodes(tree)[n]
    if not s.is_numbered and s.gone_above != x:  # given up: until now it was in use
        node.last = _tick(tree, 0)
    s.gone_above = NONE
    node.is_open = 0
    if node.end == x:
        node.block = x
    return n


@inner
def withdraw(tree: Tree, block: Block) -> None:
    """Note that a block is no candidate any more."""
    n = _node_of(tree, block.block_id)
    if n >= 0 and nodes(tree)[n].block == block.block_id:
        nodes(tree)[n].block = NONE


@inner
def evict(tree: Tree, block: Block) -> int:
    """Note that a piece left; what is left of its node is condemned: return its end, or NONE."""
    s = _sizes(tree)
    s.hit = s.inserted = NONE
    x = block.block_id
    above = s.gone_above = _above(tree, x)
    leave(s.paths, x)
    n = _node_of(tree, x)
    if n < 0:
        return NONE
    node = nodes(tree)[n]
    node.n_blocks -= int(block.n_blocks)
    node.length = max(node.length, block.depth + 1)
    _pieces(tree)[x].node = 0
    up = _node_of(tree, above)
    if node.n_blocks == 0:
        _free(tree)[s.n_free] = n
        s.n_free += 1
        if up >= 0:
            parent = nodes(tree)[up]
            parent.n_children -= 1
            parent.length = max(parent.length, node.length)
            parent.last = max(parent.last, node.last)
    elif node.end == x and up == n:
        node.is_condemned = 1
        node.end = above
        return above
    return NONE


def make_tree(setting: Setting) -> Tree:
    """Make an empty tree, which lives as long as the run."""
    sizes = np.zeros(1, TREE)
    records = zeros(setting.n_items + 1, NODE)
    free = np.arange(setting.n_items + 1, dtype=np.int32)
    pieces = zeros(setting.n_items, PIECE)
    for name in ("pending", "hit", "inserted", "cut", "gone_above"):
        sizes[name] = NONE
    sizes["n_items"], sizes["paths"] = setting.n_items, make_paths(setting)
    sizes["n_free"] = setting.n_items + 1
    sizes["goes_down"] = setting.hits_go_down
    sizes["is_numbered"] = setting.n_uses > 0
    for name, array in (("nodes", records), ("free", free), ("pieces", pieces)):
        sizes[name] = array.ctypes.data
    setting.keep(sizes, records, free, pieces)
    return int(sizes.ctypes.data)
