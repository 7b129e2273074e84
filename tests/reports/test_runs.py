"""What run folders say, by hand-written ones."""

from dataclasses import replace

import pytest
from written_runs import KINDS, POSITION, write_run

from openlvm.model.sizes import SIZES, flops_per_token
from openlvm.reports.runs import AVERAGED, read_runs, tokens_per_position
from openlvm.sentences.grammar import FreeForm


def test_runs_tell_size_codes_and_losses(tmp_path):
    [run] = read_runs([write_run(tmp_path / "one")])
    assert (run.name, run.parameters, run.seed) == ("one", SIZES["mini"].num_parameters, 3)
    assert (run.steps, run.all_steps, run.seconds) == (100, 100, 40)
    assert run.tokens == pytest.approx(100 * 2 * POSITION)
    assert run.flops_per_token == flops_per_token(SIZES["mini"], 8 * 64 + 1)
    assert run.flops == pytest.approx(run.tokens * run.flops_per_token)
    assert run.heldout == [(50 * 2 * POSITION, 5.0), (100 * 2 * POSITION, 4.5)] and run.heldout_loss == 4.5
    assert run.training_loss == pytest.approx(sum(5 - step / 10 for step in range(3, 11)) / AVERAGED)


def test_tokens_are_counted_where_checkpoints_interrupt_the_count():
    """Lines every 10 steps, checkpoints every 15: the line after one tells of the 5 steps since it."""
    lines = [
        {"step": step, "timing": {"seconds": 2.0, "tokens_per_second": 7 * steps * 2 / 2}}
        for step, steps in ((10, 10), (20, 5), (30, 10), (40, 10))
    ]
    assert tokens_per_position(lines, {"checkpoint_every": 15, "positions_per_step": 2}) == 7


def test_length_follows_the_sentences(tmp_path):
    kinds = (FreeForm(candidates=("image", "mask", "depth"), slots_per_record=2, records=4), *KINDS)
    [run] = read_runs([write_run(tmp_path / "free", kinds=kinds)])
    assert run.flops_per_token == flops_per_token(SIZES["mini"], 8 * 64 + 1)
    longer = replace(SIZES["mini"], context=2049)
    assert flops_per_token(longer, 513) == run.flops_per_token  # the context alone costs nothing


def test_runs_of_one_name_are_told_apart(tmp_path):
    runs = [write_run(tmp_path / parent / "mini") for parent in ("a", "b")]
    assert [run.name for run in read_runs(runs)] == ["a/mini", "b/mini"]
    with pytest.raises(ValueError, match="a run folder is given twice"):
        read_runs([runs[0], runs[0]])


def test_reading_rejects_what_is_no_decoder_run(tmp_path):
    with pytest.raises(ValueError, match="at least one run folder"):
        read_runs([])
    with pytest.raises(FileNotFoundError, match=r"no config of a run at .*none.config.json"):
        read_runs([tmp_path / "none"])
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "config.json").write_text('{"shape": {}}')
    with pytest.raises(ValueError, match="is not the run of a decoder"):
        read_runs([tmp_path / "tokenizer"])
    with pytest.raises(ValueError, match=r"no line of metrics yet; one is written every 10 steps"):
        read_runs([write_run(tmp_path / "young", lines=0)])
