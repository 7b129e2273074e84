"""Who is asked in a suite: models, their prompts spoiled, methods without learning, and the tokenizers' ceilings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from openlvm.evaluation.harness.baselines import SIMPLE, PredictedFolder, Spoiled
from openlvm.evaluation.harness.classical import CLASSICAL
from openlvm.evaluation.harness.predictors import Ceiling, LVMPredictor, Predictor
from openlvm.evaluation.harness.questions import Column, Question
from openlvm.evaluation.harness.suite import Plan
from openlvm.prompting.lvm import LVM
from openlvm.prompting.sampling import Sampling


def named_places(places: Sequence[str]) -> dict[str, str]:
    """Name -> place, of words such as "runs/small/bundle" (small), "mini" (mini) and "ours=runs/7/bundle" (ours).

    A place is named by its last folder, or the one above it where that is "bundle", as training runs call theirs.

    Raises:
        ValueError: two places of one name.
    """
    named: dict[str, str] = {}
    for word in places:
        name, equals, place = word.partition("=")
        if not equals:
            place, folder = word, Path(word)
            name = folder.resolve().parent.name if folder.name == "bundle" else folder.name
        if name in named:
            raise ValueError(f"{named[name]} and {place} are both called {name!r}; name them: NAME={place}")
        named[name] = place
    return named


@dataclass(frozen=True, kw_only=True)
class Asked:
    """All who are asked, who is not asked what, and why."""

    predictors: list[Predictor]
    may: Callable[[Predictor, Column], bool]
    left_out: list[str]
    """For the report: a line each."""


def whom_to_ask(
    lvms: Mapping[str, LVM],
    plans: Sequence[Plan],
    columns: Mapping[str, Column],
    *,
    predictions: Mapping[str, Path],
    conditions: Sequence[str],
    sampling: Sampling | None = None,
) -> Asked:
    """Every predictor of a run.

    Args:
        lvms: name -> model.
        plans: of the columns, for their classical methods.
        columns: name -> column.
        predictions: name -> folder of pictures that another system predicted.
        conditions: by which the prompts of each LVM are spoiled besides (`harness.baselines.CONDITIONS`).
        sampling: how LVMs draw; None is each one's own way.
    """
    models = [LVMPredictor(lvm, name, sampling=sampling) for name, lvm in lvms.items()]
    classical = {plan.name: _classical(plan) for plan in plans}
    methods = {one.name: one for several in classical.values() for one in several}
    cramped = _cramped(models, columns)
    own = {name: {one.name for one in several} for name, several in classical.items()}

    def may(predictor: Predictor, column: Column) -> bool:
        model = predictor.predictor if isinstance(predictor, Spoiled) else predictor
        if predictor.name in methods:
            return predictor.name in own[column.name]
        return (model.name, column.name) not in cramped

    left_out = [f"{name} in {column}: {why}" for (name, column), why in cramped.items()]
    if {one.name for plan in plans for one in plan.classical()} - methods.keys():
        left_out.append('classical methods: they need OpenCV, pip install "openlvm[classical]"')
    return Asked(
        predictors=[
            *models,
            *(PredictedFolder(at, name) for name, at in predictions.items()),
            *(Spoiled(model, condition) for model in models for condition in conditions),
            *SIMPLE,
            *methods.values(),
            *_ceilings(models),
        ],
        may=may,
        left_out=left_out,
    )


def _classical(plan: Plan) -> Sequence[Predictor]:
    return [one for one in plan.classical() if one.name not in CLASSICAL or find_spec("cv2")]


def _cramped(models: Sequence[LVMPredictor], columns: Mapping[str, Column]) -> dict[tuple[str, str], str]:
    """(model, column) -> why the column is not asked of it: every prompt of a column has as many pictures."""
    found = {}
    for name, column in columns.items():
        first: Question | None = None
        for model in models:
            first = first or column.question(column.episodes()[0])
            if not model.fits(first):
                most = model.lvm.bundle.images_in_context
                found[model.name, name] = f"{len(first.context) + 1} pictures, {most} fit into its context"
    return found


def _ceilings(models: Sequence[LVMPredictor]) -> list[Ceiling]:
    """One for each tokenizer; named by its first model where they differ."""
    tokenizers = {model.lvm.bundle.tokenizer.fingerprint: model for model in reversed(models)}
    if len(tokenizers) == 1:
        return [Ceiling(models[0].lvm.bundle.tokenizer)]
    return [Ceiling(one.lvm.bundle.tokenizer, f"ceiling {one.name}") for one in reversed(tokenizers.values())]
