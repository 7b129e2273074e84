"""`openlvm evaluate SUITE`: published evaluations of any model, or the held-out report of an LVM (`mini`)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from openlvm.cli.command import Outcome, parse, report
from openlvm.core.picking import pick
from openlvm.core.ranks import Ranks, ranks_from_environment

if TYPE_CHECKING:
    from openlvm.evaluation.harness.suite import Data, Suite

MINI = "mini"


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Ask models the questions of a published evaluation, beside what needs no model, and write the report.

    Suites: "talk", "lvm", "bar2022", "delvm", "reasoning", "painter"; "mini" has flags of its own (openlvm evaluate
    mini --help). With --data the official datasets are asked, else pictures that come with OpenLVM, whose numbers
    compare with no published one. In every table: copying the query, the mean answer, the nearest example, classical
    methods, the models with spoiled prompts, and the tokenizer's ceiling. A run that was stopped goes on where it was;
    under torchrun processes share the work. Writes report.html, report.md, scores.csv and report.json.
    """

    suite: tyro.conf.Positional[str]
    """What is asked."""
    lvm: tuple[str, ...] = ("mini",)
    """LVMs that answer: bundle folders, "mini", or NAME=FOLDER to name one in the tables; none is allowed."""
    data: Path | None = None
    """Folder that holds each dataset in a folder named as its row of `openlvm catalog`; default: packaged pictures."""
    columns: tuple[str, ...] = ()
    """Columns of the suite; all of them by default."""
    episodes: int | None = None
    """Of each column; by default the protocol's own number, or 32 of packaged pictures."""
    predictions: tuple[str, ...] = ()
    """Folders of pictures that other systems predicted (COLUMN/NUMBER.png), or NAME=FOLDER."""
    questions: Path | None = None
    """Only write every episode's pictures and an index into this folder, for other systems to answer."""
    conditions: tuple[Literal["none", "wrong", "shuffled"], ...] = ("none", "wrong")
    """How each LVM's prompts are spoiled besides: no examples, those of another task, answers exchanged among them."""
    support: Literal["val", "train"] = "val"
    """Where examples come from, in protocols that have both pools."""
    seeds: tuple[int, ...] = (0,)
    """Of episodes that the protocol does not fix, and of answers; several are averaged."""
    temperature: float | None = None
    """Of sampling the answers; by default each LVM's own, 0 takes the likeliest code each time."""
    fid_weights: Path | None = None
    """InceptionV3 of FID (pt_inception-2015-12-05-6726825d.pth): adds FID to columns of pictures."""
    lpips_weights: tuple[Path, Path] | None = None
    """VGG16 and the heads of LPIPS (vgg.pth): adds LPIPS to columns of pictures."""
    out: Path | None = None
    """Folder of the run and its report; by default runs/evaluate-SUITE."""
    device: str = "cpu"
    """Where models run; "cuda" takes the GPU of this process."""
    json: bool = False
    """Print one JSON object on stdout."""


@dataclass(frozen=True, kw_only=True)
class EvaluateMini:
    """Prompt an LVM with held-out pictures under conditions that keep its scores honest, and write the report.

    Every task is answered with correct examples, wrong ones, shuffled ones and none, and compared with copying the
    query, the mean training answer and the tokenizer's ceiling; then perplexity by number of examples, and choices
    among options. Writes report.md, report.json, gallery.png (first queries) and failures.png (worst ones).
    """

    suite: tyro.conf.Positional[Literal["mini"]]
    """What is asked: "mini"."""
    lvm: str = "mini"
    """The LVM that answers: a bundle folder, or "mini", which comes with OpenLVM."""
    queries: int = 64
    """Prompts of each task; 64 take some 15 minutes of two cores, 200 are for a release."""
    puzzles: int = 300
    """Of each reasoning test."""
    temperature: float = 0.7
    """Of sampling the answers; 0 takes the likeliest code each time."""
    out: Path = Path("runs/evaluate-mini")
    """Folder of the report."""
    device: str = "cpu"
    """Where the model runs, such as cuda."""
    seed: int = 0
    """Of the scenes, examples and answers drawn, and of the resamples."""
    json: bool = False
    """Print one JSON object on stdout."""


