"""The nodes of SGLang's radix tree, followed from what a policy is told of blocks and runs of them.

A node is a run of blocks, each above the next, that entered together or were cut from such a run:
where a path ends or leaves the run, it is cut in two, and what lies below counts as used then
too. Blocks leave from a node's end; a node that lost some is *condemned*, since the
engine would have dropped it whole. What was inserted as one run, a *piece*, is never cut: paths end
between pieces. It is known by the key of its last block. Knows no order of nodes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import inner, view
from .base import Block, Setting
from .records import numbers_at

NODE = np.dtype(
    [
        ("last", "i8"),
        ("created", "i8"),
        ("hits", "i8"),
        ("priority", "f8"),
        ("end", "i4"),
        ("block", "i4"),
        ("n_blocks", "i4"),
        ("n_children", "i4"),
        ("is_open", "i4"),
        ("is_condemned", "i4"),
    ],
    align=True,
)
"""A node: number of its last use, of its creation, its uses, the highest priority of its users,
the key of its last block, that block if it is a candidate (else -1), blocks, child nodes; open
while the request that made it runs on."""

PIECE = np.dtype([("node", "i4"), ("n_blocks", "i4"), ("above", "i4"), ("none", "i4")])
"""A piece: 1 + its node, or 0; its blocks; the last key of the piece above it, or -1."""

TREE = np.dtype(
    [
        (name, "i8")
        for name in (
            "n_items",
            "n_keys",
            "n_uses",
            "n_free",
            "pending",
            "hit",
            "inserted",
            "goes_down",
            "nodes",
            "free",
            "pieces",
            "above",
        )
    ]
    + [("priority", "f8")]
)
"""Sizes, a clock of uses, and what was told last: `pending` is a key in the middle of its node
with which the blocks that a request found may end; `hit` and `inserted` are the last key of such
an event, if no other event came since; `goes_down`: whether hits are told from the start of a
path on. `priority` is that of the request that hit `pending`."""

NONE = -1

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
    """(n_keys,) of PIECE, by the last key."""
    return view(_sizes(tree).pieces, (_sizes(tree).n_keys,), PIECE)


@inner
def _above(tree: Tree, key: int) -> int:
    """Return the last key of the piece above the one that ends with a key; -1 for none."""
    return int(_pieces(tree)[key].above)


@inner
def _note_piece(tree: Tree, key: int, n_blocks: int) -> None:
    piece = _pieces(tree)[key]
    piece.n_blocks = n_blocks
    piece.above = numbers_at(_sizes(tree).above, _sizes(tree).n_keys)[key - n_blocks + 1]


@inner
def node_of(tree: Tree, key: int) -> int:
    """Return the node that holds the last key of a piece; NONE if it is not cached."""
    return int(_pieces(tree)[key].node) - 1 if key >= 0 else NONE


@inner
def _new_node(tree: Tree, key: int, n_blocks: int, priority: float) -> int:
    """Make a node of one piece."""
    _note_piece(tree, key, n_blocks)
    s = _sizes(tree)
    s.n_free -= 1
    n = int(_free(tree)[s.n_free])
    node = nodes(tree)[n]
    s.n_uses += 1
    node.last = node.created = s.n_uses
    node.hits = 0
    node.priority = priority
    node.end = key
    node.block = NONE
    node.n_blocks = n_blocks
    node.n_children = 0
    node.is_open = 1
    node.is_condemned = 0
    _pieces(tree)[key].node = n + 1
    return n


@inner
def _split(tree: Tree, key: int) -> None:
    """Cut a node below a key of its: the lower part stays the node, the upper one is new."""
    lower = node_of(tree, key)
    priority = nodes(tree)[lower].priority
    upper = _new_node(tree, key, _pieces(tree)[key].n_blocks, priority)
    a, b = nodes(tree)[upper], nodes(tree)[lower]
    a.created = b.created
    a.hits = b.hits + 1
    a.n_children = 1
    a.is_open = 0
    k = _above(tree, key)
    while k >= 0 and node_of(tree, k) == lower:
        _pieces(tree)[k].node = upper + 1
        a.n_blocks += _pieces(tree)[k].n_blocks
        k = _above(tree, k)
    b.n_blocks -= a.n_blocks


@inner
def settle(tree: Tree) -> None:
    """Cut the node in which the blocks that a request found came to an end, if they did."""
    s = _sizes(tree)
    key = int(s.pending)
    s.pending = NONE
    n = node_of(tree, key)
    if n >= 0 and nodes(tree)[n].end != key:
        _split(tree, key)
        upper = nodes(tree)[node_of(tree, key)]
        upper.priority = max(upper.priority, s.priority)


@inner
def hit(tree: Tree, block: Block, priority: float) -> int:
    """Note that a request reused a block; return its node if that still has a candidate."""
    s = _sizes(tree)
    key = int(block.key)
    if s.pending >= 0:
        if s.goes_down and _above(tree, key) == s.pending:
            s.pending = NONE  # the run goes on
        else:
            settle(tree)
    n = node_of(tree, key)
    if n < 0:
        n = _new_node(tree, key, int(block.n_blocks), priority)
    node = nodes(tree)[n]
    s.n_uses += 1
    node.last = s.n_uses
    node.is_condemned = 0
    if node.end != key and (s.goes_down or s.hit < 0 or _above(tree, s.hit) != key):
        s.pending = key  # below it, it may be another node, unused
        s.priority = priority
    else:
        node.priority = max(node.priority, priority)
    if node.end == key:
        node.hits += 1
        node.is_open = 0
    s.hit = key
    s.inserted = NONE
    return n if node.block >= 0 else NONE


@inner
def insert(tree: Tree, block: Block, priority: float) -> None:
    """Note that a block was cached: below the one cached before it, above it, or on its own."""
    s = _sizes(tree)
    settle(tree)
    key, n_blocks = int(block.key), int(block.n_blocks)
    if node_of(tree, key) >= 0:  # a second copy
        return
    _note_piece(tree, key, n_blocks)
    above = _above(tree, key)
    before = s.inserted
    s.inserted = key
    s.hit = NONE
    if before >= 0 and _above(tree, before) == key and node_of(tree, before) >= 0:
        n = node_of(tree, before)
        _pieces(tree)[key].node = n + 1
        nodes(tree)[n].n_blocks += n_blocks
    else:
        up = node_of(tree, above)
        if up >= 0:
            parent = nodes(tree)[up]
            if parent.end == above and parent.is_open and parent.n_children == 0:
                _pieces(tree)[key].node = up + 1
                s.n_uses += 1
                parent.end = key
                parent.n_blocks += n_blocks
                parent.last = s.n_uses
                return
        _new_node(tree, key, n_blocks, priority)
    up = node_of(tree, above)
    if up >= 0:
        if nodes(tree)[up].end != above:
            _split(tree, above)
            up = node_of(tree, above)
        nodes(tree)[up].n_children += 1
        nodes(tree)[up].is_open = 0


@inner
def offer(tree: Tree, block: Block, priority: float) -> int:
    """Note that a block became a candidate; return its node."""
    s = _sizes(tree)
    settle(tree)
    s.hit = s.inserted = NONE
    key = int(block.key)
    n = node_of(tree, key)
    if n < 0:
        n = _new_node(tree, key, 1, priority)
    node = nodes(tree)[n]
    node.is_open = 0
    if node.end == key:
        node.block = block.block_id
    return n


@inner
def withdraw(tree: Tree, block: Block) -> None:
    """Note that a block is no candidate any more."""
    n = node_of(tree, int(block.key))
    if n >= 0 and nodes(tree)[n].block == block.block_id:
        nodes(tree)[n].block = NONE


@inner
def evict(tree: Tree, block: Block) -> None:
    """Note that the last blocks of a piece left; what is left of its node is condemned."""
    s = _sizes(tree)
    s.hit = s.inserted = NONE
    key = int(block.key)
    n = node_of(tree, key)
    if n < 0:
        return
    n_gone = int(block.n_blocks)
    n_left = int(_pieces(tree)[key].n_blocks) - n_gone
    _pieces(tree)[key].node = 0
    node = nodes(tree)[n]
    node.n_blocks -= n_gone
    above = _above(tree, key)
    if n_left > 0:
        above = key - n_gone
        _pieces(tree)[above].n_blocks = n_left
        _pieces(tree)[above].above = _above(tree, key)
        _pieces(tree)[above].node = n + 1
    up = node_of(tree, above)
    if node.n_blocks == 0:
        _free(tree)[s.n_free] = n
        s.n_free += 1
        if up >= 0:
            nodes(tree)[up].n_children -= 1
    elif node.end == key and up == n:
        node.end = above
        node.is_condemned = 1


def make_tree(setting: Setting) -> Tree:
    """Make an empty tree, which lives as long as the run."""
    sizes = np.zeros(1, TREE)
    records = np.zeros(setting.n_items + 1, NODE)
    free = np.arange(setting.n_items + 1, dtype=np.int32)
    pieces = np.zeros(setting.n_keys, PIECE)
    above = setting.above()
    for name in ("pending", "hit", "inserted"):
        sizes[name] = NONE
    sizes["n_items"], sizes["n_keys"] = setting.n_items, setting.n_keys
    sizes["n_free"] = setting.n_items + 1
    sizes["goes_down"] = setting.hits_go_down
    for name, array in (
        ("nodes", records),
        ("free", free),
        ("pieces", pieces),
        ("above", above),
    ):
        sizes[name] = array.ctypes.data
    setting.keep(sizes, records, free, pieces, above)
    return int(sizes.ctypes.data)
