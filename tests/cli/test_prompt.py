"""`openlvm prompt`: pictures on the command line become answers on disk."""

import shutil

import numpy as np
import pytest
from opinions import with_opinions

from openlvm.cli.main import main
from openlvm.cli.prompt.draw import sampling_of
from openlvm.cli.prompt.options import Continue
from openlvm.core.images import read_image, write_image
from openlvm.prompting.engine.generate import ROWS_AT_ONCE
from openlvm.prompting.engine.memory import bytes_needed
from openlvm.prompting.lvm import LVM
from openlvm.prompting.sampling import GREEDY, Sampling


@pytest.fixture(scope="module")
def lvm_at(lvm_at, tmp_path_factory):
    return with_opinions(lvm_at, tmp_path_factory.mktemp("opinions") / "lvm")


@pytest.fixture(scope="module")
def lvm(lvm_at):
    return LVM.load(lvm_at)


def test_sequence_equals_the_facade(openlvm_json, lvm, lvm_at, pictures, tmp_path):
    given = [pictures / "a.png", pictures / "b.png"]
    words = ["--frames", 2, "--candidates", 2, "--seed", 3, "--lvm", lvm_at, "--out", tmp_path / "out"]
    result = openlvm_json("prompt", "sequence", *given, *words)
    expected = lvm.complete(given, num_frames=2, num_candidates=2, seed=3)
    drawn = np.stack([read_image(path) for path in result["images"]])
    assert (drawn == expected.images.reshape(drawn.shape)).all()
    assert np.allclose(result["mean_log_prob"], expected.log_probs.mean((1, 2)))
    assert result["mean_log_prob"][0] >= result["mean_log_prob"][1]
    assert result["numbers"] == expected.numbers.tolist()
    assert read_image(result["sheet"]).shape[0] > 3 * 16  # the prompt's row and two of answers


def test_analogy_equals_the_facade(openlvm_json, lvm, lvm_at, pictures, tmp_path):
    a, b, c, d, e, _ = sorted(pictures.iterdir())
    words = ["--temperature", 0, "--lvm", lvm_at, "--out", tmp_path / "out"]
    result = openlvm_json("prompt", "analogy", "--pairs", a, b, c, d, "--query", e, *words)
    expected = lvm.analogy([(a, b), (c, d)], query=e, sampling=GREEDY)
    assert (read_image(result["images"][0]) == expected.images[0, 0]).all()


def test_compose_keeps_the_groups_apart(openlvm_json, lvm, lvm_at, pictures, tmp_path):
    a, b, c, d, e, f = sorted(pictures.iterdir())
    words = ["--lvm", lvm_at, "--out", tmp_path / "out"]
    result = openlvm_json("prompt", "compose", "--group", a, b, c, d, "--group", e, f, "--query", a, *words)
    expected = lvm.compose([[(a, b), (c, d)], [(e, f)]], query=a)
    assert (read_image(result["images"][0]) == expected.images[0, 0]).all()
    assert read_image(result["sheet"]).shape[0] > 4 * 16  # two groups, the query, the answer


def test_queries_of_a_folder_are_answered_together(openlvm_json, lvm, lvm_at, pictures, tmp_path):
    words = ["--query", pictures, "--candidates", 2, "--lvm", lvm_at, "--out", tmp_path / "out"]
    result = openlvm_json("prompt", "analogy", "--pairs", pictures / "a.png", pictures / "b.png", *words)
    pairs = [(pictures / "a.png", pictures / "b.png")]
    expected = lvm.analogies(pairs, sorted(pictures.iterdir()), num_candidates=2)
    assert len(result["answers"]) == 6
    for number, (told, answer) in enumerate(zip(result["answers"], expected, strict=True)):
        assert told["sheet"] == str(tmp_path / "out" / f"query-{number}" / "sheet.png")
        assert (read_image(told["images"][1]) == answer.images[1, 0]).all()


def test_pairs_of_two_folders_go_by_name(openlvm_json, lvm, lvm_at, pictures, tmp_path):
    a, b, c, d, e, _ = sorted(pictures.iterdir())
    for picture, name in ((c, "1/z.webp"), (a, "2/a.webp")):  # in another order than their answers
        write_image(tmp_path / "images" / name, read_image(picture), lossless=True)
    for answer, name in ((b, "a.png"), (d, "z.png")):
        write_image(tmp_path / "answers" / name, read_image(answer))
    words = ["--query", e, "--temperature", 0, "--lvm", lvm_at, "--out", tmp_path / "out"]
    folders = [tmp_path / "images" / "*" / "*.webp", tmp_path / "answers"]
    result = openlvm_json("prompt", "analogy", "--pairs", *folders, *words)
    expected = lvm.analogy([(c, d), (a, b)], query=e, sampling=GREEDY)
    assert (read_image(result["images"][0]) == expected.images[0, 0]).all()
    assert result["gain"] == pytest.approx(expected.gain.tolist(), abs=1e-5)
    assert result["gain"] != pytest.approx(lvm.analogy([(c, b), (a, d)], e, sampling=GREEDY).gain.tolist(), abs=1e-5)