def run(argv: Sequence[str]) -> None:
    """Parse and run."""
    if list(argv[:1]) == [MINI]:
        mini = parse(EvaluateMini, argv, "evaluate")
        return report(lambda: _evaluate_mini(mini), as_json=mini.json)
    options = parse(Evaluate, argv, "evaluate")
    return report(lambda: _evaluate(options), as_json=options.json)


def _evaluate(options: Evaluate) -> Outcome:
    from openlvm.evaluation.harness.suite import Data
    from openlvm.evaluation.published.table import SUITES, load_suite

    if options.suite == MINI:
        raise ValueError("the suite comes first: openlvm evaluate mini ...")
    pick({**SUITES, MINI: ""}, options.suite, "suite")
    if options.data and not options.data.is_dir():
        raise FileNotFoundError(f"no folder of datasets at {options.data}")
    suite = load_suite(options.suite)
    data = Data(root=options.data, episodes=options.episodes, support=options.support)
    if options.questions:
        return _write_questions(suite, data, options, options.questions)
    return _run_suite(suite, data, options)


def _write_questions(suite: "Suite", data: "Data", options: Evaluate, at: Path) -> Outcome:
    from openlvm.jobs.evaluation.questions import INDEX, write_questions

    if len(options.seeds) != 1:
        raise ValueError(f"questions are written of one seed, given {len(options.seeds)}")
    data = replace(data, seed=options.seeds[0])
    written = write_questions(suite, at, data=data, plans=suite.chosen(options.columns))
    told = {"questions": written, "index": at / INDEX}
    return Outcome(told, f"{written} questions in {at}/{INDEX}; answer each as ANSWERS/COLUMN/NUMBER.png")


def _run_suite(suite: "Suite", data: "Data", options: Evaluate) -> Outcome:
    from openlvm.jobs.evaluation.predictors import named_places
    from openlvm.jobs.evaluation.suite import SuiteConfig, run_suite
    from openlvm.prompting.lvm import LVM

    ranks, out = ranks_from_environment(), options.out or Path(f"runs/evaluate-{suite.name}")
    device = _device_of(options.device, ranks)
    config = SuiteConfig(
        data=data,
        columns=options.columns,
        seeds=options.seeds,
        predictions={name: Path(place) for name, place in named_places(options.predictions).items()},
        conditions=options.conditions,
        temperature=options.temperature,
        fid_at=options.fid_weights,
        lpips_at=options.lpips_weights,
        device=device,
    )
    suite.chosen(config.columns)  # a misspelled column is told before models are loaded
    lvms = {name: LVM.load(place, device=device) for name, place in named_places(options.lvm).items()}
    told = run_suite(suite, lvms, out, config, ranks)
    if not ranks.is_main:
        return Outcome({}, "")
    from openlvm.reports.evaluations.read import read_evaluation
    from openlvm.reports.evaluations.tables import markdown, overview

    lines = [*markdown(overview(read_evaluation(out))), f"{out}/report.html, report.md, scores.csv"]
    return Outcome({**told, "out": out}, "\n".join(lines))


def _device_of(device: str, ranks: Ranks) -> str:
    """Each process of a machine has a GPU of its own."""
    return f"cuda:{ranks.local_rank}" if device == "cuda" and ranks.world_size > 1 else device


def _evaluate_mini(options: EvaluateMini) -> Outcome:
    from openlvm.evaluation.suites.report import gate_lines, table
    from openlvm.jobs.evaluate import run_evaluation
    from openlvm.prompting.lvm import LVM

    found = run_evaluation(
        LVM.load(options.lvm, device=options.device),
        out=options.out,
        name=options.lvm,
        suite=options.suite,
        queries=options.queries,
        puzzles=options.puzzles,
        temperature=options.temperature,
        seed=options.seed,
    )
    lines = [table(found.tasks), gate_lines(found.gates), f"{options.out}/report.md, gallery.png, failures.png"]
    return Outcome({**found.report, "out": options.out}, "\n".join(lines))
