"""The suite's findings for people: a table for the terminal, a Markdown page, and contact sheets of answers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from openlvm.core.sheets import contact_sheet
from openlvm.evaluation.perplexity.curves import Curve
from openlvm.evaluation.suites.gates import Gate
from openlvm.evaluation.suites.scores import RIVALS, TaskScores
from openlvm.evaluation.trials import Outcome

CELL = 96  # pixels of a picture on a sheet
LETTERS = {"copy": "C", "mean": "M", "none": "N"}
HEADER = (
    f"{'task':24}{'error':>6} {'95 % interval':15}{'copy':>5}{'mean':>5}{'none':>5}{'wrong':>6}{'shuf':>5}{'ceil':>5}  "
    f"beats {'metric':14}{'value':>7}{'mean':>7}{'ceil':>7}"
)
LEGEND = """error: mean absolute pixel error with correct examples; none, wrong, shuf: with none, wrong, shuffled ones
beats: the query copied (C), the mean training answer (M), no examples (N), in capitals if beyond the 95 % interval
value, mean, ceil: the task's own metric of the answer, of the mean training answer, of the tokenizer"""


def table(tasks: Sequence[TaskScores]) -> str:
    """A line for each task, at most 120 characters wide."""
    return "\n".join([HEADER, *map(_line, tasks), LEGEND])


def _line(scores: TaskScores) -> str:
    error = {name: found.value for name, found in scores.error.items()}
    low, high = scores.error["correct"].interval[1:]
    beats = "".join(_letter(scores, rival) for rival in RIVALS)
    value = {name: scores.value[name].value for name in ("correct", "mean", "ceiling")}
    return (
        f"{scores.task.name:24.24}{error['correct']:6.3f} {f'[{low:.3f}, {high:.3f}]':15}"
        f"{_short(error['copy'])}{_short(error['mean'])}{_short(error['none'])} {_short(error['wrong'])}"
        f"{_short(error['shuffled'])}{_short(error['ceiling'])}  {beats:6}{scores.task.metric:14}"
        f"{_number(value['correct'])}{_number(value['mean'])}{_number(value['ceiling'])}"
    )


def _letter(scores: TaskScores, rival: str) -> str:
    """Capital if the rival is beaten beyond the interval, small if in the mean alone, else a dash."""
    beats = scores.beats(rival)
    return LETTERS[rival] if beats["interval"] else LETTERS[rival].lower() if beats["mean"] else "-"


def _short(error: float) -> str:
    """0.1234 as ' .123'."""
    return f"{error:5.3f}".replace("0.", " .", 1)[-5:] if error < 1 else "1.000"


def _number(value: float) -> str:
    """Three decimals below 1, one above."""
    return f"{value:7.{3 if abs(value) < 1 else 1}f}" if np.isfinite(value) else f"{'-':>7}"


def gate_table(gates: Sequence[Gate]) -> str:
    """The gates in Markdown: asked, measured, reached or not, for CPU and for GPU weights."""
    lines = ["| figure | measured | CPU asks | CPU | GPU asks | GPU |", "| --- | --- | --- | --- | --- | --- |"]
    for gate in gates:
        cells = []
        for asked in (gate.cpu, gate.gpu):
            verdict = {None: "", True: "pass", False: "**FAIL**"}[gate.passes(asked)]
            cells += ["" if asked is None else f"{gate.compare} {asked:.3g}", verdict]
        lines.append(f"| {gate.name} | {gate.shown} | {' | '.join(cells)} |")
    return "\n".join(lines)


def gate_lines(gates: Sequence[Gate]) -> str:
    """The gates for a terminal, at most 120 characters wide."""
    words = {None: "-", True: "pass", False: "FAIL"}
    lines = [f"{'figure':80}{'CPU':>6}{'GPU':>6}  measured"]
    for gate in gates:
        verdicts = "".join(f"{words[gate.passes(asked)]:>6}" for asked in (gate.cpu, gate.gpu))
        lines.append(f"{gate.name:80.80}{verdicts}  {gate.shown}"[:120])
    return "\n".join(lines)


def markdown(report: Mapping[str, Any], tasks: Sequence[TaskScores], gates: Sequence[Gate]) -> str:
    """The page report.md."""
    missed = {
        kind: sum(gate.passes(asked) is False for gate, asked in pairs)
        for kind, pairs in (("CPU", [(g, g.cpu) for g in gates]), ("GPU", [(g, g.gpu) for g in gates]))
    }
    lines = [
        f"# Held-out report: {report['lvm']}",
        "",
        f"{report['queries']} queries a task, {report['puzzles']} puzzles a test, seed {report['seed']}, temperature "
        f"{report['temperature']}; decoder of {report['decoder_parameters']:,} parameters, fingerprint "
        f"{report['decoder_fingerprint'][:12]}; tokenizer {report['tokenizer_fingerprint'][:12]}; "
        f"{report['seconds']['all']:.0f} s on {report['threads']} threads.",
        "",
        f"## Figures asked: {missed['CPU']} of the CPU's and {missed['GPU']} of the GPU's are not reached",
        "",
        gate_table(gates),
        "",
        "Intervals are 95 %: percentiles of 1000 bootstrap resamples of objects, clips or task instances; Wilson's for",
        "choices. Of the many changes along the curves one in forty seems a rise beyond its interval by chance alone.",
        "",
        "## Tasks",
        "",
        "```",
        table(tasks),
        "```",
        "",
        "## Perplexity of the true answer",
        "",
        *_curve_lines(report["curves"]),
        "",
    ]
    return "\n".join(lines)


def _curve_lines(curves: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = ["| curve | number shown: perplexity | rises beyond its interval at |", "| --- | --- | --- |"]
    for name, told in curves.items():
        points = ", ".join(
            f"{count}: {found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"
            for count, found in zip(told["counts"], told["perplexity"], strict=True)
        )
        lines.append(f"| {name} | {points} | {', '.join(map(str, told['rises_at'])) or 'nowhere'} |")
    return lines


def sheet(outcomes: Sequence[Outcome], *, with_errors: bool = False) -> np.ndarray:
    """A row for each outcome: prompt, answer (framed), the truth through the tokenizer, truth; uint8 [H, W, 3]."""
    rows, captions, titles = [], [], []
    for outcome in outcomes:
        prompt = outcome.trial.prompts["correct"]
        rows.append([*prompt, outcome.answers["correct"], outcome.answers["ceiling"], outcome.trial.truth])
        error = f"error {outcome.error('correct'):.3f}" if with_errors else "answer"
        ceiling = f"ceiling {outcome.error('ceiling'):.3f}" if with_errors else "ceiling"
        captions.append([*_captions(outcome, len(prompt)), error, ceiling, "truth"])
        titles.append(outcome.trial.task.name)
    framed = [(number, len(row) - 3) for number, row in enumerate(rows)]
    return contact_sheet(rows, captions=captions, titles=titles, cell=CELL, framed=framed)


def _captions(outcome: Outcome, length: int) -> list[str]:
    if outcome.trial.task.style == "sequence":
        return [f"frame {number}" for number in range(1, length + 1)]
    return [*("example", "its answer") * (length // 2), "query"]


def curve_summaries(curves: Mapping[str, Curve]) -> dict[str, dict]:
    """Curves as JSON values, by name."""
    return {name: found.summary for name, found in curves.items()}
