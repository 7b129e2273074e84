"""A suite of flat colors: every kind of column, a curve, a classical method, a published row and a sheet."""

from functools import partial

import numpy as np

from openlvm.core.sheets import contact_sheet
from openlvm.evaluation.harness.baselines import Simple
from openlvm.evaluation.harness.questions import Column, Episode, Question
from openlvm.evaluation.harness.scores import Reference
from openlvm.evaluation.harness.suite import Plan, Sheet, Suite
from openlvm.evaluation.measures.codes import CHOICE, PERPLEXITY
from openlvm.evaluation.measures.pictures import MSE, PSNR

SIDE = 16
COUNT = 20  # more than one chunk
LONGEST = 3  # frames of the curve


def flat(value):
    return np.full((SIDE, SIDE, 3), value, np.uint8)


def inverted(question):
    return 255 - question.query


def _episodes(data, count=COUNT):
    return [
        Episode(number=number, query=str((7 * number + 13 * data.seed) % 100), label="odd" if number % 2 else "even")
        for number in range(data.episodes or count)
    ]


def _inversion(episode):
    value = int(episode.query)
    shown = [(flat(value + step), flat(255 - value - step)) for step in (20, 40)]
    return Question(examples=shown, query=flat(value), truth=flat(255 - value))


def _brighter(frames, episode):
    value = int(episode.query)
    return Question(style="sequence", frames=[flat(value + 10 * place) for place in range(LONGEST - frames, LONGEST)],
                    truth=flat(value + 10 * LONGEST))  # fmt: skip


def _puzzle(episode):
    value = int(episode.query)
    options = [flat(value), flat(value + 10 * LONGEST), flat(200)]
    return Question(style="sequence", frames=[flat(value), flat(value + 10)], options=options, answer=1)


def _long(episode):
    return Question(style="sequence", frames=[flat(int(episode.query))] * 40, truth=flat(3))


def _column(data, name, metrics, question, asks="picture", curve=None):
    return Column(name=name, asks=asks, metrics=metrics, episodes=partial(_episodes, data), question=question,
                  data="flat colors", protocol="Values of 0..1.", curve=curve)  # fmt: skip


def _frames(count):
    return Plan(
        name=f"{count} frames",
        make=lambda data: _column(
            data, f"{count} frames", (PERPLEXITY,), partial(_brighter, count), "likelihood", ("context frames", count)
        ),
    )


def _draw(predictor, data, seed):
    question = _inversion(_episodes(data)[0])
    [answer] = predictor.answers([question], seed=seed)
    return contact_sheet([[*question.context, answer]])


SUITE = Suite(
    name="toy",
    about="Flat colors & their inversion.",
    plans=(
        Plan(
            name="inversion",
            datasets=("nyuv2",),
            make=lambda data: _column(data, "inversion", (MSE, PSNR), _inversion),
            classical=lambda: [Simple("inverted", inverted)],
        ),
        *(_frames(count) for count in range(1, LONGEST + 1)),
        Plan(name="puzzles", make=lambda data: _column(data, "puzzles", (CHOICE,), _puzzle, "choice")),
    ),
    references=(
        Reference(
            name="theirs <2022>", values={"inversion": 0.25, "1 frames": 62.1, "2 frames": 55.0}, source="a page"
        ),
        Reference(name="another", values={"elsewhere": 1.0}, source="another page"),
    ),
    sheets=(Sheet(name="colors", about="Inverted?", draw=_draw),),
)
LONG = Suite(
    name="long",
    about="Too long for any model.",
    plans=(Plan(name="long", make=lambda data: _column(data, "long", (PERPLEXITY,), _long, "likelihood")),),
)
