"""What prompts begin with alike, read once: a tree of beginnings, and the caches that its nodes are read into.

Only paths hold nodes, and nodes do not hold each other: the keys and values of a node live as long as a path that is
still to be continued runs through it. Letters beside the project's own: P prompts, R rows, L codes of a node.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import torch

from openlvm.model.cache import KVCache, Piece
from openlvm.model.decoder import Decoder

READ_AT_ONCE = 2048
"""Codes of prompts in one forward: activations that stay in a CPU's cache. 48 prompts of 449 codes, demo decoder, one
thread: 1.7 s of CPU in parts of 4 prompts, 2.8 s at once (2026-11-21)."""
SPREAD_AT_ONCE = 32_768
"""Positions, past ones included, of the prompts in one forward: bounds what a layer copies of the keys they share."""
SHARE_FROM = 32
"""Codes of a block; what prompts have in common is shared in whole blocks. Each level of the tree costs every step a
few small products more, and nodes of equal lengths, which blocks make likely, are one product."""


class Node:
    """Codes that follow those of the nodes before it, and where they were read."""

    def __init__(self, codes: torch.Tensor, start: int):
        self.codes = codes
        """int64 [L]."""
        self.start = start
        """Codes of the nodes before it."""
        self.read: tuple[KVCache, int] | None = None
        """A cache and the row of it."""
        self.state: torch.Tensor | None = None
        """What stands before the head after its last code, float [D]."""


class Path(NamedTuple):
    """A prompt as its nodes."""

    prompt: int
    """Its number."""
    nodes: tuple[Node, ...]
    """At least one; the last is its own, or that of equal prompts."""


def paths_of(prompts: Sequence[torch.Tensor], *, share_from: int | None = None) -> list[Path]:
    """The tree of prompts int64 [T], T >= 1, as one path each, in an order in which each node's paths are neighbours.

    Blocks of `share_from` codes (by default SHARE_FROM) that different prompts begin with alike become a node; equal
    prompts share all their nodes. Neighbours in the tree are ordered by the shape of what is below them, so that nodes
    of equal shape can be read, and looked back to, together.
    """
    numbers: dict[bytes, list[int]] = {}
    for number, prompt in enumerate(prompts):
        numbers.setdefault(prompt.numpy().astype(">i8").tobytes(), []).append(number)
    ordered = sorted(numbers)  # bytes of big-endian numbers sort as the numbers do, a beginning before what goes on
    rows, block = [prompts[numbers[key][0]] for key in ordered], SHARE_FROM if share_from is None else share_from
    shared = [_num_shared(one, other, block) for one, other in zip(rows, rows[1:], strict=False)]
    grown = _grow(rows, shared, [numbers[key] for key in ordered], ())
    return [path for _, paths in grown for path in paths]


def _num_shared(one: torch.Tensor, other: torch.Tensor, block: int) -> int:
    """Codes in whole blocks that two different rows begin with alike, one code being left to each."""
    length = min(len(one), len(other)) - 1
    differs = one[:length] != other[:length]
    alike = int(differs.int().argmax()) if bool(differs.any()) else length
    return alike // block * block


def _grow(
    rows: list[torch.Tensor], shared: list[int], numbers: list[list[int]], before: tuple[Node, ...]
) -> list[tuple[Any, list[Path]]]:
    """(shape, paths) of each node that follows `before`.

    Args:
        rows: different prompts, sorted, that begin with `before` and go on.
        shared: codes that each has in common with the next.
        numbers: of the prompts that each row is.
    """
    start = sum(len(node.codes) for node in before)
    cuts = [at + 1 for at, common in enumerate(shared) if common <= start]
    grown: list[tuple[Any, list[Path]]] = []
    for first, stop in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        end = min(shared[first : stop - 1], default=len(rows[first]))
        nodes = (*before, Node(rows[first][start:end], start))
        if stop - first == 1:
            paths, below = [Path(number, nodes) for number in numbers[first]], []
        else:
            below = _grow(rows[first:stop], shared[first : stop - 1], numbers[first:stop], nodes)
            paths = [path for _, inner in below for path in inner]
        grown.append(((end - start, len(paths), tuple(shape for shape, _ in below)), paths))
    return sorted(grown, key=lambda shape_and_paths: shape_and_paths[0])


def read_alone(decoder: Decoder, prompt: torch.Tensor, *, room: int, num_codes: int) -> tuple[torch.Tensor, KVCache]:
    """Read a prompt int64 [T]: logits float32 [1, K] of the next code, and a cache of one row with `room` to go on."""
    return read_paths(decoder, paths_of([prompt]), room=room, num_codes=num_codes)


@torch.no_grad()  # not inference_mode: the cache may be gone on with outside
def read_paths(
    decoder: Decoder,
    paths: Sequence[Path],
    *,
    copies: int = 1,
    room: int,
    num_codes: int,
    pending: Iterable[Path] = (),
) -> tuple[torch.Tensor, KVCache]:
    """Read the nodes of neighbouring paths that nobody read yet, and make ready for drawing what follows.

    Args:
        copies: C, rows that continue each path.
        room: positions for new codes of each row.
        pending: paths that are to be read later; the nodes that these share with them are kept as they are.

    Returns:
        Logits float32 [R, K] of the code after each path, R = P * C, path-major, and the cache of the R rows.
    """
    kept = {node for path in pending for node in path.nodes}
    cache: KVCache | None = None
    for level in range(max(len(path.nodes) for path in paths)):
        for chains in _stacks(paths, level, kept):
            whole = len(chains) == len(paths) * copies and kept.isdisjoint(nodes[-1] for nodes in chains)
            read = _read_stack(decoder, chains, room if whole else 0)
            cache = read if whole else None  # each row has a last node of its own: it goes on in that node's cache
    states = [path.nodes[-1].state for path in paths]
    hidden = torch.stack([state for state in states if state is not None])  # [P, D]; by now all are read
    logits = decoder.head(hidden, num_codes=num_codes).repeat_interleave(copies, dim=0)  # [R, K]
    if cache is None:
        past = look_back([path.nodes for path in paths], copies)
        cache = decoder.new_cache(rows=len(paths) * copies, room=room, past=past)
    return logits, cache


def look_back(chains: Sequence[Sequence[Node]], copies: int = 1) -> list[list[Piece]]:
    """What rows see of nodes that were read: one level of pieces for each level of the tree.

    Args:
        chains: the nodes that each path of rows has behind it, neighbours in the tree being neighbours here.
        copies: rows of each path.
    """
    levels: list[list[Piece]] = []
    for level in range(max(len(chain) for chain in chains)):
        pieces: list[Piece] = []
        row = 0
        for nodes, same in groupby(chains, key=lambda chain: tuple(chain[: level + 1])):
            count = copies * sum(1 for _ in same)
            if len(nodes) > level:
                _add_piece(pieces, nodes[-1], row, count)
            row += count
        levels.append(pieces)
    return levels


def _add_piece(pieces: list[Piece], node: Node, row: int, count: int) -> None:
    """Let rows row .. row + count - 1 see a node, in one piece with the node before if they lie and look alike."""
    assert node.read is not None
    cache, at = node.read
    piece = Piece(cache, slice(at, at + 1), slice(row, row + count), len(node.codes))
    if pieces:
        last = pieces[-1]
        alike = last.cache is cache and (last.length, last.copies) == (piece.length, piece.copies)
        if alike and (last.rows.stop, last.seen_by.stop) == (at, row):
            pieces[-1] = last._replace(
                rows=slice(last.rows.start, at + 1), seen_by=slice(last.seen_by.start, row + count)
            )
            return
    pieces.append(piece)


def _stacks(paths: Sequence[Path], level: int, kept: set[Node]) -> Iterator[list[tuple[Node, ...]]]:
    """Neighbouring nodes of one level that are still to be read and are of one shape, each with those before it.

    A node that is kept for later is read into a cache of its own, so that it keeps no other alive.
    """
    found = []
    for nodes, same in groupby(paths, key=lambda path: path.nodes[: level + 1]):
        num_paths = sum(1 for _ in same)
        to_read = len(nodes) > level and nodes[-1].read is None
        lengths = tuple(len(node.codes) for node in nodes)
        found.append((to_read, (lengths, num_paths, nodes[-1] if nodes[-1] in kept else None), nodes))
    for (to_read, _), alike in groupby(found, key=lambda each: each[:2]):
        if to_read:
            yield [nodes for _, _, nodes in alike]


def _read_stack(decoder: Decoder, chains: list[tuple[Node, ...]], room: int) -> KVCache:
    """Read the last nodes of `chains`, equally long and after equally long ones, into one cache, in parts."""
    nodes, before = [chain[-1] for chain in chains], [chain[:-1] for chain in chains]
    start, length = nodes[0].start, len(nodes[0].codes)
    cache = decoder.new_cache(rows=len(nodes), room=length + room, past=look_back(before))
    codes = torch.stack([node.codes for node in nodes]).to(decoder.model.embed_tokens.weight.device)  # [n, L]
    at_once = max(1, min(READ_AT_ONCE // length, SPREAD_AT_ONCE // (start + length)))
    for first in range(0, len(nodes), at_once):
        stop = min(first + at_once, len(nodes))
        part = cache.part(first, stop, past=look_back(before[first:stop]))
        states = decoder.hidden(codes[first:stop], cache=part, num_last=1)[:, 0]  # [rows of the part, D]
        for row, state in zip(range(first, stop), states, strict=True):
            nodes[row].read = (cache, row)
            nodes[row].state = state
    cache.advance(length)
    return cache
