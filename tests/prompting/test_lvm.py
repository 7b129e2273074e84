"""The facade: what stands where in a prompt, what comes back, and what people do wrong."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import Shape
from PIL import Image

from openlvm.bundle import EMBEDDED
from openlvm.prompting.drawing import How
from openlvm.prompting.engine.generate import generate
from openlvm.prompting.examples import nearest_examples
from openlvm.prompting.long import draw_long
from openlvm.prompting.lvm import LVM
from openlvm.prompting.sampling import GREEDY, Sampling
from openlvm.prompting.scoring import perplexity, target_log_probs

BOS = 16


@pytest.fixture
def lvm(bundle):
    return LVM(bundle)


def expected(bundle, pictures, num_frames=1, **options):
    codes = bundle.tokenizer.encode(torch.from_numpy(np.stack(pictures))).flatten().tolist()
    row = torch.tensor(([] if bundle.special.bos is None else [BOS]) + codes)
    return generate(bundle.decoder, [row], 4 * num_frames, num_codes=16, **options)


def test_complete_equals_engine_and_its_images_are_its_codes(lvm, bundle, pictures):
    answer = lvm.complete(pictures[:3], num_frames=4, num_candidates=2, seed=5)
    drawn = expected(bundle, pictures[:3], 4, num_candidates=2, seed=5)
    assert (answer.images.shape, answer.images.dtype) == ((2, 4, 8, 8, 3), np.uint8)
    assert (answer.codes.dtype, answer.log_probs.dtype) == (np.int64, np.float32)
    assert np.array_equal(answer.codes, drawn.codes.view(2, 4, 4)[answer.numbers].numpy())
    assert np.array_equal(answer.log_probs, drawn.log_probs.view(2, 4, 4)[answer.numbers].numpy())
    assert np.array_equal(answer.entropies, drawn.entropies.view(2, 4, 4)[answer.numbers].numpy())
    assert answer.num_codes == 16 and answer.gain is None and answer.understood is None
    painted = torch.from_numpy(answer.images.reshape(8, 8, 8, 3))
    assert np.array_equal(bundle.tokenizer.encode(painted), answer.codes.reshape(8, 4))
    again = lvm.complete(pictures[:3], num_frames=4, num_candidates=2, seed=5)
    assert np.array_equal(again.images, answer.images) and np.array_equal(again.log_probs, answer.log_probs)


def test_complete_draws_later_frames_after_earlier_ones(lvm, pictures):
    """Greedily, two frames at once are one frame and then, with it in the prompt, the next."""
    both = lvm.complete(pictures[:3], num_frames=2, sampling=GREEDY)
    second = lvm.complete([*pictures[:3], both.images[0, 0]], sampling=GREEDY)
    assert np.array_equal(both.images[0, 1], second.images[0, 0])


def test_analogy_shows_pairs_then_query(lvm, bundle, pictures):
    a, A, b, B, c = pictures[:5]
    answer = lvm.analogy([(a, A), (b, B)], query=c, num_candidates=4, seed=2)
    drawn = expected(bundle, [a, A, b, B, c], num_candidates=4, seed=2).codes[0]
    assert np.array_equal(answer.codes[:, 0], drawn[answer.numbers])
    assert answer.images.shape == (4, 1, 8, 8, 3)


def test_frames_beyond_the_context_slide(lvm, bundle, pictures):
    answer = lvm.complete(pictures[:5], num_frames=9, num_candidates=2, seed=8, keep=3)
    codes = bundle.tokenizer.encode(torch.from_numpy(np.stack(pictures[:5])))
    how = How(sampling=Sampling(), num_candidates=2, seed=8)
    long = draw_long(bundle, codes, 9, how, keep=3, reuse=False)
    assert np.array_equal(answer.codes, long.drawn.codes.view(2, 9, 4)[answer.numbers])
    assert answer.reuse_error is None and answer.images.shape == (2, 9, 8, 8, 3)
    within = lvm.complete(pictures[:5], num_frames=3, num_candidates=2, seed=8)
    first = {int(number): frames for number, frames in zip(within.numbers, within.codes, strict=True)}
    for number, frames in zip(answer.numbers, answer.codes, strict=True):
        assert np.array_equal(frames[:3], first[int(number)])  # the draws are those of a prompt that fits


def test_sliding_drops_the_first_pictures_given(lvm, pictures):
    slid = lvm.complete(pictures, num_frames=2, slide=True, seed=1)
    assert np.array_equal(slid.codes, lvm.complete(pictures[-7:], num_frames=2, seed=1).codes)
    slid = lvm.complete(pictures, num_frames=2, slide=True, keep=4, seed=1)
    assert np.array_equal(slid.codes, lvm.complete(pictures[-4:], num_frames=2, seed=1).codes)
    with pytest.raises(ValueError, match="10 images and 1 more do not fit.*Give at most 7, or slide=True"):
        lvm.complete(pictures, num_frames=2)


def test_reusing_says_how_far_off_it_is(lvm, pictures):
    reused = lvm.complete(pictures[:5], num_frames=9, keep=5, reuse=True)
    assert len(reused.reuse_error) == 2 and min(reused.reuse_error) > 1e-3
    assert lvm.complete(pictures[:5], num_frames=3, reuse=True).reuse_error == ()


@pytest.fixture
def store(make_store, tokenizer):
    pair = Shape(slots=("image", "mask"))
    return make_store([[pair] * 9], tokenizer=tokenizer)


@pytest.mark.parametrize("by", ["overlap", "likelihood"])
def test_analogy_from_a_store_equals_the_analogy_of_its_pictures(lvm, bundle, store, pictures, by):
    ask = {"target": "mask", "count": 3, "by": by, "seed": 3, "num_candidates": 2}
    answer = lvm.analogy_from(store, pictures[0], exclude=[4], **ask)
    query = bundle.tokenizer.encode(torch.from_numpy(pictures[0][None]))[0].numpy()
    found = nearest_examples(
        store, query, source="image", target="mask", count=3, by=by, decoder=bundle.decoder, bos=BOS, exclude=[4]
    )
    assert [one.record for one in answer.examples] == [one.record for one in found[::-1]]  # the best one last
    pairs = [
        tuple(bundle.tokenizer.decode(torch.from_numpy(np.stack([one.source, one.target]))).numpy())
        for one in answer.examples
    ]
    shown = lvm.analogy(pairs, pictures[0], seed=3, num_candidates=2)
    assert np.array_equal(answer.codes, shown.codes) and np.allclose(answer.gain, shown.gain)
    assert np.array_equal(lvm.analogy_from(store.at, pictures[0], exclude=[4], **ask).codes, answer.codes)


def test_analogy_from_rejects_a_store_of_another_tokenizer(lvm, make_store, pictures):
    other = make_store([[Shape(slots=("image", "mask"))] * 4])
    with pytest.raises(ValueError, match="has codes of another tokenizer .* tokenize the data with the LVM's own"):
        lvm.analogy_from(other, pictures[0], target="mask")
    with pytest.raises(ValueError, match="was made with another tokenizer"):
        lvm.analogy_from(other.at, pictures[0], target="mask")
    with pytest.raises(FileNotFoundError, match="no store at"):
        lvm.analogy_from(other.at / "gone", pictures[0], target="mask")


def test_analogy_from_rejects_more_examples_than_fit(lvm, store, pictures):
    with pytest.raises(ValueError, match="9 images and 1 more do not fit"):
        lvm.analogy_from(store, pictures[0], target="mask", count=4)


def test_compose_shows_groups_in_the_order_given(lvm, bundle, pictures):
    a, A, b, B, a2, A2, c = pictures[:7]
    answer = lvm.compose([[(a, A), (b, B)], [(a2, A2)]], query=c, seed=3)
    assert np.array_equal(answer.codes[:, 0], expected(bundle, [a, A, b, B, a2, A2, c], seed=3).codes[0])
    turned = lvm.compose([[(a2, A2)], [(a, A), (b, B)]], query=c, seed=3)
    assert np.array_equal(turned.codes[:, 0], expected(bundle, [a2, A2, a, A, b, B, c], seed=3).codes[0])
    assert not np.array_equal(turned.log_probs, answer.log_probs)


def test_sampling_and_exact_reach_the_engine(lvm, pictures):
    greedy = lvm.complete(pictures[:2], sampling=GREEDY, num_candidates=3)
    assert (greedy.codes == greedy.codes[:1]).all()
    assert np.array_equal(lvm.complete(pictures[:2], sampling=Sampling(top_k=1)).codes, greedy.codes[:1])
    three = lvm.complete(pictures[:2], num_candidates=3, exact=True)
    one = lvm.complete(pictures[:2], exact=True)
    assert np.array_equal(three.log_probs[three.numbers == 0], one.log_probs)


def test_bundle_suggests_how_to_draw(bundle, pictures):
    greedy = LVM(replace(bundle, meta={"sampling": {"temperature": 0.0}}))
    assert np.array_equal(
        greedy.complete(pictures[:2], seed=3).codes, LVM(bundle).complete(pictures[:2], sampling=GREEDY).codes
    )
    warm = greedy.complete(pictures[:2], seed=3, sampling=Sampling())
    assert np.array_equal(warm.codes, LVM(bundle).complete(pictures[:2], seed=3).codes)


def test_no_bos_means_nothing_is_prepended(bare_bundle, pictures):
    answer = LVM(bare_bundle).complete(
        pictures[:7], sampling=GREEDY
    )  # 7 + 1 images fill the context to its last position
    assert np.array_equal(answer.codes[0], expected(bare_bundle, pictures[:7], sampling=GREEDY).codes[0])


def test_pictures_may_be_paths_pil_images_and_arrays_of_any_size(lvm, pictures, tmp_path):
    large = Image.fromarray(pictures[1]).resize((32, 32), Image.Resampling.NEAREST)
    Image.fromarray(pictures[0]).save(tmp_path / "a.png")
    given = [tmp_path / "a.png", large, pictures[2]]
    assert np.array_equal(lvm.complete(given, seed=1).codes, lvm.complete(pictures[:3], seed=1).codes)
    given[0] = str(given[0])
    assert np.array_equal(lvm.complete(given, seed=1).codes, lvm.complete(np.stack(pictures[:3]), seed=1).codes)


def test_score_equals_perplexity_of_the_row(lvm, bundle, pictures):
    codes = bundle.tokenizer.encode(torch.from_numpy(np.stack(pictures[:4]))).flatten()
    row = torch.cat([torch.tensor([BOS]), codes])[None]
    assert lvm.score(context=pictures[:3], target=pictures[3]) == pytest.approx(
        perplexity(target_log_probs(bundle.decoder, row, 4))
    )
    restricted = lvm.score(context=pictures[:3], target=pictures[3], restrict=True)
    assert restricted == pytest.approx(perplexity(target_log_probs(bundle.decoder, row, 4, num_codes=16)))
    assert restricted < lvm.score(pictures[:3], pictures[3])


def test_choose_takes_the_lowest_score(lvm, pictures):
    drawn = lvm.complete(pictures[:3], sampling=GREEDY).images[0, 0]
    options = [pictures[4], pictures[5], drawn, pictures[6]]
    choice = lvm.choose(context=pictures[:3], options=options)
    assert choice.perplexities == pytest.approx([lvm.score(pictures[:3], option) for option in options], rel=1e-4)
    assert choice.index == int(np.argmin(choice.perplexities)) == 2


def test_choice_against_the_context_free_perplexity_takes_the_largest_fall(bundle, bare_bundle, pictures):
    for model, first in ((bundle, 0), (bare_bundle, 1)):  # without a BOS, the first code alone has no probability
        lvm = LVM(model)
        choice = lvm.choose(pictures[:3], pictures[3:9], against="context_free")
        codes = model.tokenizer.encode(torch.from_numpy(np.stack(pictures)))
        begin = torch.tensor([] if model.special.bos is None else [BOS], dtype=torch.int64)
        falls = []
        for place, option in enumerate(codes[3:9]):
            alone = target_log_probs(model.decoder, torch.cat([begin, option])[None], 4 - first)
            after = target_log_probs(model.decoder, torch.cat([begin, codes[:3].flatten(), option])[None], 4)
            assert choice.context_free[place] == pytest.approx(perplexity(alone), rel=1e-4)
            assert choice.perplexities[place] == pytest.approx(perplexity(after), rel=1e-4)
            falls.append(float((after[:, first:] - alone).mean()))
        assert choice.index == int(np.argmax(falls))
        plain = lvm.choose(pictures[:3], pictures[3:9])
        assert plain.context_free is None and plain.index == int(np.argmin(choice.perplexities))


def test_scores_equal_score_of_each(lvm, pictures):
    contexts, targets = [pictures[:3], [], pictures[:7], pictures[1:3]], pictures[5:9]
    for options in ({}, {"restrict": True}):
        found = lvm.scores(contexts, targets, **options)
        each = [lvm.score(context, target, **options) for context, target in zip(contexts, targets, strict=True)]
        assert found.dtype == np.float64 and found == pytest.approx(each, rel=1e-4)
    assert lvm.scores(contexts, targets, rows_at_once=1) == pytest.approx(lvm.scores(contexts, targets), rel=1e-4)


def test_measuring_tells_of_rows_and_can_be_cancelled(lvm, pictures):
    def cancel(num_rows):
        raise InterruptedError(num_rows)

    told = []
    lvm.scores([pictures[:1], pictures[:2], pictures[:3]], pictures[3:6], rows_at_once=2, on_rows=told.append)
    assert told == [0, 2]
    told.clear()
    lvm.choose(pictures[:3], pictures[4:6], against="context_free", on_rows=told.append)
    assert told == [0, 0]  # with the context, and without
    for measure in (
        lambda: lvm.score(pictures[:3], pictures[4], on_rows=cancel),
        lambda: lvm.choose(pictures[:3], pictures[4:6], on_rows=cancel),
    ):
        with pytest.raises(InterruptedError):
            measure()


def test_score_by_count_and_by_frames_show_as_many_as_they_say(lvm, bare_bundle, pictures):
    pairs, (query, answer) = list(zip(pictures[:4], pictures[4:8], strict=True)), pictures[8:]
    found = lvm.score_by_count(pairs, query, answer)
    shown = [[picture for pair in pairs[:count] for picture in pair] + [query] for count in range(4)]
    assert list(found) == [0, 1, 2, 3]  # a fourth does not fit
    assert [*found.values()] == pytest.approx([lvm.score(context, answer) for context in shown], rel=1e-4)
    assert lvm.score_by_count(pairs, query, answer, [2]) == {2: pytest.approx(found[2], rel=1e-4)}
    found = lvm.score_by_frames(pictures[:9], pictures[9])
    assert list(found) == list(range(8))
    each = [lvm.score(pictures[9 - count : 9], pictures[9]) for count in range(8)]
    assert [*found.values()] == pytest.approx(each, rel=1e-4)
    assert list(LVM(bare_bundle).score_by_frames(pictures[:3], pictures[3])) == [1, 2, 3]
    with pytest.raises(ValueError, match=r"counts=\[0\] must be numbers of frames from 1 to 3"):
        LVM(bare_bundle).score_by_frames(pictures[:3], pictures[3], [0])
    with pytest.raises(ValueError, match=r"counts=\[4\] must be numbers of pairs from 0 to 3"):
        lvm.score_by_count(pairs, query, answer, [4])


def test_score_and_drawing_begin_at_bos_without_any_picture(lvm, bare_bundle, pictures):
    assert lvm.score([], pictures[0]) > 1
    assert lvm.complete([], num_frames=8).codes.shape == (1, 8, 4)
    with pytest.raises(ValueError, match="no picture given; this model has no BOS, so it needs at least one"):
        LVM(bare_bundle).complete([])


def test_lvm_rejects_more_images_than_fit(lvm, pictures):
    lvm.complete(pictures[:7])
    with pytest.raises(
        ValueError, match=r"8 images and 1 more do not fit: .* 33 positions holds 8 images of 4 codes. Give at most 7"
    ):
        lvm.complete(pictures[:8])
    with pytest.raises(ValueError, match="9 images and 1 more do not fit.*Give at most 7"):
        lvm.compose([list(zip(pictures[:4], pictures[4:8], strict=True))], pictures[8])
    with pytest.raises(ValueError, match="8 images and 1 more do not fit"):
        lvm.choose(pictures[:8], pictures[8:])
    with pytest.raises(ValueError, match="9 images and 1 more do not fit"):
        lvm.score(pictures[:9], pictures[0])


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda lvm, p: lvm.complete(p[0]), r"images must be a list of pictures, given an array uint8 \[8, 8, 3\]"),
        (lambda lvm, p: lvm.complete("a.png"), r"images must be a list of pictures, given a str \('a.png'\)"),
        (lambda lvm, p: lvm.complete([p[0], 7]), r"images\[1\] must be a path, .* given a int \('7'\)"),
        (lambda lvm, p: lvm.complete([p[0] / 255]), r"images\[0\]: a picture given as an array must be uint8"),
        (lambda lvm, p: lvm.complete(p[:2], num_frames=0), "num_frames=0 must be at least 1"),
        (lambda lvm, p: lvm.complete(p[:2], num_candidates=0), "num_candidates=0 must be at least 1"),
        (lambda lvm, p: lvm.analogy([], p[0]), r"pairs must be a list of at least one \(picture, annotation\)"),
        (lambda lvm, p: lvm.analogy(p[:2], p[0]), r"pairs\[0\] must be \(picture, annotation\), given an array"),
        (lambda lvm, p: lvm.analogy([(p[0], p[1]), (p[2],)], p[3]), r"pairs\[1\] must be .* given a tuple of 1"),
        (lambda lvm, p: lvm.analogy([(p[0], None)], p[3]), r"pairs\[0\]\[1\] must be a path"),
        (lambda lvm, p: lvm.analogy([(p[0], p[1])], [p[3]]), "query must be a path, .* given a list of 1"),
        (lambda lvm, p: lvm.compose([(p[0], p[1])], p[3]), r"groups\[0\]\[0\] must be \(picture, annotation\)"),
        (lambda lvm, p: lvm.compose([], p[3]), "groups must be a list of lists"),
        (lambda lvm, p: lvm.score(p[:2], p), "target must be a path, .* given a list of 10"),
        (lambda lvm, p: lvm.choose(p[:2], p[:1]), "options has 1 pictures; a choice needs at least two"),
        (lambda lvm, p: lvm.choose(p[:2], p[:2], against="bos"), "against='bos' must be 'context' or 'context_free'"),
        (lambda lvm, p: lvm.scores([p[:2]], p[:2]), "1 contexts given for 2 targets; give one context a target"),
        (lambda lvm, p: lvm.scores([p[:2], [7]], p[:2]), r"contexts\[1\]\[0\] must be a path"),
        (lambda lvm, p: lvm.analogies([p[:2]], []), "queries is empty; give at least one picture to answer"),
        (lambda lvm, p: lvm.analogies([p[:2]], [p[2], None]), r"queries\[1\] must be a path"),
        (lambda lvm, p: lvm.analogies([p[:2]], p[2]), "queries must be a list of pictures, given an array"),
        (lambda lvm, p: lvm.complete(p[:2], sampling=Sampling(temperature=-1)), "temperature=-1 must be 0 .* or above"),
        (lambda lvm, p: lvm.complete(p[:2], keep=8), r"keep=8 must lie in 1 .. 7: 8 images fit"),
        (lambda lvm, p: lvm.complete(p[:3], exact=True, fast=True), "exact=True and fast=True are different ways"),
        (lambda lvm, p: lvm.complete(p[:3], ahead=0), "ahead=0 must be at least 1 code"),
        (lambda lvm, p: lvm.complete(p[:7], num_frames=2, fast=True), "fast=True draws within the context alone"),
        (
            lambda lvm, p: lvm.analogy([p[:2], p[2:4]], p[4], ensemble=2, fast=True),
            "fast=True draws a prompt by itself",
        ),
        (lambda lvm, p: lvm.analogy([p[:2], p[2:4]], p[4], ensemble=2, exact=True), "exact=True draws .* by itself"),
        (lambda lvm, p: lvm.analogy([p[:2]], p[4], ensemble=0), "ensemble=0 must lie in 1 .. 1"),
    ],
)
def test_lvm_rejects_what_is_no_prompt(lvm, pictures, ask, message):
    with pytest.raises(ValueError, match=message):
        ask(lvm, pictures)


def test_lvm_rejects_missing_and_broken_files(lvm, pictures, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"images\[1\]: no picture at .*gone.png"):
        lvm.complete([pictures[0], tmp_path / "gone.png"])
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"query: .*bad.png cannot be read"):
        lvm.analogy([(pictures[0], pictures[1])], tmp_path / "bad.png")


def test_load_without_a_name_is_the_model_that_ships():
    lvm, pictures = LVM.load(), list(np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8))
    assert lvm.bundle.images_in_context >= 9  # a matrix puzzle: eight panels and an option
    answer = lvm.analogy([tuple(pictures[:2]), tuple(pictures[2:4])], pictures[4], seed=1)
    assert np.array_equal(
        LVM.load("mini").analogy([pictures[:2], pictures[2:4]], pictures[4], seed=1).codes, answer.codes
    )
    picture = np.full_like(pictures[0], 200)
    assert lvm.score([picture] * 3, picture) < lvm.score([picture] * 3, pictures[1])  # trained, not random


def test_load_rejects_another_dtype():
    with pytest.raises(ValueError, match="no dtype called 'float33'; did you mean float32"):
        LVM.load(dtype="float33")


def test_load_says_what_is_missing(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no LVM bundle at .*nowhere: .* embedded LVMs: 'mini'"):
        LVM.load(tmp_path / "nowhere")
    monkeypatch.setitem(EMBEDDED, "mini", "lost")
    with pytest.raises(FileNotFoundError, match="embedded LVM 'mini' is not in this installation: .*lost. Install"):
        LVM.load()


def test_a_folder_called_like_an_embedded_model_is_named_by_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mini").mkdir()
    assert LVM.load("mini").bundle.images_in_context > 0
    with pytest.raises(FileNotFoundError, match="no LVM description at mini"):
        LVM.load("./mini")


def test_examples_of_the_page_run(bundle, pictures, tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "prompting.md").read_text()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LVM, "load", lambda: LVM(bundle))  # "mini" would take its time
    names = dict(zip(("a", "A", "b", "B", "c", "d"), pictures, strict=False))
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    for block in blocks:
        exec(block, names)
    assert len(blocks) == 4 and (tmp_path / "runs" / "answer" / "sheet.png").is_file()
    assert len(names["many"]) == 2 and names["done"].gain.shape == (4,)


def test_prompting_leaves_global_state_alone(lvm, pictures):
    torch.manual_seed(3)
    before = (torch.get_num_threads(), torch.is_grad_enabled(), torch.get_rng_state())
    lvm.complete(pictures[:2])
    lvm.choose(pictures[:2], pictures[:2])
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == before[:2]
    assert torch.equal(torch.get_rng_state(), before[2])


def test_ahead_reaches_the_diagonals(lvm, bundle, pictures):
    """Codes of a row of two: two ahead is one by one, one ahead begins the second row before the first has ended."""
    plain = lvm.complete(pictures[:3], num_frames=2, num_candidates=3, seed=4)
    whole = lvm.complete(pictures[:3], num_frames=2, num_candidates=3, seed=4, ahead=2)
    assert np.array_equal(whole.codes, plain.codes) and np.allclose(whole.log_probs, plain.log_probs, atol=1e-5)
    told = []
    lossy = lvm.analogy(
        [(pictures[0], pictures[1])], pictures[2], num_candidates=3, seed=4, ahead=1,
        on_codes=lambda rows, places, codes: told.append((rows, places.tolist())),
    )  # fmt: skip
    assert told == [([(0, 0), (0, 1), (0, 2)], places) for places in ([0], [1, 2], [3])]
    one_by_one = lvm.analogy([(pictures[0], pictures[1])], pictures[2], num_candidates=3, seed=4)
    assert not np.array_equal(lossy.codes, one_by_one.codes)
