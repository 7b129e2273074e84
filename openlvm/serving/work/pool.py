"""Rows of codes in the drawing: they join and leave between two steps, and every step draws one code of each.

What rows begin with alike is read once, also when one of them is already running: a prompt is read in two parts, all
but its last picture and that picture, and each part lives as long as a row that began with it. When the company
changes, the keys that each row has drawn so far are put together again, rows of equal progress into one cache:

    head (examples) | last picture (query) | drawn before | drawn since the company last changed
    shared            shared by candidates   own            own, in the cache of all rows

The codes of a row are those that `generate` draws for its prompt alone, up to ties of logits that differ by rounding.
Letters beside the project's own: R rows.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np
import torch

from openlvm.model.cache import KVCache
from openlvm.model.decoder import Decoder
from openlvm.model.step import Step, step_of
from openlvm.prompting.engine.prefixes import Node, Path, look_back, read_paths
from openlvm.prompting.engine.steps import told
from openlvm.prompting.sampling import Sampling, choose_codes


@dataclass(eq=False)
class Row:
    """One candidate of one prompt."""

    prompt: torch.Tensor
    """int64 [T]."""
    num_last: int
    """Codes of the last picture, fewer than T."""
    seed: np.uint64
    """Of its chance (`row_seeds`)."""
    sampling: Sampling
    num_new: int
    """Codes to draw."""
    codes: list[int] = field(default_factory=list)
    """Drawn so far."""
    log_probs: list[float] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)
    nodes: tuple[Node, ...] = ()
    """Head and last picture, once they are read."""
    place: tuple[int, ...] = ()
    """Rows are kept in the order of their places: those that begin alike are neighbours, as `look_back` wants them."""
    drawn: Node | None = None
    """What was drawn before the company last changed."""

    @property
    def is_done(self) -> bool:
        """All its codes are drawn."""
        return len(self.codes) == self.num_new


class Pool:
    """The rows of one decoder.

    Args:
        decoder: its weights are packed (model/packed.py).
        num_codes: K; only 0 .. K - 1 are ever drawn.
    """

    def __init__(self, decoder: Decoder, *, num_codes: int):
        self.decoder, self.num_codes = decoder, num_codes
        self.rows: list[Row] = []
        self._parts: WeakValueDictionary[bytes, Node] = WeakValueDictionary()
        self._numbers: WeakKeyDictionary[Node, int] = WeakKeyDictionary()
        self._next_number = count()
        self._clear()

    def _clear(self) -> None:
        """As without rows."""
        self.cache: KVCache | None = None
        self.logits = torch.empty(0, self.num_codes)
        self._step: Step | None = None
        self._by_sampling: list[tuple[Sampling, torch.Tensor]] = []
        self._seeds = np.empty(0, dtype=np.uint64)

    @torch.inference_mode()
    def change(self, *, joining: Sequence[Row] = (), leaving: Iterable[Row] = ()) -> None:
        """Rows come and go; those that come are read here, and if that fails nothing has changed."""
        gone = set(map(id, leaving))
        staying = [(at, row) for at, row in enumerate(self.rows) if id(row) not in gone]
        new_rows, first_logits = self._read(joining)
        logits = [*(self.logits[at] for at, _ in staying), *first_logits]
        self._keep_drawn(staying)
        self.rows = [*(row for _, row in staying), *new_rows]
        if not self.rows:
            self._clear()
            return
        order = sorted(range(len(self.rows)), key=lambda at: self.rows[at].place)
        self.rows = [self.rows[at] for at in order]
        self.logits = torch.stack([logits[at] for at in order])  # [R, K]
        self._go_on()

    def abandon(self) -> None:
        """Let go of all rows and their memory, after a failure."""
        if self.cache is not None:
            self.cache.free()
        self.rows = []
        self._parts.clear()  # a part that the failure left half read must not be found again
        self._clear()

    @torch.inference_mode()
    def step(self) -> list[Row]:
        """Draw one code of each row; returns those that are done, which `change` is then to let go."""
        assert self._step is not None
        places = np.array([len(row.codes) for row in self.rows])
        chosen = torch.empty(len(self.rows), dtype=torch.int64, device=self.logits.device)
        for sampling, at in self._by_sampling:
            some = at.cpu().numpy()
            chosen[at] = choose_codes(self.logits[at], sampling, self._seeds[some], places[some])
        log_probs, entropies = told(self.logits, chosen)
        told_of = zip(self.rows, chosen.tolist(), log_probs.tolist(), entropies.tolist(), strict=True)
        for row, code, log_prob, entropy in told_of:
            row.codes.append(code)
            row.log_probs.append(log_prob)
            row.entropies.append(entropy)
        done = [row for row in self.rows if row.is_done]
        if len(done) < len(self.rows):
            self.logits = self._step(chosen)
        return done

    def _keep_drawn(self, staying: Sequence[tuple[int, Row]]) -> None:
        """Put together what rows have drawn: those of equal progress go into one cache, in order."""
        if self.cache is None or not self.cache.filled:
            return
        now, filled = self.cache, self.cache.filled
        alike: dict[int, list[tuple[int, Row]]] = defaultdict(list)
        for at, row in staying:
            alike[len(row.codes)].append((at, row))
        for length, group in alike.items():
            ats = [at for at, _ in group]
            before = [row.drawn for _, row in group]
            sides = []
            for side in ("keys", "values"):
                own = [tensor[ats, :, :filled] for tensor in getattr(now, side)]  # [n, A, filled, E] a layer
                if before[0] is not None:  # rows of equal progress were put into one cache the last time too
                    store, places = _read_at([node for node in before if node is not None])
                    old = [tensor[places] for tensor in getattr(store, side)]
                    own = [torch.cat(parts, dim=2) for parts in zip(old, own, strict=True)]
                sides.append(own)
            kept = KVCache(*sides)
            kept.advance(length)
            for place, (_, row) in enumerate(group):
                row.drawn = Node(torch.tensor(row.codes), len(row.prompt))
                row.drawn.read = (kept, place)

    def _read(self, joining: Sequence[Row]) -> tuple[list[Row], list[torch.Tensor]]:
        """Read the prompts of rows; the rows in the order of their places, and the logits [K] of each one's first."""
        if not joining:
            return [], []
        rows = sorted(joining, key=lambda row: row.prompt.numpy().astype(">i8").tobytes())
        for row in rows:
            cut = len(row.prompt) - row.num_last
            row.nodes = tuple(
                self._part(row.prompt[:stop], start) for start, stop in ((0, cut), (cut, len(row.prompt))) if stop
            )
            row.place = tuple(self._numbers[node] for node in row.nodes)
        rows.sort(key=lambda row: row.place)
        paths = [Path(number, row.nodes) for number, row in enumerate(rows)]
        logits, _ = read_paths(self.decoder, paths, room=0, num_codes=self.num_codes)
        return rows, list(logits)

    def _part(self, codes: torch.Tensor, start: int) -> Node:
        """The node that ends with these codes of a prompt, and begins at `start`."""
        key = start.to_bytes(8, "big") + codes.numpy().tobytes()
        node = self._parts.get(key)
        if node is None:
            node = self._parts[key] = Node(codes[start:], start)
            self._numbers[node] = next(self._next_number)
        return node

    def _go_on(self) -> None:
        """A cache in which all rows go on, and what their steps need."""
        chains = [(*row.nodes, *([row.drawn] if row.drawn is not None else [])) for row in self.rows]
        left = max(row.num_new - len(row.codes) for row in self.rows)
        self.cache = self.decoder.new_cache(rows=len(self.rows), room=left, past=look_back(chains))
        self._step = step_of(self.decoder, self.cache, num_codes=self.num_codes, num_steps=left)
        self._seeds = np.array([row.seed for row in self.rows], dtype=np.uint64)
        ats: dict[Sampling, list[int]] = defaultdict(list)
        for at, row in enumerate(self.rows):
            ats[row.sampling].append(at)
        device = self.logits.device
        self._by_sampling = [(sampling, torch.tensor(at, device=device)) for sampling, at in ats.items()]


def _read_at(nodes: Sequence[Node]) -> tuple[KVCache, list[int]]:
    """The cache that nodes were read into, one for all, and the rows of it."""
    read = [node.read for node in nodes if node.read is not None]
    cache = read[0][0]
    assert len(read) == len(nodes) and all(other is cache for other, _ in read)
    return cache, [at for _, at in read]
