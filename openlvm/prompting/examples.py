"""Examples for a prompt out of a store: pictures like the query, with their answers (retrieval).

Letters beside the project's own: E examples in the pool, J judges of each.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from openlvm.core.picking import pick
from openlvm.model.decoder import Decoder
from openlvm.prompting.scoring import CODES_AT_ONCE, log_probs_of
from openlvm.store.format import Store, image_numbers

IMAGES_AT_ONCE = 16_384
"""Images of the store compared at a time: 32 MB of int64 codes at N = 256."""
JUDGES = 4
"""Other examples by whose answers one is judged ("likelihood")."""


class Example(NamedTuple):
    """A picture of a store and its answer."""

    record: int
    """Number in the store."""
    frame: int
    """Of the record."""
    source: np.ndarray
    """int64 [N], codes of the picture."""
    target: np.ndarray
    """int64 [N], codes of its answer."""
    worth: float
    """What it was chosen by; larger is better."""


def nearest_examples(
    store: Store,
    query: np.ndarray,
    *,
    source: str,
    target: str,
    count: int,
    by: str = "overlap",
    decoder: Decoder | None = None,
    bos: int | None = None,
    pool: int = 64,
    exclude: Sequence[int] = (),
) -> list[Example]:
    """The `count` examples that suit a query best, the best one first; of each record its nearest frame alone.

    overlap     worth = share of places with equal codes + 1/2 · share of codes in common, wherever they stand
    likelihood  of the `pool` nearest by overlap:
                worth(e) = mean over judges j and codes n of log p(target_j[n] | BOS, source_e, target_e, source_j, …)
                over the K codes; judges are the `JUDGES` nearest of the pool but e itself (leave one out)

    Args:
        query: int64 [N], its codes by the tokenizer of the store.
        source, target: slots of the query's kind and of the answer's.
        decoder, bos: who judges, for "likelihood"; bos None is put before nothing.
        exclude: numbers of records that may not be shown, such as the query's own.
    """
    choose = pick(_CHOICES, by, "way to choose examples")
    if source == target:
        raise ValueError(f"source and target are both {source!r}; an example needs two different slots")
    if count < 1 or pool < count:
        raise ValueError(f"count={count} must be at least 1 and at most pool={pool}")
    if len(query) != store.codes_per_image:
        raise ValueError(f"the query has {len(query)} codes, images of {store.at} have {store.codes_per_image}")
    near = _nearest(store, np.asarray(query), source, target, max(count, pool if by == "likelihood" else 0), exclude)
    if len(near) < count:
        raise ValueError(
            f"{store.at} has {len(near)} records with {source!r} and {target!r} that may be shown, "
            f"{count} were asked for"
        )
    return choose(near, decoder, bos, store.codebook_size)[:count]


def _nearest(
    store: Store, query: np.ndarray, source: str, target: str, count: int, exclude: Sequence[int]
) -> list[Example]:
    """At most `count` examples by overlap, the nearest first, equal ones in the order of the store."""
    slots = np.array([store.slot_number(source), store.slot_number(target)], dtype=np.uint64)
    wanted = np.bitwise_or.reduce(np.uint64(1) << slots)
    allowed = store.records["slots"] & wanted == wanted
    allowed[[record for record in exclude if 0 <= record < store.num_records]] = False
    numbers = np.flatnonzero(allowed)
    lengths = store.records["num_frames"][numbers].astype(np.int64)
    records = np.repeat(numbers, lengths)
    frames = np.arange(len(records)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    worth = np.empty(len(records))
    for start in range(0, len(records), IMAGES_AT_ONCE):
        some = slice(start, start + IMAGES_AT_ONCE)
        images = image_numbers(store.records[records[some]], slots[0], frames[some])
        worth[some] = overlap(store.read(images), query)
    order = np.argsort(-worth, kind="stable")
    _, firsts = np.unique(records[order], return_index=True)
    places = order[np.sort(firsts)[:count]]
    codes = [store.read(image_numbers(store.records[records[places]], slot, frames[places])) for slot in slots]
    return [
        Example(int(record), int(frame), given, answer, float(value))
        for record, frame, given, answer, value in zip(
            records[places], frames[places], *codes, worth[places], strict=True
        )
    ]


def overlap(codes: np.ndarray, query: np.ndarray) -> np.ndarray:
    """How much images int64 [n, N] are like one, int64 [N]: float64 [n] in 0 .. 1.5, as `nearest_examples` says."""
    num_codes = len(query)
    equal = (codes == query).sum(axis=1)
    ordered = np.sort(codes, axis=1)  # a code that stands k times in the query counts for its first k places here
    begins = np.ones_like(ordered, dtype=bool)
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    places = np.arange(num_codes)
    turn = places - np.maximum.accumulate(np.where(begins, places, 0), axis=1)  # 0, 1, ... within equal codes
    names, times = np.unique(query, return_counts=True)
    found = np.minimum(np.searchsorted(names, ordered), len(names) - 1)
    common = ((names[found] == ordered) & (turn < times[found])).sum(axis=1)
    return (equal + 0.5 * common) / num_codes


Choose = Callable[[list[Example], Decoder | None, int | None, int], list[Example]]
"""Orders a pool, given nearest first, by worth."""


def _by_overlap(near: list[Example], decoder: Decoder | None, bos: int | None, num_codes: int) -> list[Example]:
    return near


def _by_likelihood(near: list[Example], decoder: Decoder | None, bos: int | None, num_codes: int) -> list[Example]:
    if decoder is None:
        raise ValueError("by='likelihood' needs a decoder to judge the examples; give decoder, or by='overlap'")
    if len(near) < 2:
        raise ValueError("by='likelihood' judges examples by each other and needs two at least; use by='overlap'")
    worth = support(decoder, near, bos=bos, num_codes=num_codes)
    order = np.argsort(-worth, kind="stable")
    return [near[place]._replace(worth=float(worth[place])) for place in order]


_CHOICES: dict[str, Choose] = {"overlap": _by_overlap, "likelihood": _by_likelihood}


@torch.no_grad()
def support(decoder: Decoder, examples: Sequence[Example], *, bos: int | None, num_codes: int) -> np.ndarray:
    """How likely each example makes the answers of its judges: float64 [E], nats a code; see `nearest_examples`.

    Args:
        examples: at least two; the first ones are the judges.
    """
    codes = torch.from_numpy(np.stack([np.concatenate([one.source, one.target]) for one in examples]))  # [E, 2N]
    num_targets = codes.shape[1] // 2
    first = torch.full((len(codes), 0 if bos is None else 1), 0 if bos is None else bos)
    shown = torch.cat([first, codes], dim=1)
    if shown.shape[1] + codes.shape[1] > decoder.config.context:
        raise ValueError(
            f"by='likelihood' shows two examples, {shown.shape[1] + codes.shape[1]} codes, which exceed the context of "
            f"{decoder.config.context}; use by='overlap'"
        )
    num_judges = min(JUDGES, len(examples) - 1)
    judges = torch.tensor([[j for j in range(num_judges + 1) if j != e][:num_judges] for e in range(len(examples))])
    device = decoder.model.embed_tokens.weight.device
    budget = CODES_AT_ONCE["cpu" if device.type == "cpu" else "cuda"]
    at_once = max(1, budget // (num_judges * codes.shape[1]))
    worth = []
    for some, their_judges in zip(shown.split(at_once), judges.split(at_once), strict=True):
        cache = decoder.new_cache(rows=len(some), room=shown.shape[1])
        decoder.hidden(some.to(device), cache=cache)
        fork = cache.fork(num_judges, room=codes.shape[1])
        asked = codes[their_judges.flatten()].to(device)  # [E J, 2N]
        states = decoder.hidden(asked[:, :-1], cache=fork, num_last=num_targets)
        scores = log_probs_of(decoder, states, asked[:, -num_targets:], num_codes)  # [E J, N]
        worth.append(scores.double().view(len(some), -1).mean(dim=1).cpu())
    return torch.cat(worth).numpy()
