"""The facade: what stands where in a prompt, what comes back, and what people do wrong."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from openlvm.bundle import EMBEDDED
from openlvm.prompting.engine.generate import generate
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
    assert np.array_equal(answer.codes, drawn.codes.view(2, 4, 4).numpy())
    assert np.array_equal(answer.log_probs, drawn.log_probs.view(2, 4, 4).numpy())
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
    assert np.array_equal(answer.codes[:, 0], expected(bundle, [a, A, b, B, c], num_candidates=4, seed=2).codes[0])
    assert answer.images.shape == (4, 1, 8, 8, 3)


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
    assert np.array_equal(three.log_probs[:1], one.log_probs)


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
    with pytest.raises(ValueError, match="5 images and 4 more do not fit.*Give at most 4"):
        lvm.complete(pictures[:5], num_frames=4)
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


def test_prompting_leaves_global_state_alone(lvm, pictures):
    torch.manual_seed(3)
    before = (torch.get_num_threads(), torch.is_grad_enabled(), torch.get_rng_state())
    lvm.complete(pictures[:2])
    lvm.choose(pictures[:2], pictures[:2])
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == before[:2]
    assert torch.equal(torch.get_rng_state(), before[2])
