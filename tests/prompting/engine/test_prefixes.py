"""Trees of beginnings: every code in one node only, nodes of one shape read together, logits as without a tree."""

import itertools
import random
import weakref

import pytest
import torch

from openlvm.prompting.engine import prefixes
from openlvm.prompting.engine.prefixes import look_back, paths_of, read_alone, read_paths

K = 16


def random_prompts(seed: int) -> list[torch.Tensor]:
    """Up to nine prompts of a few symbols: equal ones, and ones that begin others, are common."""
    chance = random.Random(seed)
    prompts: list[list[int]] = []
    for _ in range(chance.randint(1, 9)):
        beginning = chance.choice(prompts)[: chance.randint(0, 12)] if prompts and chance.random() < 0.7 else []
        prompts.append(beginning + [chance.randrange(3) for _ in range(chance.randint(not beginning, 6))])
    return [torch.tensor(prompt) for prompt in prompts]


def forwards(decoder) -> list[tuple[int, int]]:
    """[rows, codes] of every forward from now on."""
    seen: list[tuple[int, int]] = []
    decoder.model.embed_tokens.register_forward_hook(lambda module, args, out: seen.append(tuple(args[0].shape)))
    return seen


@pytest.mark.parametrize("seed", range(40))
def test_paths_say_the_prompts_and_hold_each_beginning_once(seed):
    prompts = random_prompts(seed)
    paths = paths_of(prompts, share_from=1)
    assert sorted(path.prompt for path in paths) == list(range(len(prompts)))
    for path in paths:
        assert torch.equal(torch.cat([node.codes for node in path.nodes]), prompts[path.prompt])
        assert [node.start for node in path.nodes] == [0, *itertools.accumulate(len(n.codes) for n in path.nodes[:-1])]
    nodes = {node for path in paths for node in path.nodes}
    beginnings = {tuple(prompt[:end].tolist()) for prompt in prompts for end in range(1, len(prompt))}
    different = {tuple(prompt.tolist()) for prompt in prompts}  # the last code of each is its own
    assert sum(len(node.codes) for node in nodes) == len(beginnings) + len(different)
    for node in nodes:  # their paths are neighbours
        through = [node in path.nodes for path in paths]
        assert sum(value for value, _ in itertools.groupby(through)) == 1


@pytest.mark.parametrize("seed", range(40))
def test_different_prompts_share_their_common_blocks(seed):
    """And nothing else: codes in common, but not the last one of either, in fours."""
    prompts = random_prompts(seed)
    for one, other in itertools.combinations(paths_of(prompts, share_from=4), 2):
        a, b = prompts[one.prompt].tolist(), prompts[other.prompt].tolist()
        alike = sum(1 for end in range(1, min(len(a), len(b))) if a[:end] == b[:end]) // 4 * 4
        shared = [node for node in one.nodes if node in other.nodes]
        assert sum(len(node.codes) for node in shared) == (len(a) if a == b else alike)


