"""Contact sheets of prompts whose answers are looked at, not scored: the kinds of prompts in LVM's figures 6 to 16.

The paper's own pictures are not published; these show the same kinds, of packaged pictures that no training saw. A row
is a prompt, then the model's answers (framed), then what is known to be right.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from PIL import Image

from openlvm.core.images import ImagePreparation
from openlvm.core.records import IMAGE
from openlvm.core.seeds import rng
from openlvm.core.sheets import contact_sheet
from openlvm.evaluation.harness.predictors import Predictor
from openlvm.evaluation.harness.questions import Question
from openlvm.evaluation.harness.records import PairsOf, items_of, record_of
from openlvm.evaluation.harness.suite import Data, Sheet
from openlvm.evaluation.published import packaged
from openlvm.sentences.render import draw
from openlvm.sources.interface import Source
from openlvm.sources.pack import PackStamps
from openlvm.sources.worlds.families import HELDOUT_FAMILIES
from openlvm.sources.worlds.matrices import MatricesWorld
from openlvm.sources.worlds.shapes import ShapesWorld

CELL = 96  # pixels
PAIRS = 7
"""Of an analogy: with query and answer, LVM's 16 images; the first are left out where fewer fit."""
SIZE = packaged.PREPARATION.size


@dataclass(frozen=True, eq=False)
class Prompt:
    """A row of a sheet."""

    title: str
    question: Question
    truths: Sequence[np.ndarray]
    """What follows, one for each picture that is drawn."""


def draw_sheet(prompts: Callable[[int], Sequence[Prompt]], predictor: Predictor, data: Data, seed: int) -> np.ndarray:
    """The sheet of prompts that a seed draws, with a model's answers, uint8 [H, W, 3]; `data` decides nothing."""
    rows, captions, titles, framed = [], [], [], []
    for number, prompt in enumerate(prompts(seed)):
        question = as_much_as_fits(predictor, prompt.question)
        answers = answers_one_by_one(predictor, question, len(prompt.truths), seed)
        shown = len(question.context)
        rows.append([*question.context, *answers, *prompt.truths])
        captions.append([*_names(question), *["answer"] * len(answers), *["truth"] * len(prompt.truths)])
        titles.append(prompt.title)
        framed += [(number, shown + place) for place in range(len(answers))]
    return contact_sheet(rows, captions=captions, titles=titles, cell=CELL, framed=framed)


def as_much_as_fits(predictor: Predictor, question: Question) -> Question:
    """The question without its first examples or frames, where a model says that all do not fit into its context."""
    fits = getattr(predictor, "fits", lambda question: True)
    while not fits(question) and len(question.context) > 1:
        if question.style == "sequence":
            question = replace(question, frames=question.frames[1:])
        else:
            question = replace(question, examples=question.examples[1:])
    return question


def answers_one_by_one(predictor: Predictor, question: Question, count: int, seed: int) -> list[np.ndarray]:
    """`count` answers, each shown as one more frame before the next is asked for; an analogy has one."""
    answers: list[np.ndarray] = []
    for step in range(count):
        (answer,) = predictor.answers([question], seed=seed + step)
        answers.append(answer)
        question = as_much_as_fits(predictor, replace(question, frames=[*question.frames, answer]))
    return answers


def _names(question: Question) -> list[str]:
    """A caption for each picture of the context."""
    if question.style == "sequence":
        return [str(number + 1) for number in range(len(question.frames))]
    pairs = [
        name for number in range(len(question.examples)) for name in ("aA", "bB", "cC", "dD", "eE", "fF", "gG")[number]
    ]
    return [*pairs, "query"]


def _sequence(title: str, frames: Sequence[np.ndarray], shown: int) -> Prompt:
    return Prompt(title, Question(style="sequence", frames=frames[:shown]), frames[shown:])


def _analogy(title: str, pairs: PairsOf) -> Prompt:
    question = pairs.question(pairs.episodes()[0])
    assert question.truth is not None
    return Prompt(title, question, [question.truth])


def _some(source: Source, count: int, seed: int) -> list[str]:
    """The first `count` items of a source in a drawn order."""
    items = items_of(source)
    return [items[place] for place in rng("sheet", seed).permutation(len(items))[:count]]


def _frames(source: Source, item: str, slot: str = IMAGE) -> list[np.ndarray]:
    """What a record has in a slot, drawn."""
    return [draw(frame, packaged.PREPARATION) for frame in record_of(source, item).slots[slot]]


# ------------------------------------------------------------------------------------------------------------ prompts


def sequential(seed: int) -> list[Prompt]:
    """Clips and turns that are to go on."""
    clips, turns = packaged.clips(), packaged.turns()
    return [
        *(_sequence("clip", _frames(clips, item), 12) for item in _some(clips, 3, seed)),
        *(_sequence("turn", _frames(turns, item), 5) for item in _some(turns, 3, seed)),
    ]


def analogies(seed: int) -> list[Prompt]:
    """Known tasks, each by its examples."""
    data, options = Data(seed=seed, episodes=1), {"shots": PAIRS}
    return [
        _analogy("mask", packaged.view_pairs(data, "mask", **options)),
        _analogy("depth", packaged.view_pairs(data, "depth", **options)),
        _analogy("normals", packaged.view_pairs(data, "normals", **options)),
        _analogy("edges", packaged.view_pairs(data, "edges", generated=("edges",), **options)),
        _analogy("joints", packaged.pose_pairs(data, **options)),
        *(_analogy(task, packaged.photo_pairs(data, slot, **options)) for slot, task in _FROM_PHOTOS.items()),
    ]


