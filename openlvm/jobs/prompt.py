"""Many prompts from a file of JSON lines, in the form of the official LVM tools: answered, compared, resumable.

    {"input": ["a.png", "a-mask.png", "c.png"], "output": "c/answer.png", "target": "c-mask.png"}

Writes, in the folder of the answers:

    batch.json      what was asked for; a batch goes on only with the same
    c/answer.png    an answer: candidates down, the likeliest first; frames across
    results.jsonl   a line for each one answered, in the order of the file once all are

Letters: C candidates, F frames.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openlvm.bundle import Bundle
from openlvm.core.files import atomic_write, read_json, write_json
from openlvm.core.images import read_image, write_image
from openlvm.core.runs import as_json, differences
from openlvm.core.seeds import seed_of
from openlvm.evaluation.metrics import pixel_error
from openlvm.prompting.answers import Answer
from openlvm.prompting.drawing import How, answers_of, draw_apart
from openlvm.prompting.engine.drafts import Style
from openlvm.prompting.lvm import LVM
from openlvm.prompting.prompts import code_row, encode
from openlvm.prompting.sampling import Sampling
from openlvm.prompting.scoring import perplexity, row_log_probs
from openlvm.training.progress import Progress, say

REQUEST, RESULTS = "batch.json", "results.jsonl"
MAY_DIFFER = "config.max_bad"  # in a batch that goes on
LISTED = 5  # bad lines that are told in full
ENDING = ".png"  # of answers whose line names none


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """How the lines are answered."""

    sampling: Sampling
    """How codes are drawn."""
    lvm: str = "mini"
    """Who answers: its place or name, so that a batch does not go on with another one."""
    dtype: str = "float32"
    """Of its weights."""
    candidates: int = 1
    """C, answers to each line."""
    frames: int = 1
    """F where a line has no target; else F is the number of its targets."""
    seed: int = 0
    """Of chance, which differs from line to line."""
    score_only: bool = False
    """Draw nothing; perplexities of the targets alone."""
    at_once: int = 16
    """Lines drawn together, at most; the chance in an answer depends on it."""
    max_bad: float = 0.001
    """Share of the lines that may be bad; more stop the batch."""

    def __post_init__(self):
        if min(self.candidates, self.frames, self.at_once) < 1:
            raise ValueError(
                f"candidates={self.candidates}, frames={self.frames} and at_once={self.at_once} must be at least 1"
            )
        if not 0 <= self.max_bad < 1:
            raise ValueError(f"max_bad={self.max_bad} is a share of the lines; it must lie in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line, understood."""

    number: int
    """In the file, from 1."""
    input: tuple[str, ...]
    """Pictures, as the line names them."""
    targets: tuple[str, ...]
    """Truths, as the line names them; none if it has none."""
    output: str
    """Where the answer goes, below the folder of the answers."""
    num_frames: int
    """F, pictures to draw."""

    @property
    def is_analogy(self) -> bool:
        """a, A, b, B, ... and a query, with one answer: the form that can be understood or not."""
        return self.num_frames == 1 and len(self.input) > 2 and len(self.input) % 2 == 1


@dataclass(kw_only=True)
class Bad:
    """Lines that cannot be answered, number -> reason; more than their share stop the work."""

    num_lines: int
    max_share: float
    reasons: dict[int, str] = field(default_factory=dict)

    def add(self, number: int, reason: str) -> None:
        """Count one; the first few are said."""
        self.reasons[number] = reason
        if len(self.reasons) <= LISTED:
            say(f"line {number} is skipped: {reason}")

    def check(self) -> None:
        """Raise a ValueError if there are too many."""
        if len(self.reasons) > self.max_share * self.num_lines:
            number, reason = min(self.reasons.items())
            raise ValueError(
                f"{len(self.reasons)} of {self.num_lines} lines are bad, more than the share max_bad={self.max_share}; "
                f"the first, line {number}: {reason}"
            )


def answer_lines(lvm: LVM, lines_at: Path, out: Path, config: BatchConfig, *, root: Path | None = None) -> dict:
    """Answer every line of a file; those that an earlier call has answered are not asked again.

    The answer to a line depends on the file and the config, not on where the work was stopped.

    Args:
        lines_at: the JSON lines.
        out: folder of the answers.
        root: folder that the paths in the file start from; by default the file's own.

    Returns:
        counts, bad lines by number, and means over all lines answered, JSON-able.
    """
    lines, bad = read_lines(lines_at, config, root=root or lines_at.parent, fit=lvm.bundle.images_in_context)
    bad.check()
    done = _resume(lvm, out, config, lines)
    earlier = len(done)
    with Progress(steps=len(lines), first_step=earlier, unit="lines", name=lines_at.name, is_shown=True) as progress:
        for unit in units(lines, config.at_once):
            if all(line.number in done for line in unit):
                continue
            readable = _readable(lvm, unit, root or lines_at.parent, bad)
            bad.check()
            if all(line.number in done for line in readable.lines):
                continue
            answered = _answer_unit(lvm, readable, out, config)
            added = [result for result in answered if result["line"] not in done]
            done |= {result["line"]: result for result in added}
            with open(out / RESULTS, "a", encoding="utf-8") as file:
                file.writelines(json.dumps(result, ensure_ascii=False) + "\n" for result in added)
            progress.step(len(done))
            if progress.bar is None:
                say(f"{lines_at.name} {len(done)}/{len(lines)}")
    _write_in_order(out, done)
    return {
        "lines": bad.num_lines,
        "answered": len(done) - earlier,
        "answered_before": earlier,
        "bad": {str(number): reason for number, reason in sorted(bad.reasons.items())},
        **means(list(done.values())),
        "results": str(out / RESULTS),
    }