def test_ensemble_and_fast_reach_the_facade(openlvm_json, lvm, lvm_at, pictures, tmp_path):
    a, b, c, d, e, _ = sorted(pictures.iterdir())
    words = ["analogy", "--pairs", a, b, c, d, "--query", e, "--lvm", lvm_at, "--out", tmp_path / "out", "--seed", 4]
    together = lvm.analogy([(a, b), (c, d)], e, ensemble=2, seed=4)
    alone = lvm.analogy([(a, b), (c, d)], e, seed=4)
    result = openlvm_json("prompt", *words, "--ensemble", 2)
    assert np.allclose(result["mean_log_prob"], together.mean_log_probs, atol=1e-5)
    assert not np.allclose(together.mean_log_probs, alone.mean_log_probs, atol=1e-5)
    fast = openlvm_json("prompt", *words, "--fast")
    assert (read_image(fast["images"][0]) == alone.images[0, 0]).all()


def test_frames_beyond_the_context_equal_the_facade(openlvm_json, lvm, lvm_at, pictures, tmp_path):
    words = ["--frames", 12, "--keep", 5, "--lvm", lvm_at, "--out", tmp_path / "out"]
    result = openlvm_json("prompt", "sequence", pictures, *words)
    expected = lvm.complete(sorted(pictures.iterdir()), num_frames=12, keep=5)
    assert (np.stack([read_image(path) for path in result["images"]]) == expected.images[0]).all()
    again = openlvm_json("prompt", "sequence", pictures, *words, "--reuse")
    assert again["reuse_error"] == pytest.approx(
        lvm.complete(sorted(pictures.iterdir()), num_frames=12, keep=5, reuse=True).reuse_error
    )


def test_examples_come_from_a_store(openlvm_json, tokenizer_at, lvm, lvm_at, pictures, tmp_path):
    for number, path in enumerate(sorted(pictures.iterdir())):
        write_image(tmp_path / "data" / "image" / path.name, read_image(path))
        write_image(tmp_path / "data" / "mask" / path.name, np.full((20, 16, 3), 255 - 40 * number, np.uint8))
    slots = ["--folders", "image", "image", "mask", "mask", "--kinds", "mask", "mask"]
    told = ["--at", tmp_path / "data", "--store", tmp_path / "store", "--tokenizer", tokenizer_at]
    openlvm_json("tokenize", "pairs", *told, *slots)
    words = ["--examples-from", tmp_path / "store", "--target", "mask", "--num-examples", 3, "--lvm", lvm_at]
    query = ["--query", pictures / "e.png", "--out", tmp_path / "out", "--by", "likelihood"]
    result = openlvm_json("prompt", "analogy", *words, *query)
    expected = lvm.analogy_from(tmp_path / "store", pictures / "e.png", target="mask", count=3, by="likelihood")
    assert (read_image(result["images"][0]) == expected.images[0, 0]).all()
    assert [one["record"] for one in result["examples"]] == [one.record for one in expected.examples]
    assert read_image(result["sheet"]).shape[0] > 3 * 16  # the examples, the query, the answer


def test_misunderstood_answers_are_named(lvm, lvm_at, pictures, tmp_path, capsys):
    a, b, c, d, e, _ = sorted(pictures.iterdir())
    words = ["--lvm", lvm_at, "--candidates", 12, "--out", tmp_path / "out"]
    assert main([str(word) for word in ("prompt", "analogy", "--pairs", a, b, c, d, "--query", e, *words)]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("task not understood")]
    expected = lvm.analogy([(a, b), (c, d)], e, num_candidates=12)
    lost = [f"answer {rank} " for rank in range(12) if not expected.understood[rank]]
    assert 0 < len(lost) < 12  # otherwise choose another seed
    assert len(told) == len(lost) and all(words in line for words, line in zip(lost, told, strict=True))
    assert f"(gain {expected.gain.min():+.3f} nats a code)" in "".join(told)