_FROM_PHOTOS = {"gray": "color", "holes": "inpainting", "rainy": "deraining", "dark": "low light"}


def compositions(seed: int) -> list[Prompt]:
    """Examples of one task, then of another, then a query that both are to be done to, one after the other."""
    turns, photos = packaged.turns(), packaged.photos()
    chosen = _some(turns, 7, seed)
    views, masks = ([_frames(turns, item, slot) for item in chosen] for slot in (IMAGE, "mask"))
    turned = [(views[n][0], views[n][2]) for n in range(3)]
    masked = [(views[n][0], masks[n][0]) for n in range(3, 6)]
    *pictures, query = [_frames(photos, item)[0] for item in _some(photos, 7, seed)]
    inverted = [(picture, 255 - picture) for picture in pictures[:3]]
    flipped = [(picture, picture[:, ::-1]) for picture in pictures[3:]]
    return [
        Prompt("turn, mask", Question(examples=[*turned, *masked], query=views[6][0]), [masks[6][2]]),
        Prompt("mask, turn", Question(examples=[*masked, *turned], query=views[6][0]), [masks[6][2]]),
        Prompt("invert, flip", Question(examples=[*inverted, *flipped], query=query), [255 - query[:, ::-1]]),
    ]


def unfamiliar(seed: int) -> list[Prompt]:
    """Held-out families of flat scenes, drawings, and objects out of their contours."""
    data = Data(seed=seed, episodes=1)
    scenes = [
        _analogy(
            family,
            PairsOf(
                source=partial(ShapesWorld, split="heldout", tasks=(family,), instances=1, size=SIZE, seed=seed),
                asked="answer", shots=PAIRS, count=1, preparation=packaged.PREPARATION, seed=seed,
            ),
        )
        for family in HELDOUT_FAMILIES
    ]  # fmt: skip
    drawings = PairsOf(
        source=partial(PackStamps, split="heldout"), shots=PAIRS, count=1, preparation=packaged.PREPARATION, seed=seed
    )
    sketches = packaged.view_pairs(data, IMAGE, given="edges", generated=("edges",), shots=PAIRS)
    return [*scenes, _analogy("drawings", drawings), _analogy("from a sketch", sketches)]


def hard_to_describe(seed: int) -> list[Prompt]:
    """What words hardly say: going closer, a light that wanders, one copy more, and the rules of a matrix."""
    photos = packaged.photos()
    first, second, third = (_frames(photos, item)[0] for item in _some(photos, 3, seed))
    matrices = MatricesWorld(split="heldout", count=7, size=SIZE, seed=seed)
    return [
        _sequence("going closer", [closer(first, step) for step in range(9)], 7),
        _sequence("light", [lit(second, step) for step in range(9)], 7),
        _sequence("copies", [copies(third, step + 1) for step in range(9)], 7),
        *(_sequence("matrix", _frames(matrices, item), 8) for item in _some(matrices, 3, seed)),
    ]


def closer(picture: np.ndarray, step: int) -> np.ndarray:
    """The middle of a picture, a twelfth of the side less with each step, at its full size."""
    height, width = picture.shape[:2]
    left, top = width * step / 24, height * step / 24
    box = (left, top, width - left, height - top)
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC, box=box))


def lit(picture: np.ndarray, step: int) -> np.ndarray:
    """A picture in the dark but where a light stands, an eighth of the width further to the right with each step."""
    along = np.arange(picture.shape[1]) / picture.shape[1]
    light = np.clip(1 - 2 * np.abs(along - step / 8), 0.2, 1)
    return np.rint(picture * light[:, None]).astype(np.uint8)


def copies(picture: np.ndarray, count: int) -> np.ndarray:
    """`count` small copies of a picture on white, up to nine, in reading order."""
    third = picture.shape[0] // 3
    small = ImagePreparation(size=third, fit="squash", filter="bilinear")(picture)
    sheet = np.full_like(picture, 255)
    for place in range(count):
        top, left = place // 3 * third, place % 3 * third
        sheet[top : top + third, left : left + third] = small
    return sheet


def _sheet(name: str, about: str, prompts: Callable[[int], Sequence[Prompt]]) -> Sheet:
    return Sheet(name=name, about=f"{about} Packaged pictures.", draw=partial(draw_sheet, prompts))


SHEETS = (
    _sheet(
        "sequential",
        "Frames after twelve of a clip, views after five of a turn: do things keep form and way?",
        sequential,
    ),
    _sheet("analogy", "Up to seven examples of a task, then a query: is the answer of both?", analogies),
    _sheet("compositional", "Examples of two tasks, then a query: right is both, one after the other.", compositions),
    _sheet(
        "out of domain",
        "Families of flat scenes that packaged training never shows, drawings, and objects out of sketches.",
        unfamiliar,
    ),
    _sheet(
        "not easily described", "What words hardly say: a wandering light, one copy more, a matrix.", hard_to_describe
    ),
)
"""For suites that show their prompts."""