# ------------------------------------------------------------------------------------------------- what is asked


def read_lines(at: Path, config: BatchConfig, *, root: Path, fit: int) -> tuple[list[Line], Bad]:
    """The lines of a file, and those that cannot be answered.

    Args:
        at: the JSON lines; empty ones count for nothing.
        root: folder that paths start from; every picture named must be there.
        fit: pictures that the context holds.
    """
    if not at.is_file():
        raise FileNotFoundError(f"no file of JSON lines at {at}")
    texts = [(number, text) for number, text in enumerate(at.read_text().splitlines(), 1) if text.strip()]
    if not texts:
        raise ValueError(f"{at} has no lines; expected one JSON object a line")
    bad = Bad(num_lines=len(texts), max_share=config.max_bad)
    lines: dict[str, Line] = {}
    for number, text in texts:
        try:
            line = _understood(number, text, config)
            _check(line, config, root, fit)
            if line.output in lines:
                raise ValueError(f'its "output" {line.output} is that of line {lines[line.output].number} too')
            lines[line.output] = line
        except (ValueError, FileNotFoundError) as error:
            bad.add(number, str(error))
    return list(lines.values()), bad


def _understood(number: int, text: str, config: BatchConfig) -> Line:
    try:
        told = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(told, dict):
        raise ValueError(f'expected an object {{"input": [...], "output": ...}}, given {text[:60]}')
    targets = told.get("target") or []
    targets = [targets] if isinstance(targets, str) else targets
    for name, paths in (("input", told.get("input")), ("target", targets)):
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            raise ValueError(f'"{name}" must be a list of paths, given {json.dumps(paths)[:60]}')
    output = told.get("output") or f"line-{number:06d}{ENDING}"
    if not isinstance(output, str) or ".." in Path(output).parts:
        raise ValueError(f'"output" must be a path below the folder of the answers, given {json.dumps(output)[:60]}')
    inside = Path(output).relative_to(Path(output).anchor)
    return Line(
        number=number,
        input=tuple(told["input"]),
        targets=tuple(targets),
        output=str(inside if inside.suffix else inside.with_suffix(ENDING)),
        num_frames=len(targets) or config.frames,
    )


def _check(line: Line, config: BatchConfig, root: Path, fit: int) -> None:
    if not line.input:
        raise ValueError('"input" is empty; give at least one picture')
    if len(line.input) + line.num_frames > fit:
        raise ValueError(f"{len(line.input)} pictures and {line.num_frames} more do not fit: the context holds {fit}")
    if config.score_only and not line.targets:
        raise ValueError('no "target" to score')
    missing = [path for path in (*line.input, *line.targets) if not (root / path).is_file()]
    if missing:
        raise FileNotFoundError(f"no picture at {root / missing[0]}; paths start from {root}")


def units(lines: Sequence[Line], at_once: int) -> list[list[Line]]:
    """What is drawn in one call: lines of one form, those that begin with the same pictures side by side."""
    forms: dict[tuple[int, bool], list[Line]] = {}
    for line in sorted(lines, key=lambda line: line.input):  # stable: equal inputs stay in the order of the file
        forms.setdefault((line.num_frames, line.is_analogy), []).append(line)
    return [form[start : start + at_once] for form in forms.values() for start in range(0, len(form), at_once)]


# ------------------------------------------------------------------------------------------------- what is done


def _resume(lvm: LVM, out: Path, config: BatchConfig, lines: Sequence[Line]) -> dict[int, dict[str, Any]]:
    """The results that are there, by line; a line that was cut off by a kill is taken away."""
    asked = {"tokenizer": lvm.bundle.tokenizer.fingerprint, "config": as_json(config)}
    results_at = out / RESULTS
    if not (out / REQUEST).exists():
        if results_at.exists():
            raise ValueError(f"{results_at} is there without {REQUEST}; choose another folder")
        write_json(out / REQUEST, asked)
    changed = [name for name, *_ in differences(read_json(out / REQUEST, "batch request"), asked) if name != MAY_DIFFER]
    if changed:
        raise ValueError(f"{out} holds answers to another request ({', '.join(changed)}); choose another folder")
    if not results_at.exists():
        return {}
    found = [json.loads(text) for text in results_at.read_bytes().split(b"\n")[:-1]]
    given = {line.number: (list(line.input), list(line.targets)) for line in lines}
    for result in found:
        if given.get(result["line"]) != (result["input"], result["target"]):
            raise ValueError(f"line {result['line']} of {results_at} answers another file; choose another folder")
    done = {result["line"]: result for result in found}
    _write_in_order(out, done)
    return done


