"""Episodes and questions out of sources: pairs of two slots, and frames of a clip or views of an object.

A record is named by its item (sources/interface.py), which reads it alone: nothing is listed twice or kept in memory.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from openlvm.core.images import ImagePreparation
from openlvm.core.records import IMAGE, BadRecord, Payload, Record
from openlvm.core.seeds import rng, seed_of
from openlvm.evaluation.harness.questions import Episode, Question
from openlvm.sentences.generated import add_generated
from openlvm.sentences.render import draw, resized
from openlvm.sources.interface import Part, Source

Told = Callable[[Record, int], Mapping[str, Any]]
"""What a metric needs of the query's record besides the truth; called with the record and the frame."""


def nothing_more(record: Record, frame: int) -> Mapping[str, Any]:
    """No metric needs more."""
    return {}


def items_of(source: Source) -> list[str]:
    """Every item of a source, in its order."""
    return [item for part in source.parts() for item in part.items]


def record_of(source: Source, item: str) -> Record:
    """The first record of an item.

    Raises:
        ValueError: it cannot be read; an evaluation does not skip what it was to ask.
    """
    for record in source.read(Part("00000", (item,))):
        if isinstance(record, BadRecord):
            raise ValueError(f"{record.key}: {record.reason}. Mend it; an evaluation without it would be another one")
        return record
    raise ValueError(f"the item {item!r} gives no record")


@dataclass(frozen=True, kw_only=True)
class Changed:
    """A source whose records are changed as they are read: one person cut out, a slot computed of another."""

    source: Source
    slots: tuple[str, ...]
    """Of the changed records."""
    change: Callable[[Record], Record]

    def describe(self) -> dict[str, Any]:
        """The source's own, and the slots after the change."""
        return {**self.source.describe(), "changed": list(self.slots)}

    def parts(self) -> list[Part]:
        """Those of the source."""
        return self.source.parts()

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """The source's records, changed."""
        for record in self.source.read(part):
            yield record if isinstance(record, BadRecord) else self.change(record)


@dataclass(frozen=True, kw_only=True, eq=False)
class PairsOf:
    """Analogies: examples are other records of the support, the query is a record of the source.

    The list of episodes is a function of (items, count, shots, seed) alone.
    """

    source: Callable[[], Source]
    """Where queries come from."""
    support: Callable[[], Source] | None = None
    """Where examples come from; by default the same source, the query left out."""
    given: str = IMAGE
    """Slot shown."""
    asked: str = "mask"
    """Slot asked for."""
    generated: tuple[str, ...] = ()
    """Slots among these two that are made from the picture (sentences/generated.py)."""
    styles: Mapping[str, str] = field(default_factory=dict)
    """Slot -> style of drawing, where it is not the usual one."""
    shots: int = 3
    """Example pairs."""
    count: int | None = None
    """Episodes; None asks every item once, in order."""
    label_of: Callable[[str], str] | None = None
    """The class of an item: examples then are of the query's class, and scores are told apart by it."""
    cluster_of: Callable[[str], str] = str
    """What of an item is no independent draw when it comes twice; no example shares it with its query."""
    preparation: ImagePreparation
    """Size and fit at which the truth is drawn and scored; examples and query are drawn so too."""
    told: Told = nothing_more
    seed: int = 0

    def episodes(self) -> list[Episode]:
        """The list."""
        queries = items_of(self.source())
        pool = queries if self.support is None else items_of(self.support())
        asked = queries if self.count is None else self._chosen(queries)
        return [self._episode(number, query, pool) for number, query in enumerate(asked)]

    def _chosen(self, queries: list[str]) -> list[str]:
        """`count` queries: all in a drawn order, again in another one when they do not suffice."""
        assert self.count is not None
        chosen: list[str] = []
        while len(chosen) < self.count:
            order = rng("queries", self.seed, len(chosen)).permutation(len(queries))
            chosen += [queries[int(place)] for place in order]
        return chosen[: self.count]

    def _episode(self, number: int, query: str, pool: list[str]) -> Episode:
        label = self.label_of(query) if self.label_of else ""
        cluster, wanted = self.cluster_of(query), self.shots
        chance = rng("examples", self.seed, number, query)
        examples: list[str] = []
        for place in chance.permutation(len(pool)):
            if len(examples) == wanted:
                break
            item = pool[int(place)]
            if self.cluster_of(item) != cluster and (not self.label_of or self.label_of(item) == label):
                examples.append(item)
        if len(examples) < wanted:
            raise ValueError(
                f"{wanted} examples{f' of class {label!r}' if label else ''} asked for, {len(examples)} are there"
            )
        return Episode(number=number, query=query, examples=tuple(examples), label=label, cluster=cluster,
                       seed=seed_of("episode", self.seed, number))  # fmt: skip

    def question(self, episode: Episode) -> Question:
        """Reads and draws an episode."""
        support = self.support or self.source
        shown = [
            self._full(support(), item, seed_of(episode.seed, place)) for place, item in enumerate(episode.examples)
        ]
        query = self._full(self.source(), episode.query, episode.seed)
        return Question(
            examples=[(self._drawn(record, self.given), self._drawn(record, self.asked)) for record in shown],
            query=self._drawn(query, self.given),
            truth=self._drawn(query, self.asked),
            payload=resized(_payload(query, self.asked), self.preparation),
            told={"class": episode.label, **self.told(query, 0)},
        )

    def _full(self, source: Source, item: str, seed: int) -> Record:
        return add_generated(record_of(source, item), self.generated, seed)

    def _drawn(self, record: Record, slot: str) -> np.ndarray:
        return draw(_payload(record, slot), self.preparation, self.styles.get(slot, ""))


