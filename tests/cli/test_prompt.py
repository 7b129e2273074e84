"""`openlvm prompt`: pictures on the command line become answers on disk."""

import numpy as np

from openlvm.core.images import read_image
from openlvm.prompting.lvm import LVM


def test_sequence_equals_the_facade(openlvm_json, lvm_at, pictures, tmp_path):
    given = [pictures / "a.png", pictures / "b.png"]
    words = ["--frames", 2, "--candidates", 2, "--seed", 3, "--lvm", lvm_at, "--out", tmp_path / "out"]
    result = openlvm_json("prompt", "sequence", *given, *words)
    expected = LVM.load(lvm_at).complete(given, num_frames=2, num_candidates=2, seed=3)
    drawn = np.stack([read_image(path) for path in result["images"]])
    assert (drawn == expected.images.reshape(drawn.shape)).all()
    assert np.allclose(result["mean_log_prob"], expected.log_probs.mean((1, 2)))
    assert read_image(result["sheet"]).shape[0] > 3 * 16  # the prompt's row and two of answers


def test_analogy_equals_the_facade(openlvm_json, lvm_at, pictures, tmp_path):
    a, b, c, d, e, _ = sorted(pictures.iterdir())
    words = ["--temperature", 0, "--lvm", lvm_at, "--out", tmp_path / "out"]
    result = openlvm_json("prompt", "analogy", "--pairs", a, b, c, d, "--query", e, *words)
    from openlvm.prompting.sampling import GREEDY

    expected = LVM.load(lvm_at).analogy([(a, b), (c, d)], query=e, sampling=GREEDY)
    assert (read_image(result["images"][0]) == expected.images[0, 0]).all()


def test_compose_keeps_the_groups_apart(openlvm_json, lvm_at, pictures, tmp_path):
    a, b, c, d, e, f = sorted(pictures.iterdir())
    words = ["--lvm", lvm_at, "--out", tmp_path / "out"]
    result = openlvm_json("prompt", "compose", "--group", a, b, c, d, "--group", e, f, "--query", a, *words)
    expected = LVM.load(lvm_at).compose([[(a, b), (c, d)], [(e, f)]], query=a)
    assert (read_image(result["images"][0]) == expected.images[0, 0]).all()
    assert read_image(result["sheet"]).shape[0] > 4 * 16  # two groups, the query, the answer


def test_choose_equals_the_facade(openlvm_json, lvm_at, pictures):
    a, b, c, d, _, _ = sorted(pictures.iterdir())
    result = openlvm_json("prompt", "choose", "--context", a, b, "--options", c, d, "--lvm", lvm_at)
    expected = LVM.load(lvm_at).choose(context=[a, b], options=[c, d])
    assert result["index"] == expected.index
    assert np.allclose(result["perplexities"], expected.perplexities)
    assert result["picture"] == str([c, d][expected.index])


def test_prompt_rejects_what_cannot_be_answered(openlvm_error, lvm_at, pictures, tmp_path):
    a, b = pictures / "a.png", pictures / "b.png"
    assert "no picture at" in openlvm_error("prompt", "sequence", tmp_path / "none.png", "--lvm", lvm_at)
    assert "no LVM bundle at" in openlvm_error("prompt", "sequence", a, "--lvm", tmp_path / "none")
    assert "do not fit" in openlvm_error("prompt", "sequence", pictures, "--frames", 11, "--lvm", lvm_at)
    assert "--pairs" in openlvm_error("prompt", "analogy", "--pairs", a, "--query", b, "--lvm", lvm_at)
    assert "anlogy" in openlvm_error("prompt", "anlogy", a)
    (tmp_path / "empty.png").touch()
    assert "empty (0 bytes)" in openlvm_error("prompt", "sequence", tmp_path / "empty.png", "--lvm", lvm_at)
    assert not (tmp_path / "runs").exists()


def test_without_lvm_the_one_that_ships_answers(openlvm_json, pictures, tmp_path):
    result = openlvm_json("prompt", "sequence", pictures / "a.png", "--seed", 3, "--out", tmp_path / "out")
    expected = LVM.load().complete([pictures / "a.png"], seed=3)
    assert (read_image(result["images"][0]) == expected.images[0, 0]).all()
