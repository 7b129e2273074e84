"""The order of the sentences of one component: sentence t of an endless stream is made of these records.

The stream is pass after pass over the store; a pass is window after window of parts; in a window a sentence is

    ungrouped   R consecutive members of the permuted window
    grouped     `chunks` groups of R / chunks members, each of one label. A label's permuted members are cut into
                groups; round r holds the r-th group of every label that has one, and consecutive groups of a permuted
                round make a sentence, so that its labels differ. What is left over is dropped, and counted.

Every pass and window has its own permutations, computed from (seed, pass, window): nothing is shuffled or stored. All
passes are alike where a window holds the whole store; else where each window begins is counted, pass by pass.
Letters: M sentences, R records a sentence, E members of a window, L labels of a window.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from openlvm.core.seeds import derive, seed_of
from openlvm.sentences.grammar import Kind
from openlvm.sentences.sentence import records_per_sentence
from openlvm.store.format import Store
from openlvm.store.permutation import Permutation, permute

KEPT_WINDOWS = 4
"""Windows of a component that stay in memory; positions of one chunk of a plan touch two or three."""
MAX_WINDOWS = 1 << 17
"""Windows of a component that are laid out, at most: 1 to 7 s on one core, the fewer a pass has the longer; of small
grouped kinds 7 to 14 s."""
_SCAN = 1 << 20  # records looked at together when members are chosen


@dataclass(frozen=True)
class Dropped:
    """Records of a store that no sentence of a component can hold, by reason."""

    missing_slots: int
    too_short: int
    unlabelled: int


@dataclass(frozen=True, eq=False)
class Window:
    """Ungrouped members: int64 [E], or None for all records of the store."""

    members: np.ndarray | None
    num_members: int
    size_of_sentence: int

    @property
    def size(self) -> int:
        """Sentences of one pass."""
        return self.num_members // self.size_of_sentence

    def records(self, numbers: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """Records int64 [M, R] of the sentences `numbers` int64 [M], each in the pass of its seed, uint64 [M]."""
        places = numbers[:, None] * self.size_of_sentence + np.arange(self.size_of_sentence)
        places = permute(places, np.array(self.num_members), seeds[:, None])
        return places if self.members is None else self.members[places]


@dataclass(frozen=True, eq=False)
class GroupedWindow:
    """Members int64 [E] label after label; labels with more groups first, so that a round is the first labels."""

    members: np.ndarray
    label_starts: np.ndarray
    """int64 [L]: the first member of each label."""
    label_sizes: np.ndarray
    """int64 [L]."""
    round_labels: np.ndarray
    """int64 [rounds]: labels that have a group in the round."""
    round_starts: np.ndarray
    """int64 [rounds + 1]: the first sentence of each round."""
    chunks: int
    chunk_size: int

    @property
    def size(self) -> int:
        """Sentences of one pass."""
        return int(self.round_starts[-1])

    def records(self, numbers: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """As `Window.records`, group after group."""
        numbers = permute(numbers, np.array(self.size), derive(seeds, 0))
        rounds = np.searchsorted(self.round_starts, numbers, side="right") - 1  # [M]
        places = (numbers - self.round_starts[rounds])[:, None] * self.chunks + np.arange(self.chunks)
        labels = permute(places, self.round_labels[rounds, None], derive(derive(seeds, 1), rounds)[:, None])
        members = rounds[:, None, None] * self.chunk_size + np.arange(self.chunk_size)  # [M, 1, chunk_size]
        label_seeds = derive(derive(seeds, 2)[:, None], labels)[..., None]
        members = permute(members, self.label_sizes[labels][..., None], label_seeds)  # [M, chunks, chunk_size]
        return self.members[self.label_starts[labels][..., None] + members].reshape(len(numbers), -1)


def group_by_label(members: np.ndarray, labels: np.ndarray, *, chunks: int, chunk_size: int) -> GroupedWindow:
    """The grouped window of members int64 [E] with labels int [E]."""
    names, sizes = np.unique(labels, return_counts=True)
    by_size = np.argsort(-(sizes // chunk_size), kind="stable")
    place = np.empty(len(names), dtype=np.int64)
    place[by_size] = np.arange(len(names))
    order = np.argsort(place[np.searchsorted(names, labels)], kind="stable")
    sizes = sizes[by_size]
    groups = sizes // chunk_size  # [L], falling
    num_rounds = int(groups[chunks - 1]) if len(groups) >= chunks else 0
    round_labels = np.searchsorted(-groups, -np.arange(num_rounds), side="left")  # labels with more than r groups
    return GroupedWindow(
        members=members[order],
        label_starts=np.cumsum(sizes) - sizes,
        label_sizes=sizes,
        round_labels=round_labels,
        round_starts=np.cumsum([0, *(round_labels // chunks)], dtype=np.int64),
        chunks=chunks,
        chunk_size=chunk_size,
    )


class ComponentOrder:
    """The stream of sentences of one component.

    Args:
        store, kind: what the sentences are made of.
        seed, name: what the order depends on.
        window_parts: parts of the store in a window; None is all.
    """

    def __init__(self, store: Store, kind: Kind, *, seed: int, name: str, window_parts: int | None):
        self.store, self.kind, self.seed, self.name = store, kind, seed, name
        self.members, self.dropped = choose_members(store, kind)
        num_parts = len(store.part_names)
        self.window_parts = min(window_parts or num_parts, num_parts)
        self.windows_per_pass = -(-num_parts // self.window_parts)
        first_records = store.part_records
        self.part_starts = first_records if self.members is None else np.searchsorted(self.members, first_records)
        self.starts = np.zeros(1, dtype=np.int64)  # first sentence of every window laid out so far; of all passes alike
        self._windows: OrderedDict[tuple[int, ...], Window | GroupedWindow] = OrderedDict()

    @property
    def num_members(self) -> int:
        """Records that can stand in a sentence."""
        return self.store.num_records if self.members is None else len(self.members)

    @property
    def passes_are_alike(self) -> bool:
        """A window holds the whole store: every pass is as long as the first, and there is nothing to lay out."""
        return self.windows_per_pass == 1

    @property
    def pass_size(self) -> int:
        """Sentences of the first pass; with windows, groups that straddle them make the passes differ a little."""
        if len(self.starts) == 1:
            self._append_passes([self._sizes_of_pass(0)])
        return int(self.starts[self.windows_per_pass])

    def lay_out(self, num_sentences: int | None, *, max_passes: int) -> int:
        """Lay out passes until they hold `num_sentences` (None: all of them) or are `max_passes`.

        Returns:
            sentences they hold.

        Raises:
            ValueError: that takes more than `MAX_WINDOWS` windows.
        """
        size = self.pass_size
        if self.passes_are_alike:
            wanted = max_passes if num_sentences is None else -(-num_sentences // max(size, 1))
            return min(wanted, max_passes) * size
        most = max(MAX_WINDOWS // self.windows_per_pass, 1)
        if num_sentences is None and max_passes > most:
            self._refuse_passes(max_passes, most)
        sizes: list[np.ndarray] = []
        first, held = len(self.starts) // self.windows_per_pass, int(self.starts[-1])
        while first + len(sizes) < max_passes and (num_sentences is None or held < num_sentences):
            if first + len(sizes) == most:
                self._refuse_passes(max_passes, most)
            sizes.append(self._sizes_of_pass(first + len(sizes)))
            held += int(sizes[-1].sum())
        self._append_passes(sizes)
        return held

    def _append_passes(self, sizes: list[np.ndarray]) -> None:
        grown = np.concatenate([self.starts[-1:], *sizes]).cumsum()
        self.starts = np.concatenate([self.starts[:-1], grown])

    def _refuse_passes(self, max_passes: int, most: int) -> NoReturn:
        raise ValueError(
            f"component {self.name!r}: max_passes={max_passes} over {self.windows_per_pass} windows of "
            f"{self.window_parts} parts are too many to lay out; {MAX_WINDOWS} windows is the most. Lower max_passes "
            f"to {most}, or raise window_parts; where all parts are one window, any number of passes will do"
        )

    def passes(self, num_sentences: int) -> float:
        """Passes that the first `num_sentences` sentences mean."""
        if self.passes_are_alike:
            return num_sentences / self.pass_size
        ends = self.starts[:: self.windows_per_pass]
        whole = max(int(np.searchsorted(ends, num_sentences, side="right")) - 1, 0)
        if whole + 1 >= len(ends):
            return float(whole)
        return whole + (num_sentences - int(ends[whole])) / int(ends[whole + 1] - ends[whole])

    def windows_until(self, num_sentences: int) -> int:
        """Windows that the first sentences reach into; 1 if a window holds the whole store."""
        if self.passes_are_alike:
            return 1
        return int(np.searchsorted(self.starts, num_sentences, side="left"))

    def records(self, numbers: np.ndarray) -> np.ndarray:
        """Records of the sentences `numbers` of the stream: int64 [M] -> int64 [M, R]."""
        if self.passes_are_alike:
            turn, local = np.divmod(numbers, self.pass_size)
            return self._window(self._parts_of_pass(0)[0]).records(local, self._seeds(turn))
        window = np.searchsorted(self.starts, numbers, side="right") - 1  # [M], counted through all passes
        seeds, local = self._seeds(window), numbers - self.starts[window]
        found = np.empty((len(numbers), records_per_sentence(self.kind)), dtype=np.int64)
        for number in np.unique(window).tolist():
            chosen = np.flatnonzero(window == number)
            pass_number, in_pass = divmod(number, self.windows_per_pass)
            parts = self._parts_of_pass(pass_number)[in_pass]
            found[chosen] = self._window(parts).records(local[chosen], seeds[chosen])
        return found

    def _seeds(self, windows: np.ndarray) -> np.ndarray:
        """Of windows, int64 [M] counted through all passes: uint64 [M]."""
        return derive(np.array([seed_of("window", self.seed, self.name)], dtype=np.uint64), windows)

    def _order_of_parts(self, pass_number: int) -> np.ndarray:
        """Parts of the store in the order of a pass, int64 [parts]."""
        num_parts = len(self.store.part_names)
        if self.passes_are_alike:
            return np.arange(num_parts)
        return Permutation(num_parts, "parts", self.seed, self.name, pass_number)(np.arange(num_parts))

    def _parts_of_pass(self, pass_number: int) -> list[tuple[int, ...]]:
        """The windows of a pass, each as its parts; the parts are permuted, then cut."""
        order = self._order_of_parts(pass_number).tolist()
        # sorted: the members of a window are then in the order of the store, whatever the pass
        cuts = range(0, len(order), self.window_parts)
        return [tuple(sorted(order[cut : cut + self.window_parts])) for cut in cuts]

    def _sizes_of_pass(self, pass_number: int) -> np.ndarray:
        """Sentences of each window of a pass, int64 [windows]."""
        if self.kind.grouped:
            return np.array([self._window(parts).size for parts in self._parts_of_pass(pass_number)])
        order = self._order_of_parts(pass_number)
        members = np.add.reduceat(np.diff(self.part_starts)[order], np.arange(0, len(order), self.window_parts))
        return np.asarray(members // records_per_sentence(self.kind))

    def _window(self, parts: tuple[int, ...]) -> Window | GroupedWindow:
        if parts not in self._windows:
            while len(self._windows) >= KEPT_WINDOWS:
                self._windows.popitem(last=False)
            self._windows[parts] = self._make_window(parts)
        self._windows.move_to_end(parts)
        return self._windows[parts]

    def _make_window(self, parts: tuple[int, ...]) -> Window | GroupedWindow:
        kind, members = self.kind, self.members
        if members is None and self.passes_are_alike and not kind.grouped:
            return Window(None, self.store.num_records, records_per_sentence(kind))
        spans = [self.part_starts[part : part + 2].tolist() for part in parts]
        pieces = [np.arange(*span) if members is None else members[slice(*span)] for span in spans]
        inside = np.concatenate([np.empty(0, dtype=np.int64), *pieces])
        if not kind.grouped:
            return Window(inside, len(inside), records_per_sentence(kind))
        labels = self.store.records["label"][inside]
        return group_by_label(inside, labels, chunks=kind.chunks, chunk_size=kind.records_per_chunk)


def choose_members(store: Store, kind: Kind) -> tuple[np.ndarray | None, Dropped]:
    """Records of the store that can stand in a sentence of this kind: rising, None for all; and the others."""
    needed = np.uint64(sum(1 << store.slot_number(slot) for slot in kind.slots))
    unlabelled = store.labels.index("") if "" in store.labels else -1
    chosen, counts = [], np.zeros(3, dtype=np.int64)
    for start in range(0, store.num_records, _SCAN):
        entries = store.records[start : start + _SCAN]
        lacking = (entries["slots"] & needed) != needed
        short = ~lacking & ~kind.fits(entries["num_frames"].astype(np.int64))
        nameless = ~lacking & ~short & (entries["label"] == unlabelled) & kind.grouped
        counts += [lacking.sum(), short.sum(), nameless.sum()]
        chosen.append(start + np.flatnonzero(~(lacking | short | nameless)))
    dropped = Dropped(*counts.tolist())
    return (np.concatenate(chosen) if counts.any() else None), dropped
