"""Questions as files: everything that is shown, nothing of the truth, and answers find their way back."""

import json

import numpy as np
import pytest
from toy_suite import LONG, SUITE, flat

from openlvm.core.images import read_image, write_image
from openlvm.evaluation.harness.suite import Data
from openlvm.jobs.evaluation.questions import INDEX, write_questions
from openlvm.jobs.evaluation.suite import SuiteConfig, run_suite

DATA = Data(episodes=3)


def test_another_system_answers_from_the_files_alone(tmp_path):
    assert write_questions(SUITE, tmp_path / "asked", data=DATA, plans=SUITE.chosen()) == 3
    lines = [json.loads(line) for line in (tmp_path / "asked" / INDEX).read_text().splitlines()]
    assert [(line["column"], line["number"], line["style"]) for line in lines] == [("inversion", n, "analogy")
                                                                                   for n in range(3)]  # fmt: skip
    for line in lines:
        (shown, answered), _ = line["examples"]
        assert (read_image(tmp_path / "asked" / shown) == 255 - read_image(tmp_path / "asked" / answered)).all()
        query = read_image(tmp_path / "asked" / line["query"])
        assert query.shape == (line["height"], line["width"], 3)
        write_image(tmp_path / "answers" / line["answer"], 255 - query)
    config = SuiteConfig(columns=("inversion",), predictions={"theirs": tmp_path / "answers"}, data=DATA)
    rows = run_suite(SUITE, {}, tmp_path / "run", config)["columns"]["inversion"]["rows"]
    assert rows["theirs"]["values"]["MSE"]["value"] == 0


def test_the_truth_is_not_among_the_files(tmp_path):
    write_questions(SUITE, tmp_path, data=DATA, plans=SUITE.chosen())
    files = sorted((tmp_path / "inversion/1").iterdir())
    assert [path.name for path in files] == ["00.png", "01.png", "02.png", "03.png", "04.png"]
    assert not any((read_image(path) == flat(255 - 7)).all() for path in files)
    assert np.array_equal(read_image(files[-1]), flat(7))


def test_columns_that_pictures_cannot_answer_are_refused(tmp_path):
    with pytest.raises(ValueError, match="long asks for likelihoods here"):
        write_questions(LONG, tmp_path, data=DATA, plans=LONG.chosen())
    with pytest.raises(FileNotFoundError, match="1 of 1 datasets are not there"):
        write_questions(SUITE, tmp_path, data=Data(root=tmp_path), plans=SUITE.chosen())
