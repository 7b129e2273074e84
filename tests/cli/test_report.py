"""`openlvm report`: run folders become tables and plots; a mistake is one line."""

import pytest

pytest.importorskip("matplotlib")


def test_report_draws_runs_and_says_where(tokenizer_at, make_run, tmp_path, openlvm_json, openlvm_error):
    runs = [make_run(name) for name in ("one", "two")]
    told = openlvm_json("report", *runs, "--out", tmp_path / "report")
    assert [run["run"] for run in told["runs"]] == ["one", "two"]
    assert told["points"][0]["runs"] == 2 and told["points"][0]["codes"] == 4 * 2 * 65
    assert (tmp_path / "report" / "curves.png").exists() and (tmp_path / "report" / "report.html").exists()
    assert "no config of a run" in openlvm_error("report", tmp_path / "none")
    assert "give at least one run folder" in openlvm_error("report")


@pytest.fixture
def make_run(tokenizer_at, tmp_path, openlvm_json, make_store):
    """Train for four steps on a small store; the run's folder."""
    from fakes import Shape

    from openlvm.tokenizer.folder import load_tokenizer

    store = make_store([[Shape(num_frames=16)] * 4], tokenizer=load_tokenizer(tokenizer_at))

    def make(name):
        words = ["train", "own", "--tiny", "--store", store.at, "--tokenizer", tokenizer_at]
        openlvm_json(*words, "--run", tmp_path / name)
        return tmp_path / name

    return make