def test_choose_equals_the_facade(openlvm_json, lvm, lvm_at, pictures):
    a, b, c, d, _, _ = sorted(pictures.iterdir())
    words = ["--context", a, b, "--options", c, d, "--lvm", lvm_at]
    result = openlvm_json("prompt", "choose", *words)
    expected = lvm.choose(context=[a, b], options=[c, d])
    assert result["index"] == expected.index
    assert np.allclose(result["perplexities"], expected.perplexities)
    assert result["picture"] == str([c, d][expected.index])
    assert "context_free" not in result
    result = openlvm_json("prompt", "choose", *words, "--against", "context_free")
    expected = lvm.choose(context=[a, b], options=[c, d], against="context_free")
    assert (result["index"], result["context_free"]) == (expected.index, pytest.approx(expected.context_free))


def test_score_equals_the_facade(openlvm_json, lvm, lvm_at, pictures):
    a, b, c, d, e, f = sorted(pictures.iterdir())
    result = openlvm_json("prompt", "score", "--context", a, b, "--target", c, d, "--lvm", lvm_at, "--restrict")
    assert result["targets"] == [str(c), str(d)]
    assert np.allclose(result["perplexity"], [lvm.score([a, b], one, restrict=True) for one in (c, d)])
    assert np.allclose(result["context_free"], [lvm.score([], one, restrict=True) for one in (c, d)])
    words = ["--pairs", a, b, c, d, "--query", e, "--target", f, "--by-count", "--lvm", lvm_at]
    result = openlvm_json("prompt", "score", *words)
    assert np.allclose(result["perplexity"], lvm.score([a, b, c, d, e], f))
    assert result["by_count"] == pytest.approx(
        {str(count): lvm.score([*(a, b, c, d)[: 2 * count], e], f) for count in range(3)}
    )
    result = openlvm_json("prompt", "score", "--context", a, b, c, "--target", f, "--by-count", "--lvm", lvm_at)
    assert result["by_count"] == pytest.approx({str(count): lvm.score([a, b, c][3 - count :], f) for count in range(4)})


def test_dry_run_says_the_formula_and_reads_no_weights(openlvm_json, openlvm_error, lvm, lvm_at, pictures, tmp_path):
    shutil.copytree(lvm_at, tmp_path / "lvm")
    for weights in (tmp_path / "lvm").rglob("*.safetensors"):
        weights.unlink()
    a, b, c, d, e, _ = sorted(pictures.iterdir())
    words = ["--lvm", tmp_path / "lvm", "--out", tmp_path / "out", "--dry-run", "--candidates", 3]
    found = openlvm_json("prompt", "analogy", "--pairs", a, b, c, d, "--query", e, *words)
    config = lvm.bundle.decoder.config
    memory = bytes_needed(config, [21], 4, num_candidates=3, rows_at_once=ROWS_AT_ONCE)
    assert (found["codes_given"], found["codes_to_draw"]) == (21, 12)
    assert found["bytes"] == {name: getattr(memory, name) for name in ("weights", "cache", "activations", "total")}
    long = openlvm_json("prompt", "sequence", pictures, "--frames", 100, *words)
    assert long["codes_to_draw"] == 3 * 100 * 4
    memory = bytes_needed(config, [25], 40, num_candidates=3, rows_at_once=ROWS_AT_ONCE)  # 16 pictures fit, 10 drawn
    assert long["bytes"]["total"] == memory.total
    many = ["analogy", "--pairs", *[a, b] * 9, "--query", e, *words]
    assert openlvm_json("prompt", *many, "--ensemble", 2)["codes_given"] == 2 * (15 * 4 + 1)
    assert "19 pictures and 1 more do not fit" in openlvm_error("prompt", *many)
    assert not (tmp_path / "out").exists()


