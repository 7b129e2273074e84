"""`openlvm prompt batch FILE.jsonl --out DIR`: every line answered; the work is `jobs.prompt`."""

from pathlib import Path
from typing import TYPE_CHECKING

from openlvm.cli.command import Outcome
from openlvm.cli.prompt.draw import load, sampling_of
from openlvm.cli.prompt.options import Batch
from openlvm.cli.prompt.plan import plan, sizes_of

if TYPE_CHECKING:
    from openlvm.jobs.prompt import BatchConfig
    from openlvm.prompting.sampling import Sampling


def answer_batch(options: Batch) -> Outcome:
    """Answer the lines, or say what that would cost."""
    from openlvm.jobs.prompt import answer_lines, read_lines
    from openlvm.prompting.sampling import Sampling

    if options.dry_run:
        config = _config(options, Sampling())
        root = options.root or options.file.parent
        lines, bad = read_lines(options.file, config, root=root, fit=sizes_of(options.lvm).images_in_context)
        bad.check()
        return plan(options, [len(line.input) for line in lines], max(line.num_frames for line in lines))
    lvm = load(options)
    found = answer_lines(
        lvm, options.file, options.out, _config(options, sampling_of(options, lvm.sampling)), root=options.root
    )
    before = f", {found['answered_before']} before" if found["answered_before"] else ""
    lines_of_text = [f"{found['answered']} of {found['lines']} lines answered{before}, {len(found['bad'])} bad"]
    named = ("perplexity", "perplexity_of_mean", "pixel_error", "squared_error")
    lines_of_text += [f"{name.replace('_', ' '):20}{found[name]:10.4g}" for name in named if found[name] is not None]
    return Outcome(found, "\n".join([*lines_of_text, found["results"]]))


def _config(options: Batch, sampling: "Sampling") -> "BatchConfig":
    from openlvm.bundle import EMBEDDED
    from openlvm.jobs.prompt import BatchConfig

    return BatchConfig(
        sampling=sampling,
        lvm=options.lvm if options.lvm in EMBEDDED else str(Path(options.lvm).resolve()),
        dtype=options.dtype,
        candidates=options.candidates,
        frames=options.frames,
        seed=options.seed,
        score_only=options.score_only,
        at_once=options.at_once,
        max_bad=options.max_bad,
    )