def _payload(record: Record, slot: str) -> Payload:
    """Of the first frame."""
    if slot not in record.slots:
        raise ValueError(f"record {record.key!r} has no slot {slot!r}; it has {sorted(record.slots)}")
    return record.slots[slot][0]


@dataclass(frozen=True, kw_only=True, eq=False)
class FramesOf:
    """Sequences: `shown` frames of a clip, or views of an object, at a stride; the next one is asked for."""

    source: Callable[[], Source]
    shown: int = 7
    """Frames in the prompt."""
    stride: int = 1
    """Frames from one to the next."""
    count: int | None = None
    """Episodes; None asks every item once."""
    cluster_of: Callable[[str], str] = str
    preparation: ImagePreparation
    seed: int = 0
    longest: int | None = None
    """Frames that the longest prompt of a comparison shows: shorter ones end at the same frame. None is `shown`."""
    frames_each: int | None = None
    """Frames that every record has, where that is known: then none is read only to be listed."""

    def episodes(self) -> list[Episode]:
        """The list; items whose first record is too short are left out, the same way everywhere."""
        source = self.source()
        needed = ((self.longest or self.shown) * self.stride) + 1
        items = items_of(source)
        order = range(len(items)) if self.count is None else rng("clips", self.seed).permutation(len(items)).tolist()
        episodes: list[Episode] = []
        for item in (items[place] for place in order):
            if len(episodes) == self.count:
                break
            if (self.frames_each or record_of(source, item).num_frames) >= needed:
                episodes.append(Episode(number=len(episodes), query=item, cluster=self.cluster_of(item),
                                        seed=seed_of("clip", self.seed, item)))  # fmt: skip
        if not episodes or (self.count or 0) > len(episodes):
            raise ValueError(f"{len(episodes)} clips of {needed} frames are there, {self.count or 'some'} asked for")
        return episodes

    def question(self, episode: Episode) -> Question:
        """Reads an episode; where the clip begins is drawn by its seed."""
        frames = record_of(self.source(), episode.query).slots[IMAGE]
        reach = (self.longest or self.shown) * self.stride
        last = reach + int(rng("start", episode.seed).integers(len(frames) - reach))
        places = [last - self.stride * back for back in range(self.shown, -1, -1)]
        pictures: Sequence[np.ndarray] = [draw(frames[place], self.preparation) for place in places]
        return Question(style="sequence", frames=pictures[:-1], truth=pictures[-1])