def test_prompt_rejects_what_cannot_be_answered(openlvm_error, lvm_at, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    a, b = pictures / "a.png", pictures / "b.png"
    assert "no pictures are given" in openlvm_error("prompt", "sequence", "--lvm", lvm_at)
    assert "no picture at" in openlvm_error("prompt", "sequence", tmp_path / "none.png", "--lvm", lvm_at)
    assert "no picture at" in openlvm_error("prompt", "sequence", tmp_path / "none*.png", "--lvm", lvm_at)
    assert "no LVM bundle at" in openlvm_error("prompt", "sequence", a, "--lvm", tmp_path / "none")
    assert "slide=True" in openlvm_error("prompt", "sequence", pictures, pictures, pictures, "--lvm", lvm_at)
    assert "--query" in openlvm_error("prompt", "analogy", "--pairs", a, b)
    assert "temperature=-1" in openlvm_error("prompt", "sequence", a, "--temperature", -1, "--lvm", lvm_at)
    assert "num_frames=0" in openlvm_error("prompt", "sequence", a, "--frames", 0, "--lvm", lvm_at)
    assert "num_candidates=0" in openlvm_error("prompt", "sequence", a, "--candidates", 0, "--lvm", lvm_at)
    assert "anlogy" in openlvm_error("prompt", "anlogy", a)
    (pictures / "bad.png").write_bytes(b"text")
    assert "bad.png cannot be read" in openlvm_error("prompt", "sequence", pictures / "*.png", "--lvm", lvm_at)
    (tmp_path / "empty.png").touch()
    assert "empty (0 bytes)" in openlvm_error("prompt", "sequence", tmp_path / "empty.png", "--lvm", lvm_at)
    assert not (tmp_path / "runs").exists()


def test_pairs_reject_what_has_no_partner(openlvm_error, pictures, tmp_path):
    a, b = pictures / "a.png", pictures / "b.png"
    write_image(tmp_path / "other" / "a.png", read_image(a))
    query = ["--query", b]
    assert "--pairs has 1 words" in openlvm_error("prompt", "analogy", "--pairs", a, *query)
    assert "--group has 3 words" in openlvm_error("prompt", "compose", "--group", a, b, a, *query)
    lone = openlvm_error("prompt", "analogy", "--pairs", pictures, tmp_path / "other", *query)
    assert "5 pictures have no partner" in lone and "b.png" in lone
    write_image(pictures / "a.webp", read_image(a))
    assert "have one name" in openlvm_error("prompt", "analogy", "--pairs", pictures, tmp_path / "other", *query)
    assert "--query takes one picture" in openlvm_error("prompt", "compose", "--group", a, b, "--query", pictures)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--exact", "--fast"], "--exact and --fast exclude each other"),
        (["--ahead", "2", "--fast"], "--ahead excludes --exact and --fast"),
        (["--read", "classes"], "--read classes needs its ids"),
        (["--ids", "1"], "--ids need --read classes or boxes"),
        (["--depth-range", "1", "2"], "--depth-range needs --read depth"),
        (["--read", "depth", "--depth-range", "2", "1"], "the near one first"),
        (["--disparity-range", "1", "2"], "--disparity-range needs --read disparity"),
        (["--read", "disparity", "--disparity-range", "2", "1"], "the least first"),
        (["--read", "depth", "--fastest", "3"], "--fastest needs --read flow"),
        (["--read", "flow", "--fastest", "0"], "must be a length above 0"),
        (["--examples-from", "store"], "--pairs and --examples-from exclude each other"),
        (["--by", "overlap", "--source", "image"], "--source and --by need --examples-from"),
    ],
)
def test_options_without_effect_are_refused(openlvm_error, pictures, words, complaint):
    a, b = pictures / "a.png", pictures / "b.png"
    assert complaint in openlvm_error("prompt", "analogy", "--pairs", a, b, "--query", b, *words)


def test_examples_and_scores_reject_half_a_prompt(openlvm_error, pictures):
    a, b = pictures / "a.png", pictures / "b.png"
    assert "no examples" in openlvm_error("prompt", "analogy", "--query", b)
    assert "needs --target" in openlvm_error("prompt", "analogy", "--query", b, "--examples-from", "store")
    assert "belong together" in openlvm_error("prompt", "score", "--pairs", a, b, "--target", b)
    assert "exclude each other" in openlvm_error(
        "prompt", "score", "--pairs", a, b, "--query", a, "--context", a, "--target", b
    )
    assert "one --target" in openlvm_error("prompt", "score", "--context", a, "--target", a, b, "--by-count")


def test_greedy_needs_nothing_of_what_the_lvm_suggests():
    suggested = Sampling(temperature=0.7, top_p=0.9)
    assert sampling_of(Continue(images=("a.png",), temperature=0), suggested) == GREEDY
    assert sampling_of(Continue(images=("a.png",), top_k=5), suggested) == Sampling(temperature=0.7, top_p=0.9, top_k=5)


def test_without_lvm_the_one_that_ships_answers(openlvm_json, pictures, tmp_path):
    result = openlvm_json("prompt", "sequence", pictures / "a.png", "--seed", 3, "--out", tmp_path / "out")
    expected = LVM.load().complete([pictures / "a.png"], seed=3)
    assert (read_image(result["images"][0]) == expected.images[0, 0]).all()


def test_every_code_moves_the_bar_of_a_terminal(lvm_at, pictures, tmp_path, monkeypatch):
    steps = []

    class Bar:
        def __init__(self, **told):
            steps.append(told["steps"])

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def step(self, step):
            steps.append(step)

    monkeypatch.setattr("openlvm.training.progress.Progress", Bar)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    words = ["sequence", pictures / "a.png", "--frames", 2, "--candidates", 3, "--out", tmp_path / "out"]
    assert main([*map(str, ["prompt", *words, "--lvm", lvm_at])]) == 0
    assert steps[0] == steps[-1] == 2 * 3 * 4 and steps[1:] == sorted(steps[1:])
