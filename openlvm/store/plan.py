"""A plan: which sentences stand at position p of a run, computed from (seed, window, p) alone.

A position holds n = floor(16 / S) sentences of one component, its stream's numbers j n .. j n + n - 1 (order.py). One
permutation maps p to (component, j). With windows of parts the run is cut into C chunks, C the most windows any
component reaches into; chunk c holds the positions floor(c n_i / C) .. floor((c + 1) n_i / C) of every component i and
has its own permutation, so that at any time only two or three windows of a store are read. There is no state.

Letters: M sentences, S images, R records, N codes per image, I components, n sentences of a position.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from openlvm.core.seeds import derive, seed_of
from openlvm.sentences.grammar import MAX_IMAGES, ROLES, ImageRef, Kind
from openlvm.sentences.sentence import compose_many
from openlvm.store.format import Store, image_numbers
from openlvm.store.order import ComponentOrder
from openlvm.store.permutation import MAX_SIZE, permute

BLOCK = 256
"""Positions read together: 32 MB of codes at 4096 a position; larger blocks are not faster."""


@dataclass(frozen=True)
class Component:
    """One ingredient of a plan: sentences of one kind from one store."""

    store: Store | Path | str
    """The store, or its folder."""
    kind: Kind
    """The sentences made of it."""
    weight: float | Literal["size"] = "size"
    """Share of the positions, relative to the other components; "size": as many as one pass over it gives."""
    name: str = ""
    """Unique in a plan; the order depends on it. By default "folder/kind"."""


@dataclass(frozen=True)
class Position:
    """What stands at a position."""

    index: int
    component: int
    name: str
    kind: Kind
    store: Store
    sentences: list[list[ImageRef]]


@dataclass(frozen=True)
class Sentences:
    """The same as codes, for training."""

    component: int
    codes: np.ndarray
    """int64 [n, S*N]."""
    roles: np.ndarray
    """int64 [n, S], indices into `grammar.ROLES`."""


class Plan:
    """The sentences of a run.

    Args:
        components: what is mixed. Weights are shares of positions, thus nearly of codes.
        seed: of all permutations and draws.
        num_positions: length of the run; None is the most that `max_passes` allow.
        max_passes: over any component; a sentence comes at most once in a pass.
        window_parts: parts of each store that are shuffled together; None is all.
        tokenizer: a tokenizer or a codes_fingerprint that all stores must have; None takes any, but only one.
    """

    def __init__(
        self,
        components: Sequence[Component],
        *,
        seed: int = 0,
        num_positions: int | None = None,
        max_passes: int = 1,
        window_parts: int | None = None,
        tokenizer: Any = None,
    ):
        if not components:
            raise ValueError("a plan needs at least one component")
        if max_passes < 1 or (window_parts is not None and window_parts < 1):
            raise ValueError(f"max_passes={max_passes} and window_parts={window_parts} must be at least 1")
        stores = [_opened(component.store, tokenizer) for component in components]
        self.names = _names(components, stores)
        self.seed, self.max_passes = seed, max_passes
        self.stores, self.kinds = stores, [component.kind for component in components]
        self.codes_per_image = stores[0].codes_per_image
        self.codebook_size = stores[0].codebook_size
        self.codes_fingerprint = stores[0].codes_fingerprint
        self.images = [kind.num_images for kind in self.kinds]
        self.sentences_per_position = [MAX_IMAGES // size for size in self.images]
        self.orders = [
            ComponentOrder(store, kind, seed=seed, name=name, window_parts=window_parts)
            for store, kind, name in zip(stores, self.kinds, self.names, strict=True)
        ]
        self.counts = self._counts([component.weight for component in components], num_positions)
        self.num_positions = sum(self.counts)
        self._lay_out_chunks()

    # ----------------------------------------------------------------------------------------------------- counting

    def _counts(self, weights: list[float | Literal["size"]], num_positions: int | None) -> list[int]:
        """Positions of each component."""
        shares = self._shares(weights)
        if num_positions is None:
            capacities = [self._capacity(place, None) for place in range(len(shares))]
            num_positions = min(int(capacity / share) for capacity, share in zip(capacities, shares, strict=True))
        if num_positions < 1:
            raise ValueError(f"num_positions={num_positions} must be at least 1; sizes: {self._sizes()}")
        if num_positions > MAX_SIZE:
            raise ValueError(
                f"{num_positions} positions are too many, 2^52 is the most; lower num_positions, or "
                f"max_passes={self.max_passes} which gives so many"
            )
        counts = _apportion(num_positions, shares)
        for place, count in enumerate(counts):
            if count == 0:
                raise ValueError(
                    f"component {self.names[place]!r} would get 0 of {num_positions} positions; "
                    "raise its weight or num_positions, or leave it out"
                )
            if self._capacity(place, count) < count:
                raise ValueError(
                    f"component {self.names[place]!r} would get {count} of num_positions={num_positions}; "
                    f"max_passes={self.max_passes} over it give {self._capacity(place, None)}. "
                    "Lower num_positions or its weight, or raise max_passes"
                )
        return counts

    def _shares(self, weights: list[float | Literal["size"]]) -> list[Fraction]:
        """Exact shares that sum to 1."""
        by_size = [weight == "size" for weight in weights]
        if any(by_size) and not all(by_size):
            raise ValueError(f'weights are all "size" or all numbers, given {weights}')
        sizes: list[Any] = [self._capacity(place, None) for place in range(len(weights))] if all(by_size) else weights
        for place, size in enumerate(sizes):
            if self._capacity(place, 1) == 0:
                raise ValueError(
                    f"component {self.names[place]!r} cannot fill a position within max_passes={self.max_passes}: "
                    f"{self._size_line(place)}"
                )
            if not size > 0:
                raise ValueError(f"component {self.names[place]!r} has weight={size}; weights are above 0")
        total = sum(Fraction(size) for size in sizes)
        return [Fraction(size) / total for size in sizes]

    def _capacity(self, place: int, wanted: int | None) -> int:
        """Positions that `max_passes` give a component; lays out only as many passes as `wanted` positions need."""
        per_position = self.sentences_per_position[place]
        ask = None if wanted is None else wanted * per_position
        return self.orders[place].lay_out(ask, max_passes=self.max_passes) // per_position

    def _lay_out_chunks(self) -> None:
        reached = [
            order.windows_until(count * per_position)
            for order, count, per_position in zip(self.orders, self.counts, self.sentences_per_position, strict=True)
        ]
        num_chunks = max(reached)
        whole, rest = np.divmod(np.array(self.counts), num_chunks)  # [I]; c * count itself could pass 64 bits
        chunk = np.arange(num_chunks + 1)[:, None]
        cuts = chunk * whole + chunk * rest // num_chunks  # floor(c * count / C)
        self._chunk_firsts = cuts[:-1]  # int64 [C, I]: the first position of each component in each chunk
        self._chunk_ends = np.cumsum(np.diff(cuts, axis=0), axis=1)  # int64 [C, I]: where components end in a chunk
        self._chunk_starts = cuts.sum(axis=1)  # int64 [C + 1]

    # ------------------------------------------------------------------------------------------------------ reading

    def position(self, index: int) -> Position:
        """Which images stand at a position."""
        component, places = self._locate(np.array([index]))
        place = int(component[0])
        numbers = self._numbers(place, places)
        records = self.orders[place].records(numbers)
        store, kind = self.stores[place], self.kinds[place]
        frames = store.records["num_frames"][records].astype(np.int64)
        sentences = compose_many(kind, records, frames, self._sentence_seeds(place, numbers))
        return Position(index, place, self.names[place], kind, store, sentences)

    def sentences(self, index: int) -> Sentences:
        """The codes of one position; `batch` reads many at once, and faster."""
        return self.batch([index])[0]

    def batch(self, indices: Sequence[int] | range | np.ndarray) -> list[Sentences]:
        """The codes of many positions, in the order asked for; a few array operations for each component."""
        components, places = self._locate(np.asarray(indices, dtype=np.int64))
        found: list[Any] = [None] * len(components)
        for place in np.unique(components).tolist():
            chosen = np.flatnonzero(components == place)
            codes, roles = self._read(place, places[chosen])
            for number, index in enumerate(chosen.tolist()):
                found[index] = Sentences(place, codes[number], roles)
        return found

    def read(self, indices: Sequence[int] | range) -> Iterator[Sentences]:
        """The codes of many positions one by one, read `BLOCK` positions ahead: the fastest way through a run."""
        for start in range(0, len(indices), BLOCK):
            yield from self.batch(indices[start : start + BLOCK])

    def codes(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Codes int64 [n, S*N] and roles int64 [n, S] of one position."""
        sentences = self.sentences(index)
        return sentences.codes, sentences.roles

    def _locate(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions int64 [P] -> components int64 [P] and the positions' numbers in them, int64 [P]."""
        if indices.size and not 0 <= indices.min() <= indices.max() < self.num_positions:
            asked = f"{indices.min()} to {indices.max()}"
            raise ValueError(f"positions {asked} were asked for; the plan has {self.num_positions}")
        chunk = np.searchsorted(self._chunk_starts, indices, side="right") - 1
        sizes = self._chunk_ends[chunk, -1]
        seeds = derive(np.array([seed_of("positions", self.seed)], dtype=np.uint64), chunk)
        moved = permute(indices - self._chunk_starts[chunk], sizes, seeds)
        ends = self._chunk_ends[chunk]  # [P, I]
        component = (moved[:, None] >= ends).sum(axis=1)
        begin = np.where(component > 0, ends[np.arange(len(moved)), component - 1], 0)
        return component, self._chunk_firsts[chunk, component] + moved - begin

    def _numbers(self, place: int, places: np.ndarray) -> np.ndarray:
        """Numbers in the stream of a component's sentences at its positions `places`: int64 [len(places) * n]."""
        per_position = self.sentences_per_position[place]
        return (places[:, None] * per_position + np.arange(per_position)).ravel()

    def _sentence_seeds(self, place: int, numbers: np.ndarray) -> np.ndarray:
        return derive(np.array([seed_of("sentence", self.seed, self.names[place])], dtype=np.uint64), numbers)

    def _read(self, place: int, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes int64 [len(places), n, S*N] and roles int64 [n, S] of positions of one component."""
        store, kind = self.stores[place], self.kinds[place]
        numbers = self._numbers(place, places)  # [M]
        entries = store.records[self.orders[place].records(numbers)]  # [M, R]
        slots, frames = kind.layout(entries["num_frames"].astype(np.int64), self._sentence_seeds(place, numbers))
        slot_numbers = np.array([store.slot_number(slot) for slot in kind.slots], dtype=np.uint64)
        images = image_numbers(entries[:, kind.members], slot_numbers[slots], frames)  # [M, S]
        per_position = self.sentences_per_position[place]
        codes = store.read(images).reshape(len(places), per_position, -1)
        roles = np.array([ROLES.index(role) for role in kind.roles])
        return codes, np.tile(roles, (per_position, 1))

    # ---------------------------------------------------------------------------------------------------- reporting

    def report(self) -> str:
        """A table: positions, shares and passes of each component, and what is dropped."""
        rows = [("component", "images", "positions", "share", "sentences", "passes", "sentences in a pass", "dropped")]
        for place, (order, count) in enumerate(zip(self.orders, self.counts, strict=True)):
            num_sentences = count * self.sentences_per_position[place]
            rows.append(
                (
                    self.names[place],
                    f"{self.images[place]}",
                    f"{count:,}",
                    f"{count / self.num_positions:.1%}",
                    f"{num_sentences:,}",
                    f"{order.passes(num_sentences):.3g}",
                    f"{order.pass_size:,}",
                    self._dropped(place),
                )
            )
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join(
            [*lines, f"{self.num_positions:,} positions in {len(self._chunk_firsts)} chunks, seed {self.seed}"]
        )

    def _dropped(self, place: int) -> str:
        order = self.orders[place]
        dropped = order.dropped
        used = order.pass_size * self.kinds[place].chunks * self.kinds[place].records_per_chunk
        told = {
            "lack a slot": dropped.missing_slots,
            "too short": dropped.too_short,
            "without label": dropped.unlabelled,
            "left over by grouping in a pass": order.num_members - used,
        }
        return ", ".join(f"{count:,} {reason}" for reason, count in told.items() if count) or "none"

    def _size_line(self, place: int) -> str:
        order, kind = self.orders[place], self.kinds[place]
        return (
            f"a pass over the {order.store.num_records} records of {order.store.at} gives {order.pass_size} sentences "
            f"of {kind}, and a position takes {self.sentences_per_position[place]}; dropped: {self._dropped(place)}"
        )

    def _sizes(self) -> str:
        return "; ".join(f"{name}: {self._size_line(place)}" for place, name in enumerate(self.names))


def _opened(store: Store | Path | str, tokenizer: Any) -> Store:
    if not isinstance(store, Store):
        return Store.open(store, tokenizer)
    wanted = getattr(tokenizer, "codes_fingerprint", tokenizer)
    if wanted is not None and wanted != store.codes_fingerprint:
        raise ValueError(f"the store {store.at} was made with another tokenizer than the one given")
    return store


def _names(components: Sequence[Component], stores: list[Store]) -> list[str]:
    """The components' names, after checking that they are unique and of one tokenizer."""
    fingerprints = {store.codes_fingerprint: store.at for store in stores}
    if len(fingerprints) > 1:
        told = ", ".join(map(str, fingerprints.values()))
        raise ValueError(f"all stores of a plan must be made with one tokenizer; these are not: {told}")
    names = [c.name or f"{s.at.name}/{c.kind.name}" for c, s in zip(components, stores, strict=True)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"several components are called {', '.join(twice)}; set Component(name=...)")
    return names


def _apportion(total: int, shares: list[Fraction]) -> list[int]:
    """Integers that sum to `total` and are nearest to the shares (largest remainders; the first of equals)."""
    exact = [share * total for share in shares]
    counts = [int(value) for value in exact]
    by_remainder = sorted(range(len(shares)), key=lambda place: counts[place] - exact[place])
    for place in by_remainder[: total - sum(counts)]:
        counts[place] += 1
    return counts