def _write_in_order(out: Path, done: Mapping[int, Mapping[str, Any]]) -> None:
    with atomic_write(out / RESULTS) as file:
        file.writelines((json.dumps(done[number], ensure_ascii=False) + "\n").encode() for number in sorted(done))


@dataclass(frozen=True, eq=False)
class Readable:
    """Lines of a unit whose pictures can be read, and these."""

    lines: list[Line]
    pictures: dict[str, np.ndarray]
    """uint8 [size, size, 3] by the name that lines give them, as the tokenizer wants them."""


def _readable(lvm: LVM, unit: Sequence[Line], root: Path, bad: Bad) -> Readable:
    found = Readable([], {})
    for line in unit:
        try:
            for name in (*line.input, *line.targets):
                if name not in found.pictures:
                    found.pictures[name] = lvm.bundle.tokenizer.preparation(read_image(root / name))
            found.lines.append(line)
        except (ValueError, OSError) as error:
            bad.add(line.number, str(error))
    return found


def _answer_unit(lvm: LVM, unit: Readable, out: Path, config: BatchConfig) -> list[dict[str, Any]]:
    """Answer the lines of a unit, at least one, and write the answers; returns their results."""
    good, pictures = unit.lines, unit.pictures
    codes = dict(zip(pictures, encode(pictures, lvm.bundle.tokenizer), strict=True))  # int64 [N] each
    perplexities = _perplexities(lvm.bundle, good, codes)
    if config.score_only:
        return [_result(line, perplexity=perplexities[line.number]) for line in good]
    results = []
    for line, answer in zip(good, _answers(lvm.bundle, good, codes, config), strict=True):
        write_image(out / line.output, np.concatenate([np.concatenate(list(row), axis=1) for row in answer.images]))
        truths = np.stack([pictures[name] for name in line.targets]) if line.targets else None
        results.append(_result(line, perplexity=perplexities.get(line.number), answer=answer, truths=truths))
    return results


def _answers(
    bundle: Bundle, unit: Sequence[Line], codes: Mapping[str, torch.Tensor], config: BatchConfig
) -> list[Answer]:
    """Answers to lines of one form; what they begin with together is read once."""
    first = unit[0]
    how = How(
        sampling=config.sampling,
        num_candidates=config.candidates,
        seed=seed_of("batch", config.seed, first.number),
    )
    prompts = [torch.stack([codes[name] for name in line.input]) for line in unit]  # [S, N] each
    style: Style = "analogy" if first.is_analogy else "sequence"
    drawn = draw_apart(bundle, prompts, first.num_frames, how, style=style)
    return answers_of(bundle, drawn, queries=torch.stack([one[-1] for one in prompts]) if first.is_analogy else None)


def _perplexities(bundle: Bundle, unit: Sequence[Line], codes: Mapping[str, torch.Tensor]) -> dict[int, float]:
    """Perplexity of all codes of the targets of each line that has some, by the line's number."""
    asked = [line for line in unit if line.targets]
    if not asked:
        return {}
    rows = [
        code_row(torch.stack([codes[name] for name in (*line.input, *line.targets)]), bundle.special.bos)
        for line in asked
    ]
    num_targets = asked[0].num_frames * bundle.tokenizer.codes_per_image
    log_probs = row_log_probs(bundle.decoder, rows, num_targets)  # [lines, F * N]
    return {line.number: perplexity(row) for line, row in zip(asked, log_probs, strict=True)}


def _result(
    line: Line, *, perplexity: float | None, answer: Answer | None = None, truths: np.ndarray | None = None
) -> dict[str, Any]:
    """A line of results.jsonl.

    pixel_error: mean absolute error of the likeliest candidate, 0..1. squared_error: as LVM's batch_generation.py
    counts, squares summed over the three channels, averaged over candidates, frames and pixels, 0..3.
    """
    result: dict[str, Any] = {"line": line.number, "input": list(line.input), "target": list(line.targets)}
    result["perplexity"] = perplexity
    if answer is None:
        return result
    result |= {"output": line.output, "mean_log_prob": [float(row.mean()) for row in answer.log_probs]}
    if answer.gain is not None:
        result["gain"] = [float(gain) for gain in answer.gain]
    if truths is not None:
        errors = [pixel_error(image, truth) for image, truth in zip(answer.images[0], truths, strict=True)]
        squares = ((answer.images.astype(np.float64) - truths) / 255) ** 2  # [C, F, H, W, 3]
        result |= {"pixel_error": float(np.mean(errors)), "squared_error": float(squares.sum(-1).mean())}
    return result


def means(results: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Over the lines that have the value: the mean of the perplexities as published, and the perplexity of the mean."""
    perplexities = [result["perplexity"] for result in results if result["perplexity"] is not None]
    found: dict[str, float | None] = {
        "perplexity": float(np.mean(perplexities)) if perplexities else None,
        "perplexity_of_mean": exp(float(np.mean(np.log(perplexities)))) if perplexities else None,
    }
    for name in ("pixel_error", "squared_error"):
        values = [result[name] for result in results if name in result]
        found[name] = float(np.mean(values)) if values else None
    return found
