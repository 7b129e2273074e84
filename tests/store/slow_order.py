"""The order of a plan by the obvious slow loops: one sentence at a time, plain lists, no windows kept."""

import numpy as np

from openlvm.core.seeds import derive, seed_of
from openlvm.sentences.sentence import compose_many
from openlvm.store.permutation import Permutation


def seeded(n, seed):
    permutation = Permutation(n, "any")
    permutation.seed = seed
    return permutation


def sub(seed, *numbers):
    for number in numbers:
        seed = int(derive(np.array([seed], dtype=np.uint64), number)[0])
    return seed


def sentences_of_window(kind, members, labels, seed):
    """All sentences of one pass over a window, as lists of records."""
    if not kind.grouped:
        size = kind.records_per_chunk
        order = seeded(len(members), seed) if members else None
        return [
            [members[order(number * size + place)] for place in range(size)] for number in range(len(members) // size)
        ]
    size, chunks = kind.records_per_chunk, kind.chunks
    by_label = {}
    for member in members:
        by_label.setdefault(labels[member], []).append(member)
    ranked = sorted(by_label, key=lambda label: (-(len(by_label[label]) // size), label))
    plain = []
    for turn in range(max((len(group) // size for group in by_label.values()), default=0)):
        present = [place for place, label in enumerate(ranked) if len(by_label[label]) // size > turn]
        shuffled = [present[seeded(len(present), sub(seed, 1, turn))(place)] for place in range(len(present))]
        for start in range(0, len(shuffled) - chunks + 1, chunks):
            sentence = []
            for place in shuffled[start : start + chunks]:
                group = by_label[ranked[place]]
                order = seeded(len(group), sub(seed, 2, place))
                sentence += [group[order(turn * size + number)] for number in range(size)]
            plain.append(sentence)
    return [plain[seeded(len(plain), sub(seed, 0))(number)] for number in range(len(plain))]


def stream(store, kind, *, seed, name, window_parts, num_passes):
    """Sentences pass after pass, window after window, as lists of records; and the windows' sizes."""
    fitting = [
        record
        for record in range(store.num_records)
        if kind.accepts(store.num_frames(record), store.slots_of(record)) and (store.label(record) or not kind.grouped)
    ]
    labels = {record: store.label(record) for record in fitting}
    num_parts = len(store.part_names)
    window_parts = min(window_parts or num_parts, num_parts)
    sentences, sizes, number = [], [], 0
    for turn in range(num_passes):
        order = list(range(num_parts))
        if window_parts < num_parts:
            order = [Permutation(num_parts, "parts", seed, name, turn)(part) for part in range(num_parts)]
        for cut in range(0, num_parts, window_parts):
            inside = set(order[cut : cut + window_parts])
            members = [
                r for r in fitting if next(p for p in range(num_parts) if r < store.part_records[p + 1]) in inside
            ]
            window = sentences_of_window(kind, members, labels, sub(seed_of("window", seed, name), number))
            sentences += window
            sizes.append(len(window))
            number += 1
    return sentences, sizes


def positions(plan, *, window_parts):
    """Every position of a plan: (component, sentences as lists of images)."""
    streams, reached = [], []
    for place, (store, kind, name) in enumerate(zip(plan.stores, plan.kinds, plan.names, strict=True)):
        args = dict(seed=plan.seed, name=name, window_parts=window_parts, num_passes=plan.max_passes)
        sentences, sizes = stream(store, kind, **args)
        needed = plan.counts[place] * (16 // kind.num_images)
        windows = 1
        if len(sizes) > plan.max_passes:  # more than one window in a pass
            windows = next(count for count in range(1, len(sizes) + 1) if sum(sizes[:count]) >= needed)
        streams.append(sentences)
        reached.append(windows)
    num_chunks = max(reached)
    found = []
    for chunk in range(num_chunks):
        listed = [
            (place, number)
            for place, count in enumerate(plan.counts)
            for number in range(chunk * count // num_chunks, (chunk + 1) * count // num_chunks)
        ]
        order = seeded(len(listed), sub(seed_of("positions", plan.seed), chunk)) if listed else None
        for local in range(len(listed)):
            place, number = listed[order(local)]
            found.append((place, _sentences_at(plan, place, number, streams[place])))
    return found


def _sentences_at(plan, place, number, sentences):
    kind, store = plan.kinds[place], plan.stores[place]
    size = 16 // kind.num_images
    composed = []
    for turn in range(number * size, (number + 1) * size):
        records = sentences[turn]
        frames = [store.num_frames(record) for record in records]
        seeds = np.array([sub(seed_of("sentence", plan.seed, plan.names[place]), turn)], dtype=np.uint64)
        composed += compose_many(kind, np.array([records]), np.array([frames]), seeds)
    return composed