@pytest.mark.parametrize("seed", range(12))
@torch.no_grad()
def test_random_trees_read_in_batches_equal_full_forward(decoder, seed, monkeypatch):
    """Logits after the prompt and after four more codes, each row as if it were alone; and no code is read twice."""
    monkeypatch.setattr(prefixes, "READ_AT_ONCE", 7)
    monkeypatch.setattr(prefixes, "SPREAD_AT_ONCE", 30)
    prompts, (at_once, copies) = random_prompts(seed), ((2, 1), (3, 2), (9, 1))[seed % 3]
    seen, pending = forwards(decoder), paths_of(prompts, share_from=1 + seed % 2)
    unique = sum(len(node.codes) for node in {node for path in pending for node in path.nodes})
    own = torch.randint(0, K, (9 * copies, 4), generator=torch.Generator().manual_seed(seed))
    found = []
    while pending:
        paths, pending = pending[:at_once], pending[at_once:]
        logits, cache = read_paths(decoder, paths, copies=copies, room=4, num_codes=K, pending=pending)
        num_read = sum(rows * length for rows, length in seen)
        rows = len(paths) * copies
        later = decoder.head(decoder.hidden(own[:rows, :1], cache=cache), num_codes=K)
        later = torch.cat([later, decoder.head(decoder.hidden(own[:rows, 1:], cache=cache), num_codes=K)], dim=1)
        found.append((paths, logits, later))
        seen[:] = [(1, num_read)]
    assert num_read == unique
    for paths, logits, later in found:
        for row in range(len(paths) * copies):
            prompt = prompts[paths[row // copies].prompt]
            expected = decoder(torch.cat([prompt, own[row]])[None])[0, len(prompt) - 1 :, :K]
            assert torch.allclose(logits[row], expected[0], atol=1e-5)
            assert torch.allclose(later[row], expected[1:], atol=1e-5)


def groups(num_groups: int, num_queries: int) -> list[torch.Tensor]:
    """Prompts of a group begin with the group's 12 codes and go on for 5 of their own."""
    made = torch.randint(0, K, (num_groups, num_queries, 17), generator=torch.Generator().manual_seed(1))
    made[:, :, :12] = made[:, :1, :12]
    return list(made.flatten(0, 1))


def test_nodes_of_one_shape_are_read_and_looked_back_to_together(decoder):
    seen, prompts = forwards(decoder), groups(2, 3)
    paths = paths_of(prompts, share_from=4)
    _, cache = read_paths(decoder, paths, copies=2, room=3, num_codes=K)
    assert seen == [(2, 12), (6, 5)]
    assert [[(piece.copies, piece.length) for piece in level] for level in cache.past] == [[(6, 12)], [(2, 5)]]
    one_each = read_paths(decoder, paths_of(groups(2, 1)), room=3, num_codes=K)[1]
    assert one_each.past == [] and one_each.filled == 17  # nothing shared: a plain cache, with room to go on
    alone = read_alone(decoder, prompts[0], room=3, num_codes=K)[1]
    assert (alone.past, alone.filled, alone.room) == ([], 17, 20)


def test_neighbours_are_ordered_by_their_shape(decoder):
    """Codes would put the lengths in turns; so ordered, each length is one forward."""
    seen, prompts = forwards(decoder), [torch.full((9 + 4 * (first % 2),), first) for first in range(6)]
    read_paths(decoder, paths_of(prompts), room=2, num_codes=K)
    assert seen == [(3, 9), (3, 13)]


def test_node_kept_for_later_keeps_no_other_alive(decoder):
    """Of two groups, of two and three queries, one query is left: its group's beginning lies by itself."""
    pending = paths_of([*groups(2, 3)[1:3], *groups(2, 3)[3:]], share_from=4)
    paths, pending = pending[:4], pending[4:]
    read_paths(decoder, paths, room=2, num_codes=K, pending=pending)
    (gone, _), (kept, _) = paths[0].nodes[0].read, pending[0].nodes[0].read
    assert (gone.rows, kept.rows) == (1, 1) and gone is not kept
    assert len(paths) == 4 and pending[0].nodes[-1].read is None


def test_what_nobody_is_to_continue_is_let_go(decoder):
    """Of two groups the first's beginning goes with its last path, the second's stays."""
    pending = paths_of(groups(2, 2), share_from=4)
    for count, alive in ((1, [True, False]), (2, [False, True]), (1, [False, False])):
        if count == 1 and alive[0]:
            watched = [weakref.ref(pending[0].nodes[0]), weakref.ref(pending[2].nodes[0])]
        paths, pending = pending[:count], pending[count:]
        read_paths(decoder, paths, room=2, num_codes=K, pending=pending)
        caches = [ref().read for ref in watched if ref() is not None]
        assert [cache is not None for cache in caches].count(True) >= 1
        del paths, caches
        held = [ref() is not None and ref().read is not None for ref in watched]
        assert held == alive


def test_look_back_joins_only_what_lies_and_looks_alike(decoder):
    """Nodes of one cache with two paths, two, and one: the last is a piece of its own."""
    paths = paths_of(groups(3, 2), share_from=4)
    read_paths(decoder, paths, room=1, num_codes=K)
    level = look_back([path.nodes for path in paths[:5]])[0]
    spans = [(piece.rows.start, piece.rows.stop, piece.seen_by.start, piece.seen_by.stop) for piece in level]
    assert spans == [(0, 2, 0, 4), (2, 3, 4, 5)]
